"""Runs that began inside a run, as subflows do: which they are, and what their answers add to its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from xray_core.journey.flow import Flow
from xray_core.journey.sentences import say
from xray_core.journey.types import NEGATIVE, POSITIVE, State, Why

_SAID: Final = NEGATIVE - {"dropped"}  # what was dropped nobody said no to


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run that began inside another, or inside one that did.

    Attributes:
        step_id: the step of the outermost run in which it began; None where that is not known.
    """

    run_id: str
    step_id: str | None


def child_runs(run_id: str, runs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[ChildRun]:
    """Those of some runs that began inside a run, at any depth, in the order in which they began.

    Args:
        run_id: the outermost run.
        runs: (run id, merged run) of those that may have begun inside it.
    """
    inside: dict[str, list[tuple[str, str | None]]] = {}
    for each_id, state in sorted(runs, key=lambda run: (run[1].get("started_us") or 0, run[0])):
        parent = state.get("parent") or {}
        if parent.get("run_id") is not None:
            inside.setdefault(parent["run_id"], []).append((each_id, parent.get("step_id")))
    found: dict[str, ChildRun] = {}
    waiting = [ChildRun(*each) for each in inside.get(run_id, ())]
    while waiting:
        child = waiting.pop(0)
        if child.run_id not in found and child.run_id != run_id:  # cycles are broken
            found[child.run_id] = child
            waiting += [ChildRun(each_id, child.step_id) for each_id, _ in inside.get(child.run_id, ())]
    return list(found.values())


def is_settled(answer: Why) -> bool:
    """Whether no run that began inside this one can change its answer: a step of its own said no."""
    return answer.outcome in _SAID and answer.certainty != "not_captured"


def with_child_runs(answer: Why, inner: Sequence[tuple[ChildRun, Why]], steps: Sequence[State]) -> Why:
    """The answer, with those of runs that began inside this one and know the item.

    Theirs is the answer where this run does not know the item, and where it was lost, or not followed, in the step in which
    they began.

    Args:
        inner: those runs with their own answers, in the order in which they began.
        steps: of the run whose answer it is.
    """
    known = [(run, why) for run, why in inner if why.step is not None and why.outcome != "never_entered"]
    if not known:
        return answer
    answer = replace(answer, child_runs=[
        {"run_id": why.run_id, "pipeline": why.pipeline, "outcome": why.outcome, "sentence": why.sentence}
        for _, why in known
    ])  # fmt: skip
    last = next((why for _, why in reversed(known) if why.outcome in NEGATIVE), known[-1][1])
    if answer.step is None or answer.outcome == "never_entered":
        return _answered_by(last, answer)
    cause = None if answer.outcome in _SAID else _cause(answer, known, Flow(steps))
    if cause is not None:
        return _answered_by(cause, answer)
    return replace(answer, sentence=answer.sentence + say("child_run", run=last.run_id, sentence=last.sentence))


def _cause(answer: Why, known: Sequence[tuple[ChildRun, Why]], flow: Flow) -> Why | None:
    """The last run that tells what became of the item in the step where this run lost it, or lost sight of it."""
    telling = NEGATIVE | POSITIVE if answer.outcome == "not_captured" else NEGATIVE
    open_steps = {*answer.unasked, *answer.unsure}
    for run, why in reversed(known):
        if run.step_id is not None and why.outcome in telling:
            around = flow.around(run.step_id)
            if answer.step_id in around or not open_steps.isdisjoint(around.values()):
                return why
    return None


def _answered_by(child: Why, answer: Why) -> Why:
    return replace(answer, sentence=child.sentence + say("in_child_run", run=child.run_id), outcome=child.outcome,
                   reason=child.reason, details=child.details, score=child.score, step=child.step, step_id=child.step_id,
                   certainty=child.certainty, p_false=child.p_false, unsure=child.unsure, unasked=child.unasked,
                   inferred=child.inferred)  # fmt: skip
