"""Samples in SQLite: the rows of blocks.py, written in the writer's transaction, and read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xray_server import blocks
from xray_server.rows import gathered_samples, id_key, id_text
from xray_server.sqlite_read import Reader


def write(
    db: sqlite3.Connection,
    new: Mapping[int, Mapping[blocks.Key, blocks.Kept]],
    made: Sequence[tuple[int, int, int, bytes]],
) -> None:
    """Write new records of samples among those of their runs, and the rows that were made of runs that had none."""
    written = list(made)
    for run, records_of_run in new.items():
        stored = db.execute(
            "SELECT low, data FROM sample_block WHERE run = ? AND (low <= ? AND high >= ? OR length(data) < ?)",
            (run, max(records_of_run)[0], min(records_of_run)[0], blocks.SMALL_BYTES),
        ).fetchall()
        gone, taken_up = blocks.taken_up(records_of_run, stored)
        db.executemany("DELETE FROM sample_block WHERE run = ? AND low = ?", [(run, low) for low in gone])
        written += [(run, block.low, block.high, block.data) for block in taken_up]
    if written:
        db.executemany("INSERT INTO sample_block (run, low, high, data) VALUES (?, ?, ?, ?)", written)


def samples(
    reader: Reader, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None
) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    run = reader.run_pk(project, run_id)
    if steps is None:
        rows = reader.db.execute("SELECT pk, id, attempt FROM step WHERE run = ?", (run,)).fetchall()
    else:
        rows = [
            row
            for step_id, attempt in steps
            for row in reader.db.execute(
                "SELECT pk, id, attempt FROM step WHERE run = ? AND id = ? AND attempt = ?",
                (run, id_key(step_id), attempt),
            )
        ]
    wanted = {pk: (id_text(key), attempt) for pk, key, attempt in rows}
    found = records(reader, run, min(wanted, default=0), max(wanted, default=-1))
    return gathered_samples((wanted[step], text) for (step, _, _), (_, text) in found if step in wanted)


def samples_of(
    reader: Reader, project: str, steps: Sequence[tuple[str, str, int]]
) -> dict[tuple[str, str, int], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    of_run: dict[str, list[tuple[str, int]]] = {}
    for run_id, step_id, attempt in steps:
        of_run.setdefault(run_id, []).append((step_id, attempt))
    for run_id, some in of_run.items():
        for (step_id, attempt), held in samples(reader, project, run_id, some).items():
            found[run_id, step_id, attempt] = held
    return found


def records(reader: Reader, run: int, first: int = 0, last: int = 1 << 62) -> Iterator[tuple[blocks.Key, blocks.Kept]]:
    """The records of samples in those blocks of a run that may hold one of these steps."""
    for low, data in reader.db.execute(
        "SELECT low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY low",
        (run, last, first),
    ).fetchall():
        yield from blocks.unpacked(low, data)
