"""`Wake`: an event that may be set from anywhere. `threading.Event.set` deadlocks when a signal handler interrupts it."""

from __future__ import annotations

from xray_core import native


class Wake:
    """A binary semaphore out of one raw lock: several `set` calls wake one `wait`."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = native.make_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiter, or the next one. Never blocks."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # set already

    def wait(self, timeout_s: float) -> bool:
        """Wait until set; False when the time is over first."""
        return self._lock.acquire(timeout=timeout_s)
