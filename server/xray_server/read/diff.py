"""Compare: fetches two runs for `xray_core.compare`, and finds the last good run of a pipeline. Knows no HTTP, no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xray_core.compare import Diff, PartedAt, Side, StepKey, compare, where_parted
from xray_server.errors import NoBaselineError
from xray_server.read.why import all_steps, known_run
from xray_server.store import RunFilter, Store, StoredRun, StoredSet

BASELINE: Final = "baseline"
_MAX_LOOKED_AT: Final = 1_000  # runs to look back through for a good one
_MAX_CACHED: Final = 4  # steps whose sets are held at once


class _StoreSource:
    """Sets and samples of two runs, as a Store has them; keeps the last few, since flips are shown step by step."""

    def __init__(self, store: Store, project: str, run_ids: tuple[str, str]) -> None:
        self._store, self._project, self._run_ids = store, project, run_ids
        self._sets: dict[tuple[int, StepKey], list[StoredSet]] = {}

    def sets(self, side: int, step: StepKey) -> Sequence[StoredSet]:
        held = self._sets.get((side, step))
        if held is None:
            found = self._store.sets(self._project, self._run_ids[side], step[0])
            held = [each for each in found if each.attempt == step[1]]
            if len(self._sets) >= _MAX_CACHED:
                self._sets.pop(next(iter(self._sets)))
            self._sets[side, step] = held
        return held

    def samples(self, side: int, step: StepKey) -> Sequence[Mapping[str, Any]]:
        return self._store.samples(self._project, self._run_ids[side], [step]).get(step, [])


def diff(store: Store, project: str, a: str, b: str) -> Diff:
    """Where run b parts from run a.

    Raises:
        UnknownRunError: there is no such run.
    """
    return compare(*_sides(store, project, a, b), _StoreSource(store, project, (a, b)))


def parted(store: Store, project: str, a: str, b: str) -> PartedAt | None:
    """Only where run b parts from run a, in a hundredth of the time of `diff`; None when nothing is known to differ.

    Raises:
        UnknownRunError: there is no such run.
    """
    return where_parted(*_sides(store, project, a, b), _StoreSource(store, project, (a, b)))


def _sides(store: Store, project: str, a: str, b: str) -> tuple[Side, Side]:
    one, other = known_run(store, project, a, "a"), known_run(store, project, b, "b")
    sides = [
        Side(run.run_id, run.state, [s.state for s in all_steps(store, project, run.run_id)]) for run in (one, other)
    ]
    return sides[0], sides[1]


def diff_to_baseline(store: Store, project: str, run_id: str) -> Diff:
    """Where a run parts from the last good run of its pipeline: `a` is that run, `b` this one.

    Raises:
        UnknownRunError: there is no such run.
        NoBaselineError: there is no good run before it.
    """
    run = known_run(store, project, run_id, "a")
    return diff(store, project, baseline_of(store, project, run).run_id, run_id)


def baseline_of(store: Store, project: str, run: StoredRun) -> StoredRun:
    """The last run of the same pipeline before this one that completed and whose ledgers all add up.

    Raises:
        NoBaselineError: there is none among the last 1,000.
    """
    where = RunFilter(pipeline=run.state["pipeline"] or "", status="completed", until_us=run.at_us)
    cursor: str | None = None
    looked_at = 0
    while looked_at < _MAX_LOOKED_AT:
        page = store.runs(project, where, limit=50, cursor=cursor)
        for each in page.items:
            if each.flagged_steps == 0 and each.run_id != run.run_id:
                return each
        looked_at += len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    raise NoBaselineError(
        f"there is no run of {run.state['pipeline']!r} before {run.run_id!r} that completed without a flagged step"
    )
