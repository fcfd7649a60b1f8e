"""Runs with the figures of their steps, by the columns of the rows; of the documents only what no column has is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xray_server.backends.relational.database import RUN_COLUMNS, STEP_COLUMNS, Database, RunRow, StepRow
from xray_server.backends.relational.lists import list_places
from xray_server.backends.relational.rows import STATUS_NAMES
from xray_server.backends.relational.stored import stored_run, stored_steps
from xray_server.records.documents import STEP_FIELDS
from xray_server.records.states import INPUT_UNKNOWN, OUTPUT_UNKNOWN
from xray_server.store import Page, RunFigures, RunFilter, StepFigures
from xray_server.store.figures import figures_of, last_attempts

_AT_ONCE: Final = 500  # runs whose steps are read by one statement
_FIGURES: Final = "step.input, step.accepted, step.rejected, step.not_selected, step.errored, step.selected, step.flags"
_REASONS, _METADATA = STEP_FIELDS.index("reasons"), STEP_FIELDS.index("metadata")
_CODE, _DIMENSIONS = STEP_FIELDS.index("code_version"), STEP_FIELDS.index("dimensions")
_NOTHING: Final[Mapping[str, Any]] = {}


def run_figures(db: Database, project: str, where: RunFilter, *, limit: int, cursor: str | None) -> Page[RunFigures]:
    """Runs, newest first, each with the last attempts of its steps."""
    rows, next_cursor = list_places(db, project, where, RUN_COLUMNS, limit=limit, cursor=cursor)
    runs = [RunRow._make(row) for row in rows]
    steps: dict[int, list[StepFigures]] = {run.pk: [] for run in runs}
    for start in range(0, len(runs), _AT_ONCE):
        for run, figures in _steps(db, [run.pk for run in runs[start : start + _AT_ONCE]]):
            steps[run].append(figures)
    return Page([RunFigures(stored_run(db, run), last_attempts(steps[run.pk])) for run in runs], next_cursor)


def _steps(db: Database, runs: Sequence[int]) -> list[tuple[int, StepFigures]]:
    """(number of the run, figures) of the step attempts of these runs, in the order in which they started."""
    _, test, value = db.only_runs(runs, by_tag=True)
    rows = db.rows(
        f"SELECT {STEP_COLUMNS}, {_FIGURES} FROM run {db.join} step ON step.run = run.pk "  # noqa: S608
        f"WHERE {test} ORDER BY step.run, step.at_us, coalesce(step.position, 0), step.pk",
        [value],
    )
    width = len(StepRow._fields)
    steps = [StepRow._make(row[:width]) for row in rows]
    documents = db.documents(steps)
    several = [step for step in steps if len(documents[step.pk]) != 1]
    merged = {row.pk: figures_of(step) for row, step in zip(several, stored_steps(db, several))}
    return [
        (step.run, merged.get(step.pk) or _figures(db, step, documents[step.pk][0][1], row[width:]))
        for step, row in zip(steps, rows)
    ]


def _figures(db: Database, step: StepRow, values: Sequence[Any], figures: Sequence[Any]) -> StepFigures:
    about = (db.id_text(step.key), step.attempt, db.word(step.name), step.status, step.at_us, step.duration_us)
    return figures_of_row(about, figures, values)


def figures_of_row(about: Sequence[Any], figures: Sequence[Any], values: Sequence[Any]) -> StepFigures:
    """The figures of a step that one part speaks of.

    Args:
        about: its id, attempt, name, status (a number), place in time and duration.
        figures: the columns from `input` to `selected`, and its flags.
        values: its document.
    """
    step_id, attempt, name, status, at_us, duration_us = about
    input_, accepted, rejected, not_selected, errored, selected, flags = figures
    return StepFigures(
        step_id, attempt, name or "", STATUS_NAMES[status], at_us, duration_us,
        None if flags & INPUT_UNKNOWN else input_, None if flags & OUTPUT_UNKNOWN else accepted,
        rejected, not_selected, errored, selected, _at(values, _REASONS) or _NOTHING, _at(values, _CODE),
        _at(values, _METADATA) or _NOTHING, _at(values, _DIMENSIONS) or _NOTHING,
    )  # fmt: skip


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if len(values) > place else None  # a document ends with the last field that has a value
