"""Runs with the figures of their steps, by the columns of the rows; of the documents only what no column has is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from xray_server.backends.relational.database import STEP_COLUMNS, Database, StepRow, run_pks
from xray_server.backends.relational.lists import list_runs
from xray_server.backends.relational.rows import STATUS_NAMES
from xray_server.backends.relational.stored import stored_steps
from xray_server.records.documents import STEP_FIELDS
from xray_server.records.states import INPUT_UNKNOWN, OUTPUT_UNKNOWN
from xray_server.store import MAX_PAGE_BYTES, Page, RunFigures, RunFilter, StepFigures
from xray_server.store.figures import figures_of, last_attempts, without_values

_AT_ONCE: Final = 500  # runs whose steps are read by one statement
_FIGURES: Final = "step.input, step.accepted, step.rejected, step.not_selected, step.errored, step.selected, step.flags"
_REASONS, _METADATA = STEP_FIELDS.index("reasons"), STEP_FIELDS.index("metadata")
_CODE, _DIMENSIONS = STEP_FIELDS.index("code_version"), STEP_FIELDS.index("dimensions")
_NOTHING: Final[Mapping[str, Any]] = {}


def run_figures(db: Database, project: str, where: RunFilter, *, limit: int, cursor: str | None) -> Page[RunFigures]:
    """Runs, newest first, each with the last attempts of its steps; the page ends where one of `runs` does."""
    page = list_runs(db, project, where, limit=limit, cursor=cursor, max_bytes=MAX_PAGE_BYTES)
    numbers = {run_id: pk for pk, run_id in run_pks(db, project, [run.run_id for run in page.items]).items()}
    steps: dict[int, list[StepFigures]] = {pk: [] for pk in numbers.values()}
    known = list(steps)
    for start in range(0, len(known), _AT_ONCE):
        for run, figures in _steps(db, known[start : start + _AT_ONCE]):
            steps[run].append(figures)
    found = [
        RunFigures(without_values(run), last_attempts(steps[numbers[run.run_id]]))
        for run in page.items
        if run.run_id in numbers
    ]
    return Page(found, page.next_cursor)


def _steps(db: Database, runs: Sequence[int]) -> Iterator[tuple[int, StepFigures]]:
    """(number of the run, figures) of the step attempts of these runs, in the order in which they started."""
    _, test, value = db.only_runs(runs, by_tag=True)
    rows = db.rows(
        f"SELECT {STEP_COLUMNS}, {_FIGURES} FROM run {db.join} step ON step.run = run.pk "  # noqa: S608
        f"WHERE {test} ORDER BY step.run, step.at_us, coalesce(step.position, 0), step.pk",
        [value],
    )
    width = len(StepRow._fields)
    for run, group in groupby(rows, key=lambda row: row[2]):  # a run at a time: what it unpacks to may be large
        of_run = list(group)
        steps = [StepRow._make(row[:width]) for row in of_run]
        documents = db.documents(steps)
        several = [step for step in steps if len(documents[step.pk]) != 1]
        merged = {row.pk: figures_of(step) for row, step in zip(several, stored_steps(db, several))}
        for step, row in zip(steps, of_run):
            yield run, merged.get(step.pk) or _figures(db, step, documents[step.pk][0][1], row[width:])


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
