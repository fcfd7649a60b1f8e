"""The types of a comparison: the two runs, where their sets come from, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol

from xray_core import markup

State = Mapping[str, Any]
Json = dict[str, Any]
StepKey = tuple[str, int]
Kind = Literal["non_deterministic", "code_changed", "input_changed", "missing_step"]
Knowledge = Literal["same", "same_items", "differs", "unknown"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs: its merged state and its merged step attempts."""

    run_id: str
    run: State
    steps: Sequence[State]


class HeldSet(Protocol):
    """A set of items as it is kept: ids, or an fp40 blob."""

    @property
    def outcome(self) -> str:
        """An outcome, or "in" / "out" for an item set."""

    @property
    def reason(self) -> str | None:
        """The reason of all items of the set."""

    @property
    def ids(self) -> Sequence[str] | None:
        """The ids; None where only fingerprints are kept."""

    @property
    def fp40(self) -> bytes | None:
        """The fingerprints as `verdicts.encode` makes them; None where ids are kept."""

    @property
    def limit(self) -> float | None:
        """What the numbers of its verdicts were compared with; None where none was declared."""


class Source(Protocol):
    """Where sets and samples come from when the summaries of two steps differ. `side` is 0 for a, 1 for b."""

    def sets(self, side: int, step: StepKey) -> Iterable[HeldSet]:
        """Every set of one step attempt."""

    def samples(self, side: int, step: StepKey) -> Sequence[Mapping[str, Any]]:
        """The samples of one step attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartedAt:
    """The first step at which the runs differ by themselves.

    Attributes:
        step: its name; `path` with its parents.
        step_a, step_b: its ids; None in the run that lacks it.
        kind: what explains it best, see product.md.
        reordered: only the order differs.
        certain: False where the inputs of the step, or what came before it, were not captured well enough to be sure
            that the difference does not come from earlier.
        changed: the paths in `changes` that concern this step's code, parameters and limits.
        reached_output: whether its difference is seen to reach the output of the run; None where that was not captured.
        from_run: the runs were given different inputs, and that may explain it.
        not_certain_because: reasons, in words.
        lost_before: what was lost between the steps before and this one, in words.
        sentence: the answer in words, without what is added about items.
    """

    step: str
    path: str
    step_a: str | None
    step_b: str | None
    kind: Kind
    reordered: bool = False
    certain: bool = True
    changed: Sequence[str] = ()
    reached_output: bool | None = None
    from_run: bool = False
    not_certain_because: Sequence[str] = ()
    lost_before: Sequence[str] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStep:
    """One step of both runs side by side.

    Attributes:
        a, b: {step_id, attempt, status} or None where the run lacks it.
        inputs, outputs: {state: "same" | "same_items" (values not captured) | "differs" | "unknown", what, columns,
            generated}: `what` differs (value, items, values, order, counts, scores, selected, status), in which columns;
            `generated`: paths that differ as ids, times and hosts of runs do, or that hide secrets.
        inputs_equal, outputs_equal: True for "same", False for "differs", else None.
        inputs_inferred: equality of the inputs follows from the steps before, it was not captured.
        role: "origin" (same inputs, other outputs), "consequence" (it differs because something before it does).
        ledger: {a, b}: both ledgers, None in the run that lacks the step.
        ledger_delta: b - a for each figure; reason_delta: {outcome: {reason: b - a}}, only what differs.
        reason_counts: {outcome: {reason: [a, b]}} of the same reasons.
        note: why an equality is not known.
    """

    name: str
    path: str
    map_index: int | None
    a: Mapping[str, Any] | None
    b: Mapping[str, Any] | None
    inputs_equal: bool | None
    outputs_equal: bool | None
    reordered: bool = False
    inputs_inferred: bool = False
    role: Literal["origin", "consequence"] | None = None
    ledger_delta: Mapping[str, int] = field(default_factory=dict)
    reason_delta: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reason_counts: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    note: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An item whose outcome differs, at the first step where it does.

    Attributes:
        item_id: None where only its fingerprint is known.
        fingerprint: 10 hex digits.
        a, b: {outcome, reason}; outcome "absent" where the step has no trace of the item.
    """

    item_id: str | None
    fingerprint: str
    step: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference in what the runs were given: `path` as in "input.to", "steps.filter.metadata.threshold"."""

    path: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Two runs compared.

    Attributes:
        flipped: at most 100 of the items whose outcome differs, the named ones first.
        also: {step, path, kind, reached_output, certain, sentence} of further steps that differ, and not because of the first.
        options: {tolerance, ignore}: how they were compared.
        baseline: {run_id, how, started_at, mark, note} where `a` was chosen as the baseline.
        unusual: {step, figure, share, usual: [low, high], runs, sentence} of what is far from the last runs of the pipeline.
        waiting: runs that wait on this machine and could change the answer: one of the two, or one that the baseline may be.
        ignore_proposed: paths of the input that had another value in each of the last runs.
        flipped_count: all of them; an estimate where `flipped_exact` is False, with its standard error.
    """

    a: str
    b: str
    sentence: str
    parted_at: PartedAt | None
    steps: Sequence[ComparedStep]
    flipped: Sequence[Flip]
    flipped_count: int
    flipped_exact: bool = True
    flipped_error: float = 0.0
    changes: Sequence[Change] = ()
    changes_omitted: int = 0
    inputs_equal: bool | None = None
    outputs_equal: bool | None = None
    also: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] | None = None
    unusual: Sequence[Mapping[str, Any]] = ()
    ignore_proposed: Sequence[str] = ()
    waiting: Sequence[str] = ()

    def __str__(self) -> str:
        return markup.diff_text(self)

    def _repr_html_(self) -> str:
        return markup.diff_html(self)

    def as_json(self) -> Json:
        """The answer as the server sends it."""
        answer = asdict(self)
        if not self.waiting:  # no server knows of it
            del answer["waiting"]
        return answer

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Diff:
        """The answer as the server sent it; fields that this version does not know are left out."""
        parted = answer.get("parted_at")
        made: Diff = _made(cls, {
            **answer,
            "parted_at": None if parted is None else _made(PartedAt, parted),
            "steps": [_made(ComparedStep, each) for each in answer.get("steps", ())],
            "flipped": [_made(Flip, each) for each in answer.get("flipped", ())],
            "changes": [_made(Change, each) for each in answer.get("changes", ())],
        })  # fmt: skip
        return made


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    names = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})
