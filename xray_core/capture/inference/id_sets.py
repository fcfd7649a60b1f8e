"""Sets of 64-bit hashes, compared: by sorting where numpy is loaded and they are many, else by Python's sets.

A million hashes are sorted in some 15 ms, made into a Python set in a hundred. numpy is never loaded for it.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any, Final

_MANY: Final = 8_192


class IdSet:
    """The different ones of some hashes. Immutable."""

    __slots__ = ("_members", "_sorted", "n")

    def __init__(self, hashes: array[int]) -> None:
        self._members: frozenset[int] | None = None
        self._sorted: Any = None
        numpy = sys.modules.get("numpy") if len(hashes) >= _MANY else None
        if numpy is not None:
            values = numpy.sort(numpy.frombuffer(hashes, dtype="u8"))
            keep = numpy.ones(len(values), dtype=bool)
            keep[1:] = values[1:] != values[:-1]
            self._sorted = values if keep.all() else values[keep]
            self.n = len(self._sorted)
        else:
            self._members = frozenset(hashes)
            self.n = len(self._members)

    def __bool__(self) -> bool:
        return self.n > 0

    def shared(self, other: IdSet) -> int:
        """How many are in both."""
        if self._sorted is not None and other._sorted is not None:
            numpy = sys.modules["numpy"]
            return len(numpy.intersect1d(self._sorted, other._sorted, assume_unique=True))
        small, large = (self, other) if self.n <= other.n else (other, self)
        members = large._as_set()
        return sum(1 for each in small._as_set() if each in members)

    def _as_set(self) -> frozenset[int]:
        return self._members if self._members is not None else frozenset(self._sorted.tolist())
