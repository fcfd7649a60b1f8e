-- Keys (keys.py). `digest` is the SHA-256 of the key's text. A revoked key stays, and its name may be used again.
CREATE TABLE access_key (
  created_us bigint NOT NULL,
  revoked_us bigint,
  id         text PRIMARY KEY,
  name       text NOT NULL,
  scope      text NOT NULL,
  project    text NOT NULL,
  digest     bytea NOT NULL
);
CREATE UNIQUE INDEX access_key_name ON access_key (name) WHERE revoked_us IS NULL;
