"""Columns of values and sums of scores of two runs: equal, equal within a tolerance, or how they differ.

A column is kept as an order-free sum of hash(id, value) and, where it is numeric, two random projections
p = sum of w(id) * value with weights below 1.5: columns whose values differ by less than a relative tolerance t differ in p by
no more than 1.5 * t * sum of |value|.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xray_core.compare.types import Change
from xray_core.objects.generated import is_near, is_of_one_call

VALUES: Final = "values"  # of which no more is known than that they differ from the others
OTHER_VALUES: Final = "other values"
VALUE, OTHER_VALUE = "a value", "another value"  # the same, of one
PRESENT: Final = "present"
_MAX_WEIGHT: Final = 1.5
_ROUNDING: Final = 1e-15  # of each of n additions


def column_difference(a: Mapping[str, Any], b: Mapping[str, Any], tolerance: float) -> tuple[str, ...] | None:
    """The columns of two item sets that differ beyond the tolerance; None where the columns cannot tell."""
    one, other = a.get("columns"), b.get("columns")
    if not one or not other or a.get("columns_omitted") or b.get("columns_omitted"):
        return None
    return tuple(
        sorted(
            name
            for name in one.keys() | other.keys()
            if name not in one or name not in other or differ(one[name], other[name], tolerance)
        )
    )


def shared_columns_that_differ(a: Mapping[str, Any], b: Mapping[str, Any], tolerance: float) -> tuple[str, ...]:
    """Of the columns that are known of both item sets, those that differ beyond the tolerance."""
    one, other = a.get("columns") or {}, b.get("columns") or {}
    return tuple(sorted(name for name in one.keys() & other.keys() if differ(one[name], other[name], tolerance)))


def split_generated(
    columns: Sequence[str], a: Mapping[str, Any], b: Mapping[str, Any], began_us: tuple[int | None, int | None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of columns that differ, those that do for good, and those that hold what is another in every run."""
    both = [each.get("columns") or {} for each in (a, b)]

    def of_the_run(name: str) -> bool:
        one, other = (each.get(name) for each in both)
        if one is None or other is None:
            return False
        if is_of_one_call(name) or (one.get("now") and other.get("now")):
            return True
        ends = ("min", "max")
        return all(is_near(each.get(end), at) for each, at in zip((one, other), began_us) for end in ends)

    generated = tuple(name for name in columns if of_the_run(name))
    return tuple(name for name in columns if name not in generated), generated


def scores_differ(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, tolerance: float) -> bool | None:
    """Whether the scores of all items differ; None where they were not summed."""
    if not a or not b:
        return None
    return a.keys() != b.keys() or any(differ(a[outcome], b[outcome], tolerance) for outcome in a)


def differ(a: Mapping[str, Any], b: Mapping[str, Any], tolerance: float) -> bool:
    """Whether two columns differ beyond the tolerance."""
    if a.get("n") != b.get("n") or a.get("nulls") != b.get("nulls"):
        return True
    if a.get("sum") is not None and a.get("sum") == b.get("sum"):
        return False
    one, other = a.get("proj"), b.get("proj")
    if not one or not other or tolerance <= 0:
        return True
    size = max(abs(a.get("abs") or 0.0), abs(b.get("abs") or 0.0))
    allowed = (_MAX_WEIGHT * tolerance + _ROUNDING * max(1, a.get("n") or 1) ** 0.5) * size
    return any(abs(x - y) > allowed for x, y in zip(one, other))


def column_changes(
    a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, path: str, tolerance: float
) -> Iterator[Change]:
    """How the numeric columns of two item sets, or the scores of two steps, differ: in mean, range, number and gaps."""
    for name in sorted((a or {}).keys() | (b or {}).keys()):
        one, other = (a or {}).get(name), (b or {}).get(name)
        if one is None or other is None:
            yield Change(
                path=f"{path}.{name}", a=None if one is None else PRESENT, b=None if other is None else PRESENT
            )
        elif differ(one, other, tolerance):
            found = False
            for figure in ("n", "nulls", "mean", "min", "max"):
                x, y = _figure(one, figure), _figure(other, figure)
                if x is not None and y is not None and x != y and abs(x - y) > tolerance * max(abs(x), abs(y)):
                    found = True
                    yield Change(path=f"{path}.{name}.{figure}", a=x, b=y)
            if not found:
                yield Change(path=f"{path}.{name}", a=VALUES, b=OTHER_VALUES)


def _figure(column: Mapping[str, Any], figure: str) -> Any:
    if figure == "mean":
        n = (column.get("n") or 0) - (column.get("nulls") or 0)
        total = column.get("total")
        return None if total is None or n <= 0 else total / n
    return column.get(figure)
