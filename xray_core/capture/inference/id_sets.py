"""Sets of ids, counted and compared: their 64-bit hashes with numpy where it is loaded and they are many, else by Python's sets.

A million hashes are counted in some 25 ms, sorted in 15 to 50, made into a Python set in 170; their texts, which are there, into one
in 120. numpy is never loaded for it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

_MANY: Final = 8_192


class IdSet:
    """The different ones of some ids. Immutable; `n` is how many.

    Args:
        hashes: of each id; `texts`: the ids themselves, where they are at hand.
    """

    __slots__ = ("_hashes", "_members", "_sorted", "_texts", "n")

    def __init__(self, hashes: array[int], texts: Sequence[bytes] | None = None) -> None:
        self._members: frozenset[int] | None = None
        self._texts: frozenset[bytes] | None = None
        self._sorted: Any = None
        self._hashes: Any = hashes
        numpy = sys.modules.get("numpy") if len(hashes) >= _MANY else None
        if numpy is not None:
            self._hashes = numpy.frombuffer(hashes, dtype="u8")
            self.n = _count_different(numpy, self._hashes)
        elif type(texts) is list:
            self._texts = frozenset(texts)
            self.n = len(self._texts)
        else:
            self.n = len(self._as_set())

    def __bool__(self) -> bool:
        return self.n > 0

    def shared(self, other: IdSet) -> int:
        """How many are in both."""
        if type(self._hashes) is not array and type(other._hashes) is not array:
            numpy = sys.modules["numpy"]
            if self.n == other.n and numpy.array_equal(self._hashes, other._hashes):
                return self.n  # the same rows in the same order, as most steps leave them
            return len(numpy.intersect1d(self._in_order(numpy), other._in_order(numpy), assume_unique=True))
        if self._texts is not None and other._texts is not None:
            return len(self._texts & other._texts)
        return len(self._as_set() & other._as_set())

    def as_array(self) -> array[int]:
        """The hashes it was made of."""
        return self._hashes if type(self._hashes) is array else array("Q", self._hashes.tobytes())

    def _in_order(self, numpy: Any) -> Any:
        if self._sorted is None:
            values = numpy.sort(self._hashes)
            if self.n < len(values):
                keep = numpy.ones(len(values), dtype=bool)
                keep[1:] = values[1:] != values[:-1]
                values = values[keep]
            self._sorted = values
        return self._sorted

    def _as_set(self) -> frozenset[int]:
        if self._members is None:
            self._members = frozenset(self._hashes.tolist())
        return self._members


def _count_different(numpy: Any, hashes: Any) -> int:
    """Each hash has a place in a table, and the last one written there stays. It counts; others that are equal to it do not, and
    others that are not are counted in the next round.
    """
    counted = 0
    while len(hashes) >= _MANY:
        bits = len(hashes).bit_length()
        # other bits in each round, since what met in one place must not meet again
        places = (hashes * numpy.uint64(2 * counted + 1) >> numpy.uint64(64 - bits)).astype(numpy.intp)
        table = numpy.empty(1 << bits, dtype=numpy.uint64)
        table[places] = hashes
        stayed = table[places]
        used = numpy.zeros(1 << bits, dtype=bool)
        used[places] = True
        counted += int(numpy.count_nonzero(used))
        hashes = hashes[stayed != hashes]
    return counted + len(numpy.unique(hashes))
