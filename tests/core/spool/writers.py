"""A thread that holds a spool's lock until it is told to let others in."""

from __future__ import annotations

import threading
from types import TracebackType

from xray_core.spool.lock import WriterLock


class Holder:
    """Holds the lock in a thread of its own inside the `with` block, or until `release`."""

    def __init__(self, lock: WriterLock) -> None:
        self._lock = lock
        self._inside, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with self._lock.held():
            self._inside.set()
            self._leave.wait(30)

    def release(self) -> None:
        self._leave.set()
        self._thread.join()

    def __enter__(self) -> Holder:
        self._thread.start()
        assert self._inside.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
