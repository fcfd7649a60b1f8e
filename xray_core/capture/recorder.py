"""Between capture and delivery: turns snapshots of runs and steps into records on their way to the spool.

Owns the redaction gate, the registry of what is open (so that it can be snapshotted while it runs, and made a part of its
own after a fork) and the counters of what was lost. Knows nothing of HTTP, files or plugins' internals.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Set
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from xray_core import wire
from xray_core.bounds import MAX_LINE_BYTES, encodable, name_text, shortened
from xray_core.capture.late import LateWork
from xray_core.capture.sampling import BottomKSampler, IsolatedSampler, Sampler
from xray_core.item_keys import ItemKeys
from xray_core.model import new_id
from xray_core.objects.redaction import OWN_FIELDS
from xray_core.objects.sanitize import Sanitizer
from xray_core.safety import swallow
from xray_core.wire import STREAM_OF, to_payload

if TYPE_CHECKING:
    from xray_core.settings import Settings

Record = dict[str, Any]


class Sink(Protocol):
    """Where payloads go: the spool. `put` returns when the payload is durable; it never raises and never blocks long.

    Attributes:
        settles: whether threads run in the background that call `LateWork.settle` every few tenths of a second.
    """

    @property
    def settles(self) -> bool:
        """See above."""

    def put(self, stream: wire.Stream, payload: bytes) -> None:
        """Keep one payload; `stream` says what may be dropped for what when the spool is full."""

    def start(self) -> None:
        """Start the background threads, so that open steps are snapshotted though nothing was put in yet by this process."""


class Hooks(Protocol):
    """What plugins may see and do. Implementations isolate plugins from each other and from us.

    `redacts` and `observes_steps` say whether anybody would be called: most clients have no plugins, and every step asks.
    """

    redacts: bool
    observes_steps: bool

    def redact(self, record: Record) -> Record | None:
        """The record as it may leave the process, or None when a redactor failed."""

    def run_started(self, run: Any) -> None:
        """A run has begun."""

    def run_finished(self, run: Any) -> None:
        """A run has ended."""

    def step_finished(self, step: Any) -> None:
        """A step has ended."""


class NoHooks:
    """A plugin host without plugins."""

    redacts = observes_steps = False

    def redact(self, record: Record) -> Record | None:
        """The record unchanged."""
        return record

    def run_started(self, run: Any) -> None:
        """No plugin is registered."""

    def run_finished(self, run: Any) -> None:
        """No plugin is registered."""

    def step_finished(self, step: Any) -> None:
        """No plugin is registered."""


class Snapshottable(Protocol):
    """A run or a step while it is open."""

    def snapshot(self) -> None:
        """Write down what changed since the last time."""

    def reset_after_fork(self) -> None:
        """After a fork, in the child: start a part of its own, empty."""


# What a failed redactor leaves: enough to count, nothing that the user typed.
_SAFE_WITHOUT_REDACTION = {
    "run": ("v", "kind", "run_id", "part", "rev", "pipeline", "status", "started_us", "ended_us", "duration_us"),
    "step": (
        "v", "kind", "run_id", "step_id", "attempt", "part", "rev", "pipeline", "name", "step_type", "parent_id", "index",
        "upstream", "status", "started_us", "ended_us", "duration_us", "capture", "counts", "reasons", "sums",
        "input_count", "output_count", "items",
    ),
}  # fmt: skip


_MOST_BESIDE_A_HEAD: Final = (
    MAX_LINE_BYTES - 65_536
)  # a head is bounded names and ids, and up to a few hundred of upstream

_NOTHING: Final[frozenset[str]] = frozenset()
_diversion: Sink | None = None


def divert(sink: Sink | None) -> Sink | None:
    """Send what every client of this process captures to `sink` instead of its spool (None: to its spool again).

    For `xray_core.testing`. Returns the diversion before.
    """
    global _diversion
    before, _diversion = _diversion, sink
    return before


class Recorder:
    """One per client. All methods may be called from any thread.

    Attributes:
        part: names this process's part of what it alone can speak of: runs and steps whose ids it made. Another one after
            a fork.
        counters: what was lost on the way here, by name.
        dimensions: which fields of details are counted by value, by the user's word.
        item_keys, item_fields: which fields name items, and which are kept of them, by the user's word.
        step_numbers: a step whose id nobody gave is named after the part and the next of these: unique in its run.
        open_things: the runs and steps to be snapshotted while they are open, in their order. They add and remove
            themselves.
        late: the steps that have ended and whose values are still to be looked at.
    """

    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        *,
        hooks: Hooks | None = None,
        sampler: Sampler | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.settings = settings
        self._enabled = settings.enabled
        self._sink = sink
        self.hooks: Hooks = hooks if hooks is not None else NoHooks()
        self.sampler: Sampler = IsolatedSampler(sampler) if sampler is not None else BottomKSampler()
        self.item_keys = ItemKeys(settings.item_key)
        self.dimensions = ItemKeys(settings.dimensions)
        self.item_fields = ItemKeys(settings.item_fields)
        self.sanitizer = Sanitizer(settings.redact, max_bytes=settings.max_value_bytes)
        self._redactor = self.sanitizer.redactor
        self.now_ns = now_ns
        self.clock_ns = clock_ns
        self.part = _part_name()
        self.counters: dict[str, int] = {}
        self.open_things: dict[Snapshottable, None] = {}
        self.late = LateWork()
        self.step_numbers = count()

    @property
    def sink(self) -> Sink:
        """Where payloads go now: the spool, or what `divert` put in its place."""
        return self._sink if _diversion is None else _diversion

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return self.now_ns() // 1_000

    def write(self, record: Record, *, said: list[Any] | None = None) -> None:
        """Mask the secrets of a record, let the plugins redact it, and put it into the spool.

        Args:
            said: all that users said in it, where that is the smaller part: the rest is not looked through.
        """
        if not self._enabled:
            return
        given = record
        record, payload = _encoded(given)
        if not OWN_FIELDS.issuperset(record):
            look = to_payload(said) if said is not None and record is given else _without_ids(record, payload)
            if self._redactor.may_hold_secret(look):
                record = self._redactor.record(record)
                payload = to_payload(record)
        if self.hooks.redacts:
            safe = self._redacted(record)
            if safe is None:
                return
            record, payload = _encoded(safe)
        if len(payload) > MAX_LINE_BYTES:
            payload = to_payload(shortened(record, MAX_LINE_BYTES))
        sink = self._sink if _diversion is None else _diversion
        sink.put(STREAM_OF[record["kind"]], payload)

    def write_step(self, head: wire.StepHead, rest: Record | None, *, known: frozenset[str] = _NOTHING) -> bool:
        """As `write`, for a snapshot of a step: its head, and what there is beyond it, which repeats no key of the head.

        Args:
            known: names in `rest` of what was looked through before, and held no secret.

        Returns:
            whether `rest` was looked through, and holds none.
        """
        clean = False
        if self.hooks.redacts:
            self.write({**head.as_record(), **(rest or {})})
        elif self._enabled:
            payload = to_payload(head)  # its names were masked as they were given
            if rest:
                rest, more = _encoded(rest)
                said = rest.keys() - OWN_FIELDS - known
                clean = not said or not self._redactor.may_hold_secret(_said(rest, more, said))
                if not clean:
                    rest = self._redactor.record(rest)
                    more = to_payload(rest)
                if len(more) > _MOST_BESIDE_A_HEAD:
                    more = to_payload(shortened(rest, _MOST_BESIDE_A_HEAD))
                payload = b"%b,%b" % (payload[:-1], more[1:])
            sink = self._sink if _diversion is None else _diversion
            sink.put("counts", payload)
        return clean

    def _redacted(self, record: Record) -> Record | None:
        """The record after the redactors; its bare counts when one failed; None when nothing of it is safe."""
        safe = self.hooks.redact(record)
        if safe is not None:
            return safe
        self.lost("redaction_failed")
        kept = _SAFE_WITHOUT_REDACTION.get(record["kind"])
        if kept is None:
            return None  # verdicts and samples are all payload
        bare = {name: record[name] for name in kept if name in record}
        return {**bare, "dropped": {**record.get("dropped", {}), "redaction_failed": 1}}

    def write_hashes(self, header: Record, sets: list[wire.RawSet]) -> None:
        """Put raw verdict hashes into the spool. They carry no text but names and reasons: plugins redact these, as in a step's
        own record, and see of each set its outcome, its reason and how many it holds.
        """
        if not self._enabled:
            return
        if self.hooks.redacts:
            try:
                header, sets = self._redacted_sets(header, sets)
            except Exception as error:  # noqa: BLE001  # a plugin made something else of the record
                self.lost("redaction_failed")
                swallow("a plugin's xray_redact", error)
                return
        self.sink.put("verdicts", wire.verdicts_payload(header, sets))

    def _redacted_sets(self, header: Record, sets: list[wire.RawSet]) -> tuple[Record, list[wire.RawSet]]:
        shown = [{"outcome": each.outcome, "reason": each.reason, "n": len(each.hashes)} for each in sets]
        safe = self.hooks.redact({**header, "sets": shown})
        if safe is None:
            return header, sets
        reasons = [None if each["reason"] is None else name_text(each["reason"]) for each in safe["sets"]]
        header = {name: value for name, value in safe.items() if name != "sets"}
        return header, [each._replace(reason=reason) for each, reason in zip(sets, reasons, strict=True)]

    def without_secret_ids(self, item_ids: list[str]) -> tuple[list[str], list[str]]:
        """Item ids that may be written by name, and those that are secrets: their fingerprints alone are written, by which
        `why` finds them.
        """
        return self._redactor.without_secrets(item_ids)

    def next_part(self) -> str:
        """A part for one more object of an id that others may speak of too, in this process or elsewhere."""
        return f"{self.part}.{next(self.step_numbers)}"

    def ensure_sender_started(self) -> None:
        """A step with nothing written yet has its first item: in a forked child the background threads may not run yet."""
        if self._enabled:
            self.sink.start()

    def has_open_steps(self) -> bool:
        """Whether a run or a step is open in this process."""
        return bool(self.open_things)

    def snapshot_open(self) -> None:
        """Write down what changed in the runs and steps that are open, and what those that ended left to do. Called about once a
        second by the sender.
        """
        self.late.settle()
        for thing in list(self.open_things):
            try:
                thing.snapshot()
            except Exception as error:  # noqa: BLE001
                swallow("snapshot", error)

    def after_fork_in_child(self) -> None:
        """Everything open starts a part of this process, without what the parent has not yet written."""
        self.part = _part_name()
        self.counters = {}  # the parent's losses are the parent's
        self.late.reset_after_fork()
        for thing in list(self.open_things):
            try:
                thing.reset_after_fork()
            except Exception as error:  # noqa: BLE001
                swallow("fork", error)

    def lost(self, what: str, n: int = 1) -> None:
        """Count `n` records or values that could not be kept, under the name `what`."""
        self.counters[what] = self.counters.get(what, 0) + n

    def client(self) -> Mapping[str, Any]:
        """This process, for the record of a run and for the health page."""
        return {"host": _host(), "pid": os.getpid()}


def _encoded(record: Record) -> tuple[Record, bytes]:
    """A record and its bytes; without the fields that hold what JSON cannot, which costs them and not the record."""
    try:
        return record, to_payload(record)
    except Exception as error:  # noqa: BLE001  # whatever an encoder may raise: the rest of the record is sound
        swallow("encoding a record", error)
        record = encodable(record)
        return record, to_payload(record)


def _said(rest: Record, payload: bytes, said: Set[str]) -> bytes:
    """What there is to look through of a step. All of it, where that is no more than what was said: but sums of items are our
    own, and long numbers, which look like those of cards.
    """
    if "items" not in rest and "origin" in said:
        return payload
    return to_payload({name: rest[name] for name in said})


def _without_ids(record: Record, payload: bytes) -> bytes:
    """Without the ids of run and step: as long as tokens are, in every record, and masked as they were given."""
    for own in ("run_id", "step_id"):
        if own in record:
            payload = payload.replace(record[own].encode(), b"")
    return payload


def _part_name() -> str:
    # 12 characters of a uuid7's random end: unique among the parts of one run, and short on the wire
    return new_id()[-12:]


def _host() -> str:
    try:
        return socket.gethostname()[:120]
    except OSError:
        return ""
