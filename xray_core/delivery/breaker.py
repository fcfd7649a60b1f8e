"""When the sender may try again: backoff with full jitter, Retry-After as a floor, and a longer pause where only a user can help.

Pure arithmetic over an injected clock and random source. Knows nothing of HTTP.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Final, Literal

BASE_S: Final = 0.5
CAP_S: Final = 30.0
PAUSE_BASE_S: Final = 5.0
PAUSE_CAP_S: Final = 60.0
_OPENS_AFTER: Final = 3  # failures in a row
_MAX_FLOOR_S: Final = 24 * 3600.0


# A generator of our own: drawing from the global one would change what a pipeline that seeded it does.
_generator = random.Random()  # noqa: S311  # spreads retries, guards nothing
_uniform = _generator.uniform
os.register_at_fork(after_in_child=_generator.seed)


class Breaker:
    """The state of one server, as seen by one sender. Used by one thread at a time; never blocks.

    The wait after the n-th failure is uniform in [0, min(CAP_S, BASE_S * 2**n)] (full jitter; M. Brooker, "Exponential
    Backoff And Jitter", AWS 2015). After three failures the breaker is open: when the wait is over it is half open, and
    the sender probes with a small batch.

    Args:
        clock: monotonic seconds.
        uniform: as `random.uniform`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self.failures = 0
        self.pauses = 0
        self._try_at = 0.0
        self._floor_at = 0.0

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """One of "closed": send; "open": wait; "half_open": the wait is over, send a small batch."""
        if self.failures < _OPENS_AFTER and not self.pauses:
            return "closed"
        return "half_open" if self.wait_s() <= 0 else "open"

    def wait_s(self, *, hurry: bool = False) -> float:
        """Seconds until the next try. In a hurry (a flush, the exit) only what the server asked for counts."""
        return max(0.0, (self._floor_at if hurry else self._try_at) - self._clock())

    def succeeded(self) -> None:
        """The server took a body: no wait."""
        self.failures = self.pauses = 0
        self._try_at = self._floor_at = 0.0

    def failed(self, *, retry_after_s: float | None = None) -> None:
        """No answer, or one that says to come back later."""
        self.failures += 1
        now = self._clock()
        wait = self._uniform(0.0, min(CAP_S, BASE_S * 2.0 ** min(self.failures, 10)))
        if retry_after_s is not None:
            # Never earlier than asked; and later by some, or all clients would come back in the same instant.
            floor = min(retry_after_s, _MAX_FLOOR_S)
            self._floor_at = now + floor
            wait += floor
        self._try_at = now + wait

    def paused(self) -> None:
        """An answer that only a user can change (a wrong key, a wrong address): try again every 5 to 60 s."""
        self.pauses += 1
        wait = min(PAUSE_CAP_S, PAUSE_BASE_S * 2.0 ** min(self.pauses - 1, 10))
        self._try_at = self._clock() + wait * self._uniform(0.75, 1.0)
