"""Trends: ledger and reason mix per bucket of time and step, from the hourly sums that the store keeps. Knows no SQL.

The sums are of counts, never of samples, and are kept as new minus old, so neither weights nor resends can distort them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from xray_server.store import Store, TrendPoint
from xray_server.times import iso

Json = dict[str, Any]
Bucket = Literal["hour", "day"]
_BUCKET_US: Final[dict[str, int]] = {"hour": 3_600_000_000, "day": 86_400_000_000}


def trends(
    store: Store, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int, bucket: Bucket
) -> Json:
    """One entry per bucket, pipeline and step name, oldest first; steps count in the bucket in which they started.

    Buckets are whole: the first begins at or before `since_us`.
    """
    size_us = _BUCKET_US[bucket]
    since_us -= since_us % size_us
    points = store.trend(project, pipeline=pipeline, name=name, since_us=since_us, until_us=until_us)
    merged: dict[tuple[int, str, str], list[TrendPoint]] = {}
    for point in points:
        merged.setdefault((point.at_us - point.at_us % size_us, point.pipeline, point.name), []).append(point)
    return {
        "bucket": bucket,
        "since": iso(since_us),
        "until": iso(until_us),
        "trends": [_entry(at_us, _sum(held)) for (at_us, _, _), held in sorted(merged.items())],
    }


def _sum(points: list[TrendPoint]) -> TrendPoint:
    """Several hours of one step name in one pipeline as one."""
    first = points[0]
    if len(points) == 1:
        return first
    reasons: dict[str, int] = {}
    for point in points:
        for reason, n in point.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + n
    sums = (sum(figures) for figures in zip(*(point[3:-1] for point in points)))
    return TrendPoint._make((*first[:3], *sums, reasons))


def _entry(at_us: int, point: TrendPoint) -> Json:
    return {
        "at": iso(at_us),
        "pipeline": point.pipeline,
        "step": point.name,
        "steps": point.steps,
        "failed": point.failed,
        "items_in": point.input,
        "ledger": {
            "input": point.input,
            "accepted": point.accepted,
            "rejected": point.rejected,
            "not_selected": point.not_selected,
            "errored": point.errored,
            "unaccounted": point.unaccounted,
            "selected": point.selected,
        },
        "rejection_rate": point.rejected / point.input if point.input > 0 else None,
        "reasons": dict(sorted(point.reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "mean_duration_ms": point.duration_us / point.steps / 1000 if point.steps else None,
    }
