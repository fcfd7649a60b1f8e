-- Items that were deleted: what still arrives of them, of runs from before, is not kept. `hash` is of the id, which is not kept.
CREATE TABLE deleted_item (
  at_us   bigint NOT NULL,
  project integer NOT NULL,
  hash    bytea NOT NULL,
  PRIMARY KEY (project, hash)
);
