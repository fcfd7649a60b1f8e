-- Dictionaries. `word` holds what has low cardinality: pipelines, step names, step types, reasons.
CREATE TABLE project (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE part (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

-- Ids that are canonical UUIDs are kept as 16 bytes, all others as text.
-- `doc` is the snapshot of the only part, or, when `parts` > 1, the merge of the parts in run_part.
-- `parts` is 0 while only steps have arrived.
CREATE TABLE run (
  pk          INTEGER PRIMARY KEY,
  project     INTEGER NOT NULL,
  id          NOT NULL,
  pipeline    INTEGER,
  status      INTEGER NOT NULL,
  at_us       INTEGER NOT NULL,           -- started, or first heard of
  received_us INTEGER NOT NULL,
  parts       INTEGER NOT NULL,
  part        INTEGER,                    -- of the only part
  steps       INTEGER NOT NULL DEFAULT 0, -- step attempts, and of these the failed and those whose ledger is flagged
  failed      INTEGER NOT NULL DEFAULT 0,
  flagged     INTEGER NOT NULL DEFAULT 0,
  doc         BLOB,
  UNIQUE (project, id)
);
CREATE INDEX run_at ON run (project, at_us);
CREATE INDEX run_pipeline_at ON run (project, pipeline, at_us);
CREATE INDEX run_status_at ON run (project, status, at_us);

CREATE TABLE run_part (
  run  INTEGER NOT NULL,
  part INTEGER NOT NULL,
  doc  BLOB NOT NULL,
  PRIMARY KEY (run, part)
) WITHOUT ROWID;

-- One row a tag of a run. `key` is a word; a tag's value may be anything.
CREATE TABLE run_tag (
  project INTEGER NOT NULL,
  key     INTEGER NOT NULL,
  value   TEXT NOT NULL,
  at_us   INTEGER NOT NULL,
  run     INTEGER NOT NULL,
  PRIMARY KEY (project, key, value, at_us, run)
) WITHOUT ROWID;
CREATE INDEX run_tag_value ON run_tag (project, value, run);
CREATE INDEX run_tag_run ON run_tag (run);

-- A step attempt. `doc` is a list of [part, values] (see records.py); the columns are the merge of those parts.
CREATE TABLE step (
  pk           INTEGER PRIMARY KEY,
  run          INTEGER NOT NULL,
  id           NOT NULL,
  attempt      INTEGER NOT NULL,
  project      INTEGER NOT NULL,
  pipeline     INTEGER,
  name         INTEGER,
  type         INTEGER,
  status       INTEGER NOT NULL,
  position     INTEGER,
  at_us        INTEGER NOT NULL,
  duration_us  INTEGER,
  input        INTEGER NOT NULL,
  accepted     INTEGER NOT NULL,
  rejected     INTEGER NOT NULL,
  not_selected INTEGER NOT NULL,
  errored      INTEGER NOT NULL,
  selected     INTEGER NOT NULL,
  flags        INTEGER NOT NULL,          -- 1 unaccounted, 2 created, 4 contradiction
  rate         REAL,
  doc          BLOB NOT NULL,
  UNIQUE (run, id, attempt)
);
CREATE INDEX step_at ON step (project, at_us);
CREATE INDEX step_type_at ON step (project, type, at_us);
CREATE INDEX step_name_at ON step (project, name, at_us);
CREATE INDEX step_pipeline_at ON step (project, pipeline, at_us);
CREATE INDEX step_high_rate_at ON step (project, at_us) WHERE rate >= 0.9;
CREATE INDEX step_failed_at ON step (project, at_us) WHERE status = 3;
CREATE INDEX step_slow_at ON step (project, at_us) WHERE duration_us >= 10000000;

CREATE TABLE step_reason (
  project INTEGER NOT NULL,
  reason  INTEGER NOT NULL,
  at_us   INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  PRIMARY KEY (project, reason, at_us, step, outcome)
) WITHOUT ROWID;

-- A chunk of verdicts is never changed once written. `head` is a list of [outcome, reason, n, form, offset, length]
-- into `data`: form 1 is a JSON list of ids, 2 an fp40 blob, which is looked up without reading all of it.
CREATE TABLE verdict_chunk (
  pk    INTEGER PRIMARY KEY,
  step  INTEGER NOT NULL,
  part  INTEGER NOT NULL,
  chunk TEXT NOT NULL,
  head  BLOB NOT NULL,
  data  BLOB NOT NULL
);
CREATE UNIQUE INDEX verdict_chunk_key ON verdict_chunk (step, part, chunk);

-- `doc` is a list of samples (see records.py), one document a chunk.
CREATE TABLE sample_chunk (
  pk    INTEGER PRIMARY KEY,
  step  INTEGER NOT NULL,
  part  INTEGER NOT NULL,
  chunk TEXT NOT NULL,
  rev   INTEGER NOT NULL,
  n     INTEGER NOT NULL,
  doc   BLOB NOT NULL
);
CREATE UNIQUE INDEX sample_chunk_key ON sample_chunk (step, part, chunk);

CREATE TABLE client (
  project     INTEGER NOT NULL,
  part        INTEGER NOT NULL,
  rev         INTEGER NOT NULL,
  received_us INTEGER NOT NULL,
  doc         BLOB NOT NULL,
  PRIMARY KEY (project, part)
) WITHOUT ROWID;
CREATE INDEX client_received ON client (project, received_us);

-- Hourly sums, kept as new minus old in the transaction that changes a step, so that a resent record counts once.
CREATE TABLE rollup (
  project      INTEGER NOT NULL,
  pipeline     INTEGER NOT NULL,          -- 0: not known
  name         INTEGER NOT NULL,
  hour         INTEGER NOT NULL,          -- hours since the epoch
  steps        INTEGER NOT NULL,
  failed       INTEGER NOT NULL,
  input        INTEGER NOT NULL,
  accepted     INTEGER NOT NULL,
  rejected     INTEGER NOT NULL,
  not_selected INTEGER NOT NULL,
  errored      INTEGER NOT NULL,
  selected     INTEGER NOT NULL,
  unaccounted  INTEGER NOT NULL,
  duration_us  INTEGER NOT NULL,
  PRIMARY KEY (project, pipeline, name, hour)
) WITHOUT ROWID;

CREATE TABLE rollup_reason (
  project  INTEGER NOT NULL,
  pipeline INTEGER NOT NULL,
  name     INTEGER NOT NULL,
  hour     INTEGER NOT NULL,
  outcome  INTEGER NOT NULL,
  reason   INTEGER NOT NULL,
  n        INTEGER NOT NULL,
  PRIMARY KEY (project, pipeline, name, hour, outcome, reason)
) WITHOUT ROWID;
