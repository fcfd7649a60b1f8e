"""Keys in PostgreSQL: three statements."""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection

from xray_server.store.keys import Key

_ALL: Final = "SELECT id, name, scope, project, digest, created_us, revoked_us FROM access_key ORDER BY created_us, id"
_ADD: Final = (
    "INSERT INTO access_key (id, name, scope, project, digest, created_us) VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (name) WHERE revoked_us IS NULL DO NOTHING"
)
_REVOKE: Final = "UPDATE access_key SET revoked_us = %s WHERE name = %s AND revoked_us IS NULL"


def all_keys(db: Connection[Any]) -> list[Key]:
    return [Key(*row) for row in db.execute(_ALL).fetchall()]


def add_key(db: Connection[Any], key: Key) -> bool:
    values = (key.key_id, key.name, key.scope, key.project, key.digest, key.created_us)
    return db.execute(_ADD, values).rowcount == 1


def revoke_key(db: Connection[Any], name: str, at_us: int) -> bool:
    return db.execute(_REVOKE, (at_us, name)).rowcount == 1
