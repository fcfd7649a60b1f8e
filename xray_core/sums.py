"""Sums over items that do not depend on their order, added up over parts: what two runs are compared by where values are not
kept.

A column is {sum, n, nulls} and, when all its values are numbers, {min, max, total, abs, proj}: `sum` of the hashes of (id, value)
modulo 2**64, `total` and `abs` of the values and of their amounts, `proj` two projections, sums of w_k(id) x value with weights
that follow from the id's hash (0.5 <= |w| < 1.5, both signs). Two columns are equal within a relative tolerance t when both
projections differ by no more than 1.5 x t x abs: that tells noise from a change without a value kept. Knows nothing of
how either is captured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xray_core.model import HASH_MODULUS


def merge_sums(digests: Sequence[str | None]) -> str | None:
    """The sum of hashes over all parts; None where one part has none."""
    known = [digest for digest in digests if digest is not None]
    if len(known) < len(digests) or not known:
        return None
    return f"{sum(int(digest, 16) for digest in known) % HASH_MODULUS:016x}"


def merge_columns(several: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], int]:
    """Columns by name that all parts have, added up, and how many others there were: of part of the items they say nothing."""
    names = {name for columns in several for name in columns}
    shared = [name for name in sorted(names) if all(name in columns for columns in several)]
    return {name: _one([columns[name] for columns in several]) for name in shared}, len(names) - len(shared)


def _one(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return dict(parts[0])
    merged: dict[str, Any] = {
        "sum": merge_sums([part.get("sum") for part in parts]),
        "n": sum(part["n"] for part in parts),
        "nulls": sum(part.get("nulls") or 0 for part in parts),
    }
    filled = [
        part for part in parts if part["n"] > (part.get("nulls") or 0)
    ]  # one without a value says nothing of its numbers
    if filled and all(part.get("min") is not None and part.get("max") is not None for part in filled):
        merged["min"] = min(part["min"] for part in filled)
        merged["max"] = max(part["max"] for part in filled)
    for name in ("total", "abs"):
        merged[name] = total([part.get(name) for part in filled])
    projections = [part.get("proj") or [None, None] for part in filled]
    proj = [total([each[k] for each in projections]) for k in (0, 1)]
    merged["proj"] = None if None in proj else proj
    return {name: value for name, value in merged.items() if value is not None}


def total(values: Sequence[float | None]) -> float | None:
    """The exact sum, rounded once: the order of the parts must not show. None where one is not known, or it is out of range."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    try:
        found = math.fsum(known)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None
