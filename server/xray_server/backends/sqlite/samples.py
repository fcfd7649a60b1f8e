"""Samples in SQLite: the rows of blocks.py, written in the writer's transaction, and read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xray_server.backends.relational import blocks
from xray_server.backends.relational.cursors import make_cursor
from xray_server.backends.relational.ids import id_key, id_text
from xray_server.backends.relational.rows import gathered_samples
from xray_server.backends.sqlite.read import Reader
from xray_server.backends.sqlite.steps import OF_STEP
from xray_server.store import Page, SampledStep, StepFilter

_SAMPLED: Final = "step.pk, step.at_us, run.id, step.id, step.attempt, step.pipeline, step.run, step.name"
_BLOCKS: Final = "SELECT pk, low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ?"


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
                f"SELECT pk, id, attempt FROM step WHERE {OF_STEP} AND attempt = ?3",  # noqa: S608
                (run, id_key(step_id), attempt),
            )
        ]
    wanted = {pk: (id_text(key), attempt) for pk, key, attempt in rows}
    found = records(reader, run, min(wanted, default=0), max(wanted, default=-1))
    return gathered_samples((wanted[step], text) for (step, _, _), (_, text) in found if step in wanted)


def sampled_steps(reader: Reader, project: str, where: StepFilter, limit: int, cursor: str | None) -> Page[SampledStep]:
    statement, values = reader.steps_query(project, where, cursor, _SAMPLED)
    rows = reader.db.execute(f"{statement} LIMIT ?", (*values, limit + 1)).fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    wanted = {row[0] for row in rows}
    held: dict[int, tuple[int, bytes]] = {}  # by their keys: several of the steps may lie in one
    for pk, _, _, _, _, _, run, _ in rows:
        for key, low, data in reader.db.execute(_BLOCKS, (run, pk, pk)):
            held[key] = low, data
    samples = gathered_samples(
        (step, text)
        for low, data in held.values()
        for (step, _, _), (_, text) in blocks.unpacked(low, data)
        if step in wanted
    )
    found = [
        SampledStep(
            id_text(run_key), id_text(step_key), attempt, at_us, reader.word(pipeline), reader.word(name), samples.get(pk, ())
        )
        for pk, at_us, run_key, step_key, attempt, pipeline, _, name in rows
    ]  # fmt: skip
    return Page(found, make_cursor(rows[-1][1], rows[-1][0]) if more else None)


def records(reader: Reader, run: int, first: int = 0, last: int = 1 << 62) -> Iterator[tuple[blocks.Key, blocks.Kept]]:
    """The records of samples in those blocks of a run that may hold one of these steps."""
    for low, data in reader.db.execute(
        "SELECT low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY low",
        (run, last, first),
    ).fetchall():
        yield from blocks.unpacked(low, data)
