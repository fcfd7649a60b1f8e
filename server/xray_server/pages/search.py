"""What the pages that look across runs show: search, steps with their trend, one item in many runs. No HTTP, HTML or SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from xray_core.journey import Entry, Why
from xray_server.pages.funnel import MAX_TONES
from xray_server.read import runs as read_runs
from xray_server.read import text_search
from xray_server.read import why as read_why
from xray_server.read.item_history import HistoryFilter, history
from xray_server.store import Store, TrendPoint
from xray_server.times import iso

FOUND_EACH: Final = 10
STEPS_PER_PAGE: Final = 50
ENTRIES_PER_PAGE: Final = 60  # of a journey
ITEM_RUNS: Final = 25  # runs that hold an item, on one page
TREND_BARS: Final = 48
_MIN_TREND_BARS: Final = 12
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_MAX_TREND_US: Final = 90 * _DAY_US


_FOUND: Final = ("runs", "pipelines", "tags", "steps", "reasons", "items", "errors", "metadata")


@dataclass(frozen=True, slots=True)
class SearchResults:
    """What a search found.

    Attributes:
        run: the run of exactly this id.
        item_runs: the newest runs that know exactly this item, as `read.item_history.history` finds them.
        begins: what begins with the text, as `read.text_search.search` answers.
    """

    text: str
    run: Mapping[str, Any] | None
    item_runs: Sequence[Mapping[str, Any]]
    begins: Mapping[str, Any]

    @property
    def nothing(self) -> bool:
        """Whether nothing was found at all."""
        return not (self.run or self.item_runs or any(self.begins[kind] for kind in _FOUND))

    @property
    def back_to(self) -> str | None:
        """How far back items, errors and metadata were looked for; None: everywhere."""
        return max((at for at in self.begins["looked_back_to"].values() if at is not None), default=None)


def search(store: Store, project: str, text: str, *, budget_ms: float = text_search.BUDGET_MS) -> SearchResults:
    """Runs, pipelines, tags, steps, reasons, items, errors and metadata that a text may mean."""
    run = store.run(project, text)
    items = history(store, project, text, HistoryFilter(), limit=ITEM_RUNS, cursor=None)["runs"]
    begins = text_search.search(store, project, text, limit=FOUND_EACH, budget_ms=budget_ms)
    return SearchResults(text, None if run is None else read_runs.run_json(run), items, begins)


@dataclass(frozen=True, slots=True)
class ItemPage:
    """One item in one run, and in others.

    Attributes:
        entries: the part of its journey on this page; of a long one only the steps that tell something.
        total: entries to page through; `silent`: steps left out that tell nothing.
        others: the newest other runs of the pipeline that hold it, as `read.item_history.history` finds them.
    """

    run: Mapping[str, Any]
    why: Why
    entries: Sequence[Entry]
    offset: int
    total: int
    silent: int
    others: Sequence[Mapping[str, Any]]

    @property
    def after(self) -> int:
        """How many steps come after those that are shown."""
        return max(0, self.total - self.offset - len(self.entries))


def item_page(store: Store, project: str, run_id: str, item_id: str, *, offset: int) -> ItemPage | None:
    """Why an item ended as it did in a run; None when there is no such run."""
    run = store.run(project, run_id)
    if run is None:
        return None
    why = read_why.why(store, project, run_id, item_id)
    entries = list(why.journey)
    if len(entries) > ENTRIES_PER_PAGE:
        entries = [entry for entry in entries if entry.outcome is not None]
    of_pipeline = HistoryFilter(pipeline=run.state["pipeline"])
    known = history(store, project, item_id, of_pipeline, limit=ITEM_RUNS, cursor=None)
    others = [each for each in known["runs"] if each["run_id"] != run_id]
    return ItemPage(
        read_runs.run_json(run), why, entries[offset : offset + ENTRIES_PER_PAGE], offset, len(entries),
        len(why.journey) - len(entries) + why.journey_omitted, others,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrendBar:
    """One bucket of time.

    Attributes:
        x, width: percent of the chart; `height`: percent, of the rejection rate.
        mix: (tone, reason, n, height) of the rejected, from the bottom up; `y` is where each begins.
    """

    at: str | None
    steps: int
    failed: int
    input: int
    rejected: int
    unaccounted: int
    x: float
    width: float
    mix: Sequence[tuple[str, str, int, float, float]]

    @property
    def rate(self) -> float | None:
        """The share of the items that were rejected, from 0 to 1; None without items."""
        return self.rejected / self.input if self.input else None


@dataclass(frozen=True, slots=True)
class Trend:
    """The rejection rate over time, split by reason.

    Attributes:
        reasons: (tone, reason, n) in the order of the colours.
        mixed: some steps gave reasons for other outcomes too, which are in the split as well.
    """

    bars: Sequence[TrendBar]
    reasons: Sequence[tuple[str, str, int]]
    since: str | None
    until: str | None
    bucket_us: int
    mixed: bool


def trend(
    store: Store, project: str, *, pipeline: str | None, name: str | None, since_us: int | None, until_us: int
) -> Trend | None:
    """The sums per bucket of a step or pipeline up to `until_us`; None when there is nothing to draw."""
    first_us = max(since_us or 0, until_us - _MAX_TREND_US)
    points = store.trend(project, pipeline=pipeline, name=name, since_us=first_us, until_us=until_us)
    if not points:
        return None
    start = points[0].at_us if since_us is None else first_us // _HOUR_US * _HOUR_US
    hours = max(1, -(-(until_us - start) // _HOUR_US))
    bucket_us = -(-hours // TREND_BARS) * _HOUR_US
    end = -(-until_us // bucket_us)
    start = min(start // bucket_us, max(0, end - _MIN_TREND_BARS)) * bucket_us
    count = end - start // bucket_us
    totals: dict[str, int] = {}
    buckets: dict[int, list[TrendPoint]] = {}
    for point in points:
        buckets.setdefault((point.at_us - start) // bucket_us, []).append(point)
        for reason, n in _no_reasons(point).items():
            totals[reason] = totals.get(reason, 0) + n
    ranked = sorted(totals, key=lambda reason: (-totals[reason], reason))
    tones = {reason: f"r{min(place, MAX_TONES)}" for place, reason in enumerate(ranked, 1)}
    width = 100 / count
    bars = [
        _bar(members, start + place * bucket_us, place * width, width, tones)
        for place, members in sorted(buckets.items())
    ]
    return Trend(
        bars, [(tones[reason], reason, totals[reason]) for reason in ranked[:MAX_TONES]],
        iso(start), iso(start + count * bucket_us), bucket_us,
        any(sum(_no_reasons(point).values()) > point.rejected for point in points),
    )  # fmt: skip


def _no_reasons(point: TrendPoint) -> Mapping[str, int]:
    """The reasons of a point that may speak for a no: where nothing was rejected they spoke for something else."""
    return point.reasons if point.rejected else {}


def _bar(points: Sequence[TrendPoint], at_us: int, x: float, width: float, tones: Mapping[str, str]) -> TrendBar:
    entered = sum(point.input for point in points)
    reasons: dict[str, int] = {}
    for point in points:
        for reason, n in _no_reasons(point).items():
            reasons[reason] = reasons.get(reason, 0) + n
    rejected = sum(point.rejected for point in points)
    known = sum(reasons.values()) or 1
    full = 100 * rejected / entered if entered else 0.0
    mix, top = [], 100.0
    for reason in sorted(reasons, key=lambda each: (tones[each], -reasons[each])):
        height = full * reasons[reason] / known
        top -= height
        if height >= 0.2:
            mix.append((tones[reason], reason, reasons[reason], round(top, 2), round(height, 2)))
    return TrendBar(
        iso(at_us), sum(point.steps for point in points), sum(point.failed for point in points), entered, rejected,
        sum(point.unaccounted for point in points), round(x, 3), round(width * 0.86, 3), mix,
    )  # fmt: skip


def before(pipeline: str | None, since_us: int | None, until_us: int | None, *, now_us: int) -> str | None:
    """The query of the page that compares the runs of a time with those before it, of the same length and a day at least."""
    if since_us is None:
        return None
    long_us = max((until_us or now_us) - since_us, _DAY_US)
    until = "" if until_us is None else f",until={iso(until_us)}"
    groups = {
        "a": f"since={iso(max(0, since_us - long_us))},until={iso(since_us)}",
        "b": f"since={iso(since_us)}{until}",
    }
    return f"?{urlencode(groups if pipeline is None else {'pipeline': pipeline, **groups})}"


def over_time(pipeline: str | None, name: str | None) -> str:
    """The query of the page of trends."""
    return f"?{urlencode({key: value for key, value in (('pipeline', pipeline), ('step', name)) if value is not None})}"
