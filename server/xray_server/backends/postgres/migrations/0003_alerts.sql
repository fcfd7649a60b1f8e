-- Alerts. Projects are named here as they are, since these tables have a writer of their own.
CREATE TABLE alert_rule (
  created_us bigint NOT NULL,
  id         text PRIMARY KEY,
  project    text NOT NULL,
  doc        text NOT NULL
);

-- Where a rule stands with one series: the steps of one name in one pipeline, or the runs of one pipeline.
CREATE TABLE alert_state (
  firing integer NOT NULL,
  rule   text NOT NULL,
  series text COLLATE "C" NOT NULL,
  doc    bytea NOT NULL,
  UNIQUE (rule, series)
);
CREATE INDEX alert_state_firing ON alert_state (rule) WHERE firing = 1;

-- What finished and is to be judged; written in the transaction of the records that say so.
CREATE TABLE alert_note (pk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc bytea NOT NULL);

-- What was judged (a hash of which step attempt or run), so that a record that is sent again is not judged again.
CREATE TABLE alert_seen (
  seen_us bigint NOT NULL,
  subject bytea PRIMARY KEY,
  digest  bytea NOT NULL
);
CREATE INDEX alert_seen_at ON alert_seen (seen_us);

CREATE TABLE alert_event (
  pk      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at_us   bigint NOT NULL,
  id      text NOT NULL UNIQUE,
  project text NOT NULL,
  rule    text NOT NULL,
  kind    text NOT NULL,
  doc     bytea NOT NULL
);
CREATE INDEX alert_event_project ON alert_event (project, pk);
CREATE INDEX alert_event_rule ON alert_event (rule);

CREATE TABLE alert_delivery (
  pk      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event   bigint NOT NULL,
  next_us bigint NOT NULL,
  tries   integer NOT NULL,
  target  text NOT NULL,
  status  text NOT NULL,
  note    text
);
CREATE INDEX alert_delivery_event ON alert_delivery (event);
CREATE INDEX alert_delivery_waiting ON alert_delivery (pk) WHERE status = 'waiting';
