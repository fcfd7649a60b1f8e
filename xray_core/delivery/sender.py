"""One round of sending: take from the spool, post, and acknowledge or quarantine each record.

Owns what each answer of the server means. Knows nothing of threads, forks or of when a round is due.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from xray_core import safety, wire
from xray_core.delivery.batch import Entry, acknowledgements, body_of, entries_of, halves
from xray_core.delivery.breaker import Breaker
from xray_core.spool import Quarantine, Spool
from xray_core.transport import Reply, Transport, TransportError

log = logging.getLogger("xray")

Round = Literal["idle", "sent", "failed", "waiting"]

MAX_BATCH_BYTES: Final = 1024 * 1024
MAX_BATCH_RECORDS: Final = 5_000
_PROBE_BYTES: Final = 64 * 1024
_PROBE_RECORDS: Final = 50
_BODY_AT_FAULT: Final = frozenset({400, 413, 422})  # the body is at fault: smaller ones, down to the record that is
_TRY_LATER: Final = frozenset({408, 425, 429})
_MAX_BREAKS: Final = 12  # connections lost over one and the same record, with the server answering in between
_DROP_AFTER: Final = 3  # failures in a row until offline_mode="drop" gives up what waits
_REPORT_EVERY_S: Final = 30.0


class Sender:
    """Delivers what is in a spool through a transport. One thread at a time; `round` blocks up to its timeout.

    Args:
        timeout_s: of one request.
        drop: give up what waits when the server cannot be reached (offline_mode="drop").
        client_record: a "client" record without counters; sent along when the counters have changed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        spool: Spool,
        transport: Transport,
        quarantine: Quarantine,
        *,
        breaker: Breaker,
        timeout_s: float,
        drop: bool = False,
        client_record: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._transport = transport
        self._quarantine = quarantine
        self.breaker = breaker
        self._timeout_s = timeout_s
        self._drop = drop
        self._client_record = client_record
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget counters and sizes learned, in a forked child."""
        self.counters: dict[str, int] = {}
        self._max_records = MAX_BATCH_RECORDS
        self._max_bytes = MAX_BATCH_BYTES
        self._first: Literal["fresh", "old"] = "old"
        self._broken_over: tuple[int, int] = (0, 0)  # (position, connections lost over it)
        self._reported: Mapping[str, int] | None = None
        self._report_at = 0.0
        self._rev = 0
        self._warned: set[str] = set()
        self.asked_at_s: float | None = None  # when the request began that is not answered yet

    def round(self, *, timeout_s: float | None = None, hurry: bool = False) -> Round:
        """Send one batch, as several bodies where the server asks for smaller ones.

        Args:
            timeout_s: of the whole round; None means that each request has its own.
            hurry: do not wait for the backoff, only for what the server asked for.

        Returns:
            "idle" when nothing waits, "waiting" when it is too early, "failed" when records are left to try again.
        """
        if self.breaker.wait_s(hurry=hurry) > 0:
            return "waiting"
        probing = self.breaker.state == "half_open"
        self._first = "old" if self._first == "fresh" else "fresh"
        max_bytes = min(self._max_bytes, _PROBE_BYTES) if probing else self._max_bytes
        max_records = min(self._max_records, _PROBE_RECORDS) if probing else self._max_records
        taken = self._spool.take(max_bytes=max_bytes, max_records=max_records, first=self._first)
        try:
            deadline = None if timeout_s is None else self._clock() + timeout_s
            return self._deliver(entries_of(taken), deadline=deadline)
        finally:
            self._spool.give_back(taken)

    def _deliver(self, entries: list[Entry], *, deadline: float | None) -> Round:
        client_line = self._due_client_record()
        if not entries and client_line is None:
            return "idle"
        parts = deque([entries])
        while parts:
            timeout_s = self._timeout_s if deadline is None else min(self._timeout_s, deadline - self._clock())
            if timeout_s <= 0:
                return "failed"
            part = parts.popleft()
            lines = [entry.line for entry in part if entry.line is not None]
            try:
                reply = self._post(lines, client_line, timeout_s=timeout_s) if lines or client_line else Reply(200)
            except TransportError as error:
                if not self._lost_connection(part, error, timeout_s=timeout_s):
                    return "failed"
                parts.extendleft(reversed(halves(part)))
                continue
            if 200 <= reply.status < 300:
                self._succeeded(part, reply)
                client_line = None
            elif reply.status in _BODY_AT_FAULT and len(lines) > 1:
                self._shrink(part)
                parts.extendleft(reversed(halves(part)))
            elif reply.status == 413 or (reply.status in _BODY_AT_FAULT and self._answers(timeout_s=timeout_s)):
                self._settle(part, dict.fromkeys(range(len(lines)), f"HTTP {reply.status}"))
            else:
                self._handle_http_error(reply)
                return "failed"
        return "sent" if entries else "idle"

    def _post(self, lines: Sequence[bytes], client_line: bytes | None, *, timeout_s: float) -> Reply:
        body = body_of([*lines, client_line] if client_line else lines)
        reply = self._ask(body, timeout_s=timeout_s)
        if client_line and 200 <= reply.status < 300:
            self._report_at = self._clock() + _REPORT_EVERY_S
            self._reported = self._reportable()
        return reply

    # -- answers -------------------------------------------------------------------------------------------------

    def _succeeded(self, part: list[Entry], reply: Reply) -> None:
        self.breaker.succeeded()
        self._warned.clear()
        self._broken_over = (0, 0)
        self._max_records = min(MAX_BATCH_RECORDS, self._max_records * 2)
        self._max_bytes = min(MAX_BATCH_BYTES, self._max_bytes * 2)
        self._settle(part, {refusal.line: refusal.error for refusal in reply.refused})

    def _settle(self, part: list[Entry], refused: Mapping[int, str]) -> None:
        """Acknowledge a part of a batch, and quarantine what the server refused and what could not be sent."""
        line = sent = 0
        for entry in part:
            problem = entry.problem
            if entry.line is not None:
                problem = refused.get(line)
                line += 1
            if problem is not None:
                self._quarantine_record(entry, problem)
            elif entry.payload is None:
                self._count("damaged")
                log.warning("X-Ray: damaged bytes in the spool were skipped; what is around them was kept.")
            else:
                sent += 1
        self._count("sent", sent)
        for segment, position, records in acknowledgements(part):
            self._spool.acknowledge(segment, position, records=records)

    def _quarantine_record(self, entry: Entry, problem: str) -> None:
        self._count("quarantined")
        self._warn("quarantine", f"the server refused a record ({problem}); it is kept in the spool's quarantine")
        try:
            self._quarantine.keep(entry.line or entry.payload or b"", error=problem)
        except OSError as error:
            safety.swallow("quarantine", error)

    def _handle_http_error(self, reply: Reply) -> None:
        self._count("retried")
        if reply.status >= 500 or reply.status in _TRY_LATER:
            self.breaker.failed(retry_after_s=reply.retry_after_s)
            self._give_up_if_dropping()
            return
        if reply.status in (401, 403):
            self._warn(
                "key", f"the server refuses the API key (HTTP {reply.status}); set XRAY_API_KEY. Records are kept"
            )
        else:
            self._warn("address", f"HTTP {reply.status} from the server; is XRAY_API_URL right? Records are kept")
        self.breaker.paused()
        self._give_up_if_dropping()

    def _lost_connection(self, part: list[Entry], error: TransportError, *, timeout_s: float) -> bool:
        """No answer. Returns whether it is this body's doing, and halves of it are worth trying at once.

        A server that refuses a large body early looks like a reset connection, not like a 413.
        """
        self._count("retried")
        if error.timed_out:
            self._shrink(part)
        elif part and self._answers(timeout_s=timeout_s):
            self._shrink(part)
            if len(part) > 1:
                return True
            position = part[0].position
            self._broken_over = (position, self._broken_over[1] + 1 if self._broken_over[0] == position else 1)
            if self._broken_over[1] >= _MAX_BREAKS:
                self._settle(part, {0: f"the connection broke {_MAX_BREAKS} times over this record: {error}"})
        self.breaker.failed()
        self._warn("down", f"the server cannot be reached ({error}); records wait in the spool")
        self._give_up_if_dropping()
        return False

    def _answers(self, *, timeout_s: float) -> bool:
        """Whether the server takes an empty body: then the fault lies in the records."""
        try:
            return 200 <= self._ask(body_of(()), timeout_s=timeout_s).status < 300
        except TransportError:
            return False

    def _ask(self, body: bytes, *, timeout_s: float) -> Reply:
        self.asked_at_s = self._clock()
        try:
            reply = self._transport.send(body, timeout_s=timeout_s)
            if not isinstance(reply, Reply):
                raise TypeError(f"a transport answers with a Reply, not with a {type(reply).__name__}")
            return reply
        except TransportError:
            raise
        except Exception as error:
            safety.swallow("a transport", error)
            raise TransportError(type(error).__name__) from error
        finally:
            self.asked_at_s = None

    def _shrink(self, part: list[Entry]) -> None:
        self._max_records = max(1, len(part) // 2)
        self._max_bytes = max(4096, sum(len(entry.line or b"") for entry in part) // 2)

    def _give_up_if_dropping(self) -> None:
        if self._drop and (self.breaker.failures >= _DROP_AFTER or self.breaker.pauses):
            self._spool.discard_everything()

    # -- counters ------------------------------------------------------------------------------------------------

    def all_counters(self) -> dict[str, int]:
        """Name -> number: what this process sent, retried, dropped, quarantined and swallowed."""
        counters = {**self._spool.counters, **self.counters}
        swallowed = sum(safety.swallowed.values())
        return {**counters, "swallowed": swallowed} if swallowed else counters

    def client_payload(self) -> bytes | None:
        """The client record, if its counters differ from those reported last. For the spool, at exit."""
        if self._client_record is None or not self._reportable() or self._reportable() == self._reported:
            return None
        return self._client_line()

    def _due_client_record(self) -> bytes | None:
        if self._client_record is None or (self._reported == self._reportable() and self._clock() < self._report_at):
            return None
        return self._client_line()

    def _client_line(self) -> bytes | None:
        try:
            assert self._client_record is not None
            record = self._client_record()
            record["rev"] = self._rev = max(self._rev + 1, int(record.get("rev") or 0))
            record["counters"] = {**(record.get("counters") or {}), **self.all_counters()}
            return wire.to_payload(record)
        except Exception as error:  # noqa: BLE001
            safety.swallow("delivery.client_record", error)
            return None

    def _reportable(self) -> dict[str, int]:
        return {name: n for name, n in self.all_counters().items() if name not in ("sent", "retried")}

    def _count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def _warn(self, topic: str, text: str) -> None:
        # Once until the next success: a server that goes up and down is logged each time, a dead one does not fill the log.
        if topic not in self._warned:
            self._warned.add(topic)
            log.warning("X-Ray: %s.", text)
