-- Alerts. Projects are named here as they are, since these tables have a writer of their own.
CREATE TABLE alert_rule (
  id         TEXT PRIMARY KEY,
  project    TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  doc        TEXT NOT NULL
) WITHOUT ROWID;

-- Where a rule stands with one series: the steps of one name in one pipeline, or the runs of one pipeline.
CREATE TABLE alert_state (
  rule   TEXT NOT NULL,
  series TEXT NOT NULL,
  firing INTEGER NOT NULL,
  doc    BLOB NOT NULL,
  UNIQUE (rule, series)
);
CREATE INDEX alert_state_firing ON alert_state (rule) WHERE firing = 1;

-- What finished and is to be judged; written in the transaction of the records that say so.
CREATE TABLE alert_note (pk INTEGER PRIMARY KEY AUTOINCREMENT, doc BLOB NOT NULL);

-- What was judged (a hash of which step attempt or run), so that a record that is sent again is not judged again.
CREATE TABLE alert_seen (
  subject BLOB PRIMARY KEY,
  digest  BLOB NOT NULL,
  seen_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_seen_at ON alert_seen (seen_us);

CREATE TABLE alert_event (
  pk      INTEGER PRIMARY KEY AUTOINCREMENT,
  id      TEXT NOT NULL UNIQUE,
  project TEXT NOT NULL,
  rule    TEXT NOT NULL,
  kind    TEXT NOT NULL,
  at_us   INTEGER NOT NULL,
  doc     BLOB NOT NULL
);
CREATE INDEX alert_event_project ON alert_event (project, pk);
CREATE INDEX alert_event_rule ON alert_event (rule);

CREATE TABLE alert_delivery (
  pk      INTEGER PRIMARY KEY AUTOINCREMENT,
  event   INTEGER NOT NULL,
  target  TEXT NOT NULL,
  tries   INTEGER NOT NULL,
  next_us INTEGER NOT NULL,
  status  TEXT NOT NULL,
  note    TEXT
);
CREATE INDEX alert_delivery_event ON alert_delivery (event);
CREATE INDEX alert_delivery_waiting ON alert_delivery (pk) WHERE status = 'waiting';
