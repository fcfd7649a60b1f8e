-- Keys (keys.py). `digest` is the SHA-256 of the key's text. A revoked key stays, and its name may be used again.
CREATE TABLE access_key (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  scope      TEXT NOT NULL,
  project    TEXT NOT NULL,
  digest     BLOB NOT NULL,
  created_us INTEGER NOT NULL,
  revoked_us INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX access_key_name ON access_key (name) WHERE revoked_us IS NULL;
