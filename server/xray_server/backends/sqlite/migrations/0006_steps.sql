-- The documents of steps that were written together, several of a run in one row: see blocks.py. Such a step's own `doc` is
-- empty; one that changes later gets its own again, which then counts.
CREATE TABLE step_block (
  pk   INTEGER PRIMARY KEY,
  run  INTEGER NOT NULL,
  low  INTEGER NOT NULL,
  high INTEGER NOT NULL,
  data BLOB NOT NULL
);
CREATE INDEX step_block_run ON step_block (run, low);
