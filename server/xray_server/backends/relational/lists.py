"""Lists of runs and of steps across runs: one statement each, walked along an index, newest first, in pages.

What a filter tests is the same for every database; which index is walked is its own (`Database.runs_source`, `steps_source`).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from xray_core.model import STATUS_RANK
from xray_server.backends.relational.cursors import make_cursor, parse_cursor
from xray_server.backends.relational.database import (
    NOTHING,
    RUN_COLUMNS,
    STEP_COLUMNS,
    Database,
    RunRow,
    StepRow,
    project_id,
    run_pk,
)
from xray_server.backends.relational.rows import HIGH_RATE, SLOW_US
from xray_server.backends.relational.stored import stored_run, stored_steps
from xray_server.records.schema import encode_json
from xray_server.store import Page, RunFilter, StepFilter, StoredRun, StoredStep

FEW_RUNS: Final = 2_000  # that a text is found in, each way: so many are looked up and sorted in some milliseconds
MAX_CHARACTER: Final = "\U0010ffff"
_TOGETHER_BYTES: Final = 262_144  # of packed documents that are unpacked before they are weighed
_TOGETHER_ROWS: Final = 200

T = TypeVar("T")
L = TypeVar("L", StoredRun, StoredStep)


@dataclass(slots=True)
class Query:
    """A list in the making: what it reads, in which order, and what must hold.

    Attributes:
        at, pk: the columns by which it is sorted, newest first.
    """

    at: str
    pk: str
    tests: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def require(self, test: str, *values: Any) -> None:
        """What must hold; values are bound."""
        self.tests.append(test)
        self.values += values

    def require_words(self, db: Database, *words: tuple[str, str | None]) -> None:
        """That columns hold these words, of those that are given."""
        for column, word in words:
            if word is not None:
                self.require(f"{column} = ?", db.number("word", word))

    def require_window(self, since_us: int | None, until_us: int | None, cursor: str | None) -> None:
        """That rows lie within these times, and after the cursor."""
        if since_us is not None:
            self.require(f"{self.at} >= ?", since_us)
        if until_us is not None:
            self.require(f"{self.at} < ?", until_us)
        if cursor is not None:
            self.require(f"({self.at}, {self.pk}) < (?, ?)", *parse_cursor(cursor))

    def require_between(self, first: Sequence[int], last: Sequence[int]) -> None:
        """That rows lie from the first to the last of these places, each (at, pk)."""
        place = f"({self.at}, {self.pk})"
        self.require(f"{place} <= (?, ?) AND {place} >= (?, ?)", *first, *last)

    def select(self, columns: str, source: str) -> str:
        """The statement, without its limit."""
        return (
            f"SELECT {columns} FROM {source} "  # noqa: S608  # columns and tests are this package's own, values are bound
            f"WHERE {' AND '.join(self.tests)} ORDER BY {self.at} DESC, {self.pk} DESC"
        )


@dataclass(slots=True)
class Listed:
    """A list in the making, what it reads from, and the column of its documents."""

    query: Query
    source: str
    document: str

    def select(self, columns: str) -> str:
        """The statement that lists these columns, without its limit."""
        return self.query.select(columns, self.source)


def list_runs(
    db: Database, project: str, where: RunFilter, *, limit: int, cursor: str | None, max_bytes: int
) -> Page[StoredRun]:
    """Runs, newest first; at most so many bytes of their documents, unpacked."""

    def runs(rows: Sequence[Any]) -> list[StoredRun]:
        return [stored_run(db, RunRow._make(row)) for row in rows]

    return _page(db, _runs_listed(db, project, where, cursor), RUN_COLUMNS, runs, limit=limit, max_bytes=max_bytes)


def list_steps(
    db: Database, project: str, where: StepFilter, *, limit: int, cursor: str | None, max_bytes: int
) -> Page[StoredStep]:
    """Step attempts across runs, newest first; at most so many bytes of their documents, unpacked."""

    def steps(rows: Sequence[Any]) -> list[StoredStep]:
        return stored_steps(db, [StepRow._make(row) for row in rows])

    return _page(db, _steps_listed(db, project, where, cursor), STEP_COLUMNS, steps, limit=limit, max_bytes=max_bytes)


def runs_query(db: Database, project: str, where: RunFilter, cursor: str | None) -> tuple[str, list[Any]]:
    """The statement that lists runs, without its limit, and its values."""
    listed = _runs_listed(db, project, where, cursor)
    return listed.select(RUN_COLUMNS), listed.query.values


def steps_query(
    db: Database, project: str, where: StepFilter, cursor: str | None, columns: str = STEP_COLUMNS
) -> tuple[str, list[Any]]:
    """The statement that lists these columns of steps across runs, without its limit, and its values."""
    listed = _steps_listed(db, project, where, cursor)
    return listed.select(columns), listed.query.values


def _runs_listed(db: Database, project: str, where: RunFilter, cursor: str | None) -> Listed:
    key, has_value, value = (where.tag or "").partition(":")
    by_tag = bool(has_value)
    query = Query("tag.at_us", "tag.run") if by_tag else Query("run.at_us", "run.pk")
    number = project_id(db, project)
    query.require("tag.project = ?" if by_tag else "run.project = ?", number)
    if where.status is not None:
        query.require("run.status = ?", STATUS_RANK.get(where.status, NOTHING))
    query.require_words(db, ("run.pipeline", where.pipeline))
    source = None
    if by_tag:
        source = f"run_tag tag {db.join} run ON run.pk = tag.run"
        query.require("tag.key = ? AND tag.value = ?", db.number("word", key), db.escape(value))
    elif where.tag is not None:
        query.require("EXISTS (SELECT 1 FROM run_tag t WHERE t.run = run.pk AND t.key = ?)", db.number("word", key))
    if where.q:
        source = _require_text(db, query, number, where.q, source)
    query.require_window(where.since_us, where.until_us, cursor)
    source = source or db.runs_source(where)
    return Listed(query, f"{source} LEFT JOIN part ON part.id = run.part", "run.doc")


def _steps_listed(db: Database, project: str, where: StepFilter, cursor: str | None) -> Listed:
    if where.reason is not None:
        query = Query("why.at_us", "why.step")
        source, tests = db.steps_by_reason()
        query.require("why.project = ? AND why.reason = ?", project_id(db, project), db.number("word", where.reason))
        query.tests += tests
    else:
        query = Query("step.at_us", "step.pk")
        source = db.steps_source(where)
        query.require("step.project = ?", project_id(db, project))
    query.require_words(
        db, ("step.type", where.step_type), ("step.name", where.name), ("step.pipeline", where.pipeline)
    )
    if where.status is not None:
        # written out, as the bounds below: a partial index is only used for a constant
        query.require(f"step.status = {STATUS_RANK.get(where.status, NOTHING)}")
    if where.rejection_rate_gt is not None:
        query.require("step.rate > ?", float(where.rejection_rate_gt))
        if where.rejection_rate_gt >= HIGH_RATE:
            query.require(f"step.rate >= {HIGH_RATE}")
    if where.rejection_rate_lt is not None:
        query.require("step.rate < ?", float(where.rejection_rate_lt))
    if where.duration_us_gt is not None:
        query.require("step.duration_us > ?", where.duration_us_gt)
        if where.duration_us_gt >= SLOW_US:
            query.require(f"step.duration_us >= {SLOW_US}")
    query.require_window(where.since_us, where.until_us, cursor)
    return Listed(query, f"{source} {db.join} run ON run.pk = step.run", "step.doc")


def list_run_steps(
    db: Database,
    project: str,
    run_id: str,
    *,
    limit: int,
    cursor: str | None,
    name: str | None,
    max_bytes: int | None = None,
) -> Page[StoredStep]:
    """The step attempts of one run, or those of one name in it, in the order in which they started; at most so many bytes
    of their documents, unpacked.
    """
    order = "step.at_us, coalesce(step.position, 0), step.pk"
    after = [-1, 0, 0] if cursor is None else parse_cursor(cursor, parts=3)
    by_name, names = ("", []) if name is None else (" AND step.name = ?", [db.number("word", name)])
    rows = db.rows(
        f"SELECT {STEP_COLUMNS} FROM step JOIN run ON run.pk = step.run "  # noqa: S608
        f"WHERE step.run = ?{by_name} AND ({order}) > (?, ?, ?) ORDER BY {order} LIMIT ?",
        [run_pk(db, project, run_id), *names, *after, limit + 1],
    )
    steps = [StepRow._make(row) for row in rows[:limit]]
    if max_bytes is None:
        found = stored_steps(db, steps)
    else:
        found = _unpacked(steps, [len(step.doc) for step in steps], lambda some: stored_steps(db, some), max_bytes)
    more = len(rows) > len(found)
    last = steps[len(found) - 1] if more else None
    return Page(found, None if last is None else make_cursor(last.at_us, last.position or 0, last.pk))


def page_of(rows: Sequence[Any], limit: int, items: list[T]) -> Page[T]:
    """A page of a list that was asked for one row more than its limit; rows begin with pk and at_us."""
    return Page(items, make_cursor(rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None)


def _page(
    db: Database,
    listed: Listed,
    columns: str,
    items_of: Callable[[Sequence[Any]], list[L]],
    *,
    limit: int,
    max_bytes: int,
) -> Page[L]:
    """A page that ends at `limit` rows or where its documents are over `max_bytes`; one row at least.

    What documents weigh is asked for before they are read, and weighed again as they are unpacked: a thousandth of the
    memory may be enough to store them.
    """
    query: Query = listed.query
    places = db.rows(
        f"{listed.select(f'{query.at}, {query.pk}, coalesce(length({listed.document}), 0)')} LIMIT ?",
        [*query.values, limit + 1],
    )
    if not places:
        return Page([])
    sizes = [size for _, _, size in places[:limit]]
    n = _fitting(sizes, max_bytes)
    query.require_between(places[0][:2], places[n - 1][:2])
    rows = db.rows(f"{listed.select(columns)} LIMIT ?", [*query.values, n])
    items = _unpacked(rows, sizes, items_of, max_bytes)
    last = rows[len(items) - 1][1::-1] if items else places[n - 1][:2]  # rows begin with pk and at_us
    more = len(items) < len(rows) or n < len(places)
    return Page(items, make_cursor(*last) if more else None)


def _unpacked(
    rows: Sequence[Any], sizes: Sequence[int], items_of: Callable[[Sequence[Any]], list[L]], max_bytes: int
) -> list[L]:
    """What the first of these rows are, as many as weigh at most `max_bytes` unpacked and one at least; few at a time."""
    items: list[L] = []
    used = at = 0
    while at < len(rows) and used < max_bytes:
        together = min(_fitting(sizes[at:], _TOGETHER_BYTES), _TOGETHER_ROWS)
        for item in items_of(rows[at : at + together]):
            used += len(encode_json(item.state))
            if items and used > max_bytes:
                return items
            items.append(item)
        at += together
    return items


def _fitting(sizes: Sequence[int], max_bytes: int) -> int:
    """How many of the first weigh at most so much together; one at least."""
    totals = list(itertools.accumulate(sizes))
    return max(1, bisect.bisect_right(totals, max_bytes))


def _require_text(db: Database, query: Query, project: int, text: str, source: str | None) -> str | None:
    """Keep the list to the runs that have a text; what the list reads then.

    Few runs are looked up; many are met soon on the way through the newest, where looking for few would read every run.
    """
    selects = _runs_with(db, project, text)
    few = _few(db, selects)
    if few is None:
        values = [value for _, given in selects for value in given]
        query.require("(" + " OR ".join(f"run.pk IN ({each})" for each, _ in selects) + ")", *values)
        return source
    other_source, test, value = db.only_runs(few, by_tag=source is not None)
    if test is not None:
        query.require(test, value)
        return source
    query.values.insert(0, value)
    return other_source


def _few(db: Database, selects: Sequence[tuple[str, list[Any]]]) -> list[int] | None:
    """The numbers of the runs that these select; None where they are many."""
    found: set[int] = set()
    for statement, values in selects:
        rows = db.rows(f"{statement} LIMIT ?", [*values, FEW_RUNS + 1])
        if len(rows) > FEW_RUNS:
            return None
        found.update(pk for (pk,) in rows)
    return sorted(found)


def _runs_with(db: Database, project: int, text: str) -> list[tuple[str, list[Any]]]:
    """What selects the runs that have a text: at the beginning of their id or of a tag's value, or in their pipeline's name."""
    escaped = db.escape(text)
    return [
        *(
            ("SELECT pk FROM run WHERE project = ? AND id >= ? AND id < ?", [project, low, high])
            for low, high in db.id_ranges(text)
        ),
        (
            "SELECT run FROM run_tag WHERE project = ? AND value >= ? AND value < ?",
            [project, escaped, escaped + MAX_CHARACTER],
        ),
        (
            "SELECT pk FROM run WHERE project = ? AND pipeline IN "  # noqa: S608
            f"(SELECT id FROM word WHERE {db.contains_test('text')})",
            [project, escaped],
        ),
    ]
