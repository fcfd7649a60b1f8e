"""The answers that a store gives: stored runs, steps, samples, verdicts, and figures about them.

Knows no SQL and no HTTP. Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from xray_core.model import Ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some answers, newest first, and the cursor of the next page (None at the end)."""

    items: list[T]
    next_cursor: str | None = None


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
        """(step id, attempt)."""
        return self.step_id, self.attempt


@dataclass(frozen=True, slots=True)
class SampledStep:
    """A step attempt by its names, and its samples: what a search inside samples walks over, by the hundred.

    Attributes:
        cursor: after which the list goes on behind this step.
    """

    run_id: str
    step_id: str
    attempt: int
    at_us: int
    pipeline: str | None
    name: str | None
    samples: Sequence[Mapping[str, Any]]
    cursor: str


@dataclass(frozen=True, slots=True)
class StepGroup:
    """The steps of one name in one run, added up: what a funnel of a run with thousands of steps is drawn from.

    `inputs_known` and `outputs_known` are the steps of which it is known how many items went in and came out.
    """

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
    inputs_known: int
    outputs_known: int


@dataclass(frozen=True, slots=True)
class NameCount:
    """A name, and how many runs or steps have it.

    Attributes:
        kind: "runs" (the name is the beginning of their ids), "pipeline", "tag" (`key:value`), "step" or "reason".
        n: runs, or step attempts; at most `MAX_COUNTED`, and then there may be more.
    """

    kind: str
    name: str
    n: int


class StepFigures(NamedTuple):
    """A step attempt by its figures: what is compared over thousands of runs. Items are None where they are not known.

    `reasons`: {outcome: {reason: n}}; `dimensions`: {field: {value: {outcome: n}}}.
    """

    step_id: str
    attempt: int
    name: str
    status: str
    at_us: int
    duration_us: int | None
    input: int | None
    accepted: int | None
    rejected: int
    not_selected: int
    errored: int
    selected: int
    reasons: Mapping[str, Mapping[str, int]]
    code_version: str | None
    metadata: Mapping[str, Any]
    dimensions: Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """A run without its input and output, and the figures of the last attempts of its steps, in the order in which they
    started.
    """

    run: StoredRun
    steps: Sequence[StepFigures]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One item in one set of a step attempt, seen from the item.

    Attributes:
        step: the step's name.
        outcome: one of `xray_core.model.OUTCOMES`, or "in" / "out" for the item sets a client gave.
        exact: True when the set holds ids; otherwise a fingerprint was found, by chance with `p_false`.
    """

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
    """A set of items of one outcome and reason at a step attempt, as it came: ids, or an fp40 blob.

    `values`: little-endian doubles in the order of these, where the verdicts declared a number; `limit`: of them.
    """

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int
    ids: Sequence[str] | None = None
    fp40: bytes | None = None
    values: bytes | None = None
    limit: float | None = None


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
