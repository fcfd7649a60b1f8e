-- Runs that were deleted: what still arrives of them is not kept. `digest` is of the id, which is not kept either.
CREATE TABLE deleted_run (
  project integer NOT NULL,
  digest  bytea NOT NULL,
  at_us   bigint NOT NULL,
  PRIMARY KEY (project, digest)
);
