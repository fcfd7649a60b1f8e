-- Finding an item across runs without opening every chunk: see segments.py. Here the keys of a segment are runs.
-- Runs with chunks that no segment covers yet. `seen` grows with every write, so that what is written while a segment is
-- built stays here.
CREATE TABLE item_tail (run bigint PRIMARY KEY, seen bigint NOT NULL);
INSERT INTO item_tail SELECT DISTINCT run, 0 FROM verdict_chunk;

-- Runs with a set too large for a segment: looked into one by one.
CREATE TABLE item_large (run bigint PRIMARY KEY);

CREATE TABLE item_segment (
  pk   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  last bigint NOT NULL,    -- the greatest key
  n    integer NOT NULL,   -- keys
  bits smallint NOT NULL,
  keys bytea NOT NULL,
  data bytea NOT NULL
);
CREATE INDEX item_segment_last ON item_segment (last);
-- as they are: a search reads a few bytes of each
ALTER TABLE item_segment ALTER COLUMN keys SET STORAGE EXTERNAL;
ALTER TABLE item_segment ALTER COLUMN data SET STORAGE EXTERNAL;
