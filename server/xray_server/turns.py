"""Work in the background, a little at a time: a thread that computes makes every other wait for the interpreter.

Tested by tests/server/test_turns.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SLICE_S: Final = 0.002  # worked at a stretch
_LONGEST_REST_S: Final = 1.0


class Turns:
    """When a thread in the background rests. One thread's.

    Args:
        wait: rests for so many seconds; it may end earlier, where the thread is to end.
        share: of one core, at most, while others work.
        busy: whether others work now.
    """

    def __init__(
        self, wait: Callable[[float], object], *, share: float, busy: Callable[[], bool] = lambda: True
    ) -> None:
        self._wait, self._busy = wait, busy
        self._rest_for = 1 / share - 1
        self._began_s = time.monotonic()

    def begin(self) -> None:
        """The thread begins to work now."""
        self._began_s = time.monotonic()

    def rest(self) -> None:
        """Rest if it was worked long enough. To be called often: it costs a look at the clock."""
        worked_s = time.monotonic() - self._began_s
        if worked_s > SLICE_S:
            if self._busy():
                self._wait(min(_LONGEST_REST_S, worked_s * self._rest_for))
            self._began_s = time.monotonic()
