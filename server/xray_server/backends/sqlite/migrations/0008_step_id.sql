-- Steps are found within their run by the end of their id: the four bytes there tell them apart as well as all sixteen, which
-- were kept twice for it. That an attempt is there once is the writer's care, who looks before it inserts, within the
-- transaction that inserts.
CREATE TABLE step_anew (
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
  doc          BLOB NOT NULL
);
INSERT INTO step_anew SELECT * FROM step;
DROP TABLE step;
ALTER TABLE step_anew RENAME TO step;
CREATE INDEX step_id ON step (run, substr(id, -4));
CREATE INDEX step_at ON step (project, at_us);
CREATE INDEX step_type_at ON step (project, type, at_us);
CREATE INDEX step_name_at ON step (project, name, at_us);
CREATE INDEX step_pipeline_at ON step (project, pipeline, at_us);
CREATE INDEX step_high_rate_at ON step (project, at_us) WHERE rate >= 0.9;
CREATE INDEX step_failed_at ON step (project, at_us) WHERE status = 3;
CREATE INDEX step_slow_at ON step (project, at_us) WHERE duration_us >= 10000000;
