"""Samples, read from their blocks: those of one run, and those of the steps of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xray_server.backends.relational import blocks
from xray_server.backends.relational.cursors import make_cursor
from xray_server.backends.relational.database import (
    SAMPLED_COLUMNS,
    Database,
    SampledRow,
    run_pk,
    sample_records,
)
from xray_server.backends.relational.lists import page_of, steps_query
from xray_server.backends.relational.rows import gathered_samples
from xray_server.backends.relational.tasks import Counting
from xray_server.store import Page, SampledStep, StepFilter


def samples(
    db: Database, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None
) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """The samples of some step attempts (None: all) of one run, by (step id, attempt)."""
    run = run_pk(db, project, run_id)
    if steps is None:
        rows = db.rows("SELECT pk, id, attempt FROM step WHERE run = ?", [run])
    else:
        rows = db.steps_named(run, steps)
    wanted = {pk: (db.id_text(key), attempt) for pk, key, attempt in rows}
    found = sample_records(db, run, min(wanted, default=0), max(wanted, default=-1))
    counting = Counting(db)
    return gathered_samples(
        (wanted[step], text)
        for (step, part, _), (_, text) in found
        if step in wanted and counting.numbered(run, step, part)
    )


def sampled_steps(
    db: Database, project: str, where: StepFilter, *, limit: int, cursor: str | None
) -> Page[SampledStep]:
    """Step attempts across runs with their samples, newest first."""
    statement, values = steps_query(db, project, where, cursor, SAMPLED_COLUMNS)
    rows = db.rows(f"{statement} LIMIT ?", [*values, limit + 1])
    steps = [SampledRow._make(row) for row in rows[:limit]]
    wanted: dict[int, set[int]] = {}
    for step in steps:
        wanted.setdefault(step.run, set()).add(step.pk)
    counting = Counting(db)
    found = gathered_samples(
        ((run, pk), text)
        for run, low, data in (db.blocks_of_steps(steps) if steps else ())
        for (pk, part, _), (_, text) in blocks.unpacked(low, data)
        if pk in wanted[run] and counting.numbered(run, pk, part)
    )
    items = [
        SampledStep(
            db.id_text(step.run_key),
            db.id_text(step.key),
            step.attempt,
            step.at_us,
            db.word(step.pipeline),
            db.word(step.name),
            found.get((step.run, step.pk), ()),
            make_cursor(step.at_us, step.pk),
        )
        for step in steps
    ]
    return page_of(rows, limit, items)
