"""Events leave on a thread of their own. What does not fit into the queue is dropped and counted; what waits at exit has two seconds."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from typing import Any, Final

from xray_core.safety import swallow

MAX_WAITING: Final = 1_000
EXIT_S: Final = 2.0


class EventQueue:
    """Hands events to a client, in order. `put` never blocks; any thread may call it, also in a forked child."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.dropped = 0
        self._thread: threading.Thread | None = None
        self._reset()
        atexit.register(self.wait, EXIT_S)

    def put(self, event: Any) -> None:
        """Queue an event."""
        if self._pid != os.getpid():
            self._reset()  # the parent's thread is not here, and what waited there is its to send
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="xray-openlineage", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything has left; whether it has."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[Any] = deque()
        self._changed = threading.Condition()
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                event = self._waiting[0]
            try:
                self._client.emit(event)
            except Exception as error:  # noqa: BLE001  # a lineage server that is away is no matter of the pipeline
                swallow("openlineage emit", error)
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()
