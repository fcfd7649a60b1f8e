"""Where things stand in the charts: the timeline, the graph of steps, distributions and trends, as plain coordinates.

The templates draw them as SVG. Knows no HTTP and no HTML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_server.pages.funnel import Row
from xray_server.store import StoredStep

_LONG_GAP: Final = (
    0.2  # of the time something ran: idle time beyond it is drawn shorter, so that retries do not crush the rest
)
_GAP_WIDTH: Final = 0.04
MAX_GRAPH_NODES: Final = 60
BINS: Final = 24
_MAX_WEIGHT: Final = 1e12  # items that one sample stands for: a client may say anything
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_LIMIT_NAMES: Final = (
    "threshold",
    "limit",
    "cutoff",
    "max",
    "min",
    "maximum",
    "minimum",
    "latest",
    "earliest",
    "bound",
)


# -- the timeline ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt. `x` and `width` in percent; `point` when only its start is known."""

    x: float
    width: float
    attempt: int
    status: str
    duration_us: int | None
    point: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Attempts of each row on one axis. `gaps` are (x, idle microseconds) where idle time was cut short."""

    bars: dict[tuple[str, ...], list[Bar]]
    gaps: list[tuple[float, int]]
    total_us: int
    start_us: int


def timeline(rows: Sequence[Row], now_us: int, *, per_row: int = 200) -> Timeline | None:
    """The rows as a waterfall; None when no step has a time. At most `per_row` attempts of a row, evenly taken."""
    spans = [
        (start, _end(start, end, status, now_us)) for row in rows for start, end, _, status in row.intervals if start
    ]
    if not spans:
        return None
    busy: list[list[int]] = []
    for start, end in sorted(spans):
        if busy and start <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], end)
        else:
            busy.append([start, end])
    work_us = max(1, sum(end - start for start, end in busy))
    idle = [(busy[i][1], busy[i + 1][0]) for i in range(len(busy) - 1)]
    cut = [(start, end) for start, end in idle if end - start > _LONG_GAP * work_us][:8]
    kept_us = busy[-1][1] - busy[0][0] - sum(end - start for start, end in cut)
    gap_us = kept_us * _GAP_WIDTH
    scale = 100 / max(1.0, kept_us + gap_us * len(cut))
    origin = busy[0][0]

    def place(at_us: int) -> float:
        before = at_us - origin
        for start, end in cut:
            if at_us >= end:
                before -= end - start - int(gap_us)
            elif at_us > start:
                before -= at_us - start
        return before * scale

    bars: dict[tuple[str, ...], list[Bar]] = {}
    for row in rows:
        intervals = row.intervals[:: max(1, math.ceil(len(row.intervals) / per_row))]
        for start, ended, attempt, status in intervals:
            until = _end(start, ended, status, now_us)
            x = min(99.6, place(start))
            width = min(100 - x, max(0.4, place(until) - x))
            bars.setdefault(row.path, []).append(
                Bar(
                    round(x, 3), round(width, 3), attempt, status,
                    None if ended is None else ended - start, ended is None and status != "running",
                )
            )  # fmt: skip
    gaps = [(round(place(start) + gap_us * scale / 2, 3), end - start) for start, end in cut]
    return Timeline(bars, gaps, busy[-1][1] - origin, origin)


def _end(start: int, end: int | None, status: str, now_us: int) -> int:
    if end is not None:
        return max(start, end)
    return max(start, now_us) if status == "running" else start


# -- the graph ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A step, or the steps of one name, as a box of the graph."""

    row: Row
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes and the recorded dependencies between them, in pixels. Edges are SVG paths."""

    nodes: list[Node]
    edges: list[str]
    width: int
    height: int
    left_out: int


NODE_WIDTH: Final = 190
NODE_HEIGHT: Final = 58
_COLUMN: Final = 214
_LINE: Final = 100


def graph(rows: Sequence[Row], steps: Sequence[StoredStep], path_of: Mapping[str, tuple[str, ...]]) -> Graph | None:
    """What was recorded to depend on what, layer by layer; None when nothing was: an order in time is no dependency."""
    shown = [row for row in rows if row.depth == 0][:MAX_GRAPH_NODES]
    known = {row.path for row in shown}
    before: dict[tuple[str, ...], set[tuple[str, ...]]] = {row.path: set() for row in shown}
    for step in steps:
        here = path_of.get(step.step_id, ())[:1]
        for upstream in step.state["upstream"] or ():
            there = path_of.get(upstream, ())[:1]
            if there in known and here in known and there != here:
                before[here].add(there)
    if not any(before.values()):
        return None
    layer: dict[tuple[str, ...], int] = {}

    def depth(path: tuple[str, ...], above: frozenset[tuple[str, ...]]) -> int:
        if path not in layer:
            above = above | {path}
            layer[path] = max((1 + depth(up, above) for up in before[path] if up not in above), default=0)
        return layer[path]

    for row in shown:
        depth(row.path, frozenset())
    columns: dict[int, int] = {}
    places: dict[tuple[str, ...], tuple[float, float]] = {}
    widest = max(sum(1 for at in layer.values() if at == level) for level in set(layer.values()))
    per_level = {level: sum(1 for at in layer.values() if at == level) for level in set(layer.values())}
    for row in shown:
        level = layer[row.path]
        column = columns.get(level, 0)
        columns[level] = column + 1
        indent = (widest - per_level[level]) * _COLUMN / 2
        places[row.path] = (indent + column * _COLUMN, level * _LINE)
    edges = []
    for path, ups in before.items():
        for up in sorted(ups):
            (x1, y1), (x2, y2) = places[up], places[path]
            x1, x2, y1 = x1 + NODE_WIDTH / 2, x2 + NODE_WIDTH / 2, y1 + NODE_HEIGHT
            bend = (y1 + y2) / 2
            edges.append(f"M{x1:.0f} {y1:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}")
    return Graph(
        [Node(row, *places[row.path]) for row in shown],
        edges,
        max(1, widest) * _COLUMN - (_COLUMN - NODE_WIDTH),
        max(layer.values()) * _LINE + NODE_HEIGHT,
        sum(1 for row in rows if row.depth == 0) - len(shown),
    )


# -- distributions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar: weighted numbers of items that stayed and that did not, and the heights of both in percent."""

    low: float
    high: float
    kept: float
    lost: float
    kept_height: float
    lost_height: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """One numeric detail over the samples of a step.

    Attributes:
        clock: values are times of day, in minutes.
        limits: (name, value, x in percent) of each constant limit found in the details.
        nearest: (item id, value, distance to the limit) of the lost item nearest to the first limit.
    """

    name: str
    clock: bool
    n: int
    low: float
    high: float
    bins: list[Bin]
    limits: list[tuple[str, float, float]]
    nearest: tuple[str, float, float] | None

    def text(self, value: float) -> str:
        """A value of the axis as it is written: a time of day, or a number."""
        if self.clock:
            return f"{int(value) // 60:02d}:{int(value) % 60:02d}"
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def number(value: Any) -> tuple[float, bool] | None:
    """A detail as a number, and whether it is a time of day."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return (float(value), False) if abs(value) < 1e300 and value == value else None
    if isinstance(value, str):
        clock = _CLOCK.fullmatch(value)
        if clock is not None:
            return int(clock[1]) * 60 + int(clock[2]) + int(clock[3] or 0) / 60, True
    return None


def is_limit(name: str) -> bool:
    """Whether a detail names a bound rather than a value of the item."""
    words = re.split(r"[^a-z]+", name.lower())
    return any(word in _LIMIT_NAMES for word in words)


def distributions(samples: Iterable[Mapping[str, Any]], *, limit: int = 6) -> list[Distribution]:
    """A histogram for each numeric detail (and the score) that at least four samples have, with the limits drawn in."""
    values: dict[str, list[tuple[float, float, bool, str]]] = {}
    clocks: dict[str, bool] = {}
    limits: dict[str, dict[str, set[float]]] = {}
    for sample in samples:
        details = sample["details"] if isinstance(sample["details"], Mapping) else {}
        kept = sample["outcome"] in ("accepted", "selected")
        weight = min(max(sample["weight"] or 1.0, 0.0), _MAX_WEIGHT)
        numbers = {name: found for name, value in details.items() if (found := number(value)) is not None}
        if (score := number(sample["score"])) is not None:
            numbers["score"] = score
        bounds = {name: found for name, found in numbers.items() if is_limit(name)}
        own = {name: found for name, found in numbers.items() if name not in bounds}
        for name, (value, clock) in own.items():
            if clocks.setdefault(name, clock) != clock:
                continue
            values.setdefault(name, []).append((value, weight, kept, sample["item_id"]))
            for bound, (at, bound_clock) in bounds.items():
                # a bound belongs to the value it names, or to the only one that stands beside it
                if bound_clock == clock and (name.lower() in bound.lower() or len(own) == 1):
                    limits.setdefault(name, {}).setdefault(bound, set()).add(at)
    drawn = []
    for name, points in values.items():
        constant = {bound: next(iter(ats)) for bound, ats in limits.get(name, {}).items() if len(ats) == 1}
        if len(points) >= 4 and (len({value for value, *_ in points}) > 1 or constant):
            drawn.append(_distribution(name, clocks[name], points, constant))
    drawn.sort(key=lambda each: (not each.limits, -each.n))
    return drawn[:limit]


def _distribution(
    name: str, clock: bool, points: list[tuple[float, float, bool, str]], limits: Mapping[str, float]
) -> Distribution:
    low = min([value for value, *_ in points] + list(limits.values()))
    high = max([value for value, *_ in points] + list(limits.values()))
    span = (high - low) or 1.0
    kept, lost = [0.0] * BINS, [0.0] * BINS
    for value, weight, stayed, _ in points:
        place = min(BINS - 1, int((value - low) / span * BINS))
        (kept if stayed else lost)[place] += weight
    tallest = max(k + r for k, r in zip(kept, lost)) or 1.0
    bins = [
        Bin(
            low + span * i / BINS, low + span * (i + 1) / BINS, k, r,
            round(max(1.5, 100 * k / tallest) if k else 0.0, 2), round(max(1.5, 100 * r / tallest) if r else 0.0, 2),
        )
        for i, (k, r) in enumerate(zip(kept, lost))
    ]  # fmt: skip
    marks = [(bound, at, round(100 * (at - low) / span, 2)) for bound, at in sorted(limits.items())]
    nearest = None
    if marks:
        beyond = [
            (abs(value - at), item, value) for value, _, stayed, item in points if not stayed for _, at, _ in marks
        ]
        if beyond:
            distance, item, value = min(beyond)
            nearest = (item, value, distance)
    return Distribution(name, clock, len(points), low, high, bins, marks, nearest)
