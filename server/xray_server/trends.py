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
_FIGURES: Final = ("input", "accepted", "rejected", "not_selected", "errored", "unaccounted", "selected")


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
        "trends": [_entry(at_us, of, step, held) for (at_us, of, step), held in sorted(merged.items())],
    }


def _entry(at_us: int, pipeline: str, name: str, points: list[TrendPoint]) -> Json:
    ledger = {figure: sum(getattr(point, figure) for point in points) for figure in _FIGURES}
    reasons: dict[str, int] = {}
    for point in points:
        for reason, n in point.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + n
    steps = sum(point.steps for point in points)
    return {
        "at": iso(at_us),
        "pipeline": pipeline,
        "step": name,
        "steps": steps,
        "failed": sum(point.failed for point in points),
        "items_in": ledger["input"],
        "ledger": ledger,
        "rejection_rate": ledger["rejected"] / ledger["input"] if ledger["input"] > 0 else None,
        "reasons": dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "mean_duration_ms": sum(point.duration_us for point in points) / steps / 1000 if steps else None,
    }
