"""Keys as rows: three statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from xray_server.backends.relational.database import Database
from xray_server.store import Key

_COLUMNS: Final = "id, name, scope, project, digest, created_us"

Change: TypeAlias = Callable[[str, Sequence[Any]], int]  # runs a statement in a transaction of its own; rows changed


def all_keys(db: Database) -> list[Key]:
    """All keys, revoked ones too, oldest first."""
    return [Key(*row) for row in db.rows(f"SELECT {_COLUMNS}, revoked_us FROM access_key ORDER BY created_us, id")]  # noqa: S608


def add_key(change: Change, key: Key) -> bool:
    """Keep a key. False when a key of that name is in use."""
    values = (key.key_id, key.name, key.scope, key.project, key.digest, key.created_us)
    statement = (
        f"INSERT INTO access_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608
        "ON CONFLICT (name) WHERE revoked_us IS NULL DO NOTHING"
    )
    return change(statement, values) == 1


def revoke_key(change: Change, name: str, at_us: int) -> bool:
    """End the key of that name. False when none is in use."""
    return change("UPDATE access_key SET revoked_us = ? WHERE name = ? AND revoked_us IS NULL", (at_us, name)) == 1
