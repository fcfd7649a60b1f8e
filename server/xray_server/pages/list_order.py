"""The order of rows on a page, which of its runs is the first bad one, and the runs beside one. No HTTP, HTML or SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from xray_server.store import RunFilter, Store, StoredRun

T = TypeVar("T")
Row = Mapping[str, Any]
_BESIDE: Final = 50  # runs read at once, to find the next one
_SPANS_US: Final = (60_000_000, 3_600_000_000, 86_400_000_000, 30 * 86_400_000_000, None)
_STATUSES: Final = ("failed", "running", "completed", "skipped")


def sorted_rows(rows: Sequence[T], sort: str | None, values: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """Rows by one of these values; `-` in front turns them round. What has none comes last; an unknown name changes nothing."""
    name = (sort or "").removeprefix("-")
    value = values.get(name)
    if value is None:
        return list(rows)
    known = [row for row in rows if value(row) is not None]
    unknown = [row for row in rows if value(row) is None]
    return [*sorted(known, key=lambda row: value(row), reverse=(sort or "").startswith("-")), *unknown]


def _status(row: Row) -> int:
    return _STATUSES.index(row["status"]) if row["status"] in _STATUSES else len(_STATUSES)


def sorted_steps(steps: Sequence[Row], sort: str | None) -> list[Row]:
    """Steps, as the columns of the pages name them."""
    return sorted_rows(steps, sort, {
        "name": lambda step: (step["name"] or "").casefold(),
        "index": lambda step: step["map_index"],
        "status": _status,
        "started": lambda step: step["started_at"],
        "took": lambda step: step["duration_ms"],
        "items": lambda step: step["ledger"]["input"],
        "rejected": lambda step: step["rejection_rate"],
    })  # fmt: skip


def sorted_lines(lines: Sequence[Any], sort: str | None) -> list[Any]:
    """Lines of the list of runs."""
    return sorted_rows(lines, sort, {
        "pipeline": lambda line: (line.run["pipeline"] or "").casefold(),
        "status": lambda line: _status(line.run),
        "started": lambda line: line.run["started_at"] or line.run["first_seen_at"],
        "took": lambda line: line.run["duration_ms"],
        "items": lambda line: None if line.funnel is None else line.funnel.first,
        "worst": lambda line: None if line.worst is None else line.worst.ledger.rejected / line.worst.input,
    })  # fmt: skip


def first_bad(newest_first: Sequence[Row]) -> set[str]:
    """Of the runs of one page, those that are bad (failed, or marked so) while the run of their pipeline before was not."""
    found: set[str] = set()
    fine: dict[str | None, bool] = {}
    for run in reversed(newest_first):
        if run["status"] not in ("completed", "failed"):
            continue
        bad = run["mark"] == "bad" or (run["status"] == "failed" and run["mark"] != "good")
        if bad and fine.get(run["pipeline"]):
            found.add(run["run_id"])
        fine[run["pipeline"]] = not bad
    return found


def beside(store: Store, project: str, run: StoredRun) -> tuple[str | None, str | None]:
    """The runs of the same pipeline that began before this one and after it, where there are any."""
    pipeline = run.state["pipeline"]
    if pipeline is None:
        return None, None
    older = store.runs(project, RunFilter(pipeline=pipeline, until_us=run.at_us), limit=1).items
    return (older[0].run_id if older else None), _newer(store, project, pipeline, run.at_us)


def _newer(store: Store, project: str, pipeline: str, at_us: int) -> str | None:
    """The list is newest first: the next run is the last of a stretch of time that begins with this one."""
    for span_us in _SPANS_US:
        until_us = None if span_us is None else at_us + span_us
        where = RunFilter(pipeline=pipeline, since_us=at_us + 1, until_us=until_us)
        page = store.runs(project, where, limit=_BESIDE)
        for _ in range(20):  # a stretch with more is rare: the spans before it were empty
            if page.next_cursor is None:
                break
            page = store.runs(project, where, limit=_BESIDE, cursor=page.next_cursor)
        if page.items:
            return page.items[-1].run_id
    return None
