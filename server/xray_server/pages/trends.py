"""The page of trends: a chart of one figure over time for each step. No HTTP, HTML or SQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from xray_server.read import trends as read_trends
from xray_server.store import Store
from xray_server.times import iso, parse_time

Figure = Literal["rejected", "items", "duration", "failed", "score", "value"]
FIGURES: Final[dict[Figure, str]] = {
    "rejected": "rejected, % of input",
    "items": "items in",
    "duration": "time taken, mean",
    "failed": "failed, % of steps",
    "score": "scores",
    "value": "declared values",
}
HEIGHT: Final = 64.0
MAX_BARS: Final = 700  # on one page
MAX_CHARTS: Final = 24
_MAX_BUCKETS: Final = 400
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_BY_THE_HOUR_US: Final = {
    True: 8 * _DAY_US,
    False: 2 * _DAY_US,
}  # of a step that is named, of all; longer ones by the day
_MOST: Final = sys.float_info.max
_ROOM: Final = 0.08  # of the height, above the greatest value


class Point(NamedTuple):
    """What is known of one bucket: the value, and of scores and declared values the least and the greatest; of `n`."""

    at: str
    value: float
    low: float
    high: float
    n: int


class Bar(NamedTuple):
    """A point as it is drawn: `x` and `width` in percent, `y` and `height` in pixels; `mid` is where the mean is marked."""

    x: float
    width: float
    y: float
    height: float
    mid: float
    point: Point


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of one step over time.

    Attributes:
        of: the outcome and reason whose scores or values these are, or "".
        least, greatest: of all its points.
    """

    pipeline: str
    step: str
    of: str
    bars: Sequence[Bar]
    least: float
    greatest: float

    @property
    def latest(self) -> Point:
        """The newest point."""
        return self.bars[-1].point


@dataclass(frozen=True, slots=True)
class TrendsPage:
    """The charts of a figure, those with most items first; `left_out` more are not shown.

    Attributes:
        spread: values have a range, from the least to the greatest.
        complete: no step was passed over for want of time.
    """

    charts: Sequence[Chart]
    left_out: int
    bucket: str
    since: str | None
    until: str | None
    spread: bool
    complete: bool


def trends_page(
    store: Store, project: str, figure: Figure, *, pipeline: str | None, step: str | None, since_us: int, until_us: int
) -> TrendsPage:
    """The charts of a figure of all steps that fit. Scores and values need a `step`; without one there is no chart of them."""
    by_the_hour = until_us - since_us <= _BY_THE_HOUR_US[step is not None]
    size_us = _HOUR_US if by_the_hour else _DAY_US
    since_us = max(since_us, until_us - _MAX_BUCKETS * size_us)
    since_us -= since_us % size_us
    count = max(1, -(-(until_us - since_us) // size_us))
    spread = figure in ("score", "value")
    found = read_trends.trends(
        store, project, pipeline=pipeline, name=step, since_us=since_us, until_us=until_us,
        bucket="hour" if by_the_hour else "day", numbers=spread,
    )  # fmt: skip
    points: dict[tuple[str, str, str], list[Point]] = {}
    weights: dict[tuple[str, str, str], int] = {}
    for entry in found["trends"] if step is not None or not spread else ():
        for of, point in _points(entry, figure):
            key = (entry["pipeline"], entry["step"], of)
            points.setdefault(key, []).append(point)
            weights[key] = weights.get(key, 0) + point.n
    ranked = sorted(points, key=lambda key: (-weights[key], key))
    shown = ranked[: max(1, min(MAX_CHARTS, MAX_BARS // count))]
    charts = [_chart(key, points[key], figure, since_us, size_us, count) for key in shown]
    return TrendsPage(
        charts, len(ranked) - len(shown), "hour" if by_the_hour else "day", iso(since_us), iso(since_us + count * size_us),
        spread, found.get("complete", True),
    )  # fmt: skip


def _points(entry: Mapping[str, Any], figure: Figure) -> Iterator[tuple[str, Point]]:
    """What a bucket of a step says of a figure: ("", one point), or one for each outcome and reason that has values."""
    at, items, steps = entry["at"], entry["items_in"], entry["steps"]
    if figure == "score":
        named = {outcome.replace("_", " "): sums for outcome, sums in entry.get("scores", {}).items()}
    elif figure == "value":
        named = {
            f"{outcome.replace('_', ' ')}{f': {reason}' if reason else ''}": sums
            for outcome, reasons in entry.get("values", {}).items()
            for reason, sums in reasons.items()
        }
    else:
        value = {
            "rejected": entry["rejection_rate"],
            "items": items,
            "duration": entry["mean_duration_ms"],
            "failed": entry["failed"] / steps if steps else None,
        }[figure]
        if value is not None:
            yield "", Point(at, value, value, value, items if figure in ("rejected", "items") else steps)
        return
    for of, sums in named.items():
        if sums["mean"] is not None and sums["min"] is not None and sums["max"] is not None:
            yield of, Point(at, sums["mean"], sums["min"], sums["max"], sums["n"])


def _chart(
    key: tuple[str, str, str], points: Sequence[Point], figure: Figure, since_us: int, size_us: int, count: int
) -> Chart:
    spread = figure in ("score", "value")
    greatest, least = max(point.high for point in points), min(point.low for point in points)
    top, floor = greatest, least if spread else 0.0
    room = (top - floor) * _ROOM or abs(top) * _ROOM or 1.0
    top, floor = min(top + room, _MOST), max(floor - room, -_MOST) if spread else 0.0
    if figure in ("rejected", "failed"):
        top = min(1.0, top)
    width = 100 / count

    def y(value: float) -> float:
        return round(HEIGHT * (1 - (value / 2 - floor / 2) / (top / 2 - floor / 2)), 1)  # what is halved is in range

    bars = []
    for point in points:
        upper, lower = y(point.high), y(point.low) if spread else HEIGHT
        place = (parse_time(point.at, 0) - since_us) // size_us
        bars.append(
            Bar(round(place * width, 2), round(width * 0.86, 2), upper, max(1.0, round(lower - upper, 1)), y(point.value), point)
        )  # fmt: skip
    return Chart(*key, bars, least, greatest)
