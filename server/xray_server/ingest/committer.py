"""Group commit: batches of several requests in one transaction, written by one thread; each request is answered after the commit.

While one transaction commits, the next group gathers, so that a slow disk makes groups larger, not requests fewer. The queue
is bounded; beyond the bound a request is turned away at once (429). Knows no HTTP and no SQL.

Where a write costs about the same whatever is in it (`WritesInGroups`), a group also waits for the senders whose last request
was answered just now: without that, those who take turns would halve every group.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from xray_core.safety import swallow
from xray_server.errors import QueueFullError
from xray_server.store import Batch, Store, StoreUnavailableError, WritesInGroups

# 20,000 records take about a second: the longest that a request waits for the one before it.
MAX_GROUP_RECORDS: Final = 20_000
MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
MAX_WAITING_BATCHES: Final = 1_000
GATHER_SHARE: Final = 0.25  # of the time that the last write took, a group may wait for those who are expected
FAILING_S: Final = 30.0  # a failure that is older says nothing: nobody may have written since

Refusals = dict[int, str]


@dataclass(frozen=True, slots=True)
class CommitCounters:
    """Of this process, since it started."""

    waiting_batches: int
    waiting_bytes: int
    oldest_waiting_s: float
    commits: int
    records: int
    refused_records: int
    turned_away: int
    failed_commits: int
    last_commit_s: float
    failing: str | None = None  # why the last transaction failed, for `FAILING_S` or until one is committed


class Committer:
    """Takes batches from any thread, writes them from its own. Start it once; `close` writes what was taken."""

    def __init__(
        self,
        store: Store,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_waiting_batches: int = MAX_WAITING_BATCHES,
        after_commit: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._gather_s = store.gather_s if isinstance(store, WritesInGroups) else 0.0
        self._expected = 0  # senders that were there during the last write
        self._after_commit = after_commit  # called on the writing thread: must be quick and never raise
        self._max_bytes = max_waiting_bytes
        self._max_batches = max_waiting_batches
        self._waiting: deque[tuple[Batch, int, float, Future[Refusals]]] = deque()
        self._bytes = 0
        self._closed = False
        self._wake = threading.Condition()
        self._commits = self._records = self._refused = self._turned_away = self._failed = 0
        self._last_commit_s = 0.0
        self._failure: tuple[float, str] | None = None
        self._thread = threading.Thread(target=self._run, name="xray-commit", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, size_bytes: int) -> Future[Refusals]:
        """Queue a batch; the future holds its refusals (position -> why) once it is committed. Does not block.

        Raises:
            QueueFullError: the queue is at its bound, or closed.
        """
        future: Future[Refusals] = Future()
        with self._wake:
            full = self._bytes + size_bytes > self._max_bytes and self._waiting
            if self._closed or full or len(self._waiting) >= self._max_batches:
                self._turned_away += 1
                raise QueueFullError("the server is behind with writing; the records were not taken")
            self._waiting.append((batch, size_bytes, time.monotonic(), future))
            self._bytes += size_bytes
            self._wake.notify()
        return future

    def counters(self) -> CommitCounters:
        """What was done since the start, and what waits. Any thread."""
        with self._wake:
            now_s = time.monotonic()
            oldest = now_s - self._waiting[0][2] if self._waiting else 0.0
            failure = self._failure
            failing = failure[1] if failure is not None and now_s - failure[0] < FAILING_S else None
            return CommitCounters(
                len(self._waiting), self._bytes, oldest, self._commits, self._records, self._refused,
                self._turned_away, self._failed, self._last_commit_s, failing,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it takes and writes batches."""
        return not self._closed and self._thread.is_alive()

    def close(self, *, timeout_s: float = 30.0) -> bool:
        """Take no more, write what waits, stop. False when that took longer than `timeout_s`. May be called twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while group := self._next_group():
            self._commit(group)

    def _next_group(self) -> list[tuple[Batch, Future[Refusals]]]:
        with self._wake:
            if self._expected > 1:
                gather_s = min(self._gather_s, self._last_commit_s * GATHER_SHARE)
                self._wake.wait_for(lambda: self._closed or len(self._waiting) >= self._expected, gather_s)
            while not self._waiting and not self._closed:
                self._wake.wait()
            group: list[tuple[Batch, Future[Refusals]]] = []
            records = 0
            while self._waiting and (not group or records + len(self._waiting[0][0].records) <= MAX_GROUP_RECORDS):
                batch, size_bytes, _, future = self._waiting.popleft()
                self._bytes -= size_bytes
                future.set_running_or_notify_cancel()  # from here on nobody can call it off; what was is written too
                records += len(batch.records)
                group.append((batch, future))
            return group

    def _commit(self, group: Sequence[tuple[Batch, Future[Refusals]]]) -> None:
        began = time.monotonic()
        try:
            answers = self._store.write([batch for batch, _ in group])
        except Exception as error:  # noqa: BLE001  # whatever it is, every request must get an answer
            with self._wake:
                self._failed += 1
            if not isinstance(error, StoreUnavailableError):
                swallow("server commit", error)
                error = StoreUnavailableError(f"the store failed: {type(error).__name__}")
            with self._wake:
                self._failure = (time.monotonic(), str(error))
            for _, future in group:
                if not future.cancelled():
                    future.set_exception(error)
            return
        with self._wake:
            self._expected = len(group) + len(self._waiting)
            self._commits += 1
            self._failure = None
            self._records += sum(len(batch.records) for batch, _ in group)
            self._refused += sum(map(len, answers))
            self._last_commit_s = time.monotonic() - began
        for (_, future), refused in zip(group, answers):
            if not future.cancelled():
                future.set_result(refused)
        if self._after_commit is not None:
            self._after_commit()
