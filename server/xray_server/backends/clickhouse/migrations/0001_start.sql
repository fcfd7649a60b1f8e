-- Every table lies on each shard by itself; {replacing}(VERSION) is ReplacingMergeTree, or its replicated form.
-- Keys are identities alone: what a later revision may change is in no key, but in the two lists, which are only hints: what
-- they name is looked up by its identity before it is believed.

-- What was said of runs. known: 0 heard of, 1 a part. A row without a document is a part that no longer counts.
CREATE TABLE run (
    project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), known UInt8, part String CODEC(ZSTD(1)),
    ver UInt64 CODEC(ZSTD(1)), received_us Int64 CODEC(Delta, ZSTD(1)), doc String CODEC(ZSTD(3))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, run_id, known, part)
SETTINGS index_granularity = 1024, {durable};

-- What was said of step attempts. known: 0 heard of, 1 a part, 2 the sum of several parts (no document).
CREATE TABLE step (
    project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), known UInt8, part String CODEC(ZSTD(1)), ver UInt64 CODEC(ZSTD(1)), received_us Int64 CODEC(Delta, ZSTD(1)),
    at_us Int64 CODEC(Delta, ZSTD(1)), position Nullable(Int64) CODEC(ZSTD(1)), pipeline LowCardinality(Nullable(String)),
    name LowCardinality(Nullable(String)), step_type LowCardinality(Nullable(String)), status UInt8, flags UInt8,
    duration_us Nullable(Int64) CODEC(ZSTD(1)), input UInt64 CODEC(T64, ZSTD(1)), accepted UInt64 CODEC(T64, ZSTD(1)),
    rejected UInt64 CODEC(T64, ZSTD(1)), not_selected UInt64 CODEC(T64, ZSTD(1)), errored UInt64 CODEC(T64, ZSTD(1)),
    selected UInt64 CODEC(T64, ZSTD(1)), doc String CODEC(ZSTD(3))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, run_id, step_id, attempt, known, part)
SETTINGS index_granularity = 1024, {durable};

-- Runs by time. gone: the run has another place by now.
CREATE TABLE run_list (
    project LowCardinality(String), at_us Int64 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), ver UInt64 CODEC(ZSTD(1)), gone UInt8,
    week UInt32 CODEC(Delta, ZSTD(1)), pipeline LowCardinality(Nullable(String)), status UInt8, tags Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    bytes UInt32 CODEC(T64, ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY intDiv(at_us, 604800000000) ORDER BY (project, at_us, run_id)
SETTINGS index_granularity = 2048, {durable};

-- Steps by time, with all that lists and sums over time ask. unaccounted and counted_input are what hourly sums add.
CREATE TABLE step_list (
    project LowCardinality(String), at_us Int64 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), ver UInt64 CODEC(ZSTD(1)), gone UInt8, known UInt8, pipeline LowCardinality(Nullable(String)),
    name LowCardinality(Nullable(String)), step_type LowCardinality(Nullable(String)), status UInt8,
    duration_us Nullable(Int64) CODEC(ZSTD(1)), rate Nullable(Float64) CODEC(ZSTD(1)), counted_input UInt64 CODEC(T64, ZSTD(1)),
    accepted UInt64 CODEC(T64, ZSTD(1)), rejected UInt64 CODEC(T64, ZSTD(1)), not_selected UInt64 CODEC(T64, ZSTD(1)),
    errored UInt64 CODEC(T64, ZSTD(1)), selected UInt64 CODEC(T64, ZSTD(1)), unaccounted Int64 CODEC(T64, ZSTD(1)),
    reasons Map(LowCardinality(String), UInt64) CODEC(ZSTD(1)), bytes UInt32 CODEC(T64, ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY intDiv(at_us, 604800000000) ORDER BY (project, at_us, run_id, step_id, attempt)
SETTINGS index_granularity = 4096, {durable};

-- Chunks of verdicts; ver falls as time goes on, so that the first copy of a chunk stays.
CREATE TABLE verdict (
    project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), part String CODEC(ZSTD(1)), chunk String CODEC(ZSTD(1)), ver UInt64 CODEC(ZSTD(1)),
    received_us Int64 CODEC(Delta, ZSTD(1)), place UInt32 CODEC(T64, ZSTD(1)), head String CODEC(ZSTD(1)), data String CODEC(ZSTD(1))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, run_id, step_id, attempt, part, chunk)
SETTINGS index_granularity = 512, {durable};

CREATE TABLE sample (
    project LowCardinality(String), week UInt32 CODEC(Delta, ZSTD(1)), run_id String CODEC(ZSTD(1)), step_id String CODEC(ZSTD(1)),
    attempt UInt32 CODEC(T64, ZSTD(1)), part String CODEC(ZSTD(1)), chunk String CODEC(ZSTD(1)), rev UInt64 CODEC(ZSTD(1)),
    ver UInt128 CODEC(ZSTD(1)), text String CODEC(ZSTD(3))
) ENGINE = {replacing}(ver) PARTITION BY week ORDER BY (project, run_id, step_id, attempt, part, chunk)
SETTINGS index_granularity = 512, {durable};

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

-- How often steps of an hour were written, and when last: sums made of it at that count are still right.
CREATE TABLE hour_touched (
    project LowCardinality(String), hour UInt32, n SimpleAggregateFunction(sum, UInt64), last_us SimpleAggregateFunction(max, Int64)
) ENGINE = {aggregating} PARTITION BY intDiv(hour, 168) ORDER BY (project, hour)
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

-- Runs of which a replica missed something that was written to this one.
CREATE TABLE missed (
    node String, project LowCardinality(String), run_id String, at_us Int64
) ENGINE = {replacing}(at_us) ORDER BY (node, project, run_id)
SETTINGS {durable};
