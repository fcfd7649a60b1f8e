"""Numbers that differ in their last digits alone, where no more than fingerprints of them are kept.

Stored values, scores and columns are compared within a tolerance by what is kept of them. Of a small plain value that passed
through an adapter there is its fingerprint: beside it stands that of the same value with its numbers rounded.
"""

from __future__ import annotations

import math
from typing import Any, Final

from xray_core.objects.fingerprint import fingerprint

TOLERANCE: Final = 1e-9  # what is equal when rounded differs by less
_DIGITS: Final = 10
_NOTHING: Final = 1e-12  # what is smaller counts as zero, as the rest of a subtraction does
_MAX_VALUES: Final = 200
_PLAIN: Final = frozenset({str, int, bool, type(None)})


class _OtherwiseError(ValueError):
    """It is no small plain value."""


def near(value: Any, exact: str | None = None) -> str | None:
    """The fingerprint of a small plain value with its floats rounded to 10 digits; None where it holds none, or is another.

    Args:
        exact: the value's own, where it is known: most values have no more digits, and it is theirs too.
    """
    rounding = _Rounding()
    try:
        rounded = rounding.of(value)
    except (_OtherwiseError, RuntimeError):  # RuntimeError: a dict that changes under our hands
        return None
    if not rounding.floats:
        return None
    return exact if exact is not None and rounding.same else str(fingerprint(rounded)["exact"])


class _Rounding:
    def __init__(self) -> None:
        self.floats = self.values = 0
        self.same = True

    def of(self, value: Any) -> Any:
        self.values += 1
        if self.values > _MAX_VALUES:
            raise _OtherwiseError
        kind = type(value)
        if kind is float or (isinstance(value, float) and kind.__module__ == "numpy"):
            self.floats += 1
            rounded = _rounded(float(value))
            self.same = self.same and rounded == value and kind is float
            return rounded
        if kind in _PLAIN:
            return value
        if kind is dict:
            return {key: self.of(each) for key, each in value.items()}
        if kind is list or kind is tuple:
            return [self.of(each) for each in value]
        raise _OtherwiseError


def _rounded(number: float) -> float:
    if not math.isfinite(number):
        return number
    return float(f"{number:.{_DIGITS - 1}e}") if abs(number) > _NOTHING else 0.0
