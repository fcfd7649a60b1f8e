"""The shapes of what is read and explained: runs, steps, items, comparisons, searches."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

Object = dict[str, Any]
Status = Literal["running", "completed", "failed", "skipped"]


class Error(TypedDict):
    """An error's traceback is cut; `type` and `message` as the language says them."""

    type: str | None
    message: str | None
    traceback: str | None


class Ledger(TypedDict, total=False):
    """Where a step's items went; null where that is not known."""

    input: int | None
    accepted: int | None
    rejected: int | None
    not_selected: int | None
    errored: int | None
    unaccounted: int | None
    undecided: int | None
    selected: int | None
    distinct_in: int | None
    distinct_out: int | None
    duplicated: int | None
    nulls: int | None
    inferred: bool
    flags: list[str]


class RunRow(TypedDict, total=False):
    """A run in a list: of large values their heads, unless `fields` names them; `truncated` says how large they are."""

    run_id: str
    mark: Literal["good", "bad"] | None
    mark_note: str | None
    pipeline: str | None
    status: Status
    started_at: str | None
    ended_at: str | None
    duration_ms: float | None
    input: Any
    output: Any
    error: Error | None
    metadata: Object | None
    tags: Object | None
    origin: Object | None
    parent: Object | None
    code_version: str | None
    capture: str | None
    client: Object | None
    dropped: dict[str, int] | None
    step_count: int
    flagged_steps: int
    first_seen_at: str | None
    truncated: dict[str, int]


class Sample(TypedDict):
    """One item with its details; `weight` is 1 / its chance to be sampled."""

    item_id: str
    outcome: str
    reason: str | None
    details: Any
    score: float | None
    rank: int | None
    weight: float | None
    timestamp: str | None


class StepRow(TypedDict, total=False):
    """A step attempt; in a list of large values their heads, in a run with its samples."""

    run_id: str
    step_id: str
    attempt: int
    pipeline: str | None
    name: str | None
    step_type: str | None
    status: Status
    parent_id: str | None
    upstream: list[str] | None
    index: int | None
    map_index: int | None
    input: Any
    output: Any
    input_count: int | None
    output_count: int | None
    rejection_rate: float | None
    rejection_counts: dict[str, int]
    reasons: dict[str, dict[str, int]]
    decisions: list[Object]
    started_at: str | None
    ended_at: str | None
    duration_ms: float | None
    error: Error | None
    metadata: Object | None
    ledger: Ledger
    items: Object | None
    relation: str | None
    inference: Object | None
    scores: Object | None
    score_sums: Object | None
    orders: Object | None
    dimensions: Object | None
    value_sums: Object | None
    origin: Object | None
    code_version: str | None
    capture: str | None
    sampling: Object | None
    dropped: dict[str, int] | None
    truncated: dict[str, int]
    sampled_rejections: list[Sample]
    acceptances: list[Sample]
    other_samples: list[Sample]
    item_fields: list[Sample]
    sample_count: int


class RunList(TypedDict):
    """A page of runs, newest first; `next_cursor` is null at the end."""

    runs: list[RunRow]
    next_cursor: str | None


class StepList(TypedDict):
    """A page of step attempts, newest first; `next_cursor` is null at the end."""

    steps: list[StepRow]
    next_cursor: str | None


class Run(RunRow):
    """A run with a page of its steps; `conservation` says what was lost between steps, where it is known."""

    flags: list[str]
    conservation: list[Object]
    steps: list[StepRow]
    next_cursor: str | None


class NameFound(TypedDict):
    """A name that begins with the text, and how many runs or steps have it; `more`: there may be more than were counted."""

    name: str
    count: int
    more: bool


class ItemFound(TypedDict):
    """An item whose id begins with the text, in how many of the runs looked at, and in which last."""

    item_id: str
    runs: int
    run_id: str


class TextFound(TypedDict, total=False):
    """An error text or metadata, in how many steps and runs of those looked at, and where last."""

    error: str
    metadata: str
    runs: int
    steps: int
    run_id: str
    step_id: str | None
    step: str | None
    pipeline: str | None


class LookedBackTo(TypedDict):
    """How far back the newest were looked through; null: all."""

    items: str | None
    errors: str | None
    metadata: str | None


class Search(TypedDict):
    """What begins with a text."""

    q: str
    run_count: int
    runs: list[RunRow]
    pipelines: list[NameFound]
    tags: list[NameFound]
    steps: list[NameFound]
    reasons: list[NameFound]
    items: list[ItemFound]
    errors: list[TextFound]
    metadata: list[TextFound]
    looked_back_to: LookedBackTo


class JourneyEntry(TypedDict, total=False):
    """What happened to the item at one step attempt, and how certain that is."""

    step: str
    step_id: str
    attempt: int
    path: str
    outcome: str | None
    reason: str | None
    details: Any
    score: Any
    rank: Any
    certainty: Literal["exact", "fingerprint", "not_captured"]
    p_false: float
    implicit: bool
    inferred: bool
    superseded: bool
    note: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: dict[str, list[Any]] | None


class Why(TypedDict):
    """What became of one item in one run."""

    run_id: str
    item_id: str
    outcome: str
    sentence: str
    journey: list[JourneyEntry]
    reason: str | None
    step: str | None
    step_id: str | None
    certainty: Literal["exact", "fingerprint", "not_captured"]
    p_false: float
    unsure: list[str]
    unasked: list[str]
    inferred: bool


class PartedAt(TypedDict, total=False):
    """The first step at which two runs differ by themselves."""

    step: str
    path: str
    step_a: str | None
    step_b: str | None
    kind: Literal["non_deterministic", "code_changed", "input_changed", "missing_step"]
    certain: bool
    not_certain_because: list[str]
    reordered: bool
    sentence: str


class ComparedStep(TypedDict, total=False):
    """One step of both runs side by side."""

    name: str
    path: str
    a: Object | None
    b: Object | None
    inputs_equal: bool | None
    outputs_equal: bool | None
    ledger_delta: dict[str, int]
    reason_delta: dict[str, dict[str, int]]
    reason_counts: dict[str, dict[str, list[int]]]
    role: str | None
    note: str | None


class Flip(TypedDict):
    """An item whose outcome differs, at the first step where it does; `item_id` is null where only its fingerprint is known."""

    item_id: str | None
    fingerprint: str
    step: str
    a: Object
    b: Object


class Diff(TypedDict):
    """Two runs compared."""

    a: str
    b: str
    sentence: str
    parted_at: PartedAt | None
    steps: list[ComparedStep]
    flipped: list[Flip]
    flipped_count: int
    flipped_exact: bool
    changes: list[Object]
    inputs_equal: bool | None
    outputs_equal: bool | None


class Decision(Sample, total=False):
    """A sample, and the step that made it."""

    run_id: str
    step_id: str
    attempt: int
    pipeline: str | None
    step: str | None


class Estimate(TypedDict):
    """How many items match in truth, from the weights of the samples; `complete`: all were looked at."""

    total: float
    standard_error: float
    sampled: int
    complete: bool


class Decisions(TypedDict):
    """A page of samples; the estimate is on the first page."""

    decisions: list[Decision]
    next_cursor: str | None
    estimate: Estimate | None
    scanned_steps: int


class Trend(TypedDict, total=False):
    """One bucket of time of one step name in one pipeline."""

    at: str
    pipeline: str
    step: str
    steps: int
    failed: int
    items_in: int
    ledger: Ledger
    rejection_rate: float | None
    reasons: dict[str, int]
    mean_duration_ms: float | None
    scores: Object
    values: Object


class Trends(TypedDict, total=False):
    """Ledger and reason mix per bucket of time."""

    bucket: str
    since: str
    until: str
    complete: bool
    trends: list[Trend]


class ItemSighting(TypedDict, total=False):
    """One set of a step attempt that holds the item."""

    step: str
    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    certainty: Literal["exact", "fingerprint"]
    p_false: float


class ItemRun(TypedDict, total=False):
    """A run that holds the item, and what became of it there."""

    run_id: str
    pipeline: str | None
    started_at: str | None
    outcome: str | None
    reason: str | None
    step: str | None
    steps: list[ItemSighting]


class ItemAcrossRuns(TypedDict):
    """The runs that hold an item; `next_cursor` is null at the end."""

    item_id: str
    runs: list[ItemRun]
    next_cursor: str | None


class ItemList(TypedDict):
    """A page of the items of a run, step, outcome or reason, sorted by name; `total` says how many are named."""

    run_id: str
    pipeline: str | None
    step: str | None
    outcome: str | None
    reason: str | None
    sentence: str
    certainty: str
    total: Object
    items: list[Object]
    next_cursor: str | None


class WhatIf(TypedDict, total=False):
    """Who would change at a step if its limit were another."""

    sentence: str
    certainty: str
    changes: Object | None
    items: list[Object]
    next_cursor: str | None


class GroupsDiff(TypedDict, total=False):
    """What differs between two groups of runs."""

    sentence: str


class Stability(TypedDict):
    """How often items' verdicts are others in another run, by step and by item."""

    pipeline: str
    runs: list[str]
    same_input: bool
    inputs: int | None
    certainty: str
    sentence: str
    steps: list[Object]
    items: list[Object]


class Above(TypedDict):
    """Why one item of a run stands above another: `above` is "a", "b" or null."""

    run_id: str
    a: str
    b: str
    above: str | None
    decided_at: Object | None
    sentence: str
    certainty: str
    steps: list[Object]


class SideBySide(TypedDict):
    """Several runs: of each step a cell a run, and the places of the runs that are odd."""

    runs: list[Object]
    first: str | None
    sentence: str
    steps: list[Object]


class Separates(TypedDict):
    """Rules that tell a step's rejected items from those it let through, with coverage and error."""

    step: str
    run_id: str | None
    pipeline: str | None
    reason: str | None
    samples: Object
    fields: list[str]
    known_of_one_side: list[str]
    certainty: str
    rules: list[Object]
    sentence: str
