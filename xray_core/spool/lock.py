"""`WriterLock`: guards a process's segments; no capture waits for it for long.

Captures happen inside signal handlers, `__del__`, logging handlers and right after a fork: a writer that finds the lock
taken by its own thread, or by one that hangs on a slow disk, does not get it and writes elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from xray_core import native
from xray_core.native import thread_ident

_WAIT_S: Final = 1.0  # many busy threads make each wait for the GIL, 5 ms apiece: less is no sign of a hang


class WriterLock:
    """One lock; see the module.

    Attributes:
        lock: writers take and release it without a call of ours in between, and set `owner` and `stuck` themselves.
        owner: the ident of the thread that holds it, 0 for none.
        stuck: a writer waited for the whole timeout: until the owner is through, no other one waits.
    """

    __slots__ = ("_lost", "lock", "owner", "stuck")

    def __init__(self) -> None:
        self.lock = native.make_lock()
        self.owner = 0
        self.stuck = False
        self._lost = False

    def wait(self, lock: native.Lock) -> bool:
        """Whether a writer that found `lock` taken has it now. While an owner hangs, only the first writer waits (1 s)."""
        if self.stuck or self.owner == thread_ident():
            return False
        if lock.acquire(timeout=_WAIT_S):
            return True
        self.stuck = True
        return False

    def mine(self) -> bool:
        """Whether this very thread holds it: a signal or a finaliser interrupted it in between."""
        return self.owner == thread_ident()

    @contextmanager
    def held(self, *, patient: bool = False) -> Iterator[bool]:
        """The lock, for background threads; yields whether it is held, always True when `patient`.

        Only a writer that hangs in the disk makes others wait for long.
        """
        lock = self.lock
        held = lock.acquire(timeout=-1 if patient else _WAIT_S)
        if held:
            self.owner = thread_ident()
        try:
            yield held
        finally:
            if held:
                self.owner = 0
                self._lost = False
                lock.release()

    def mend(self) -> None:
        """To be called about once a second while the lock cannot be had: without an owner in two calls, it is replaced.

        A KeyboardInterrupt between `acquire` and the next bytecode leaves the lock locked without an owner.
        """
        if self._lost and self.owner == 0:
            self.lock, self.stuck, self._lost = native.make_lock(), False, False
        else:
            self._lost = self.owner == 0

    def before_fork(self) -> bool:
        """Hold writers off, so that the child finds a whole state; returns whether `after_fork_in_parent` is due."""
        if self.mine():
            return False
        held = self.lock.acquire(timeout=_WAIT_S)
        if held:
            self.owner = thread_ident()
        return held

    def after_fork_in_parent(self) -> None:
        """Let writers in again."""
        self.owner = 0
        self.lock.release()
