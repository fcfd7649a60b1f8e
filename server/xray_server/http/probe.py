"""Questions whose answer may be late: a probe waits for it only so long, whatever the store does. Knows no HTTP and no SQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from xray_server.errors import StoreUnavailableError

T = TypeVar("T")
KEPT_S: Final = 5.0


class Probe(Generic[T]):
    """Asks one question, one at a time, on a thread of its own. Any thread.

    Args:
        question: may block for long, and may raise.
        kept_s: how old an answer may be that stands in for one that is late.
    """

    def __init__(self, question: Callable[[], T], *, kept_s: float = KEPT_S) -> None:
        self._question = question
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._asking: threading.Event | None = None
        self._last: tuple[float, T] | None = None
        self._error: Exception | None = None

    def answer(self, timeout_s: float) -> T:
        """The answer; an earlier one, at most `kept_s` old, where it takes longer than `timeout_s`.

        Raises:
            StoreUnavailableError: there is none in time.
        """
        with self._lock:
            asking = self._asking
            if asking is None:
                asking = self._asking = threading.Event()
                threading.Thread(target=self._ask, args=(asking,), name="xray-probe", daemon=True).start()
        in_time = asking.wait(timeout_s)
        with self._lock:
            if in_time and self._error is not None:
                raise self._error
            if self._last is not None and (in_time or time.monotonic() - self._last[0] < self._kept_s):
                return self._last[1]
        raise StoreUnavailableError(f"the store did not answer within {timeout_s:.2g} s")

    def _ask(self, asking: threading.Event) -> None:
        error: Exception | None = None
        found: tuple[float, T] | None = None
        try:
            found = (time.monotonic(), self._question())
        except Exception as raised:  # noqa: BLE001  # it is whoever waits who is to know
            error = raised
        with self._lock:
            self._last, self._error, self._asking = found or self._last, error, None
        asking.set()
