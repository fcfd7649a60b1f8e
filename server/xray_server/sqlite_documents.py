"""The documents of steps in SQLite: in their rows, or several of a run together in a block (blocks.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from xray_server import blocks
from xray_server.records import decode_json, squeeze, unpack

TOGETHER: Final = (
    4  # as many steps of a run, written at once, share blocks: fewer would not save their row and index entry
)
_IN_BLOCK: Final = b""


def documents(db: sqlite3.Connection, steps: Iterable[tuple[int, int, bytes]]) -> dict[int, Any]:
    """The documents of steps, unpacked.

    Args:
        steps: number of the step, of its run, and what its row has as document.
    """
    found: dict[int, Any] = {}
    of_run: dict[int, set[int]] = {}
    for pk, run, doc in steps:
        if doc == _IN_BLOCK:
            of_run.setdefault(run, set()).add(pk)
        else:
            found[pk] = unpack(doc)
    for run, pks in of_run.items():
        # a number that pruning made free may be in an older block too: the newer one counts
        for (data,) in db.execute(
            "SELECT data FROM step_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY pk",
            (run, max(pks), min(pks)),
        ).fetchall():
            for (pk, _, _), (_, text) in blocks.unpacked(data):
                if pk in pks:
                    found[pk] = decode_json(text)
    return found


class Documents:
    """The documents of new steps, gathered while a transaction is prepared."""

    def __init__(self) -> None:
        self._texts: dict[int, dict[int, bytes]] = {}

    def add(self, run: int, pk: int, text: bytes) -> None:
        self._texts.setdefault(run, {})[pk] = text

    def for_rows(self) -> dict[int, bytes]:
        """What the row of each step gets."""
        return {
            pk: _IN_BLOCK if len(texts) >= TOGETHER else squeeze(text)
            for texts in self._texts.values()
            for pk, text in texts.items()
        }

    def write_blocks(self, db: sqlite3.Connection) -> None:
        rows = [
            (run, block.low, block.high, block.data)
            for run, texts in self._texts.items()
            if len(texts) >= TOGETHER
            for block in blocks.packed({(pk, 0, ""): (0, text) for pk, text in texts.items()})
        ]
        if rows:
            db.executemany("INSERT INTO step_block (run, low, high, data) VALUES (?, ?, ?, ?)", rows)
