-- The samples of several steps of a run in one row: see blocks.py. `low` and `high` are its first and last step;
-- a step is in one block at most. The rows of sample_chunk are moved by the program (postgres_samples.py), which drops it.
CREATE TABLE sample_block (
  run  bigint NOT NULL,
  low  bigint NOT NULL,
  high bigint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (run, low)
) PARTITION BY RANGE (run);
ALTER TABLE sample_block ALTER COLUMN data SET STORAGE EXTERNAL;
