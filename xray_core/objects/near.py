"""Values that differ in the last digits of numbers alone, or in what is another in every run, where only their fingerprints are kept.

Stored values, scores and columns are compared by what is kept of them. Of a small value that passed through an adapter there is
its fingerprint: beside it stand that of the same value with its numbers rounded, and that without what is generated as well.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.generated import MIN_RUN_ID, is_near, is_of_one_call, may_be_made_anew, now_us, without_temporary
from xray_core.objects.structure import view

TOLERANCE: Final = 1e-9  # what is equal when rounded differs by less
_DIGITS: Final = 10
_NOTHING: Final = 1e-12  # what is smaller counts as zero, as the rest of a subtraction does
_MAX_VALUES: Final = 200
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_GENERATED: Final = "$generated"
_SHORT: Final = 11  # characters: what is shorter is neither a time nor the name of a temporary file
_EARLY: Final = 1e9  # seconds, or less: numbers below tell no time of now


class _OtherwiseError(ValueError):
    """It is no small value, or one that cannot be read."""


def near(value: Any, exact: str | None = None) -> str | None:
    """The fingerprint of a small plain value with its floats rounded to 10 digits; None where it holds none, or is another.

    Args:
        exact: the value's own, where it is known: most values have no more digits, and it is theirs too.
    """
    found = _Rounding()
    rounded = found.read(value)
    if not found.floats or rounded is None:
        return None
    return exact if exact is not None and found.same else str(fingerprint(rounded[0])["exact"])


class Own(NamedTuple):
    """What a step and its run may leave of themselves in values.

    Attributes:
        run_id: the run's, or "".
        seen: ids that may have been made up, in the order in which they turned up; what a step was given it has not made.
    """

    run_id: str
    seen: dict[str, int]


def lasting(value: Any, own: Own) -> str | None:
    """The same without ids of requests and of the run, times of now, durations, hosts and names of temporary files; None where it
    holds no such.

    Ids that may have been made up are told apart by the order in which they turn up, if there is anything beside them. Objects
    are read too. Never calls user code, never raises.

    Args:
        own: adds to the ids that turned up before.
    """
    found = _Lasting(now_us(), own)
    rest = found.read(value)
    if rest is None or not found.generated or not found.content:
        return None
    return str(fingerprint(rest[0])["exact"])


class _Rounding:
    def __init__(self) -> None:
        self.floats = self.values = 0
        self.same = True

    def read(self, value: Any) -> tuple[Any] | None:
        """The value rounded; None of a large one, or one that cannot be read."""
        try:
            return (self.of(value),)
        except (_OtherwiseError, RuntimeError):  # RuntimeError: a dict that changes under our hands
            return None

    def of(self, value: Any) -> Any:
        self.values += 1
        if self.values > _MAX_VALUES:
            raise _OtherwiseError
        kind = type(value)
        if kind is float or (isinstance(value, float) and kind.__module__ == "numpy"):
            self.floats += 1
            rounded = _rounded(float(value))
            self.same = self.same and rounded == value and kind is float
            return self.scalar(rounded)
        if kind in _PLAIN:
            return self.scalar(value)
        if kind is dict:
            return {key: self.field(key, each) for key, each in value.items()}
        if kind is list or kind is tuple:
            return [self.of(each) for each in value]
        return self.other(value)

    def scalar(self, value: Any) -> Any:
        return value

    def field(self, name: Any, value: Any) -> Any:  # a name says something of what is generated alone
        return self.of(value)

    def other(self, value: Any) -> Any:
        raise _OtherwiseError


class _Lasting(_Rounding):
    def __init__(self, now: int, own: Own) -> None:
        super().__init__()
        self.now = now
        self.seen = own.seen
        self.run_id = own.run_id if len(own.run_id) >= MIN_RUN_ID else ""
        self.generated = 0
        self.content = False

    def scalar(self, value: Any) -> Any:
        if isinstance(value, str) and self.run_id and self.run_id in value:
            self.generated += 1
            self.content = True
            return without_temporary(value.replace(self.run_id, _GENERATED))
        if isinstance(value, str) and may_be_made_anew(value):
            self.generated += 1
            return f"{_GENERATED}-{self.seen.setdefault(value, len(self.seen))}"
        self.content = True
        if value is None or (len(value) < _SHORT if isinstance(value, str) else value < _EARLY):
            return value
        lasts = without_temporary(value) if isinstance(value, str) else value
        if lasts is value and not is_near(value, self.now):
            return value
        self.generated += 1
        return _GENERATED if lasts is value else lasts

    def field(self, name: Any, value: Any) -> Any:
        if not isinstance(name, str) or not is_of_one_call(name):
            return self.of(value)
        self.generated += 1
        self.content = True
        return _GENERATED

    def other(self, value: Any) -> Any:
        seen = view(value, _MAX_VALUES)
        if seen.kind in ("atom", "text"):
            return self.scalar(seen.value)
        if seen.kind == "map" and len(seen.value) == seen.size:
            return {key: self.field(key, each) for key, each in seen.value}
        if seen.kind == "sequence" and len(seen.value) == seen.size:
            return [self.of(each) for each in seen.value]
        raise _OtherwiseError


def _rounded(number: float) -> float:
    if not math.isfinite(number):
        return number
    return float(f"{number:.{_DIGITS - 1}e}") if abs(number) > _NOTHING else 0.0
