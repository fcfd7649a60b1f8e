"""Declared numbers: what a verdict was based on, and the limit that it was held against; kept for every item that has one.

An item's hash and value go into one buffer by one operation, between which no other thread can come. There is a buffer for
each limit; the first items of a reason are named, as all others are (verdict_log.py).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from xray_core.capture.scores import score_of
from xray_core.sums import total

MAX_LIMITS: Final = 16  # of one reason; what is held against further ones keeps its value alone
_PAIR: Final = Struct("=Qd").pack


class Named(NamedTuple):
    """An item that is kept by its name, with its value and its limit."""

    item_id: str
    value: float
    limit: float | None


class Taken(NamedTuple):
    """Items of one limit, by their hashes, and their values beside them."""

    limit: float | None
    hashes: array[int]
    values: array[float]


class Declared:
    """The items of one outcome and reason that have a value and are not yet written down; `taken`: how many were."""

    __slots__ = ("_buffers", "_limits", "_max", "_min", "_total", "named", "taken")

    def __init__(self) -> None:
        self.named: list[Named] = []
        self.taken = 0
        self._total: float | None = 0.0  # of the values that were taken, as the others
        self._min, self._max = math.inf, -math.inf
        self._limits: set[float] = set()
        self._buffers: dict[float | None, array[int]] = {}

    def n(self) -> int:
        """How many items wait to be written down."""
        return len(self.named) + sum(len(buffer) // 2 for buffer in list(self._buffers.values()))

    def one_limit(self) -> bool:
        """Whether all items so far were held against one limit: else their order is not kept."""
        return len(self._limits) + (None in self._buffers) < 2

    def known(self, limit: float | None) -> float | None:
        """The limit, or None where there are more than `MAX_LIMITS`."""
        if limit is None or limit in self._limits:
            return limit
        if len(self._limits) >= MAX_LIMITS:
            return None
        self._limits.add(limit)
        return limit

    def add(self, hashed: int, value: float, limit: float | None) -> None:
        """An item by its hash; `limit` as `known` gives it."""
        buffer = self._buffers.get(limit)
        if buffer is None:
            buffer = self._buffers.setdefault(limit, array("Q"))
        buffer.frombytes(_PAIR(hashed, value))

    def extend(self, hashes: array[int], values: array[float], limit: float | None) -> None:
        """As `add`, of many."""
        pairs = array("Q", bytes(16 * len(hashes)))
        pairs[0::2] = hashes
        pairs[1::2] = array("Q", values.tobytes())
        self._buffers.setdefault(limit, array("Q")).extend(pairs)

    def take_named(self) -> list[Named]:
        """The named items that came so far, in order; they wait no longer. One caller at a time."""
        taken = self.named[:]
        del self.named[: len(taken)]
        self._sum([each.value for each in taken])
        return taken

    def take(self) -> list[Taken]:
        """The other items that came so far, in order; they wait no longer. One caller at a time."""
        taken = []
        for limit, buffer in list(self._buffers.items()):
            pairs = buffer[: len(buffer) // 2 * 2]
            del buffer[: len(pairs)]
            if pairs:
                taken.append(Taken(limit, pairs[0::2], array("d", pairs[1::2].tobytes())))
                self._sum(taken[-1].values)
        return taken

    def _sum(self, values: Sequence[float]) -> None:
        if values:
            self.taken += len(values)
            self._total = total([self._total, *values])
            self._min, self._max = min(self._min, *values), max(self._max, *values)

    def sums(self) -> dict[str, float | None]:
        """Of the values written down so far: n, total (None: out of range), min, max."""
        return {"n": self.taken, "total": self._total, "min": self._min, "max": self._max}


def by_limit(named: Sequence[Named]) -> dict[float | None, list[Named]]:
    """Named items by the limit that they were held against."""
    found: dict[float | None, list[Named]] = {}
    for each in named:
        found.setdefault(each.limit, []).append(each)
    return found


def finite(number: Any) -> float | None:
    """A value or limit as a finite float; None for what is none."""
    found = score_of(number)
    return float(found) if found is not None and math.isfinite(found) else None
