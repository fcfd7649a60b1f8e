"""The baseline: which run of a pipeline another is compared with, why that one, and what is unusual beside the last runs.

A run can be marked good or bad. The mark is a part of the run's record (a tag, and a note in its metadata), so it is merged,
exported and pruned with the run, in every store. Knows no HTTP and no SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

from xray_server.errors import NoBaselineError
from xray_server.records.schema import RunRecord
from xray_server.store import RunFilter, StepGroup, Store, StoredRun
from xray_server.times import iso

MARK_TAG: Final = "xray.mark"
MARK_NOTE: Final = "xray.mark_note"
MAX_HISTORY: Final = 50
AUTO_HISTORY: Final = 10  # runs whose figures a baseline is held against where none is asked for
_PART: Final = "mark"
_MAX_LOOKED_AT: Final = 200
_MAX_STEPS: Final = 200  # a run with more is taken as it is
_ENOUGH_RUNS: Final = 4  # below, nothing is called usual
_FAR: Final = 5.0  # robust standard deviations
_AT_LEAST: Final = 0.05  # and never less than five in a hundred
Mark = Literal["good", "bad", "none"]
_MEDIAN: Final = re.compile(r"median(?::(\d{1,3}))?")

Figures = Mapping[str, float]  # "step rejected" -> share of what went in


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run to compare with, and why it was chosen, in words."""

    run: StoredRun
    how: str
    history: Sequence[Figures] = ()

    def as_json(self) -> dict[str, Any]:
        """As `baseline` of a diff."""
        mark, note = mark_of(self.run)
        return {
            "run_id": self.run.run_id,
            "pipeline": self.run.state["pipeline"],
            "how": self.how,
            "started_at": iso(self.run.state["started_us"] or self.run.at_us),
            "mark": mark,
            "note": note,
        }


@dataclass(frozen=True, slots=True)
class Unusual:
    """A share of a step's items that is far from what it was in the last runs. Shares are of what went in, 0 to 1."""

    step: str
    figure: str
    share: float
    low: float
    high: float
    runs: int

    @property
    def sentence(self) -> str:
        """As in "filter rejected 85% of its items, where 50% to 52% is usual in the last 10 runs"."""
        return (
            f"{self.step} {self.figure} {self.share:.0%} of its items, "
            f"where {self.low:.0%} to {self.high:.0%} is usual in the last {self.runs} runs"
        )

    def as_json(self) -> dict[str, Any]:
        """As one of `unusual` of a diff."""
        return {"step": self.step, "figure": self.figure, "share": self.share, "usual": [self.low, self.high],
                "runs": self.runs, "sentence": self.sentence}  # fmt: skip


def mark_record(run: StoredRun, mark: str, note: str | None, now_us: int) -> RunRecord:
    """The record that marks a run; the newest mark counts, "none" takes it away."""
    return RunRecord(
        v=1,
        run_id=run.run_id,
        part=_PART,
        rev=now_us,
        pipeline=run.state["pipeline"],
        tags={MARK_TAG: "" if mark == "none" else mark},
        metadata={MARK_NOTE: note or ""},
    )


def mark_of(run: StoredRun) -> tuple[str | None, str | None]:
    """The mark of a run, and the note on it: a run may have either."""
    return (run.state["tags"] or {}).get(MARK_TAG) or None, (run.state["metadata"] or {}).get(MARK_NOTE) or None


def choose(store: Store, project: str, run: StoredRun, wanted: str | None = None) -> Baseline:
    """The run that another is compared with.

    Args:
        wanted: "good": the last one marked good. "median" or "median:20": of the last 20 the one nearest to their medians.
            None: the last one marked good, else the last that is usual for the pipeline.

    Raises:
        NoBaselineError: there is none, or `wanted` is no such word.
    """
    middle = _MEDIAN.fullmatch(wanted or "")
    if wanted not in (None, "auto", "good") and middle is None:
        raise NoBaselineError(f"a baseline is a run id, good or median:20, not {wanted!r}")
    if middle is None:
        good = _marked_good(store, project, run)
        if good is not None:
            return Baseline(good, "the last run marked good")
        if wanted == "good":
            raise NoBaselineError(f"no run of {run.state['pipeline']!r} before {run.run_id!r} is marked good")
    most = min(MAX_HISTORY, int((middle[1] if middle else None) or AUTO_HISTORY)) or 1
    found = _before(store, project, run, most)
    if not found:
        raise NoBaselineError(
            f"there is no run of {run.state['pipeline']!r} before {run.run_id!r} that completed and is not marked bad"
        )
    figures = figures_of(store, project, found)
    if middle is not None:
        best = min(range(len(found)), key=lambda place: (_distance(figures[place], figures), place))
        return Baseline(found[best], f"of the last {len(found)} runs the nearest to their medians", figures)
    return _usual(found, figures, run)


def _usual(found: Sequence[StoredRun], figures: Sequence[Figures], run: StoredRun) -> Baseline:
    flags = median([each.flagged_steps for each in found]) if len(found) >= _ENOUGH_RUNS else 0
    for each, mine in zip(found, figures):
        if each.flagged_steps <= flags and not unusual(mine, figures):
            if len(found) < _ENOUGH_RUNS:
                return Baseline(each, "the last run that completed without a flagged step", figures)
            return Baseline(each, f"the last run whose figures are usual among the last {len(found)}", figures)
    raise NoBaselineError(
        f"there is no run of {run.state['pipeline']!r} before {run.run_id!r} that completed without a flagged step; "
        "mark one good with `xray mark RUN good`"
    )


def figures_of(store: Store, project: str, runs: Sequence[StoredRun]) -> list[Figures]:
    """Of each run the shares of items by step and fate; empty for one with too many steps."""
    groups = store.step_groups(project, [run.run_id for run in runs if run.step_count <= _MAX_STEPS])
    return [_shares(groups.get(run.run_id, ())) for run in runs]


def _shares(groups: Sequence[StepGroup]) -> Figures:
    found: dict[str, float] = {}
    for group in groups:
        went_in = group.input
        if went_in and went_in > 0:
            for figure in ("rejected", "not_selected", "errored", "accepted"):
                found[f"{group.name}\0{figure}"] = getattr(group, figure) / went_in
    return found


def unusual(figures: Figures, history: Sequence[Figures]) -> list[Unusual]:
    """The figures that are far from those of the last runs; nothing where there are fewer than four."""
    found: list[Unusual] = []
    if len(history) < _ENOUGH_RUNS:
        return found
    for name in sorted(figures):
        values = sorted(each[name] for each in history if name in each)
        if len(values) < _ENOUGH_RUNS:
            continue
        centre = median(values)
        spread = 1.4826 * median([abs(value - centre) for value in values])
        if abs(figures[name] - centre) > max(_FAR * spread, _AT_LEAST):
            step, _, figure = name.partition("\0")
            tenth = len(values) // 10
            found.append(
                Unusual(step, figure.replace("_", " "), figures[name], values[tenth], values[-1 - tenth], len(values))
            )
    return found


def _distance(figures: Figures, history: Sequence[Figures]) -> float:
    names = {name for each in history for name in each}
    centres = {name: median([each.get(name, 0.0) for each in history]) for name in names}
    return sum(abs(figures.get(name, 0.0) - centre) for name, centre in centres.items())


def _marked_good(store: Store, project: str, run: StoredRun) -> StoredRun | None:
    where = RunFilter(pipeline=run.state["pipeline"] or "", until_us=run.at_us, tag=f"{MARK_TAG}:good")
    return next((each for each in store.runs(project, where, limit=2).items if each.run_id != run.run_id), None)


def _before(store: Store, project: str, run: StoredRun, most: int) -> list[StoredRun]:
    """The last runs before one that completed and are not marked bad, newest first."""
    where = RunFilter(pipeline=run.state["pipeline"] or "", status="completed", until_us=run.at_us)
    found: list[StoredRun] = []
    for each in _pages(store, project, where):
        if each.run_id != run.run_id and mark_of(each)[0] != "bad":
            found.append(each)
        if len(found) >= most:
            break
    return found


def _pages(store: Store, project: str, where: RunFilter) -> Iterator[StoredRun]:
    cursor: str | None = None
    looked_at = 0
    while looked_at < _MAX_LOOKED_AT:
        page = store.runs(project, where, limit=50, cursor=cursor)
        yield from page.items
        looked_at += len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return
