"""Rows as the answers that a store gives: one run, one step, and all of a step's attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xray_core.merge import Part
from xray_server.backends.relational.database import (
    RUN_COLUMNS,
    STEP_COLUMNS,
    Database,
    RunRow,
    StepRow,
    project_id,
    run_pk,
)
from xray_server.backends.relational.rows import STATUS_NAMES
from xray_server.records import states
from xray_server.records.documents import unpack
from xray_server.store import StoredRun, StoredStep


def find_run(db: Database, project: str, run_id: str) -> StoredRun | None:
    """One run, or None."""
    rows = db.rows(
        f"SELECT {RUN_COLUMNS} FROM run LEFT JOIN part ON part.id = run.part WHERE run.project = ? AND run.id = ?",  # noqa: S608
        [project_id(db, project), db.id_key(run_id)],
    )
    return stored_run(db, RunRow._make(rows[0])) if rows else None


def find_step(db: Database, project: str, run_id: str, step_id: str) -> list[StoredStep]:
    """All attempts of one step, in order."""
    test, values = db.id_test("step.id", db.id_key(step_id))
    rows = db.rows(
        f"SELECT {STEP_COLUMNS} FROM step JOIN run ON run.pk = step.run "  # noqa: S608
        f"WHERE step.run = ? AND {test} ORDER BY step.attempt",
        [run_pk(db, project, run_id), *values],
    )
    return stored_steps(db, [StepRow._make(row) for row in rows])


def stored_run(db: Database, row: RunRow) -> StoredRun:
    """A run as merged from its parts: with one part its row has the part, with more the merged state."""
    state: Mapping[str, Any]
    if row.parts == 0 or row.doc is None:
        state = states.run_state([])
    elif row.parts == 1:
        state = states.run_state([states.run_part(db.unescape(row.part or ""), unpack(row.doc))])
    else:
        state = unpack(row.doc)
    return StoredRun(db.id_text(row.key), row.at_us, state, row.steps, row.flagged, known=row.parts > 0)


def stored_steps(db: Database, rows: Sequence[StepRow]) -> list[StoredStep]:
    """Step attempts as merged from their parts."""
    documents = db.documents(rows)
    part_names = db.parts({part for document in documents.values() for part, _ in document})
    return [_stored_step(db, row, documents[row.pk], part_names) for row in rows]


def parts_of(db: Database, row: StepRow) -> list[Part]:
    """The parts of one step attempt."""
    document = db.documents([row])[row.pk]
    return _parts(db, row, document, db.parts({part for part, _ in document}))


def columns_of(db: Database, row: StepRow) -> tuple[Any, ...]:
    """What a step's columns have of its part, in the order of `states.IN_COLUMNS`: its document leaves that out."""
    _, at_us, _, _, _, _, _, pipeline, name, step_type, status, position, duration_us = row
    return db.word(pipeline), db.word(name), db.word(step_type), STATUS_NAMES[status], position, at_us, duration_us


def _stored_step(db: Database, row: StepRow, document: Sequence[Any], part_names: Mapping[int, str]) -> StoredStep:
    state = states.step_state(_parts(db, row, document, part_names))
    run_id, step_id, attempt = db.id_text(row.run_key), db.id_text(row.key), row.attempt
    state.values.update(run_id=run_id, step_id=step_id, attempt=attempt)
    return StoredStep(run_id, step_id, attempt, row.at_us, state.values, state.ledger, state.rejection_rate)


def _parts(db: Database, row: StepRow, document: Sequence[Any], part_names: Mapping[int, str]) -> list[Part]:
    columns = columns_of(db, row)
    return [states.step_part(part_names[part], states.restore_columns(values, columns)) for part, values in document]
