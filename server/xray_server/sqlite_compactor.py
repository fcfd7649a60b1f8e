"""The thread that keeps segments up to date: it wakes when enough chunks were written, and works on its own connection."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from xray_core.safety import swallow
from xray_server import sqlite_segments
from xray_server.sqlite_lock import FileLock

_PAUSE_S: Final = 1.0  # between two compactions: each costs the writer its caches


class Compactor:
    """Compacts in the background. `written` may be called from any thread and returns at once.

    What goes wrong here is logged and counted, and costs lookups time, never an answer: the tail is still there.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        lock: FileLock,
        leading: FileLock,
        *,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._connect = connect
        self._write_lock = lock
        self._leading = leading  # of several processes one compacts at a time
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
            if self._waiting < sqlite_segments.TAIL_CHUNKS or self._closed.is_set():
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
        db = self._connect()
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._closed.is_set():
                return
            try:
                with self._leading.if_free() as ours:
                    if ours:
                        sqlite_segments.compact(db, self._write_lock, stop=self._closed.is_set)
            except Exception as error:  # noqa: BLE001  # a full disk, a lock: the next round tries again
                swallow("compacting item segments", error)
            self._closed.wait(self._pause_s)
