"""From the evidence of each step to the answer: which step decided, a sentence from a fixed template, the certainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow
from xray_core.journey.step_evidence import StepEvidence
from xray_core.journey.types import NEGATIVE, POSITIVE, Certainty, State, Why

_MAX_DETAILS_CHARS: Final = 200
# Items begin in these steps: what they did not put out was never in the run.
_SOURCES: Final = frozenset({"generate", "retrieve"})


def settle_by_neighbours(step_evidence: Sequence[StepEvidence], flow: Flow) -> None:
    """Settle by the steps before and after what one step alone leaves open."""
    for position, evidence in enumerate(step_evidence):
        if evidence.outcome is not None or not evidence.complete or evidence.state["status"] == "failed":
            continue
        after = [m for m in step_evidence[position + 1 :] if not m.silent and not inside(m, evidence, flow)]
        before = [m for m in step_evidence[:position] if m.outcome in POSITIVE | NEGATIVE or m.entered or m.out]
        turned_up = next((m for m in after if m.outcome in POSITIVE | NEGATIVE or m.entered), None)
        if turned_up is not None:
            evidence.note = f"no verdict here; it turned up later, at {turned_up.path}"
        elif evidence.entered:
            related = [m for m in after if not flow.unrelated(evidence.state["step_id"], m.state["step_id"])]
            if related and all(m.outcome == "never_entered" for m in related):
                how: Certainty = "exact" if any(s.found == "exact" for s in evidence.sets) else "fingerprint"
                evidence.say("dropped", how)
                evidence.note = f"it entered, left no verdict, and never reached {related[0].path}"
        elif evidence.out is False and not before:
            if evidence.state["step_type"] in _SOURCES:
                evidence.say("never_entered", "exact")
                evidence.note = "it is not among the items that this step put out"
            else:  # it may have gone in, and been lost inside
                evidence.note = "it did not come out; step.set_input_items() would tell whether it entered"


def inside(inner: StepEvidence, outer: StepEvidence, flow: Flow) -> bool:
    return outer.state["step_id"] in flow.ancestors(inner.state["step_id"])


def collapsed(step_evidence: Sequence[StepEvidence]) -> list[StepEvidence]:
    """Without the instances of mapped steps that never saw the item; where none saw it, one entry stands for all."""
    groups: dict[Any, list[StepEvidence]] = {}
    for evidence in step_evidence:
        if evidence.state["map_index"] is not None:
            groups.setdefault((evidence.state["parent_id"], evidence.state["name"]), []).append(evidence)
    hidden: set[int] = set()
    for group in groups.values():
        never = [evidence for evidence in group if evidence.outcome == "never_entered"]
        if len(never) == len(group) > 1:
            never[0].instances = len(never)
            never = never[1:]
        hidden.update(map(id, never))
    single = {id(group[0]) for group in groups.values() if len(group) == 1}
    return [evidence for evidence in step_evidence if id(evidence) not in hidden or id(evidence) in single]


def answer(item_id: str, run_id: str, run: State, step_evidence: Sequence[StepEvidence], flow: Flow) -> Why:
    informative = [evidence for evidence in step_evidence if not evidence.silent]
    seen = [evidence for evidence in informative if evidence.outcome in POSITIVE | NEGATIVE]
    pipeline = run.get("pipeline")
    if not seen:
        return replace(_not_seen(item_id, run_id, informative), pipeline=pipeline)
    last = seen[-1]
    after = _following(last, informative, flow)
    noes = [evidence for evidence in seen if evidence.outcome in NEGATIVE]
    if last.outcome in NEGATIVE:
        inner = [evidence for evidence in noes if inside(evidence, last, flow)]
        decisive = inner[-1] if inner else last
    elif noes and (after or flow.unrelated(noes[-1].state["step_id"], last.state["step_id"])):
        decisive, after = noes[-1], []  # one of several checks said no, and the item was not seen to come through
    else:
        decisive = last
    unsure = [evidence for evidence in after if evidence.outcome is None] if decisive.outcome in POSITIVE else []
    unasked: list[str] = []
    entered = next((evidence for evidence in reversed(unsure) if evidence.entered), None)
    if entered is not None:
        return replace(_still_inside(item_id, run_id, entered, unsure), pipeline=pipeline)
    lost = [evidence for evidence in after if evidence.outcome == "never_entered"]
    fate, at = decisive.outcome, decisive
    sentence = _sentence(item_id, decisive)
    if decisive.outcome in POSITIVE and lost and not unsure:
        fate, at = "dropped", lost[0]
        where = f"{'selected' if decisive.outcome == 'selected' else 'accepted'} at {decisive.path}"
        sentence = f"{item_id} was dropped without a reason: {where}, it never reached {lost[0].path}{_doubt(decisive)}"
    elif unsure:
        sentence += f"; what became of it after that is not captured ({unsure[0].path}: {unsure[0].note})"
    elif last is not decisive and last.outcome in POSITIVE:
        sentence += f" (though {last.path} {last.outcome} it)"
    elif decisive.outcome in POSITIVE:
        unasked = [
            evidence.path
            for evidence in _following(last, step_evidence, flow)
            if evidence.silent and evidence.state["status"] != "skipped"
        ]
        if unasked:
            sentence += (
                f"; after that, {_listed(unasked)} {'tells' if len(set(unasked)) == 1 else 'tell'} nothing about items"
            )
    return Why(
        run_id=run_id, item_id=item_id, outcome=fate or "not_captured", sentence=sentence, reason=at.reason,
        details=at.details, score=at.score, step=at.state["name"] or at.state["step_id"], step_id=at.state["step_id"],
        certainty="not_captured" if unsure else decisive.certainty, p_false=decisive.p_false,
        unsure=[evidence.path for evidence in unsure][:20], unasked=unasked[:20], pipeline=pipeline,
    )  # fmt: skip


def _following(last: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow) -> list[StepEvidence]:
    """The steps that came after `last` and could have handled what it let through."""
    ancestors = set(flow.ancestors(last.state["step_id"]))
    return [
        evidence
        for evidence in step_evidence[step_evidence.index(last) + 1 :]
        if evidence.state["step_id"] not in ancestors
        and not flow.unrelated(last.state["step_id"], evidence.state["step_id"])
    ]


def _not_seen(item_id: str, run_id: str, informative: Sequence[StepEvidence]) -> Why:
    unsure = [evidence for evidence in informative if evidence.outcome is None]
    certain = [evidence for evidence in informative if evidence.outcome == "never_entered"]
    entered = next((evidence for evidence in informative if evidence.entered and evidence.outcome is None), None)
    paths = [evidence.path for evidence in unsure][:20]
    if entered is not None:
        return _still_inside(item_id, run_id, entered, unsure)
    if certain and certain[0] is informative[0]:
        first = certain[0]
        why = first.note or f"it is not among the items of {first.path}"
        sentence = (
            f"{item_id} never entered: {why}" if first.note is None else f"{item_id} never entered {first.path}: {why}"
        )
        if unsure:
            sentence += f" ({_listed(paths)} cannot tell: {unsure[0].note})"
        return Why(run_id=run_id, item_id=item_id, outcome="never_entered", sentence=sentence, unsure=paths,
                   step=first.state["name"], step_id=first.state["step_id"],
                   certainty="not_captured" if unsure else "exact")  # fmt: skip
    if not informative:
        sentence = (
            f"{item_id} left no trace: no step of this run tells anything about items; "
            "step.accept(), step.reject() and step.set_input_items() would"
        )
    else:
        reached = f"; it certainly did not reach {_listed([evidence.path for evidence in certain])}" if certain else ""
        sentence = f"{item_id} left no trace in this run{reached}; {_listed(paths)} cannot tell: {unsure[0].note}"
    return Why(run_id=run_id, item_id=item_id, outcome="not_captured", sentence=sentence, unsure=paths,
               certainty="not_captured")  # fmt: skip


def _still_inside(item_id: str, run_id: str, evidence: StepEvidence, unsure: Sequence[StepEvidence]) -> Why:
    return Why(
        run_id=run_id,
        item_id=item_id,
        outcome="not_captured",
        sentence=f"{item_id} entered {evidence.path}; what became of it is not captured: {evidence.note}",
        unsure=[each.path for each in unsure][:20],
        step=evidence.state["name"],
        step_id=evidence.state["step_id"],
        certainty="not_captured",
    )


def _sentence(item_id: str, evidence: StepEvidence) -> str:
    words = {"not_selected": "not selected"}.get(evidence.outcome or "", evidence.outcome)
    if evidence.outcome == "dropped":
        text = f"{item_id} was dropped at {evidence.path} without a reason"
    elif evidence.outcome == "errored":
        text = f"{item_id} errored at {evidence.path}"
    else:
        text = f"{item_id} was {words} at {evidence.path}"
    if evidence.reason:
        text += f": {evidence.reason}"
    about: list[str] = [details_text(evidence.details)] if evidence.details else []
    if evidence.outcome in ("selected", "not_selected"):
        about += [f"score {evidence.score}"] if evidence.score is not None else []
        about += [f"rank {evidence.rank}"] if evidence.rank is not None and evidence.outcome == "not_selected" else []
    if about:
        text += f" ({'; '.join(about)})"
    if evidence.cutoff is not None:
        score = "" if evidence.cutoff["score"] is None else f" with {evidence.cutoff['score']}"
        text += f"; the last selected was {evidence.cutoff['item_id']}{score}"
    if evidence.implicit:
        text += " (nobody said so: it is among what came out)"
    return text + _doubt(evidence)


def _doubt(evidence: StepEvidence) -> str:
    if evidence.certainty != "fingerprint":
        return ""
    return f" [by fingerprint: wrong with probability {evidence.p_false:.0e}]"


def details_text(details: Any) -> str:
    """Details as "dest IAH; wanted LAX, BUR", cut at 200 characters."""
    if isinstance(details, Mapping):
        text = "; ".join(f"{key} {_value_text(value)}" for key, value in details.items())
    else:
        text = _value_text(details)
    return text if len(text) <= _MAX_DETAILS_CHARS else text[: _MAX_DETAILS_CHARS - 1] + "…"


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value[:20]))
    return {True: "true", False: "false", None: "none"}[value] if value is None or value is True or value is False else str(value)  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3])
    return shown if len(unique) <= 3 else f"{shown} and {len(unique) - 3} more"
