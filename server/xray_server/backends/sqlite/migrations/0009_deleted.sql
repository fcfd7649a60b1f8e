-- Runs that were deleted: what still arrives of them is not kept. `digest` is of the id, which is not kept either.
CREATE TABLE deleted_run (
  project INTEGER NOT NULL,
  digest  BLOB NOT NULL,
  at_us   INTEGER NOT NULL,
  PRIMARY KEY (project, digest)
) WITHOUT ROWID;
