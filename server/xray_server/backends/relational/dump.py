"""All that is kept of some runs, as wire records: what `xray export` writes. Reads only."""

from __future__ import annotations

from typing import Any

from xray_server.backends.relational.cursors import make_cursor, parse_cursor
from xray_server.backends.relational.database import STEP_COLUMNS, Database, DumpedRow, StepRow, sample_records
from xray_server.backends.relational.stored import columns_of
from xray_server.backends.relational.to_wire import Wire, wire_run, wire_samples, wire_step, wire_verdicts
from xray_server.records import states
from xray_server.records.documents import unpack
from xray_server.store import DumpedRun, Page

_LAST_STEP = (1 << 62) - 1


def dump(db: Database, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
    """Some runs of all projects in the order of their numbers, each with all its records."""
    after = 0 if cursor is None else parse_cursor(cursor, parts=1)[0]
    rows = db.dumped_runs(after, limit + 1)
    runs = [
        DumpedRun(row.project, db.id_text(row.key), row.received_us, _records(db, row, db.id_text(row.key)))
        for row in rows[:limit]
    ]
    return Page(runs, make_cursor(rows[limit - 1].pk) if len(rows) > limit else None)


def _records(db: Database, row: DumpedRow, run_id: str) -> list[Wire]:
    parts: list[Any] = []
    if row.parts == 1:
        parts = [(row.part, row.doc)]
    elif row.parts > 1:
        parts = db.rows("SELECT part, doc FROM run_part WHERE run = ? ORDER BY part", [row.pk])
    steps = [
        StepRow._make(step)
        for step in db.rows(
            f"SELECT {STEP_COLUMNS} FROM step JOIN run ON run.pk = step.run WHERE step.run = ? ORDER BY step.pk",  # noqa: S608
            [row.pk],
        )
    ]
    documents = db.documents(steps)
    chunks = db.dumped_chunks(row.pk)
    samples = list(sample_records(db, row.pk, 0, _LAST_STEP))
    names = db.parts(
        {part for part, _ in parts}
        | {part for document in documents.values() for part, _ in document}
        | {part for _, part, _, _, _ in chunks}
        | {part for (_, part, _), _ in samples}
    )
    keys = {step.pk: {"run_id": run_id, "step_id": db.id_text(step.key), "attempt": step.attempt} for step in steps}
    records = [wire_run(run_id, names[part], unpack(doc)) for part, doc in parts]
    for step in steps:
        columns = columns_of(db, step)
        records += [
            wire_step(keys[step.pk], names[part], states.restore_columns(values, columns))
            for part, values in documents[step.pk]
        ]
    records += [wire_verdicts(keys[step], names[part], chunk, head, data) for step, part, chunk, head, data in chunks]
    records += [wire_samples(keys[step], names[part], chunk, rev, text) for (step, part, chunk), (rev, text) in samples]
    return records
