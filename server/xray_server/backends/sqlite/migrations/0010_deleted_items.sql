-- Items that were deleted: what still arrives of them, of runs from before, is not kept. `hash` is of the id, which is not kept.
CREATE TABLE deleted_item (
  project INTEGER NOT NULL,
  hash    BLOB NOT NULL,
  at_us   INTEGER NOT NULL,
  PRIMARY KEY (project, hash)
) WITHOUT ROWID;
