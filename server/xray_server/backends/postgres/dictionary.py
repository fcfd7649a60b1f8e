"""The dictionary tables of PostgreSQL: repeated text (pipelines, step names, reasons) as small integers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from psycopg import Connection, sql

from xray_server.backends.postgres.text import escape_text, unescape_text

_MAX_CACHED: Final = 100_000


class Dictionary:
    """Text -> small integer, one table, shared by all processes; rows are only ever added."""

    def __init__(self, db: Connection[Any], table: str) -> None:
        self._db = db
        self._table = sql.Identifier(table)
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def learn(self, texts: Collection[str]) -> None:
        """Look up, or add, all of them. Outside the transaction: a word too many is harmless, a lock held on one is not."""
        if len(self._ids) > _MAX_CACHED:
            self._ids.clear()
            self._texts.clear()
        missing = sorted({escape_text(text) for text in texts if text not in self._ids})
        if not missing:
            return
        known = self._find(missing)
        new = [text for text in missing if text not in known]
        if new:
            self._db.execute(
                sql.SQL("INSERT INTO {} (text) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING").format(self._table),
                (new,),
            )
            known |= self._find(new)
        for text in texts:
            if text not in self._ids:
                number = known[escape_text(text)]
                self._ids[text] = number
                self._texts[number] = text

    def _find(self, texts: Sequence[str]) -> dict[str, int]:
        rows = self._db.execute(
            sql.SQL("SELECT text, id FROM {} WHERE text = ANY(%s)").format(self._table), (list(texts),)
        ).fetchall()
        return dict(rows)

    def id(self, text: str) -> int:
        """The number of a text, which is added when it is not there."""
        found = self._ids.get(text)
        if found is None:
            self.learn([text])
            found = self._ids[text]
        return found

    def text(self, number: int) -> str:
        """The text of a number."""
        found = self._texts.get(number)
        if found is None:
            row = self._db.execute(
                sql.SQL("SELECT text FROM {} WHERE id = %s").format(self._table), (number,)
            ).fetchone()
            assert row is not None  # rows are never deleted
            found = self._texts[number] = unescape_text(row[0])
        return found
