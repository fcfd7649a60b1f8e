-- Dictionaries. `word` holds what has low cardinality: pipelines, step names, step types, reasons, tag keys.
-- Text is escaped (postgres_text.py: PostgreSQL has no NUL) and compared byte by byte.
CREATE TABLE project (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE word (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE part (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text COLLATE "C" NOT NULL UNIQUE);

-- A run's key is (day of its first sight << 40) + a number: it orders by time whatever the run's id looks like, so all that
-- belongs to a run is partitioned by it, and what is old is dropped, not deleted.
CREATE SEQUENCE run_number;
CREATE SEQUENCE step_number;

-- Ids are bytes: `u` + 16 bytes of a canonical UUID, `t` + UTF-8 of all others.
-- `doc` is the snapshot of the only part, or, when `parts` > 1, the merge of the parts in run_part.
-- `parts` is 0 while only steps have arrived.
CREATE TABLE run (
  pk          bigint PRIMARY KEY,
  at_us       bigint NOT NULL,            -- started, or first heard of
  received_us bigint NOT NULL,
  project     integer NOT NULL,
  pipeline    integer,
  part        integer,                    -- of the only part
  parts       integer NOT NULL,
  steps       integer NOT NULL,           -- step attempts, and of these the failed and those whose ledger is flagged
  failed      integer NOT NULL,
  flagged     integer NOT NULL,
  status      smallint NOT NULL,
  id          bytea NOT NULL,
  doc         bytea,
  UNIQUE (project, id)
) WITH (fillfactor = 85);
CREATE INDEX run_at ON run (project, at_us, pk);
CREATE INDEX run_pipeline_at ON run (project, pipeline, at_us, pk);
CREATE INDEX run_status_at ON run (project, status, at_us, pk);

CREATE TABLE run_part (
  run  bigint NOT NULL,
  part integer NOT NULL,
  doc  bytea NOT NULL,
  PRIMARY KEY (run, part)
);

CREATE TABLE run_tag (
  run     bigint NOT NULL,
  at_us   bigint NOT NULL,
  project integer NOT NULL,
  key     integer NOT NULL,
  value   text COLLATE "C" NOT NULL,
  PRIMARY KEY (run, key)
);
CREATE INDEX run_tag_at ON run_tag (project, key, value, at_us, run);
CREATE INDEX run_tag_value ON run_tag (project, value, run);

-- A step attempt. `doc` is a list of [part, values] (see records.py); the columns are the merge of those parts.
-- Columns stand by falling width: no bytes are lost to alignment.
CREATE TABLE step (
  run          bigint NOT NULL,
  pk           bigint NOT NULL,
  at_us        bigint NOT NULL,
  duration_us  bigint,
  position     bigint,
  input        bigint NOT NULL,
  accepted     bigint NOT NULL,
  rejected     bigint NOT NULL,
  not_selected bigint NOT NULL,
  errored      bigint NOT NULL,
  selected     bigint NOT NULL,
  rate         double precision,
  project      integer NOT NULL,
  pipeline     integer,
  name         integer,
  type         integer,
  attempt      integer NOT NULL,
  status       smallint NOT NULL,
  flags        smallint NOT NULL,         -- 1 unaccounted, 2 created, 4 contradiction
  id           bytea NOT NULL,
  doc          bytea NOT NULL,
  PRIMARY KEY (run, id, attempt)
) PARTITION BY RANGE (run);
CREATE UNIQUE INDEX step_pk ON step (run, pk);
CREATE INDEX step_at ON step (project, at_us);
CREATE INDEX step_type_at ON step (project, type, at_us);
CREATE INDEX step_name_at ON step (project, name, at_us);
CREATE INDEX step_pipeline_at ON step (project, pipeline, at_us);
CREATE INDEX step_high_rate_at ON step (project, at_us) WHERE rate >= 0.9;
CREATE INDEX step_failed_at ON step (project, at_us) WHERE status = 3;
CREATE INDEX step_slow_at ON step (project, at_us) WHERE duration_us >= 10000000;

-- Which reasons a step attempt gave, under whatever outcome; once each.
CREATE TABLE step_reason (
  run     bigint NOT NULL,
  step    bigint NOT NULL,
  at_us   bigint NOT NULL,
  project integer NOT NULL,
  reason  integer NOT NULL
) PARTITION BY RANGE (run);
CREATE INDEX step_reason_at ON step_reason (project, reason, at_us, step);

-- A chunk of verdicts is never changed once written. `head` is a list of [outcome, reason, n, form, offset, length]
-- into `data`: form 1 is a JSON list of ids, 2 an fp40 blob. `data` is stored as it is, so that a part of it can be read alone.
CREATE TABLE verdict_chunk (
  run   bigint NOT NULL,
  step  bigint NOT NULL,
  part  integer NOT NULL,
  chunk text COLLATE "C" NOT NULL,
  head  bytea NOT NULL,
  data  bytea NOT NULL,
  PRIMARY KEY (run, step, part, chunk)
) PARTITION BY RANGE (run);
ALTER TABLE verdict_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

-- `doc` is a list of samples (see records.py), one document a chunk.
CREATE TABLE sample_chunk (
  run   bigint NOT NULL,
  step  bigint NOT NULL,
  rev   bigint NOT NULL,
  part  integer NOT NULL,
  n     integer NOT NULL,
  chunk text COLLATE "C" NOT NULL,
  doc   bytea NOT NULL,
  PRIMARY KEY (run, step, part, chunk)
) PARTITION BY RANGE (run);
ALTER TABLE sample_chunk ALTER COLUMN doc SET STORAGE EXTERNAL;

CREATE TABLE client (
  rev         bigint NOT NULL,
  received_us bigint NOT NULL,
  project     integer NOT NULL,
  part        integer NOT NULL,
  doc         bytea NOT NULL,
  PRIMARY KEY (project, part)
);
CREATE INDEX client_received ON client (project, received_us);

-- Hourly sums, kept as new minus old in the transaction that changes a step, so that a resent record counts once.
CREATE TABLE rollup (
  steps        bigint NOT NULL,
  failed       bigint NOT NULL,
  input        bigint NOT NULL,
  accepted     bigint NOT NULL,
  rejected     bigint NOT NULL,
  not_selected bigint NOT NULL,
  errored      bigint NOT NULL,
  selected     bigint NOT NULL,
  unaccounted  bigint NOT NULL,
  duration_us  bigint NOT NULL,
  project      integer NOT NULL,
  pipeline     integer NOT NULL,          -- 0: not known
  name         integer NOT NULL,
  hour         integer NOT NULL,          -- hours since the epoch
  PRIMARY KEY (project, pipeline, name, hour)
) WITH (fillfactor = 70);
CREATE INDEX rollup_hour ON rollup (project, hour);

CREATE TABLE rollup_reason (
  n        bigint NOT NULL,
  project  integer NOT NULL,
  pipeline integer NOT NULL,
  name     integer NOT NULL,
  hour     integer NOT NULL,
  outcome  integer NOT NULL,
  reason   integer NOT NULL,
  PRIMARY KEY (project, pipeline, name, hour, outcome, reason)
) WITH (fillfactor = 70);
CREATE INDEX rollup_reason_hour ON rollup_reason (project, hour);
