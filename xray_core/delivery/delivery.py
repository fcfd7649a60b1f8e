"""`Delivery`: one client's way to one server, with its background threads, through forks, exits, flush and sync.

What an answer of the server means is sender.py's, what is on disk `xray_core.spool`'s. Knows nothing of runs and steps.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from xray_core import native, safety
from xray_core.delivery.breaker import Breaker
from xray_core.delivery.child_processes import in_multiprocessing_child
from xray_core.delivery.process_mark import mark_process
from xray_core.delivery.sender import Sender
from xray_core.delivery.wake import Wake
from xray_core.spool import Quarantine, Spool, directory_for
from xray_core.transport import Transport
from xray_core.wire import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from xray_core.settings import Settings

log = logging.getLogger("xray")

_POLL_S: Final = 0.2
_ADOPT_EVERY_S: Final = 2.0
_FLUSH_RETRY_S: Final = 0.5
_ADOPTED_AT_EXIT_S: Final = 0.5
_RESTART_S: Final = 5.0
_WRITE_COUNTERS_EVERY_S: Final = 30.0
_SYNC_ATTEMPTS: Final = 3
_SYNC_WAIT_S: Final = 30.0


class Delivery:
    """One client's way to one server.

    Args:
        settings: where, how much and how long.
        transport: takes bodies to the server; used by one thread at a time.
        on_dropped: called with (count, reason) for records that could not be kept, from a background thread.
        on_tick: called about every `settings.snapshot_interval_s` from a background thread, also while the server
            hangs; writes down what is still open.
        on_send: called several times a second from a background thread, before it sends.
        client_record: makes the "client" record; counters are added, and it is sent when they have changed.
        directory: whose records are delivered; the spool of `settings.api_url` when not given.

    No thread is started before the first record, nor in a forked child before its own first record.

    Attributes:
        settles: whether the background threads run and may be left something to write: not where each record has to survive a
            power cut.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        *,
        on_dropped: Callable[[int, str], None] | None = None,
        on_tick: Callable[[], None] | None = None,
        on_send: Callable[[], None] | None = None,
        client_record: Callable[[], dict[str, Any]] | None = None,
        directory: Path | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._on_dropped = on_dropped
        self._on_tick = on_tick
        self._on_send = on_send
        drop = settings.offline_mode == "drop"
        if directory is None and not drop:
            directory = directory_for(settings.spool_dir, settings.api_url)
        self._fsync = settings.durability == "fsync"
        self._spool = Spool(
            directory,
            api_url=settings.api_url,
            max_bytes=settings.spool_max_bytes,
            fsync=self._fsync,
        )
        self._sender = Sender(
            self._spool,
            transport,
            Quarantine(None if directory is None else directory / "quarantine"),
            breaker=Breaker(),
            timeout_s=settings.timeout_s,
            drop=drop,
            client_record=client_record,
        )
        self._closed = False
        self._reset()
        _deliveries.add(self)

    def _reset(self) -> None:
        self._process = mark_process()
        self._started = self.settles = False
        self._sender_runs = False  # also where the other thread could not be started
        self._threadless = False  # no thread can be started here
        self._start_again_at = 0.0
        self._starting = native.make_lock()
        self._sending = native.make_lock()
        self._sender_wake = Wake()
        self._ticker_wake = Wake()
        self._sender_ended = Wake()
        self._deadline: float | None = None
        self._hurried_until = 0.0
        self._adopt_at = 0.0
        self._fork_held = False
        self._dropped_reported: dict[str, int] = {}
        self._dropped_written = 0
        self._write_counters_at = 0.0

    # -- the caller's side ---------------------------------------------------------------------------------------

    def put(self, stream: Stream, payload: bytes) -> None:
        """Keep one record: it is on disk when this returns, and goes to the server soon after.

        Args:
            stream: what it may lose its place to when the spool is full.
            payload: as `wire.to_payload` or `wire.verdicts_payload` make it.

        Any thread, also inside signal handlers, `__del__` and log handlers, and after a fork. Never raises; does not
        wait for the network.
        """
        if not self._process[0]:
            self._after_fork()  # a fork that ran no hooks (uWSGI does that)
        self._spool.put(stream, payload)
        if not self._started:
            self.start()

    def start(self) -> None:
        """Start the background threads, if they are not running. `put` does it; never raises, never blocks."""
        if self._started or self._closed or time.monotonic() < self._start_again_at:
            return
        if not self._starting.acquire(False):
            return
        try:
            # Not threading.Thread: its start() takes locks of the threading module, which a signal handler or
            # __del__ that captures may have interrupted.
            self._started, self._threadless = True, False
            self.settles = not self._fsync
            if not self._sender_runs:
                native.start_thread(self._run_sender, ())
                self._sender_runs = True
            native.start_thread(self._run_ticker, ())
            in_multiprocessing_child(write_down=_tick_all, close=_close_all)
        except RuntimeError as error:
            # No more threads, a subinterpreter, or the interpreter is ending: the records are in the spool, for `flush` and
            # `close`, which send them in the caller's thread, or for the next process.
            self._started, self._threadless, self.settles = False, not self._sender_runs, False
            self._start_again_at = time.monotonic() + _RESTART_S
            if "shutdown" not in str(error):
                safety.swallow("starting the sender (no thread runs here: flush() and close() send instead)", error)
        finally:
            self._starting.release()

    @property
    def counters(self) -> Mapping[str, int]:
        """What became of this process's records: sent, retried, dropped_*, quarantined, damaged, degraded, ..."""
        return self._sender.all_counters()

    def confirmed(self) -> bool:
        """Whether the server has everything that this process put in (or refused it)."""
        return self._spool.confirmed()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything put in so far is confirmed, refused or quarantined.

        Args:
            timeout_s: how long to wait at most; None means `settings.timeout_s`.

        Returns:
            False when the time was not enough, or records were dropped: what is left stays in the spool.

        Blocks the caller, so not for an event loop's thread.
        """
        checkpoint = self._spool.checkpoint()
        deadline = time.monotonic() + (self._settings.timeout_s if timeout_s is None else timeout_s)
        self._hurried_until = deadline
        self.start()
        pause_s = 0.002
        while not self._spool.passed(checkpoint):
            if time.monotonic() >= deadline:
                return False
            if not (self._threadless or self._closed):
                self._sender_wake.set()
                time.sleep(pause_s)
                pause_s = min(0.05, pause_s * 1.5)
            else:
                self._send_here(deadline)
        return True

    def _send_here(self, deadline: float) -> None:
        """One round in the caller's thread, where no other can be started, or none runs any more."""
        left_s = deadline - time.monotonic()
        if self._sending.acquire(timeout=max(0.0, left_s)):
            try:
                outcome = self._sender.round(timeout_s=left_s, hurry=True)
            finally:
                self._sending.release()
            if outcome != "sent":
                time.sleep(max(0.0, min(_FLUSH_RETRY_S, deadline - time.monotonic())))

    def sync(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """Deliver what any process on this machine left behind for this server, and what this one has not sent yet.

        Args:
            progress: called with (records done, records in all) after each batch, in the caller's thread.

        Returns:
            {"synced": records confirmed, "failed": records that are left, or were refused}.

        Blocks until nothing is left, or the server has failed three times in a row. What living processes hold is
        left to them.
        """
        with self._sending:
            before = dict(self._sender.counters)
            self._spool.adopt()
            attempts = 0
            while attempts < _SYNC_ATTEMPTS:
                outcome = self._sender.round(hurry=True)
                synced = self._sender.counters.get("sent", 0) - before.get("sent", 0)
                if outcome == "idle" and not self._spool.adopt():
                    break
                if outcome == "waiting":
                    wait_s = self._sender.breaker.wait_s(hurry=True)
                    if wait_s > _SYNC_WAIT_S:
                        break
                    time.sleep(wait_s)
                elif outcome == "failed":
                    attempts += 1
                    if attempts < _SYNC_ATTEMPTS:
                        time.sleep(min(1.0, self._sender.breaker.wait_s()))
                else:
                    attempts = 0
                if progress is not None:
                    with safety.guard("telling the progress of a sync"):
                        progress(synced, synced + self._spool.waiting())
            synced = self._sender.counters.get("sent", 0) - before.get("sent", 0)
            refused = self._sender.counters.get("quarantined", 0) - before.get("quarantined", 0)
            return {"synced": synced, "failed": self._spool.waiting() + refused}

    def release(self) -> None:
        """Release what was adopted and not delivered, so that other processes can adopt it. For agents between two syncs."""
        with self._sending:
            self._spool.close()

    def close(self, timeout_s: float | None = None) -> None:
        """Send what is left within the time; the rest waits in the spool for another process.

        Args:
            timeout_s: total; None means `settings.shutdown_timeout_s`.

        `put` still works afterwards, and what it is given waits in the spool. May be called more than once.
        """
        budget_s = self._settings.shutdown_timeout_s if timeout_s is None else timeout_s
        self._begin_close(budget_s)
        self._end_close(budget_s)

    def _begin_close(self, budget_s: float) -> None:
        deadline = time.monotonic() + budget_s
        if self._on_tick is not None:
            with safety.guard("snapshot at exit"):
                self._on_tick()  # what is still open is written down as it is now
        payload = self._sender.client_payload()
        if payload is not None:
            self._spool.put("counts", payload)
        self._closed, self.settles = True, False
        self._deadline = deadline
        self._sender_wake.set()
        self._ticker_wake.set()

    def _end_close(self, budget_s: float) -> None:
        ended = True
        if self._sender_runs and self._deadline is not None:
            until = self._deadline
            asked_at_s = self._sender.asked_at_s
            if asked_at_s is not None:
                # A server that has been silent for the whole budget already gets no second one.
                until = min(until, asked_at_s + budget_s)
            ended = self._sender_ended.wait(max(0.0, until - time.monotonic()))
            if ended:
                self._sender_ended.set()  # for a second close
        elif self._threadless and not self._spool.confirmed():
            with safety.guard("sending at exit"):
                self._send_the_rest()
        self._report_losses()
        self._spool.close()
        if ended:
            with safety.guard("transport.close"):
                self._transport.close()

    # -- the threads ---------------------------------------------------------------------------------------------

    def _run_sender(self) -> None:
        _name_this_thread("xray-sender")
        while self._deadline is None:
            self._sender_wake.wait(_POLL_S)
            try:
                if self._on_send is not None:
                    self._on_send()
                self._send()
            except Exception as error:  # noqa: BLE001
                safety.swallow("delivery.sender", error)
        try:
            self._send_the_rest()
        except Exception as error:  # noqa: BLE001
            safety.swallow("delivery.sender", error)
        self._spool.close()
        self._sender_ended.set()

    def _send(self) -> None:
        """Everything that is due."""
        while self._deadline is None:
            now = time.monotonic()
            hurried = now < self._hurried_until
            if not self._sending.acquire(timeout=_POLL_S):
                return  # a sync is under way
            try:
                if now >= self._adopt_at:
                    self._adopt_at = now + _ADOPT_EVERY_S
                    self._spool.adopt()
                outcome = self._sender.round(hurry=hurried)
            finally:
                self._sending.release()
            if outcome == "failed" and hurried:
                self._sender_wake.wait(min(_FLUSH_RETRY_S, self._sender.breaker.wait_s()))
            if outcome != "sent" or not (hurried or self._spool.much_waits()):
                return  # a few records are worth gathering more: a round costs the pipeline's threads the GIL ten times

    def _send_the_rest(self) -> None:
        """At exit: until all of ours is confirmed, the first failure, or the deadline.

        What a dead process left is adopted too, and sent for a moment longer: where all programs are short, none of them
        would live to its first look at what the others left.
        """
        until = self._deadline
        if until is None:
            return
        with safety.guard("delivery.adopt"):
            self._spool.adopt()
        adopted_until = None
        while not self._spool.confirmed() or self._spool.has_adopted():
            if adopted_until is None and self._spool.confirmed():
                adopted_until = until = min(until, time.monotonic() + _ADOPTED_AT_EXIT_S)
            left_s = until - time.monotonic()
            if left_s <= 0 or not self._sending.acquire(timeout=left_s):
                return
            try:
                if self._sender.round(timeout_s=until - time.monotonic(), hurry=True) != "sent":
                    return
            finally:
                self._sending.release()

    def _run_ticker(self) -> None:
        _name_this_thread("xray-ticker")
        while not self._ticker_wake.wait(self._settings.snapshot_interval_s) and not self._closed:
            if self._on_tick is not None:
                with safety.guard("delivery.on_tick"):
                    self._on_tick()
            with safety.guard("spool.maintain"):
                self._spool.maintain()
            with safety.guard("telling what was dropped"):  # the program's log handlers
                self._report_losses()
                self._write_drop_counters()

    def _report_losses(self) -> None:
        """Log the notices of the spool, and report to `on_dropped` what was dropped since the last call."""
        for notice in self._spool.notices():
            log.warning("X-Ray: %s. `xray doctor` says more.", notice)
        if self._on_dropped is None:
            return
        for name, total in list(self._spool.counters.items()):
            new = total - self._dropped_reported.get(name, 0)
            if name.startswith("dropped_") and new > 0:
                self._dropped_reported[name] = total
                with safety.guard("delivery.on_dropped"):
                    self._on_dropped(new, name)

    def _write_drop_counters(self) -> None:
        """Write the counters of dropped records into the spool, at most twice a minute: `xray doctor` reads them there."""
        dropped = sum(n for name, n in list(self._spool.counters.items()) if name.startswith("dropped_"))
        now = time.monotonic()
        if dropped != self._dropped_written and now >= self._write_counters_at:
            self._dropped_written, self._write_counters_at = dropped, now + _WRITE_COUNTERS_EVERY_S
            payload = self._sender.client_payload()
            if payload is not None:
                self._spool.put("counts", payload)

    # -- forks ---------------------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        if self._spool.before_fork():  # else another thread may be forking, and has to let writers in again
            self._fork_held = True

    def _after_fork_in_parent(self) -> None:
        if self._fork_held:
            self._fork_held = False
            self._spool.after_fork_in_parent()

    def _after_fork(self) -> None:
        """In the child: the parent's records, threads and connection are the parent's."""
        if self._process[0]:
            return
        self._spool.after_fork()
        self._sender.reset()
        self._sender.breaker = Breaker()
        self._reset()


def _name_this_thread(name: str) -> None:
    """For lists of threads. What stands in for `threading` may not know a thread that it did not start."""
    with safety.guard("naming a thread"):
        threading.current_thread().name = name


_deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet()


def _before_fork() -> None:
    for delivery in list(_deliveries):
        delivery._before_fork()


def _after_fork_in_parent() -> None:
    for delivery in list(_deliveries):
        delivery._after_fork_in_parent()


def _after_fork_in_child() -> None:
    for delivery in list(_deliveries):
        delivery._after_fork()


def _close_all() -> None:
    """At exit: all clients within one budget, not one after another."""
    deliveries = [delivery for delivery in list(_deliveries) if not delivery._closed]
    for delivery in deliveries:
        with safety.guard("delivery.close"):
            delivery._begin_close(delivery._settings.shutdown_timeout_s)
    for delivery in deliveries:
        with safety.guard("delivery.close"):
            delivery._end_close(delivery._settings.shutdown_timeout_s)


def _tick_all() -> None:
    for delivery in list(_deliveries):
        if delivery._on_tick is not None:
            with safety.guard("delivery.on_tick"):
                delivery._on_tick()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_close_all)
