"""Scores and ranks as plain numbers, whatever library they come from."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from xray_core.safety import reraise_interrupt

_NUMBERS: Final = (int, float, Decimal, Fraction)
_LIBRARIES: Final = frozenset({"numpy", "pandas", "pyarrow"})
_EXACT: Final = 1 << 53  # whole numbers below it are doubles too


def score_of(score: Any) -> float | None:
    """A score as an int or float; infinities stay. None for NaN, a library's null and what is no number.

    numpy's, pyarrow's and Decimal's numbers count: libraries return them. A text does not: nobody said that it is a number.
    """
    kind = type(score)
    if kind is float:
        return None if score != score else score
    if kind is int and -_EXACT < score < _EXACT:
        return score  # type: ignore[no-any-return]  # as above
    try:
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            score = score.as_py() if hasattr(score, "as_py") else score.item()
        if not isinstance(score, _NUMBERS):
            return None
        number = float(score)
    except Exception as error:  # noqa: BLE001  # whatever a class of the program's own raises: it is no number
        reraise_interrupt(error)
        return None
    if number != number:
        return None
    return int(number) if isinstance(score, int) and abs(number) < _EXACT else number


def rank_of(rank: Any) -> int | None:
    """A rank as an int: pandas' and numpy's are often whole floats. None for what is no whole number."""
    if type(rank) is int:
        return rank
    number = score_of(rank)
    return int(number) if number is not None and math.isfinite(number) and number == int(number) else None
