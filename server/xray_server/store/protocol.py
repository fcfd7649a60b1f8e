"""The Store protocol: what the server asks of whatever keeps its records, in typed questions and answers.

Owns the questions (filters, pages), the answers (stored runs, steps, samples) and the rules every store keeps. Knows no SQL,
no HTTP and no HTML. The rules:

- records come in batches and are idempotent: any order, any duplication, any split gives the same state;
- the newest revision of a part wins and a run or step is the merge of its parts (`xray_core.merge`), whether a store
  folds them when it writes or when it reads: nothing here asks for the update of a row;
- `write` returns after the commit, and what it returned for is there after a crash;
- nothing crosses projects: every question names one;
- lists are paged by key, newest first; a page may be shorter than its limit and still have a next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

from xray_core.errors import XRayError
from xray_core.journey import LookedUp
from xray_core.model import Ledger
from xray_server.records.schema import Record

DEFAULT_PROJECT: Final = "default"
MAX_PAGE: Final = 1000

T = TypeVar("T")


class BadCursorError(XRayError):
    """A cursor that this store did not make."""


class StoreUnavailableError(XRayError):
    """The store cannot take or answer anything just now (disk full, locked, connection lost); worth trying again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one request.

    Attributes:
        records: in the order in which they came.
        project: whose they are; comes from the key, never from the body.
        received_us: when they came: microseconds since the epoch.
    """

    records: Sequence[Record]
    project: str = DEFAULT_PROJECT
    received_us: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some answers, newest first, and the cursor of the next page (None at the end)."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs. Times are microseconds since the epoch, `since` inclusive, `until` exclusive.

    `tag` is `key` or `key:value`; `q` is the beginning of a run id or of a tag's value, or a part of a pipeline's name.
    """

    pipeline: str | None = None
    status: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    tag: str | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFilter:
    """Which steps, across runs. All that are given must hold; the bounds of rates and durations are exclusive."""

    step_type: str | None = None
    name: str | None = None
    pipeline: str | None = None
    status: str | None = None
    reason: str | None = None
    rejection_rate_gt: float | None = None
    rejection_rate_lt: float | None = None
    duration_us_gt: int | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as merged from its parts.

    Attributes:
        state: what `xray_core.merge.merge_run` gives.
        at_us: when it started, or was first heard of: its place in every list.
        known: False while only its steps have arrived.
    """

    run_id: str
    at_us: int
    state: Mapping[str, Any]
    step_count: int
    flagged_steps: int
    known: bool = True


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step attempt as merged from its parts.

    Attributes:
        state: what `xray_core.merge.merge_step` gives.
        ledger: what follows from its counts.
        rejection_rate: of the ledger, or as given by a client that sent no counts.
    """

    run_id: str
    step_id: str
    attempt: int
    at_us: int
    state: Mapping[str, Any]
    ledger: Ledger
    rejection_rate: float | None

    @property
    def key(self) -> tuple[str, int]:
        return self.step_id, self.attempt


@dataclass(frozen=True, slots=True)
class SampledStep:
    """A step attempt by its names, and its samples: what a search inside samples walks over, by the hundred."""

    run_id: str
    step_id: str
    attempt: int
    at_us: int
    pipeline: str | None
    name: str | None
    samples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class StepGroup:
    """The steps of one name in one run, added up: what a funnel of a run with thousands of steps is drawn from."""

    name: str
    step_type: str | None
    steps: int
    failed: int
    flagged: int
    first_at_us: int
    duration_us: int
    input: int
    accepted: int
    rejected: int
    not_selected: int
    errored: int
    selected: int


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """One item found in one set of a step attempt.

    Attributes:
        outcome: one of `xray_core.model.OUTCOMES`, or "in" / "out" for the item sets a client gave.
        exact: True when the set holds ids; otherwise a fingerprint was found, by chance with `p_false`.
        position: place in the set, where the set keeps ids (item sets keep their order).
    """

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    exact: bool
    p_false: float
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One item in one set of a step attempt, seen from the item: as `StoredVerdict`, with the step's name."""

    step: str
    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    exact: bool
    p_false: float


@dataclass(frozen=True, slots=True)
class ItemRun:
    """A run that holds an item: where it was seen, in the order of the steps."""

    run_id: str
    pipeline: str | None
    at_us: int
    sightings: list[Sighting]


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A set of items of one outcome and reason at a step attempt, as it came: ids, or an fp40 blob."""

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int
    ids: Sequence[str] | None = None
    fp40: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredClient:
    """What a client process last said of itself: records it dropped or could not deliver, errors it swallowed."""

    part: str
    host: str | None
    pid: int | None
    sdk: str | None
    pipeline: str | None
    counters: Mapping[str, int]
    received_us: int


class TrendPoint(NamedTuple):
    """One bucket of time of one step name in one pipeline: sums over the step attempts that started in it."""

    at_us: int
    pipeline: str
    name: str
    steps: int
    failed: int
    input: int
    accepted: int
    rejected: int
    not_selected: int
    errored: int
    selected: int
    unaccounted: int
    duration_us: int
    reasons: Mapping[str, int]


Kept = Literal["details", "verdicts", "ledgers"]
KINDS_KEPT: Final[tuple[Kept, ...]] = ("details", "verdicts", "ledgers")  # in the order in which they may expire


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove what is too old: of one kind, and what hangs on it (verdicts take details along, ledgers everything).

    Attributes:
        before_us: runs that started before it; `from_us`: and not before this (what is older was seen to already).
        pipeline: of this one only; None: of all but those in `but`.
        nobody_keeps_longer: no pipeline's limit is later, so a store may drop whole stretches of time, if late.
    """

    kind: Kept
    before_us: int
    from_us: int = 0
    pipeline: str | None = None
    but: tuple[str, ...] = ()
    nobody_keeps_longer: bool = False


@dataclass(frozen=True, slots=True)
class DumpedRun:
    """A run as wire records: all its parts, steps, verdicts and samples, as they were sent. All of it in memory."""

    project: str
    run_id: str
    received_us: int
    records: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What the store says of itself; `details` are the store's own words and figures."""

    kind: str
    location: str
    runs: int
    newest_us: int | None
    details: Mapping[str, Any] = field(default_factory=dict)


class Store(Protocol):
    """Keeps records and answers questions. Reads may come from any thread; `write` from one thread at a time per store."""

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """Write all batches in one transaction and commit it.

        Returns:
            for each batch, the records it refuses for good: position -> why. All others are committed.

        Raises:
            StoreUnavailableError: nothing was written; the same batches may be tried again.
        """

    def runs(self, project: str, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[StoredRun]:
        """Runs, newest first."""

    def run(self, project: str, run_id: str) -> StoredRun | None:
        """One run, or None."""

    def run_steps(
        self, project: str, run_id: str, *, limit: int, cursor: str | None = None, name: str | None = None
    ) -> Page[StoredStep]:
        """The step attempts of one run, or those of one name in it, in the order in which they started."""

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        """All attempts of one step, in order."""

    def step_groups(self, project: str, run_id: str) -> list[StepGroup]:
        """The steps of one run, the last attempt of each, added up by name, in the order in which each name first started."""

    def steps(self, project: str, where: StepFilter, *, limit: int, cursor: str | None = None) -> Page[StoredStep]:
        """Step attempts across runs, newest first."""

    def samples(
        self, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
        """The samples of some step attempts (None: all) of one run, by (step id, attempt); each once, in order of time."""

    def sampled_steps(
        self, project: str, where: StepFilter, *, limit: int, cursor: str | None = None
    ) -> Page[SampledStep]:
        """As `steps`, in the same order and with the same cursors."""

    def item_verdicts(self, project: str, run_id: str, item_id: str) -> list[StoredVerdict]:
        """Every set in one run that holds the item."""

    def look_up(self, project: str, run_id: str, item_id: str) -> list[LookedUp]:
        """Every set of one run, by step attempt, outcome and reason, and whether it holds the item: what `why` asks."""

    def item_runs(
        self, project: str, item_id: str, *, pipeline: str | None, limit: int, cursor: str | None = None
    ) -> Page[ItemRun]:
        """The runs that hold an item, those whose verdicts arrived last first."""

    def sets(self, project: str, run_id: str, step_id: str | None = None) -> Iterator[StoredSet]:
        """All sets of one run, or of one step: verdicts and the item sets given."""

    def clients(self, project: str, *, limit: int) -> list[StoredClient]:
        """The client processes last heard of, newest first."""

    def pipelines(self, project: str) -> list[str]:
        """The names of the pipelines that have runs, sorted."""

    def trend(
        self, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        """Hourly sums per pipeline and step name, oldest first."""

    def dump(self, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
        """All that is kept of some runs, of all projects, in the order in which they were first heard of."""

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """Remove about `limit` rows in one short transaction; may run beside `write`, one caller at a time.

        Returns:
            how many rows went, and the cursor to go on with (None: all that the order names is gone).
        """

    def check(self) -> list[str]:
        """What is wrong with the database, in its own words; empty when it is sound. Reads all of it."""

    def health(self) -> StoreHealth:
        """What `/health` shows. Cheap: no scan."""

    def close(self) -> None:
        """Let go of all connections. No call may follow."""
