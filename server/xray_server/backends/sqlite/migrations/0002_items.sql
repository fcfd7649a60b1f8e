-- Finding an item across runs without opening every chunk: see sqlite_segments.py.
-- Chunks that no segment covers yet. Kept by a trigger, so that no writer can forget it.
CREATE TABLE item_tail (chunk INTEGER PRIMARY KEY);
INSERT INTO item_tail SELECT pk FROM verdict_chunk;
CREATE TRIGGER verdict_chunk_written AFTER INSERT ON verdict_chunk BEGIN
  INSERT OR IGNORE INTO item_tail VALUES (new.pk);
END;

-- Chunks with a set too large for a segment: looked into one by one.
CREATE TABLE item_large (chunk INTEGER PRIMARY KEY);

-- `chunks` is a list of u64 chunk keys; `data` is the index over their items.
CREATE TABLE item_segment (
  pk     INTEGER PRIMARY KEY,
  n      INTEGER NOT NULL,      -- of chunks
  chunks BLOB NOT NULL,
  data   BLOB NOT NULL
);
