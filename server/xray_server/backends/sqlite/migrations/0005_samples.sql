-- The samples of several steps of a run in one row: see blocks.py. `low` and `high` are its first and last step;
-- a step is in one block at most.
CREATE TABLE sample_block (
  pk   INTEGER PRIMARY KEY,
  run  INTEGER NOT NULL,
  low  INTEGER NOT NULL,
  high INTEGER NOT NULL,
  data BLOB NOT NULL,
  UNIQUE (run, low)
);

-- xray_sample_block is a function of the program that opens the database
INSERT INTO sample_block (run, low, high, data)
  SELECT step.run, c.step, c.step, xray_sample_block(c.step, c.part, c.chunk, c.rev, c.doc)
  FROM sample_chunk c JOIN step ON step.pk = c.step GROUP BY c.step;
DROP TABLE sample_chunk;
