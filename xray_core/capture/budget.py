"""The time that an adapter may spend on looking at the values of a step: 5 ms, or 2% of the step's own time, whichever is more.

By the clock of this thread's CPU time: on a busy machine a step would be read in one run and not in the next. What cannot be done
in time is not begun, so whoever looks says beforehand what it costs at least. Before a step has run its time is not known: then
5 ms is all there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol

SHARE: Final = 0.02  # of the step's own time
LEAST_S: Final = 0.005


class OverBudgetError(Exception):
    """The time for looking at a step's values is up."""


class Tick(Protocol):
    """A look at the clock."""

    def __call__(self, cost_s: float = 0.0) -> None:
        """Raise OverBudgetError when the time is up, or does not suffice for so many seconds more."""


def no_tick(cost_s: float = 0.0) -> None:
    """For what is read whatever it takes: few values, and what the user asked for."""


class Budget:
    """What is left for one step. `with budget.look(...):` is one look; `tick` is the clock inside of it, which is not read before
    somebody asks: to read it costs as much as to look at a few values. Not for two threads at once: then the time of one is not
    counted.
    """

    __slots__ = ("_allowed_s", "_began_s", "_clock", "_looking", "_spent_s")

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._spent_s = self._allowed_s = 0.0
        self._began_s: float | None = None
        self._looking = False

    def look(self, took_s: float = 0.0, *, share: float = 1.0) -> Budget:
        """Begin a look at most as long as `share` of what is left; `took_s`: how long the step has run."""
        self._allowed_s = share * (max(LEAST_S, SHARE * took_s) - self._spent_s)
        return self

    def __enter__(self) -> Budget:
        self._looking = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking = False
        if self._began_s is not None:
            self._spent_s += max(0.0, self._clock() - self._began_s)
            self._began_s = None

    def tick(self, cost_s: float = 0.0) -> None:
        """See `Tick`."""
        if not self._looking:
            raise OverBudgetError
        now = self._clock()
        if self._began_s is None:
            self._began_s = now
        if now + cost_s > self._began_s + self._allowed_s:
            raise OverBudgetError
