"""How many requests a key may make: a token bucket each. Knows no HTTP."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

PER_S: Final = 200.0
BURST_S: Final = 5.0  # of unused allowance that may be spent at once
_MAX_BUCKETS: Final = 10_000  # beyond, the one longest unused is forgotten, which fills it


class Rates:
    """One bucket a key. Not for several threads: it belongs to the event loop.

    Args:
        per_s: requests a second, on average; 0 means no limit.
        clock: seconds, monotonic.
    """

    def __init__(self, per_s: float = PER_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * BURST_S)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str) -> float:
        """Take one request's worth. 0 when it was there, else in how many seconds it will be."""
        if self._per_s <= 0:
            return 0.0
        now_s = self._clock()
        left, at_s = self._buckets.pop(key_id, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._buckets[key_id] = (left if wait_s else left - 1, now_s)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return wait_s
