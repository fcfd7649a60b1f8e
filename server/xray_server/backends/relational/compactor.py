"""The thread that keeps segments up to date: it wakes when enough chunks were written. Knows no SQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from xray_core.safety import swallow
from xray_server.backends.relational.item_index import TAIL

_PAUSE_S: Final = 1.0  # between two compactions: each costs the writer a turn


class Compactor:
    """Compacts in the background. `written` may be called from any thread and returns at once.

    What goes wrong here is logged and counted, and costs lookups time, never an answer: the tail is still there.

    Args:
        compact: does it, on connections of its own, until it is done or the function that it is given says to stop.
    """

    def __init__(self, compact: Callable[[Callable[[], bool]], object], *, pause_s: float = _PAUSE_S) -> None:
        self._compact = compact
        self._pause_s = pause_s
        self._waiting = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def written(self, chunks: int) -> None:
        """So many chunks of verdicts were committed."""
        with self._lock:
            self._waiting += chunks
            if self._waiting < TAIL or self._closed.is_set():
                return
            self._waiting = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="xray-items", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Finish what is under way and stop. May be called twice."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._closed.is_set():
                return
            try:
                self._compact(self._closed.is_set)
            except Exception as error:  # noqa: BLE001  # a full disk, a lock, no connection: the next round tries again
                swallow("compacting item segments", error)
            self._closed.wait(self._pause_s)
