"""What the evidence of one step leaves open, and the attempts, steps before and steps after it settle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xray_core.journey.flow import Flow
from xray_core.journey.sentences import listed
from xray_core.journey.step_evidence import StepEvidence
from xray_core.journey.types import NEGATIVE, POSITIVE, Certainty
from xray_core.model import ITEMS_IN, ITEMS_OUT, ITEMS_UNKNOWN, NOT_REACHED

# Items begin in these steps: what they did not put out was never in the run.
SOURCES: Final = frozenset({"generate", "retrieve"})


def attempts_that_count(step_evidence: Sequence[StepEvidence]) -> list[StepEvidence]:
    """One attempt of each step, the others marked as superseded: the last one, unless it certainly never had the item.

    An attempt that goes on where another stopped is given the rest alone: what the other said of the item stands.
    """
    attempts: dict[str, list[StepEvidence]] = {}
    for evidence in step_evidence:
        attempts.setdefault(evidence.state["step_id"], []).append(evidence)
    chosen: set[int] = set()
    for several in attempts.values():
        several.sort(key=lambda evidence: evidence.state["attempt"])
        counts = several[-1]
        if counts.silent or counts.outcome == "never_entered":
            speaking = (each for each in reversed(several) if not each.silent and each.outcome != "never_entered")
            counts = next(speaking, counts)
            if any(each.silent for each in several[several.index(counts) + 1 :]):
                counts.retried_silently = True
                counts.certainty = "not_captured"
        chosen.add(id(counts))
        for evidence in several:
            evidence.superseded = evidence is not counts
    return [evidence for evidence in step_evidence if id(evidence) in chosen]


def settle_by_neighbours(step_evidence: Sequence[StepEvidence], flow: Flow) -> None:
    """Settle by the steps before and after what one step alone leaves open."""
    for position, evidence in enumerate(step_evidence):
        if evidence.outcome is not None or not evidence.complete or evidence.state["status"] == "failed":
            continue
        after = [m for m in step_evidence[position + 1 :] if not m.silent and not inside(m, evidence, flow)]
        turned_up = next((m for m in after if m.outcome in POSITIVE | NEGATIVE or m.entered), None)
        if turned_up is not None:
            evidence.note = f"no verdict here; it turned up later, at {turned_up.path}"
        elif evidence.entered:
            _settle_what_entered(evidence, step_evidence, flow)
        elif evidence.out is False and not any(
            m.outcome in POSITIVE | NEGATIVE or m.entered or m.out for m in step_evidence[:position]
        ):
            metadata = evidence.state["metadata"]
            unknown_because = metadata.get(ITEMS_UNKNOWN) or metadata.get(NOT_REACHED)
            if unknown_because:
                evidence.note = f"it did not come out; {unknown_because}"
            elif evidence.state["step_type"] in SOURCES:
                evidence.say("never_entered", "exact")
                evidence.note = "it is not among the items that this step put out"
            else:  # it may have gone in, and been lost inside
                evidence.note = "it did not come out; step.set_input_items() would tell whether it entered"


def _settle_what_entered(evidence: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow) -> None:
    """It entered, left no verdict, and was not seen again: dropped here, if no silent step after may have lost it."""
    if _is_sink(evidence, step_evidence):
        return  # it puts out no items, so what the steps after it have came of others
    lost, unsure = lost_after(evidence, step_evidence, flow)
    if not lost or unsure:
        return
    silent = silent_between(evidence, lost[0], step_evidence, flow)
    if silent:
        evidence.lost_by = lost[0].path
        evidence.note = f"it entered, and was lost here or in {listed(silent)}"
        return
    how: Certainty = "exact" if any(each.found == "exact" for each in evidence.sets) else "fingerprint"
    evidence.say("dropped", how)
    evidence.inferred = evidence.is_inferred(ITEMS_IN)
    evidence.note = f"it entered, left no verdict, and never reached {lost[0].path}"


def _is_sink(evidence: StepEvidence, step_evidence: Sequence[StepEvidence]) -> bool:
    """Whether no items come out of a step as far as an adapter saw, nor of others of its name: one that gave nothing back lost one."""
    step = (evidence.state["parent_id"], evidence.state["name"])
    alike = (each.state for each in step_evidence if (each.state["parent_id"], each.state["name"]) == step)
    return (
        evidence.is_inferred(ITEMS_IN)
        and evidence.state["relation"] == "sink"
        and not any(ITEMS_OUT in (state["items"] or {}) for state in alike)
    )


def inside(inner: StepEvidence, outer: StepEvidence, flow: Flow) -> bool:
    """Whether the one step is inside the other, at whatever depth."""
    return outer.state["step_id"] in flow.ancestors(inner.state["step_id"])


def following(evidence: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow) -> list[StepEvidence]:
    """The steps that came after one and could have handled what it let through."""
    step_id = evidence.state["step_id"]
    around = set(flow.ancestors(step_id))
    return [
        each
        for each in step_evidence[step_evidence.index(evidence) + 1 :]
        if each.state["step_id"] not in around
        and not inside(each, evidence, flow)
        and not flow.unrelated(step_id, each.state["step_id"])
    ]


def lost_after(
    evidence: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow
) -> tuple[list[StepEvidence], list[StepEvidence]]:
    """Of the steps after one: those that the item certainly never reached, and those that cannot tell.

    A mapped step was never reached only if all its instances tell so.
    """
    after = following(evidence, step_evidence, flow)
    silent: dict[Any, set[str]] = {}
    for each in after:
        if each.silent:
            for group, instance in flow.instances(each.state["step_id"]).items():
                silent.setdefault(group, set()).add(instance)
    lost = [
        each
        for each in after
        if each.outcome == "never_entered"
        and not any(
            silent.get(group, set()) - {instance}
            for group, instance in flow.instances(each.state["step_id"]).items()
            if silent
        )
    ]
    unsure = [each for each in after if each.outcome is None and not each.silent]
    if lost:  # what only comes after a step that it never reached cannot have had it
        first = after.index(lost[0])
        unsure = [
            each
            for each in unsure
            if after.index(each) < first or flow.unrelated(lost[0].state["step_id"], each.state["step_id"])
        ]
    return lost, unsure


def silent_between(
    evidence: StepEvidence | None, later: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow
) -> list[str]:
    """Paths of the steps between two (None: before the later one) that ran and tell nothing about items."""
    before = step_evidence[: step_evidence.index(later)]
    if evidence is not None:
        wanted = set(map(id, following(evidence, step_evidence, flow)))
        before = [each for each in before if id(each) in wanted]
    return [
        each.path
        for each in before
        if each.silent
        and each.state["status"] != "skipped"
        and not inside(later, each, flow)
        and not flow.unrelated(each.state["step_id"], later.state["step_id"])
    ]


def collapsed(step_evidence: Sequence[StepEvidence]) -> list[StepEvidence]:
    """Without the instances of mapped steps that never saw the item; where none saw it, one entry stands for all."""
    groups: dict[Any, list[StepEvidence]] = {}
    for evidence in step_evidence:
        if evidence.state["map_index"] is not None:
            groups.setdefault((evidence.state["parent_id"], evidence.state["name"]), []).append(evidence)
    hidden: set[int] = set()
    for group in groups.values():
        never = [evidence for evidence in group if evidence.outcome == "never_entered"]
        if any(evidence.outcome in POSITIVE | NEGATIVE or evidence.entered for evidence in group):
            never += [evidence for evidence in group if evidence.without_verdict]
        if len(never) == len(group) > 1:
            never[0].instances = len(never)
            never = never[1:]
        hidden.update(map(id, never))
    single = {id(group[0]) for group in groups.values() if len(group) == 1}
    return [evidence for evidence in step_evidence if id(evidence) not in hidden or id(evidence) in single]
