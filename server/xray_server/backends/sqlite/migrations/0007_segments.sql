-- The newest chunk that a segment covers, so that a search begins with the newest and ends when it has enough.
-- xray_last_chunk is a function of the program that opens the database.
ALTER TABLE item_segment ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
UPDATE item_segment SET last = xray_last_chunk(chunks);
CREATE INDEX item_segment_last ON item_segment (last);
