"""The thread that keeps segments up to date: it wakes when enough chunks were written, and works in short turns. Knows no SQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from xray_core.safety import swallow
from xray_server.backends.relational.item_index import TAIL
from xray_server.turns import Turns

_PAUSE_S: Final = 1.0  # between two compactions: each costs the writer a turn
_SHARE: Final = 0.25  # of a core; a chunk takes about 80 us, so that this keeps up with 3,000 a second
_LARGER_SHARE: Final = (
    0.75  # while so many came meanwhile that an item among them takes seconds to find, as in an import:
)
_MANY: Final = 20_000  # chunks


class Pace(NamedTuple):
    """How fast to compact: `stop` says whether to end, `rest` lets others work where it is time for that."""

    stop: Callable[[], bool] = lambda: False
    rest: Callable[[], None] = lambda: None


NO_PAUSE: Final = Pace()


class Compactor:
    """Compacts in the background. `written` may be called from any thread and returns at once.

    What goes wrong here is logged and counted, and costs lookups time, never an answer: the tail is still there.

    Args:
        compact: does it, on connections of its own, until it is done or `Pace.stop` says so; it calls `Pace.rest` often.
    """

    def __init__(self, compact: Callable[[Pace], object], *, pause_s: float = _PAUSE_S) -> None:
        self._compact = compact
        self._pause_s = pause_s
        self._waiting = TAIL  # there may be a tail from before: the first chunk that is written has it looked at
        self._behind = 0  # chunks that came since the tail was last found short
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def written(self, chunks: int) -> None:
        """So many chunks of verdicts were committed."""
        with self._lock:
            self._waiting += chunks
            self._behind += chunks
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
        usual, hasty = (Turns(self._closed.wait, share=share) for share in (_SHARE, _LARGER_SHARE))
        pace = Pace(self._closed.is_set, lambda: (usual if self._behind < _MANY else hasty).rest())
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._closed.is_set():
                return
            try:
                usual.begin()
                hasty.begin()
                self._compact(pace)
                self._behind = 0
            except Exception as error:  # noqa: BLE001  # a full disk, a lock, no connection: the next write tries again
                swallow("compacting item segments", error)
                with self._lock:
                    self._waiting = TAIL
            self._closed.wait(self._pause_s)
