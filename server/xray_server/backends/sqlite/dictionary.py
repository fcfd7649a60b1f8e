"""The dictionaries of a SQLite store: text -> small integer. Rows are only ever added, so what was seen once stays true."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Final

_MAX_CACHED: Final = 100_000


class Dictionary:
    """One table; what is not cached is looked up or added. One thread, one connection."""

    def __init__(self, connection: sqlite3.Connection, table: str, column: str) -> None:
        self._connection = connection
        self._find = f"SELECT id FROM {table} WHERE {column} = ?"  # noqa: S608  # names are literals of this package
        self._name = f"SELECT {column} FROM {table} WHERE id = ?"  # noqa: S608
        self._names = f"SELECT id, {column} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        self._add = f"INSERT INTO {table} ({column}) VALUES (?)"  # noqa: S608
        self._ids: dict[str, int] = {}

    def forget(self) -> None:
        """What was added may have been rolled back."""
        self._ids.clear()

    def knows(self, text: str) -> bool:
        """Whether it is there already."""
        return text in self._ids or self._found(text) is not None

    def id(self, text: str) -> int:
        """Its number; a new text gets one, which takes a transaction that writes."""
        known = self._ids.get(text)
        if known is not None:
            return known
        found = self._found(text)
        if found is None:
            found = self._remember(text, int(self._connection.execute(self._add, (text,)).lastrowid or 0))
        return found

    def text(self, number: int) -> str:
        """The text of a number."""
        return str(self._connection.execute(self._name, (number,)).fetchone()[0])

    def texts(self, numbers: Collection[int]) -> dict[int, str]:
        """The texts of several numbers, in one look: a step may have a part for each of a thousand tasks."""
        return dict(self._connection.execute(self._names, (json.dumps(list(numbers)),)))

    def _found(self, text: str) -> int | None:
        row = self._connection.execute(self._find, (text,)).fetchone()
        return self._remember(text, int(row[0])) if row else None

    def _remember(self, text: str, number: int) -> int:
        if len(self._ids) >= _MAX_CACHED:
            self._ids.clear()
        self._ids[text] = number
        return number
