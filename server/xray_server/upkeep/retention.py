"""How long what is kept: details may go before verdicts, verdicts before ledgers; pipelines may differ.

Owns the policy, its spelling (`30d`, `details=7d,ledgers=90d`, `flights:30d`) and the work of pruning in small steps, which
leaves the disk to ingest in between. Knows no SQL: a store takes one step at a time (`Store.prune`).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from xray_core.errors import ConfigurationError
from xray_core.safety import swallow
from xray_server.errors import StoppingError
from xray_server.store import KINDS_KEPT, Kept, Prune, StoreUnavailableError

_DURATION: Final = re.compile(r"(\d{1,6})([hdwy])", re.ASCII)
_HOURS: Final = {"h": 1, "d": 24, "w": 168, "y": 8760}
_HOUR_US: Final = 3_600_000_000
STEP_ROWS: Final = 2_000  # a step of it takes SQLite's one writer some 50 ms
EVERY_S: Final = 3_600.0
_ROUNDS_A_FULL_ONE: Final = 24
_LOOK_BACK_US: Final = 6 * _HOUR_US


class Prunable(Protocol):
    """What retention asks of a store."""

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """As `Store.prune`."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old (us) something may become; None: any age. What belongs to a ledger goes with it at the latest."""

    details: int | None = None
    verdicts: int | None = None
    ledgers: int | None = None

    def of(self, kind: Kept) -> int | None:
        """The age at which this kind goes: its own, or that of what it hangs on."""
        given = {"details": self.details, "verdicts": self.verdicts, "ledgers": self.ledgers}
        ages = [given[each] for each in KINDS_KEPT[KINDS_KEPT.index(kind) :]]
        return min((age for age in ages if age is not None), default=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Ages for all pipelines, and for those that differ."""

    default: Ages = field(default_factory=Ages)
    pipelines: Mapping[str, Ages] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(ages != Ages() for ages in (self.default, *self.pipelines.values()))

    def orders(self, now_us: int, look_back_us: int | None = None) -> Iterator[Prune]:
        """What is to be removed now, details first; of what became too old within `look_back_us` only, where given."""
        for kind in KINDS_KEPT:
            ages = {name: each.of(kind) for name, each in self.pipelines.items()}
            all_ages = [self.default.of(kind), *ages.values()]
            longest = None if None in all_ages else max(age for age in all_ages if age is not None)
            scopes: list[tuple[str | None, int | None]] = [(None, self.default.of(kind)), *ages.items()]
            for pipeline, age in scopes:
                if age is not None:
                    yield Prune(
                        kind,
                        before_us=max(0, now_us - age),
                        from_us=0 if look_back_us is None else max(0, now_us - age - look_back_us),
                        pipeline=pipeline,
                        but=tuple(ages) if pipeline is None else (),
                        nobody_keeps_longer=age == longest,
                    )


def parse_policy(texts: Sequence[str]) -> Policy:
    """From arguments such as `30d`, `details=7d,verdicts=30d,ledgers=90d`, `flights:details=1d,ledgers=30d`.

    Raises:
        ConfigurationError: not such an argument, or details that would outlive verdicts, or verdicts ledgers.
    """
    default, pipelines = Ages(), {}
    for text in texts:
        pipeline, _, rest = text.rpartition(":")
        ages = _parse_ages(rest, text)
        if pipeline:
            pipelines[pipeline] = ages
        else:
            default = ages
    return Policy(default, pipelines)


def _parse_ages(text: str, whole: str) -> Ages:
    given: dict[str, int] = {}
    for piece in text.split(","):
        kind, _, age = piece.rpartition("=")
        found = _DURATION.fullmatch(age.strip())
        if found is None or (kind := kind.strip() or "ledgers") not in KINDS_KEPT:
            raise ConfigurationError(
                f"--retain {whole!r}: write 30d, or details=7d,verdicts=30d,ledgers=90d (h, d, w, y), "
                "with PIPELINE: before it for one pipeline"
            )
        given[kind] = int(found[1]) * _HOURS[found[2]] * _HOUR_US
    ages = [given[kind] for kind in KINDS_KEPT if kind in given]
    if ages != sorted(ages):
        raise ConfigurationError(f"--retain {whole!r}: details cannot outlive verdicts, nor verdicts their ledgers")
    return Ages(given.get("details"), given.get("verdicts"), given.get("ledgers"))


def prune(
    store: Prunable,
    policy: Policy,
    *,
    now_us: int,
    look_back_us: int | None = None,
    pause: Callable[[float], object] = time.sleep,
    on_step: Callable[[str, int], None] | None = None,
) -> dict[str, int]:
    """Remove what is too old, in small steps. Blocks until it is done; may be stopped and begun again at any point.

    Args:
        look_back_us: None looks at all that is too old; a number, only at what became so within that time.
        pause: called with the seconds that a step took, between steps: half of the time is for others.
        on_step: called after each step with the kind and how many rows went.

    Returns:
        rows removed, by kind.
    """
    removed: dict[str, int] = dict.fromkeys(KINDS_KEPT, 0)
    for order in policy.orders(now_us, look_back_us):
        cursor: str | None = None
        while True:
            began_s = time.monotonic()
            rows, cursor = store.prune(order, cursor=cursor, limit=STEP_ROWS)
            removed[order.kind] += rows
            if on_step is not None:
                on_step(order.kind, rows)
            if cursor is None:
                break
            pause(time.monotonic() - began_s)
    return removed


class Pruner:
    """Prunes once an hour on a thread of its own, while the server runs. Start it once; `close` waits for the step at hand."""

    def __init__(self, store: Prunable, policy: Policy, *, every_s: float = EVERY_S) -> None:
        self._store, self._policy, self._every_s = store, policy, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xray-prune", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rounds = 0
        while not self._stop.is_set():
            # once a day everything: records of an old run may still arrive
            look_back_us = _LOOK_BACK_US if rounds % _ROUNDS_A_FULL_ONE else None
            rounds += 1
            try:
                prune(
                    self._store,
                    self._policy,
                    now_us=time.time_ns() // 1000,
                    look_back_us=look_back_us,
                    pause=self._pause,
                )
            except StoppingError:
                return
            except StoreUnavailableError:
                pass  # in an hour again; what went is gone, what is left is found again
            except Exception as error:  # noqa: BLE001  # a mistake in pruning must not end the thread
                swallow("server prune", error)
            self._stop.wait(self._every_s)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(max(0.01, seconds)):
            raise StoppingError

    def close(self) -> None:
        """Stop; waits for the step at hand, 30 s at most."""
        self._stop.set()
        self._thread.join(30)
