"""Steps that have ended and whose values are still to be looked at: a thread of the sender's does it, a moment later.

A look takes as long as opening and closing a step, and three times as long where it is done between two steps of a framework,
whose code has filled the processor's caches. That a step has ended, and what was said of its items, is written down by then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Final

from xray_core import native
from xray_core.safety import swallow

MAX_WAITING: Final = 128  # steps; what each may hold: `step_values.MAX_PUT_OFF` values of at most `snapshots.MAX_BYTES`


class LateWork:
    """The steps of one client that wait. Any thread."""

    __slots__ = ("_lock", "_process", "_waiting")

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In the child: the parent settles its own."""
        self._process = os.getpid()
        self._lock = native.make_rlock()  # re-entrant: a signal handler may flush in the middle of a flush
        self._waiting: deque[Callable[[], None]] = (
            deque()
        )  # each looks at a step's values and writes down what they tell

    def has_room(self) -> bool:
        """Whether a step may wait; where too many do, its caller settles it at once."""
        if self._process != os.getpid():
            self.reset_after_fork()  # a fork that ran no hooks (uWSGI does that)
        return len(self._waiting) < MAX_WAITING

    def add(self, settle_step: Callable[[], None]) -> None:
        """Have a step settled by this call, once, soon or by the next `settle`. Where there is room."""
        self._waiting.append(settle_step)

    def settle(self, *, gently: bool = False) -> None:
        """Settle all that wait; when this returns it is done, whoever began it. Never raises.

        Args:
            gently: let other threads run between two steps.
        """
        if self._process != os.getpid():
            self.reset_after_fork()
        if gently and not self._waiting:
            return
        with self._lock:  # also where none waits: another thread may be at the last one
            while self._waiting:
                try:
                    self._waiting.popleft()()
                except IndexError:  # settled by a signal handler meanwhile
                    return
                except Exception as error:  # noqa: BLE001
                    swallow("looking at the values of a step that has ended", error)
                if gently:
                    native.sleep(0)
