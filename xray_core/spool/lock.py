"""`Gate`: the lock before a process's segments, which no capture may wait behind for long.

Captures happen inside signal handlers, `__del__`, logging handlers and right after a fork: whoever finds the lock taken
by its own thread, or by one that hangs on a slow disk, is told so and goes around it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Final

_WAIT_S: Final = 1.0  # many busy threads make each wait for the GIL, 5 ms apiece: less is no sign of a hang


class Gate:
    """One lock; see the module.

    Attributes:
        lock: writers take and release it without a call of ours in between, and set `owner` and `stuck` themselves.
        owner: the ident of the thread inside, 0 for none.
        stuck: somebody hangs inside, as a writer found out that waited: no other need wait before that one is through.
    """

    __slots__ = ("_lost", "lock", "owner", "stuck")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = 0
        self.stuck = False
        self._lost = False

    def wait(self, lock: threading.Lock) -> bool:
        """Whether a writer that found `lock` taken has it now; waits once for long while somebody hangs inside."""
        if self.stuck or self.owner == get_ident():
            return False
        if lock.acquire(timeout=_WAIT_S):
            return True
        self.stuck = True
        return False

    def mine(self) -> bool:
        """Whether this very thread is inside: it was interrupted there by a signal or a finaliser."""
        return self.owner == get_ident()

    @contextmanager
    def held(self, *, patient: bool = False) -> Iterator[bool]:
        """The lock, off the caller's path; yields whether it is held, always True for the patient.

        Only a writer that hangs in the disk makes others wait for long.
        """
        lock = self.lock
        held = lock.acquire(timeout=-1 if patient else _WAIT_S)
        if held:
            self.owner = get_ident()
        try:
            yield held
        finally:
            if held:
                self.owner = 0
                self._lost = False
                lock.release()

    def mend(self) -> None:
        """To be called about once a second while the lock cannot be had: when nobody owns it twice, make another.

        A KeyboardInterrupt between `acquire` and the next bytecode leaves the lock taken by nobody, for ever.
        """
        if self._lost and self.owner == 0:
            self.lock, self.stuck, self._lost = threading.Lock(), False, False
        else:
            self._lost = self.owner == 0

    def before_fork(self) -> bool:
        """Hold writers off, so that the child finds a whole state; returns whether `after_fork_in_parent` is due."""
        if self.mine():
            return False
        held = self.lock.acquire(timeout=_WAIT_S)
        if held:
            self.owner = get_ident()
        return held

    def after_fork_in_parent(self) -> None:
        self.owner = 0
        self.lock.release()
