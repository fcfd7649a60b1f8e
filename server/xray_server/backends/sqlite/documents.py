"""The documents of steps in SQLite: in their rows, or several of a run together in a block (relational/blocks.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from xray_server.backends.relational import blocks
from xray_server.records.documents import squeeze, unpack
from xray_server.records.schema import decode_json

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
        for low, data in db.execute(
            "SELECT low, data FROM step_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY pk",
            (run, max(pks), min(pks)),
        ).fetchall():
            for (pk, _, _), (_, text) in blocks.unpacked(low, data):
                if pk in pks:
                    found[pk] = decode_json(text)
    return found


def plan_documents(texts: Sequence[bytes]) -> tuple[list[bytes], list[blocks.Block]]:
    """What the rows of new steps of one run get as documents, and the blocks beside them; numbered from 0."""
    if len(texts) < TOGETHER:
        return [squeeze(text) for text in texts], []
    made = blocks.packed({(place, 0, ""): (0, text) for place, text in enumerate(texts)})
    return [_IN_BLOCK] * len(texts), made


def write_blocks(db: sqlite3.Connection, rows: Sequence[tuple[int, int, int, bytes]]) -> None:
    """Rows: run, first and last step, data."""
    if rows:
        db.executemany("INSERT INTO step_block (run, low, high, data) VALUES (?, ?, ?, ?)", rows)
