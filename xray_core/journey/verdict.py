"""From the evidence of each step to the answer: which step decided, the sentence, and how certain it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow
from xray_core.journey.neighbours import following, inside, lost_after, silent_between
from xray_core.journey.sentences import doubt, listed, outcome_sentence, outcome_words, say
from xray_core.journey.step_evidence import StepEvidence
from xray_core.journey.types import NEGATIVE, POSITIVE, State, Why

_MAX_PATHS: Final = 20


def answer(item_id: str, run_id: str, run: State, step_evidence: Sequence[StepEvidence], flow: Flow) -> Why:
    """The one answer from the evidence of every step, inner steps before the one around them."""
    informative = [each for each in step_evidence if not each.silent]
    seen = [each for each in informative if each.outcome in POSITIVE | NEGATIVE]
    if seen:
        why = _seen(item_id, run_id, seen, step_evidence, flow)
    else:
        why = _not_seen(item_id, run_id, informative, step_evidence, flow)
    return replace(why, pipeline=run.get("pipeline"))


def _seen(
    item_id: str, run_id: str, seen: Sequence[StepEvidence], step_evidence: Sequence[StepEvidence], flow: Flow
) -> Why:
    noes = [each for each in seen if each.outcome in NEGATIVE]
    passed_by = _passed_by(seen, noes, step_evidence, flow)
    seen = [each for each in seen if each not in passed_by]
    noes = [each for each in noes if each not in passed_by]
    last = seen[-1]
    after = [each for each in following(last, step_evidence, flow) if not each.silent]
    if last.outcome in NEGATIVE:
        inner = [each for each in noes if inside(each, last, flow)]
        decided = inner[-1] if inner else last
        return _beside_others(_decided(item_id, run_id, decided), decided, seen, flow)
    if noes and (after or flow.unrelated(noes[-1].state["step_id"], last.state["step_id"])):
        # one of several checks said no, and the item was not seen to come through
        why = _decided(item_id, run_id, noes[-1])
        return replace(why, sentence=why.sentence + say("though", step=last.path, outcome=last.outcome))
    return _passed(item_id, run_id, last, step_evidence, flow)


def _passed_by(
    seen: Sequence[StepEvidence], noes: Sequence[StepEvidence], step_evidence: Sequence[StepEvidence], flow: Flow
) -> list[StepEvidence]:
    """Of the steps that left the item out without saying so, those that it took another way than: it was routed, or split.

    Another instance let it through, or a step that builds on them, or one whose result went with theirs into a step that had it.
    """
    through = [each.state["step_id"] for each in seen if each.outcome in POSITIVE]
    taken = [each.state["step_id"] for each in step_evidence if each.entered and each.outcome is None]
    if not through:
        return []

    def beside(way: str, no: str) -> bool:
        """Whether a step that had the item builds on both, which are two ways to it."""
        return not flow.builds_on(no, way) and any(flow.builds_on(to, way) and flow.builds_on(to, no) for to in taken)

    return [
        each
        for each in noes
        if each.inferred
        and each.outcome == "dropped"
        and (
            flow.parallel(through[-1], no := each.state["step_id"])
            or flow.builds_on(through[-1], no)
            or any(beside(way, no) for way in through)
        )
    ]


def _beside_others(why: Why, decided: StepEvidence, seen: Sequence[StepEvidence], flow: Flow) -> Why:
    """Of an item that nobody said anything of, what the steps did that had it too and do not build on the one that decided."""
    if not decided.inferred or decided.outcome != "dropped":
        return why
    own = decided.state["step_id"]
    beside = [
        each
        for each in seen
        if each is not decided
        and each.inferred
        and not flow.builds_on(own, each.state["step_id"])
        and flow.unrelated(each.state["step_id"], own)
    ]
    also = [each.path for each in beside if each.outcome == "dropped"]
    let_through = [each.path for each in beside if each.outcome in POSITIVE]
    also = [path for path in also if path not in let_through]  # of a step that was called several times
    text = say("also_dropped", steps=listed(also)) if also else ""
    text += say("though", step=listed(let_through), outcome="accepted") if let_through else ""
    return replace(why, sentence=why.sentence + text)


def _passed(item_id: str, run_id: str, last: StepEvidence, step_evidence: Sequence[StepEvidence], flow: Flow) -> Why:
    """The last step that knew the item let it through: what came after it."""
    lost, unsure = lost_after(last, step_evidence, flow)
    entered = next((each for each in reversed(unsure) if each.entered), None)
    if entered is not None:
        return _entered(item_id, run_id, entered, unsure, step_evidence, flow)
    why = _decided(item_id, run_id, last)
    outcome = outcome_words(last.outcome)
    if lost and unsure:
        text = say("lost_unseen", item=item_id, outcome=outcome, step=last.path, later=lost[0].path,
                   unsure=unsure[0].path, note=unsure[0].note)  # fmt: skip
        why = replace(why, outcome="dropped", sentence=text + doubt(last), **_named(unsure[0]))
    elif lost and (skipped := _skipped_after(last, step_evidence)):
        text = say("skipped_after", later=lost[0].path, skipped=listed(skipped))
        why = replace(why, sentence=why.sentence + text, certainty="not_captured", unasked=skipped[:_MAX_PATHS])
    elif lost:
        silent = silent_between(last, lost[0], step_evidence, flow)
        text = say("lost_between", item=item_id, outcome=outcome, step=last.path, later=lost[0].path)
        text += say("silent_between", silent=silent) if silent else ""
        why = replace(why, outcome="dropped", sentence=text + doubt(last), unasked=silent[:_MAX_PATHS],
                      reason=None, details=None, score=None, **_named(lost[0]))  # fmt: skip
    elif unsure:
        text = say("unseen_after", step=unsure[0].path, note=unsure[0].note)
        why = replace(why, sentence=why.sentence + text)
    else:
        silent = [
            each.path
            for each in following(last, step_evidence, flow)
            if each.silent and each.state["status"] != "skipped"
        ]
        if silent:
            text = why.sentence + say("silent_after", silent=silent)
            why = replace(why, sentence=text, unasked=silent[:_MAX_PATHS])
    if unsure:
        why = replace(why, certainty="not_captured", unsure=_paths(unsure))
    return why


def _skipped_after(last: StepEvidence, step_evidence: Sequence[StepEvidence]) -> list[str]:
    """The steps that build on one and never ran: what it let through may have been for them."""
    own = last.state["step_id"]
    return [
        each.path
        for each in step_evidence
        if each.state["status"] == "skipped" and each.silent and own in (each.state["upstream"] or ())
    ]


def _not_seen(
    item_id: str,
    run_id: str,
    informative: Sequence[StepEvidence],
    step_evidence: Sequence[StepEvidence],
    flow: Flow,
) -> Why:
    unsure = [each for each in informative if each.outcome is None]
    entered = next((each for each in reversed(unsure) if each.entered), None)
    if entered is not None:
        return _entered(item_id, run_id, entered, unsure, step_evidence, flow)
    never = next((each for each in informative if each.outcome == "never_entered"), None)
    if never is not None:
        return _never_entered(item_id, run_id, never, unsure, step_evidence, flow)
    if unsure:
        sentence = say("no_trace", item=item_id, unsure=listed([each.path for each in unsure]), note=unsure[0].note)
    else:
        sentence = say("no_items", item=item_id)
    return Why(run_id=run_id, item_id=item_id, outcome="not_captured", sentence=sentence, unsure=_paths(unsure),
               certainty="not_captured")  # fmt: skip


def _never_entered(
    item_id: str,
    run_id: str,
    never: StepEvidence,
    unsure: Sequence[StepEvidence],
    step_evidence: Sequence[StepEvidence],
    flow: Flow,
) -> Why:
    """The first step that certainly never had it; exact only if every step before it tells about items."""
    silent = silent_between(None, never, step_evidence, flow)
    silent += [
        each.path
        for each in step_evidence
        if each.silent and flow.parallel(each.state["step_id"], never.state["step_id"]) and each.path not in silent
    ]
    before = [each for each in unsure if step_evidence.index(each) < step_evidence.index(never)]
    text = say("never_entered" if never.note is None else "never_put_out", item=item_id, step=never.path)
    if before:
        text += say("unseen_before", step=listed(_paths(before)), note=before[0].note)
    elif unsure:
        text += say("unseen_after", step=listed(_paths(unsure)), note=unsure[0].note)
    if silent:
        text += say("silent_before", silent=silent)
    return Why(run_id=run_id, item_id=item_id, outcome="never_entered", sentence=text, unsure=_paths(unsure),
               unasked=silent[:_MAX_PATHS], certainty="not_captured" if unsure or silent else "exact",
               **_named(never))  # fmt: skip


def _entered(
    item_id: str,
    run_id: str,
    entered: StepEvidence,
    unsure: Sequence[StepEvidence],
    step_evidence: Sequence[StepEvidence],
    flow: Flow,
) -> Why:
    """It is known to have gone into a step that does not tell what became of it."""
    lost, open_after = lost_after(entered, step_evidence, flow)
    outcome, silent = "not_captured", []
    if entered.lost_by is not None and lost:
        outcome, silent = "dropped", silent_between(entered, lost[0], step_evidence, flow)
        text = say("lost_here_or_there", item=item_id, step=entered.path, later=lost[0].path, silent=silent)
    elif lost and not open_after:
        text = say("entered_unseen", item=item_id, step=entered.path, later=lost[0].path, note=entered.note)
    else:
        text = say("still_inside", item=item_id, step=entered.path, note=entered.note)
    return Why(run_id=run_id, item_id=item_id, outcome=outcome, sentence=text, unsure=_paths(unsure),
               unasked=silent[:_MAX_PATHS], certainty="not_captured", **_named(entered))  # fmt: skip


def _decided(item_id: str, run_id: str, evidence: StepEvidence) -> Why:
    return Why(
        run_id=run_id,
        item_id=item_id,
        outcome=evidence.outcome or "not_captured",
        sentence=outcome_sentence(item_id, evidence),
        reason=evidence.reason,
        details=evidence.details,
        score=evidence.score,
        certainty=evidence.certainty,
        p_false=evidence.p_false,
        **_named(evidence),
    )


def _named(evidence: StepEvidence) -> dict[str, Any]:
    return {"step": evidence.state["name"] or evidence.state["step_id"], "step_id": evidence.state["step_id"]}


def _paths(step_evidence: Sequence[StepEvidence]) -> list[str]:
    return [each.path for each in step_evidence][:_MAX_PATHS]
