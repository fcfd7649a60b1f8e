"""`xray steps --trend`: the answer of `GET /trends` as a line per step, its rejection rate drawn over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 60


def trend_lines(answer: Mapping[str, Any]) -> list[str]:
    """One line per pipeline and step: the rate in each bucket from none (▁) to all (█), the last rate, the last reasons.

    Args:
        answer: of `GET /trends`. A bucket in which the step did not run is a space; beyond 60 buckets the last are shown.
    """
    buckets = sorted({point["at"] for point in answer["trends"]})[-_WIDTH:]
    steps: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for point in answer["trends"]:
        steps.setdefault((point["pipeline"], point["step"]), {})[point["at"]] = point
    names = {key: "/".join(key) for key in steps}
    width = max((len(name) for name in names.values()), default=0)
    lines = []
    for key, points in steps.items():
        shown = [points[at] for at in buckets if at in points]
        if shown:
            drawn = sparkline([points[at]["rejection_rate"] if at in points else None for at in buckets])
            lines.append(f"{names[key]:{width}}  {drawn}  {_about(shown[-1])}")
    return lines


def sparkline(rates: Sequence[float | None]) -> str:
    """Rates from 0 to 1 as bars; None is a space."""
    top = len(_BARS) - 1
    return "".join(" " if rate is None else _BARS[min(top, max(0, round(rate * top)))] for rate in rates)


def _about(point: Mapping[str, Any]) -> str:
    rate = point["rejection_rate"]
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in list(point["reasons"].items())[:3])
    text = f"{'-' if rate is None else f'{rate:.1%}'} of {point['items_in']:,}"
    return f"{text}: {reasons}" if reasons else text
