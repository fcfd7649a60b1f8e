"""`Losses`: what a spool could not keep or do, counted by name, and said once by topic. Knows no file and no lock."""

from __future__ import annotations

from collections import deque

from xray_core.wire import Stream


class Losses:
    """The counters and notices of one spool. Any thread; never raises, never blocks.

    Attributes:
        counters: name -> number: "dropped_counts", "dropped_verdicts", "dropped_details" in records, "degraded" in times.
    """

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self._waiting: deque[str] = deque()
        self._topics: set[str] = set()

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to the counter `name`."""
        self.counters[name] = self.counters.get(name, 0) + n

    def drop(self, stream: Stream, records: int, why: str) -> None:
        """Count records of a stream that are lost; `why` becomes a notice, the first time."""
        if records:
            self.count(f"dropped_{stream}", records)
            self.notice_once("dropped", f"records were dropped: {why}")

    def notice_once(self, topic: str, text: str) -> None:
        """Something for the log, once per topic and process."""
        if topic not in self._topics:
            self._topics.add(topic)
            self._waiting.append(text)

    def notice(self, text: str) -> None:
        """Something for the log, every time."""
        self._waiting.append(text)

    def take_notices(self) -> list[str]:
        """The notices since the last call."""
        notices: list[str] = []
        while self._waiting:
            notices.append(self._waiting.popleft())
        return notices

    def reset(self) -> None:
        """In a forked child: the parent's losses are the parent's. What was noticed once is not noticed again."""
        self.counters = {}
        self._waiting = deque()
