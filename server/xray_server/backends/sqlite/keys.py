"""Keys in SQLite. Each statement has a connection of its own, since keys are few and another thread owns the writing one."""

from __future__ import annotations

import sqlite3
from typing import Final

from xray_server.store.keys import Key

_ALL: Final = "SELECT id, name, scope, project, digest, created_us, revoked_us FROM access_key ORDER BY created_us, id"
_ADD: Final = (
    "INSERT INTO access_key (id, name, scope, project, digest, created_us) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (name) WHERE revoked_us IS NULL DO NOTHING"
)
_REVOKE: Final = "UPDATE access_key SET revoked_us = ? WHERE name = ? AND revoked_us IS NULL"


def all_keys(db: sqlite3.Connection) -> list[Key]:
    return [Key(*row) for row in db.execute(_ALL)]


def add_key(db: sqlite3.Connection, key: Key) -> bool:
    values = (key.key_id, key.name, key.scope, key.project, key.digest, key.created_us)
    return db.execute(_ADD, values).rowcount == 1


def revoke_key(db: sqlite3.Connection, name: str, at_us: int) -> bool:
    return db.execute(_REVOKE, (at_us, name)).rowcount == 1
