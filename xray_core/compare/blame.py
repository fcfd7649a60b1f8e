"""Where two runs part: the first step with the same inputs and other outputs, and which other steps differ only because of it.

Steps are judged in order, inner steps before the one around them. A step's inputs are equal when what was captured of them
says so, or, where nothing was captured, when everything before it came out equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from xray_core.compare import evidence
from xray_core.compare.align import Pair, children_first, in_order
from xray_core.compare.changes import step_changes
from xray_core.compare.evidence import Equality
from xray_core.compare.types import Kind, PartedAt, Source, StepKey
from xray_core.model import RESULT_METADATA


@dataclass(slots=True)
class Judged:
    """A pair of steps with what is known of it."""

    pair: Pair
    inputs: Equality = field(default_factory=lambda: Equality(None))
    outputs: Equality = field(default_factory=lambda: Equality(None))
    inferred: bool = False
    role: Literal["origin", "consequence"] | None = None

    @property
    def missing(self) -> bool:
        """Whether one of the runs lacks the step."""
        return self.pair.a is None or self.pair.b is None

    @property
    def differs(self) -> bool:
        """Whether the step is missing in one run, or known to have other inputs or outputs."""
        return self.missing or self.inputs.equal is False or self.outputs.equal is False


class Blame:
    """Judges every pair of steps of two runs.

    Attributes:
        judged: in order, a parent before its children.
        parted_at: the first difference that nothing before it explains.
        origin: the pair that `parted_at` names.
    """

    def __init__(self, roots: Sequence[Pair], run_inputs: bool | None, source: Source) -> None:
        self._source = source
        self._run_inputs = run_inputs
        self._of = {id(pair): Judged(pair) for pair in in_order(roots)}
        self._siblings = {id(pair): siblings for siblings in _families(roots) for pair in siblings}
        for pair in in_order(roots):
            self._compare(self._of[id(pair)])
        for pair in in_order(roots):
            self._infer(self._of[id(pair)])
        self.judged = [self._of[id(pair)] for pair in in_order(roots)]
        self.origin: Judged | None = None
        self.parted_at: PartedAt | None = None
        self._blame([self._of[id(pair)] for pair in children_first(roots)])

    def _compare(self, judged: Judged) -> None:
        a, b = judged.pair.a, judged.pair.b
        if a is None or b is None:
            return
        judged.inputs = evidence.inputs_equal(a, b)
        keys: list[StepKey] = [(state["step_id"], state["attempt"]) for state in (a, b)]
        samples = partial(self._samples, keys)
        judged.outputs = evidence.outputs_equal(a, b, samples)

    def _samples(self, keys: list[StepKey]) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        return self._source.samples(0, keys[0]), self._source.samples(1, keys[1])

    def _infer(self, judged: Judged) -> None:
        if judged.inputs.equal is None and not judged.missing:
            judged.inputs = Equality(self._inputs_by_what_came_before(judged.pair))
            judged.inferred = judged.inputs.equal is not None

    def _inputs_by_what_came_before(self, pair: Pair) -> bool | None:
        """True when all that could have fed the step came out equal. Never False: a difference may not have reached it."""
        before = pair.upstream or self._before(pair)
        if before:
            return True if all(map(self._came_out_equal, before)) else None
        if pair.parent is not None:
            return True if self._of[id(pair.parent)].inputs.equal else None
        return True if self._run_inputs else None

    def _came_out_equal(self, pair: Pair) -> bool:
        """Known to have; a step that only groups others came out as they did."""
        equal = self._of[id(pair)].outputs.equal
        if equal is None and pair.children:
            return all(map(self._came_out_equal, pair.children))
        return equal is True

    def _before(self, pair: Pair) -> list[Pair]:
        """The siblings before it, but not the other instances of a mapped step."""
        siblings = self._siblings[id(pair)]
        before = []
        for each in siblings:
            if each is pair:
                break
            if pair.map_index is None or each.name != pair.name:
                before.append(each)
        return before

    def _blame(self, ordered: Sequence[Judged]) -> None:
        first = next((each for each in ordered if each.differs), None)
        if first is None:
            return
        # the step around it may have received the difference before
        for around in first.pair.ancestors():
            outer = self._of[id(around)]
            if outer.inputs.equal is False or outer.missing:
                first = outer
        self.origin = first
        for each in ordered:
            if not each.differs or each.missing:
                continue
            proven = each.inputs.equal is True and not each.inferred
            inner = any(self._of[id(child)].differs for child in each.pair.children)
            each.role = "origin" if each is first or (proven and not inner) else "consequence"
        if first.missing:
            first.role = "origin"
        self.parted_at = self._parting(first)

    def _parting(self, first: Judged) -> PartedAt:
        pair = first.pair
        changed = [change.path for each in (pair, *pair.ancestors()) for change in step_changes(each)]
        # what was captured at all is no parameter of the step, and neither is what came of it
        results = tuple(f"steps.{each.path}.metadata.{RESULT_METADATA}" for each in (pair, *pair.ancestors()))
        changed = [path for path in changed if not path.endswith((".capture", ".step_type"))]
        changed = [path for path in changed if not path.startswith(results)]
        kind: Kind
        proven = first.inputs.equal is True and not first.inferred
        if first.inputs.equal is False or (self._run_inputs is False and not (proven and changed)):
            kind = "input_changed"
        elif first.missing:
            kind = "missing_step"
        else:
            kind = "code_changed" if changed else "non_deterministic"
        differing = first.inputs if first.inputs.equal is False else first.outputs
        return PartedAt(
            step=pair.name,
            path=pair.path,
            step_a=None if pair.a is None else pair.a["step_id"],
            step_b=None if pair.b is None else pair.b["step_id"],
            kind=kind,
            reordered=differing.reordered and not first.missing,
            certain=self._certain(first, kind),
            changed=changed,
        )

    def _certain(self, first: Judged, kind: Kind) -> bool:
        if kind == "missing_step":
            return all(self._of[id(each)].outputs.equal for each in self._before(first.pair))
        if kind == "input_changed":
            return first.inputs.equal is False or self._run_inputs is False
        return first.inputs.equal is True


def _families(roots: Sequence[Pair]) -> list[Sequence[Pair]]:
    return [roots, *(pair.children for pair in in_order(roots) if pair.children)]
