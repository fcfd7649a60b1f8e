"""What alerts ask of a store: rules, the state of every series, what was judged, what is to be judged, and messages.

A Store that keeps alerts too has `alert_store()` (`KeepsAlerts`). Knows no SQL. The rule that makes alerts survive restarts:
a batch's records and the note that they are to be judged are committed together (`watch`), and so are a judgement's state, its
messages and the end of that note (`settle`). So whatever is killed when, everything is judged, and one message is sent of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from xray_server.alerts.rules import StoredRule
from xray_server.alerts.series import SeriesState
from xray_server.store import Batch

MAX_EVENTS: Final = 10_000  # messages kept, of all projects
MAX_WAITING: Final = 1_000  # deliveries that wait
SEEN_US: Final = 2 * 86_400_000_000  # for how long it is known what was judged

DeliveryStatus = Literal["waiting", "sent", "given_up", "cancelled"]
SeriesKey = tuple[str, str]  # rule id, series
Select = Callable[[Sequence[Batch]], list[bytes]]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell: `body` is what a webhook is sent."""

    event_id: str
    project: str
    rule_id: str
    kind: str
    at_us: int
    body: Mapping[str, Any]
    targets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one target."""

    delivery_id: int
    event_id: str
    project: str
    rule_id: str
    target: str
    tries: int
    next_us: int
    body: Mapping[str, Any]
    status: DeliveryStatus = "waiting"
    note: str | None = None


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event of the history and what became of its deliveries."""

    event: Event
    deliveries: Sequence[Delivery] = ()


@dataclass(slots=True)
class Settlement:
    """All that follows from judging one note: written in one transaction."""

    note: int
    seen: dict[bytes, bytes] = field(default_factory=dict)
    states: dict[SeriesKey, SeriesState] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class AlertStore(Protocol):
    """Keeps what alerts need. Calls may come from any thread; all may raise StoreUnavailableError: try again later."""

    def watch(self, select: Select | None) -> None:
        """From now on every `Store.write` asks `select` for notes of what is to be judged and commits them with the batches.

        `select` is called on the writing thread inside the transaction: it must be quick and never raise.
        """

    def leads(self) -> bool:
        """Whether this process is the one that judges and delivers. Another may be, and this one take over at any time."""

    def add_rule(self, rule: StoredRule) -> None:
        """Keep a rule."""

    def replace_rule(self, rule: StoredRule, *, forget_states: bool) -> bool:
        """Keep another rule under the same id; False when there is none. `forget_states`: what was firing fires no more."""

    def rules(self) -> list[StoredRule]:
        """The rules of all projects, oldest first."""

    def remove_rule(self, project: str, rule_id: str) -> bool:
        """Forget a rule, its states and its undelivered messages; False when there is none. Its history stays."""

    def notes(self, limit: int) -> list[tuple[int, bytes]]:
        """What is to be judged, oldest first: (number, what `select` gave)."""

    def note_count(self) -> int:
        """How many notes wait."""

    def seen(self, subjects: Sequence[bytes]) -> dict[bytes, bytes]:
        """Of these subjects, those already judged, with the digest of what was judged."""

    def states(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, SeriesState]:
        """The states of these series, where there are any."""

    def firing(self, project: str) -> dict[SeriesKey, SeriesState]:
        """The series that are firing, at most 1,000."""

    def settle(self, settlement: Settlement, *, now_us: int) -> int:
        """Write what follows from a note and drop the note; also drops what is beyond its bounds.

        An event that is known already (by its id) is not written again. Returns how many deliveries found no place.
        """

    def waiting(self, limit: int) -> list[Delivery]:
        """Deliveries that wait, oldest first."""

    def delivered(self, delivery: Delivery) -> None:
        """Keep what became of a try: `status`, `tries`, `next_us`, `note`."""

    def history(
        self, project: str, *, limit: int, before: int | None, rule_id: str | None
    ) -> tuple[list[PastEvent], int | None]:
        """Events, newest first, and what to pass as `before` for the next page (None at the end)."""


@runtime_checkable
class KeepsAlerts(Protocol):
    """A Store that has an AlertStore."""

    def alert_store(self) -> AlertStore:
        """The one of this store; the same at every call."""
