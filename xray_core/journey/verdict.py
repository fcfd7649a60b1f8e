"""From the parts to the answer: what decided, in one sentence from a fixed template, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow
from xray_core.journey.step_evidence import Mark
from xray_core.journey.types import NEGATIVE, POSITIVE, Certainty, State, Why

_MAX_DETAILS_CHARS: Final = 200
# Items begin in these steps: what they did not put out was never in the run.
_SOURCES: Final = frozenset({"generate", "retrieve"})


def settle_by_neighbours(marks: Sequence[Mark], flow: Flow) -> None:
    """What one step leaves open, and the steps before and after it settle."""
    for place, mark in enumerate(marks):
        if mark.outcome is not None or not mark.complete or mark.state["status"] == "failed":
            continue
        after = [m for m in marks[place + 1 :] if not m.silent and not inside(m, mark, flow)]
        before = [m for m in marks[:place] if m.outcome in POSITIVE | NEGATIVE or m.entered or m.out]
        turned_up = next((m for m in after if m.outcome in POSITIVE | NEGATIVE or m.entered), None)
        if turned_up is not None:
            mark.note = f"no verdict here; it turned up later, at {turned_up.path}"
        elif mark.entered:
            related = [m for m in after if not flow.unrelated(mark.state["step_id"], m.state["step_id"])]
            if related and all(m.outcome == "never_entered" for m in related):
                how: Certainty = "exact" if any(s.found == "exact" for s in mark.sets) else "fingerprint"
                mark.say("dropped", how)
                mark.note = f"it entered, left no verdict, and never reached {related[0].path}"
        elif mark.out is False and not before:
            if mark.state["step_type"] in _SOURCES:
                mark.say("never_entered", "exact")
                mark.note = "it is not among the items that this step put out"
            else:  # it may have gone in, and been lost inside
                mark.note = "it did not come out; step.set_input_items() would tell whether it entered"


def inside(inner: Mark, outer: Mark, flow: Flow) -> bool:
    return outer.state["step_id"] in flow.ancestors(inner.state["step_id"])


def collapsed(marks: Sequence[Mark]) -> list[Mark]:
    """Without the instances of mapped steps that never saw the item, but for one to stand for all where none did."""
    groups: dict[Any, list[Mark]] = {}
    for mark in marks:
        if mark.state["map_index"] is not None:
            groups.setdefault((mark.state["parent_id"], mark.state["name"]), []).append(mark)
    hidden: set[int] = set()
    for group in groups.values():
        never = [mark for mark in group if mark.outcome == "never_entered"]
        if len(never) == len(group) > 1:
            never[0].instances = len(never)
            never = never[1:]
        hidden.update(map(id, never))
    single = {id(group[0]) for group in groups.values() if len(group) == 1}
    return [mark for mark in marks if id(mark) not in hidden or id(mark) in single]


def answer(item_id: str, run_id: str, run: State, marks: Sequence[Mark], flow: Flow) -> Why:
    told = [mark for mark in marks if not mark.silent]
    seen = [mark for mark in told if mark.outcome in POSITIVE | NEGATIVE]
    pipeline = run.get("pipeline")
    if not seen:
        return replace(_not_seen(item_id, run_id, told), pipeline=pipeline)
    last = seen[-1]
    after = _following(last, told, flow)
    noes = [mark for mark in seen if mark.outcome in NEGATIVE]
    if last.outcome in NEGATIVE:
        inner = [mark for mark in noes if inside(mark, last, flow)]
        decisive = inner[-1] if inner else last
    elif noes and (after or flow.unrelated(noes[-1].state["step_id"], last.state["step_id"])):
        decisive, after = noes[-1], []  # one of several checks said no, and the item was not seen to come through
    else:
        decisive = last
    unsure = [mark for mark in after if mark.outcome is None] if decisive.outcome in POSITIVE else []
    unasked: list[str] = []
    entered = next((mark for mark in reversed(unsure) if mark.entered), None)
    if entered is not None:
        return replace(_still_inside(item_id, run_id, entered, unsure), pipeline=pipeline)
    lost = [mark for mark in after if mark.outcome == "never_entered"]
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
            mark.path for mark in _following(last, marks, flow) if mark.silent and mark.state["status"] != "skipped"
        ]
        if unasked:
            sentence += (
                f"; after that, {_listed(unasked)} {'tells' if len(set(unasked)) == 1 else 'tell'} nothing about items"
            )
    return Why(
        run_id=run_id, item_id=item_id, outcome=fate or "not_captured", sentence=sentence, reason=at.reason,
        details=at.details, score=at.score, step=at.state["name"] or at.state["step_id"], step_id=at.state["step_id"],
        certainty="not_captured" if unsure else decisive.certainty, p_false=decisive.p_false,
        unsure=[mark.path for mark in unsure][:20], unasked=unasked[:20], pipeline=pipeline,
    )  # fmt: skip


def _following(last: Mark, marks: Sequence[Mark], flow: Flow) -> list[Mark]:
    """Those of the marks that came after one and could have handled what it let through."""
    ancestors = set(flow.ancestors(last.state["step_id"]))
    return [
        mark
        for mark in marks[marks.index(last) + 1 :]
        if mark.state["step_id"] not in ancestors and not flow.unrelated(last.state["step_id"], mark.state["step_id"])
    ]


def _not_seen(item_id: str, run_id: str, told: Sequence[Mark]) -> Why:
    unsure = [mark for mark in told if mark.outcome is None]
    certain = [mark for mark in told if mark.outcome == "never_entered"]
    entered = next((mark for mark in told if mark.entered and mark.outcome is None), None)
    paths = [mark.path for mark in unsure][:20]
    if entered is not None:
        return _still_inside(item_id, run_id, entered, unsure)
    if certain and certain[0] is told[0]:
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
    if not told:
        sentence = (
            f"{item_id} left no trace: no step of this run tells anything about items; "
            "step.accept(), step.reject() and step.set_input_items() would"
        )
    else:
        reached = f"; it certainly did not reach {_listed([mark.path for mark in certain])}" if certain else ""
        sentence = f"{item_id} left no trace in this run{reached}; {_listed(paths)} cannot tell: {unsure[0].note}"
    return Why(run_id=run_id, item_id=item_id, outcome="not_captured", sentence=sentence, unsure=paths,
               certainty="not_captured")  # fmt: skip


def _still_inside(item_id: str, run_id: str, mark: Mark, unsure: Sequence[Mark]) -> Why:
    return Why(
        run_id=run_id,
        item_id=item_id,
        outcome="not_captured",
        sentence=f"{item_id} entered {mark.path}; what became of it is not captured: {mark.note}",
        unsure=[each.path for each in unsure][:20],
        step=mark.state["name"],
        step_id=mark.state["step_id"],
        certainty="not_captured",
    )


def _sentence(item_id: str, mark: Mark) -> str:
    words = {"not_selected": "not selected"}.get(mark.outcome or "", mark.outcome)
    if mark.outcome == "dropped":
        text = f"{item_id} was dropped at {mark.path} without a reason"
    elif mark.outcome == "errored":
        text = f"{item_id} errored at {mark.path}"
    else:
        text = f"{item_id} was {words} at {mark.path}"
    if mark.reason:
        text += f": {mark.reason}"
    about: list[str] = [details_text(mark.details)] if mark.details else []
    if mark.outcome in ("selected", "not_selected"):
        about += [f"score {mark.score}"] if mark.score is not None else []
        about += [f"rank {mark.rank}"] if mark.rank is not None and mark.outcome == "not_selected" else []
    if about:
        text += f" ({'; '.join(about)})"
    if mark.cutoff is not None:
        score = "" if mark.cutoff["score"] is None else f" with {mark.cutoff['score']}"
        text += f"; the last selected was {mark.cutoff['item_id']}{score}"
    if mark.implicit:
        text += " (nobody said so: it is among what came out)"
    return text + _doubt(mark)


def _doubt(mark: Mark) -> str:
    if mark.certainty != "fingerprint":
        return ""
    return f" [by fingerprint: wrong with probability {mark.p_false:.0e}]"


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
