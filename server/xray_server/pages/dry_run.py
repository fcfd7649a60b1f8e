"""The chart of a dry run: what a rule judged over time, its bounds, and when it would have fired. No HTTP, HTML or SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_server.alerts.dry_run import DryRun
from xray_server.alerts.rules import Rule
from xray_server.times import parse_time

HEIGHT: Final = 120.0
_ROOM: Final = 0.08  # of the height, above the greatest value
_SHARES: Final = ("rejection_rate", "reason_share", "changed_rate")


@dataclass(frozen=True, slots=True)
class Point:
    """One finished step or run: `x` in percent, `y` in pixels from the top; `state` is "breach" or "fine"."""

    x: float
    y: float
    state: str
    at: str
    value: float


@dataclass(frozen=True, slots=True)
class DryRunChart:
    """A dry run to be drawn.

    Attributes:
        bounds: (y, "above" or "below", value) of each bound of the rule; `others`: those that are tried beside them.
        fired: x of each message that would have been sent when it fired.
        top: the value at the upper edge; `share`: values are shares of 1.
    """

    points: Sequence[Point]
    bounds: Sequence[tuple[float, str, float]]
    others: Sequence[tuple[float, str, float]]
    fired: Sequence[float]
    top: float
    share: bool
    since: str
    until: str


def dry_run_chart(found: DryRun, rule: Rule, other: Rule | None = None) -> DryRunChart | None:
    """The chart of what was judged; None where nothing has a value. `other` is the rule with another bound."""
    judged = [each for each in found.points if each["value"] is not None and each["state"] != "unsaid"]
    if not judged:
        return None
    bounds = rule.bounds
    others = [bound for bound in other.bounds if bound not in bounds] if other is not None else []
    share = rule.metric in _SHARES
    greatest = max([*(abs(each["value"]) for each in judged), *(bound for _, bound in [*bounds, *others])])
    top = 1.0 if share and greatest <= 1 else (greatest or 1.0) * (1 + _ROOM)
    first_us, last_us = (_us(each["at"]) for each in (judged[0], judged[-1]))
    span_us = max(1, last_us - first_us)

    def x(at: str) -> float:
        return round(1 + 98 * min(1.0, max(0.0, (_us(at) - first_us) / span_us)), 2)

    def y(value: float) -> float:
        return round(HEIGHT * (1 - abs(value) / top), 1)

    return DryRunChart(
        [Point(x(each["at"]), y(each["value"]), each["state"], each["at"], each["value"]) for each in judged],
        [(y(bound), way, bound) for way, bound in bounds],
        [(y(bound), way, bound) for way, bound in others],
        [x(event["at"]) for event in found.events if event["kind"] == "fired" and _us(event["at"]) >= first_us],
        top, share, judged[0]["at"], judged[-1]["at"],
    )  # fmt: skip


def _us(at: Any) -> int:
    return parse_time(str(at), 0)
