"""Delivering messages: a thread that takes them from the store, in order for each target, with growing pauses after failures.

A message is delivered at least once and almost always exactly once; its `event_id` never changes, so that a receiver can tell.
One target that hangs delays others by one timeout per try, and no more. Knows no rule and no judging.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec

from xray_core.safety import swallow
from xray_server.alerts import apprise_target, webhook
from xray_server.alerts.messages import text_of
from xray_server.alerts.store import AlertStore, Delivery
from xray_server.alerts.targets import is_webhook
from xray_server.errors import NotDeliveredError, TargetRefusedError
from xray_server.store import StoreUnavailableError

MAX_TRIES: Final = 12  # with the pauses below: for about an hour
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 600.0
_POLL_S: Final = 2.0
_LOOK_AT: Final = 500

Secrets = Callable[[], dict[str, str]]


class Deliverer:
    """The delivering thread. `start` once, `wake` from any thread.

    Args:
        secrets: the signing secret of each rule.
        allow_private: whether targets may be on private addresses.
        first_pause_s: after the first failure; it doubles with each.
    """

    def __init__(
        self, alerts: AlertStore, *, secrets: Secrets, allow_private: bool, clock_us: Callable[[], int],
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:  # fmt: skip
        self._alerts, self._secrets, self._allow_private = alerts, secrets, allow_private
        self._clock_us, self._first_pause_s = clock_us, first_pause_s
        self._random = random.Random()  # noqa: S311  # spreads retries
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = self.retried = self.given_up = 0

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread = threading.Thread(target=self._run, name="xray-alerts-out", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for messages now. Any thread; does not block."""
        self._wake.set()

    def close(self, *, timeout_s: float = webhook.TIMEOUT_S) -> None:
        """Stop; what is not delivered stays in the store. A try at hand may go on in the background after the timeout."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def try_now(self, delivery: Delivery) -> str | None:
        """Send a message that waits nowhere, once; why it did not arrive, or None. Blocks for the time of one try."""
        try:
            self._send(delivery)
        except (TargetRefusedError, NotDeliveredError) as error:
            return str(error)
        return None

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closing.is_set():
            self._wake.wait(pause_s)
            self._wake.clear()
            try:
                pause_s = self._round()
            except StoreUnavailableError:
                pause_s = _POLL_S
            except Exception as error:  # noqa: BLE001  # the thread must live
                if not self._closing.is_set():  # a try that outlives the server finds its store closed
                    swallow("alerts delivery", error)
                pause_s = _POLL_S

    def _round(self) -> float:
        """Try what is due, oldest first; how long to wait for the next, in seconds."""
        if not self._alerts.leads():
            return _POLL_S
        held: set[str] = set()
        next_us = self._clock_us() + int(_POLL_S * 1e6)
        for delivery in self._alerts.waiting(_LOOK_AT):
            if self._closing.is_set():
                break
            if delivery.target in held:
                continue  # an earlier message to it waits: they arrive in order
            if delivery.next_us <= self._clock_us():
                delivery = self._try(delivery)
                self._alerts.delivered(delivery)
            if delivery.status == "waiting":
                held.add(delivery.target)
                next_us = min(next_us, delivery.next_us)
        return max(0.0, (next_us - self._clock_us()) / 1e6)

    def _try(self, delivery: Delivery) -> Delivery:
        tries = delivery.tries + 1
        try:
            self._send(delivery)
        except TargetRefusedError as error:
            self.given_up += 1
            return replace(delivery, status="given_up", tries=tries, note=str(error))
        except NotDeliveredError as error:
            note = str(error)
        except Exception as error:  # noqa: BLE001  # a target that breaks the sending breaks its own message alone
            swallow("alerts send", error)
            note = type(error).__name__
        else:
            self.sent += 1
            return replace(delivery, status="sent", tries=tries, note=None)
        if tries >= MAX_TRIES:
            self.given_up += 1
            return replace(delivery, status="given_up", tries=tries, note=note)
        self.retried += 1
        pause_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** (tries - 1)) * self._random.uniform(1.0, 1.25)
        return replace(delivery, tries=tries, note=note, next_us=self._clock_us() + int(pause_s * 1e6))

    def _send(self, delivery: Delivery) -> None:
        body: Any = delivery.body
        if is_webhook(delivery.target):
            webhook.post(
                delivery.target, msgspec.json.encode(body), secret=self._secrets().get(delivery.rule_id, ""),
                event_id=delivery.event_id, now_s=self._clock_us() // 1_000_000, allow_private=self._allow_private,
            )  # fmt: skip
        else:
            title, text = text_of(body)
            apprise_target.send(delivery.target, title, text, allow_private=self._allow_private)
