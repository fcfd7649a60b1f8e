"""Trends: ledger and reason mix per bucket of time and step, from the hourly sums that the store keeps. Knows no SQL.

The sums are of counts, never of samples, and are kept as new minus old, so neither weights nor resends can distort them.
"""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from xray_core.sums import total
from xray_server.store import StepFilter, Store, TrendPoint
from xray_server.times import iso

Json = dict[str, Any]
Bucket = Literal["hour", "day"]
_NUMBERS_MS: Final = 1_000  # of reading steps for their scores and values
_BUCKET_US: Final[dict[str, int]] = {"hour": 3_600_000_000, "day": 86_400_000_000}


def trends(
    store: Store,
    project: str,
    *,
    pipeline: str | None,
    name: str | None,
    since_us: int,
    until_us: int,
    bucket: Bucket,
    numbers: bool = False,
) -> Json:
    """One entry per bucket, pipeline and step name, oldest first; steps count in the bucket in which they started.

    Buckets are whole: the first begins at or before `since_us`.

    Args:
        numbers: the scores and declared values of the step `name` too, from the steps themselves, the newest first, as many
            as there is time for; `complete` says whether those were all.
    """
    size_us = _BUCKET_US[bucket]
    since_us -= since_us % size_us
    points = store.trend(project, pipeline=pipeline, name=name, since_us=since_us, until_us=until_us)
    merged: dict[tuple[int, str, str], list[TrendPoint]] = {}
    for point in points:
        merged.setdefault((point.at_us - point.at_us % size_us, point.pipeline, point.name), []).append(point)
    answer: Json = {
        "bucket": bucket,
        "since": iso(since_us),
        "until": iso(until_us),
        "trends": [_entry(at_us, _sum(held)) for (at_us, _, _), held in sorted(merged.items())],
    }
    if numbers and name is not None:
        where = StepFilter(name=name, pipeline=pipeline, since_us=since_us, until_us=until_us)
        found, answer["complete"] = _numbers(store, project, where, size_us)
        nothing: Json = {"scores": {}, "values": {}}
        for entry, (at_us, of_pipeline, _) in zip(answer["trends"], sorted(merged)):
            entry.update(found.get((at_us, of_pipeline), nothing))
    return answer


def _numbers(store: Store, project: str, where: StepFilter, size_us: int) -> tuple[dict[tuple[int, str], Json], bool]:
    """(bucket, pipeline) -> {scores: {outcome: ...}, values: {outcome: {reason: ...}}} of n, mean, min and max."""
    parts: dict[tuple[int, str], list[tuple[Json, Json]]] = {}  # of each step its sums of scores and of values
    until, cursor = time.monotonic() + _NUMBERS_MS / 1000, None
    while True:
        page = store.steps(project, where, limit=200, cursor=cursor)
        for step in page.items:
            place = (step.at_us - step.at_us % size_us, step.state["pipeline"] or "")
            parts.setdefault(place, []).append((step.state["score_sums"] or {}, step.state["value_sums"] or {}))
        cursor = page.next_cursor
        if cursor is None or time.monotonic() > until:
            break
    found = {}
    for place, steps in parts.items():
        scores: dict[str, list[Any]] = {}
        values: dict[str, dict[str, list[Any]]] = {}
        for score_sums, value_sums in steps:
            for outcome, column in score_sums.items():
                scores.setdefault(outcome, []).append(column)
            for outcome, reasons in value_sums.items():
                for reason, sums in reasons.items():
                    values.setdefault(outcome, {}).setdefault(reason, []).append(sums)
        found[place] = {
            "scores": {outcome: _together(some) for outcome, some in scores.items()},
            "values": {
                outcome: {reason: _together(some) for reason, some in reasons.items()}
                for outcome, reasons in values.items()
            },
        }
    return found, cursor is None


def _together(sums: list[Any]) -> Json:
    """Of several sums over numbers one; None is what they do not tell, or what is out of range."""
    known = [each for each in sums if each and each.get("n")]
    n, all_of = (
        sum(each["n"] - (each.get("nulls") or 0) for each in known),
        total([each.get("total") for each in known]),
    )
    least, greatest = ([each.get(end) for each in known] for end in ("min", "max"))
    return {
        "n": n,
        "mean": all_of / n if all_of is not None and n > 0 else None,
        "min": min(least) if known and None not in least else None,
        "max": max(greatest) if known and None not in greatest else None,
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
