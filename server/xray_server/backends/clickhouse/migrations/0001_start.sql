-- Every table lies on each shard by itself; {replacing}(VERSION) is ReplacingMergeTree, or its replicated form.
-- An insert costs ClickHouse about the same whatever it holds, so what is written together and kept equally long is one table,
-- and `kind` says what a row is of: `state` and `listed` as long as ledgers, `evidence` as long as verdicts (samples may go before).
-- Each kind is read by a view of its own.
-- Keys are identities alone: what a later revision may change is in no key, but in the lists, which are only hints: what
-- they name is looked up by its identity before it is believed.

-- What was said of runs (kind 0) and of step attempts (kind 1). known: 0 heard of, 1 a part, 2 the sum of several parts of a
-- step (no document). A row without a document is a part that no longer counts. What several parts come to has the sum of their
-- versions, times of 60 bits each: 64 bits would hold forty parts.
CREATE TABLE state (
    kind UInt8, project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), known UInt8, part String CODEC(ZSTD(1)), ver UInt128 CODEC(ZSTD(1)), received_us Int64 CODEC(Delta, ZSTD(1)),
    at_us Int64 CODEC(Delta, ZSTD(1)), position Nullable(Int64) CODEC(ZSTD(1)), pipeline LowCardinality(Nullable(String)),
    name LowCardinality(Nullable(String)), step_type LowCardinality(Nullable(String)), status UInt8, flags UInt8,
    duration_us Nullable(Int64) CODEC(ZSTD(1)), input UInt64 CODEC(T64, ZSTD(1)), accepted UInt64 CODEC(T64, ZSTD(1)),
    rejected UInt64 CODEC(T64, ZSTD(1)), not_selected UInt64 CODEC(T64, ZSTD(1)), errored UInt64 CODEC(T64, ZSTD(1)),
    selected UInt64 CODEC(T64, ZSTD(1)), doc String CODEC(ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, kind, run_id, step_id, attempt, known, part)
SETTINGS index_granularity = 512, {durable};

CREATE VIEW run AS SELECT project, week, run_id, known, part, ver, received_us, doc FROM state WHERE kind = 0;

CREATE VIEW step AS SELECT * EXCEPT kind FROM state WHERE kind = 1;

-- By time: runs (kind 0), steps (kind 1) with all that lists and sums over time ask, and which server process wrote steps of an
-- hour, and when last (kind 2: run_id is the process, ver the time). gone: it has another place by now. unaccounted and
-- counted_input are what hourly sums add.
CREATE TABLE listed (
    kind UInt8, project LowCardinality(String), at_us Int64 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), ver UInt128 CODEC(ZSTD(1)), gone UInt8, known UInt8, week UInt32 CODEC(Delta, ZSTD(1)),
    pipeline LowCardinality(Nullable(String)), status UInt8, bytes UInt32 CODEC(T64, ZSTD(1)), tags Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    name LowCardinality(Nullable(String)), step_type LowCardinality(Nullable(String)),
    duration_us Nullable(Int64) CODEC(ZSTD(1)), rate Nullable(Float64) CODEC(ZSTD(1)), counted_input UInt64 CODEC(T64, ZSTD(1)),
    accepted UInt64 CODEC(T64, ZSTD(1)), rejected UInt64 CODEC(T64, ZSTD(1)), not_selected UInt64 CODEC(T64, ZSTD(1)),
    errored UInt64 CODEC(T64, ZSTD(1)), selected UInt64 CODEC(T64, ZSTD(1)), unaccounted Int64 CODEC(T64, ZSTD(1)),
    reasons Map(LowCardinality(String), UInt64) CODEC(ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY intDiv(at_us, 604800000000) ORDER BY (project, kind, at_us, run_id, step_id, attempt)
SETTINGS index_granularity = 2048, {durable};

CREATE VIEW run_list AS SELECT project, at_us, run_id, ver, gone, week, pipeline, status, tags, bytes FROM listed WHERE kind = 0;

CREATE VIEW step_list AS SELECT * EXCEPT (kind, week, tags) FROM listed WHERE kind = 1;

CREATE VIEW hour_touched AS SELECT project, at_us, run_id AS process, toUInt64(ver) AS last_us FROM listed WHERE kind = 2;

-- Chunks of verdicts (kind 0) and samples (kind 1). The version of a chunk of verdicts falls as time goes on, so that its first
-- copy stays; that of a sample is its revision and a hash of its text. A sample without its text was kept for long enough.
CREATE TABLE evidence (
    kind UInt8, project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), part String CODEC(ZSTD(1)), chunk String CODEC(ZSTD(1)), ver UInt128 CODEC(ZSTD(1)),
    received_us Int64 CODEC(Delta, ZSTD(1)), place UInt32 CODEC(T64, ZSTD(1)), head String CODEC(ZSTD(1)), data String CODEC(ZSTD(1)),
    text String CODEC(ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, kind, run_id, step_id, attempt, part, chunk)
SETTINGS index_granularity = 512, {durable};

CREATE VIEW verdict AS SELECT * EXCEPT (kind, text) FROM evidence WHERE kind = 0;

CREATE VIEW sample AS SELECT * EXCEPT (kind, received_us, place, head, data), toUInt64(bitShiftRight(ver, 64)) AS rev
FROM evidence WHERE kind = 1 AND notEmpty(text);

-- Which runs may hold an item. fp is its fingerprint, 0 where a set is too large to have a row for each of its items.
CREATE TABLE item (
    project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), fp UInt64 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)),
    received_us UInt64 CODEC(Delta, ZSTD(1))
) ENGINE = {replacing}(received_us) PARTITION BY week ORDER BY (project, fp, run_id)
SETTINGS index_granularity = 1024, {durable};

CREATE TABLE client (
    project LowCardinality(String), part String, ver UInt128, received_us Int64, doc String CODEC(ZSTD(1))
) ENGINE = {replacing}(ver) ORDER BY (project, part)
SETTINGS {durable};

CREATE TABLE hourly (
    project LowCardinality(String), hour UInt32, pipeline String, name String, touched UInt64, steps UInt64, failed UInt64, input UInt64,
    accepted UInt64, rejected UInt64, not_selected UInt64, errored UInt64, selected UInt64, unaccounted Int64, duration_us Int64,
    reasons Map(String, UInt64)
) ENGINE = {replacing}(touched) PARTITION BY intDiv(hour, 168) ORDER BY (project, hour, pipeline, name);

-- What runs that were deleted had added to the sums of their hours, which keep it.
CREATE TABLE hourly_deleted (
    project LowCardinality(String), hour UInt32, digest String, pipeline String, name String, at_us Int64, steps UInt64, failed UInt64,
    input UInt64, accepted UInt64, rejected UInt64, not_selected UInt64, errored UInt64, selected UInt64, unaccounted Int64,
    duration_us Int64, reasons Map(String, UInt64)
) ENGINE = {replacing}(at_us) PARTITION BY intDiv(hour, 168) ORDER BY (project, hour, digest, pipeline, name)
SETTINGS {durable};

-- Runs that were deleted: what still arrives of them is not kept.
CREATE TABLE deleted_run (
    project LowCardinality(String), digest String, at_us Int64
) ENGINE = {replacing}(at_us) ORDER BY (project, digest)
SETTINGS {durable};

-- Items that were deleted: what still arrives of them, of runs from before, is written without.
CREATE TABLE deleted_item (
    project LowCardinality(String), hash String, at_us Int64, ver UInt64
) ENGINE = {replacing}(ver) ORDER BY (project, hash)
SETTINGS {durable};

-- Runs of which a replica missed something that was written to this one. writer and number tell each note from the one before.
CREATE TABLE missed (
    node String, project LowCardinality(String), run_id String, writer String, number UInt64
) ENGINE = {replacing}(number) ORDER BY (node, project, run_id, writer)
SETTINGS {durable};
