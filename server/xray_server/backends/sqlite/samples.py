"""Samples in SQLite: the rows of blocks (`xray_server.backends.relational.blocks`), written in the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from xray_server.backends.relational import blocks


def write(
    db: sqlite3.Connection,
    new: Mapping[int, Mapping[blocks.Key, blocks.Revisioned]],
    made: Sequence[tuple[int, int, int, bytes]],
) -> None:
    """Write new records of samples among those of their runs, and the rows that were made of runs that had none."""
    written = list(made)
    for run, records_of_run in new.items():
        stored = db.execute(
            "SELECT low, data FROM sample_block WHERE run = ? AND (low <= ? AND high >= ? OR length(data) < ?)",
            (run, max(records_of_run)[0], min(records_of_run)[0], blocks.SMALL_BYTES),
        ).fetchall()
        gone, rewrite_blocks = blocks.rewrite_blocks(records_of_run, stored)
        db.executemany("DELETE FROM sample_block WHERE run = ? AND low = ?", [(run, low) for low in gone])
        written += [(run, block.low, block.high, block.data) for block in rewrite_blocks]
    if written:
        db.executemany("INSERT INTO sample_block (run, low, high, data) VALUES (?, ?, ?, ?)", written)
