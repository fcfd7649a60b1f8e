"""The step at which two runs first differ, as an answer: its kind, how certain that is, what changed there, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from xray_core.compare.blame import Blame, Judged
from xray_core.compare.certainty import doubts
from xray_core.compare.changes import file_alone, run_changes
from xray_core.compare.columns import OTHER_VALUE, OTHER_VALUES, PRESENT, VALUE, VALUES
from xray_core.compare.made_up import only_made_up
from xray_core.compare.options import Options
from xray_core.compare.sentences import listed, say, short_pair
from xray_core.compare.stored import RunMarks, stored_difference
from xray_core.compare.types import Change, Kind, PartedAt, Side, Source, State
from xray_core.compare.what_changed import what_changed
from xray_core.journey import gaps
from xray_core.model import SKIPS, SUBFLOW

_MAX_NAMED: Final = 3


def parting(blame: Blame, a: Side, b: Side, source: Source, options: Options) -> tuple[PartedAt | None, list[Change]]:
    """Where the runs first differ (None: nowhere that is known), and what changed there."""
    if not blame.origins:
        return None, []
    first = blame.origins[0]
    return parting_at(first, blame, a, b, source, options)


def parting_at(
    first: Judged, blame: Blame, a: Side, b: Side, source: Source, options: Options, *, masked: bool = False
) -> tuple[PartedAt, list[Change]]:
    """The answer that names one step.

    Args:
        masked: what went into it differs as well; it is named for what it did with the items that both runs had.
    """
    pair = first.pair
    changes = what_changed(first, source, options, blame.marks)
    limits = (f"steps.{pair.path}.details.", f"steps.{pair.path}.limit")
    changed = [*first.changed, *(each.path for each in changes if each.path.startswith(limits))]
    kind: Kind = "code_changed" if masked else _kind(first, changed)
    reasons = _doubts(first, kind, blame)
    lost = _lost_before(first, kind, b, source)
    differing = first.inputs if first.inputs.differs and not masked else first.outputs
    parted = PartedAt(
        step=pair.name,
        path=pair.path,
        step_a=None if pair.a is None else pair.a["step_id"],
        step_b=None if pair.b is None else pair.b["step_id"],
        kind=kind,
        reordered=differing.reordered and not first.missing,
        certain=not reasons,
        changed=changed,
        reached_output=first.reached if blame.run_outputs.state != "unknown" and first.own else None,
        from_run=first.from_run,
        not_certain_because=reasons,
        lost_before=lost,
    )
    sentence = _sentence(first, parted, blame, [*_of_the_run(first, a, b, options), *changes])
    for gap in lost[:1]:
        sentence += say("lost", gap=gap)
    return replace(parted, sentence=sentence), changes


def _kind(first: Judged, changed: Sequence[str]) -> Kind:
    if first.inputs.differs or first.from_run:
        return "input_changed"
    if first.missing:
        return "missing_step"
    return "code_changed" if changed else "non_deterministic"


def _doubts(first: Judged, kind: Kind, blame: Blame) -> list[str]:
    """Why it is not certain that the difference began there; empty where it is."""
    before = doubts(blame, first)
    reasons = []
    if first.shows_in is not None and first.outputs.rewritten:
        reasons.append(say("same_value"))
    elif first.shows_in is not None or (
        first.outputs.state == "unknown" and not first.missing and not first.inputs.differs
    ):
        reasons.append(say("output_unknown"))
    elif not first.reached and blame.run_outputs.differs and any(each.reached for each in blame.origins):
        reasons.append(say("not_reached").removeprefix("; "))
    if only_made_up(blame, first):
        reasons.append(say("made_up"))
    if before.unknown:
        reasons.append(say("before_unknown", steps=listed(before.unknown)))
    if before.referring:
        reasons.append(say("before_refers", steps=listed(before.referring)))
    if before.close and not first.inputs.close:
        reasons.append(say("before_close", steps=listed(before.close)))
    if before.generated:
        reasons.append(say("before_generated", steps=listed(before.generated)))
    if before.differing:
        differs = "differs" if len(before.differing) == 1 else "differ"
        reasons.append(say("before_differs", steps=listed(before.differing), differs=differs))
    if kind == "input_changed":
        return reasons
    if not before.run.proven and not first.from_run:
        reasons.append(say("inputs_differ" if before.run.differs or before.run.generated else "inputs_unknown"))
    if before.given and kind != "missing_step":
        reasons.insert(0, _not_captured(first))
    return reasons


def _not_captured(first: Judged) -> str:
    if first.inputs.differs:
        return say("given_others")
    if first.inputs.state != "same" or first.inferred:
        return say("values_unknown")
    if first.inputs.generated:
        return say("given_generated")
    assert first.pair.a is not None
    assert first.pair.b is not None
    alike = repr(first.pair.a["input"]) == repr(first.pair.b["input"])
    return say("given_less" if alike and not first.inputs.close else "given_close")


def _lost_before(first: Judged, kind: Kind, b: Side, source: Source) -> list[str]:
    """What was lost between the steps before and this one, in the second run."""
    if kind != "input_changed" or first.from_run or first.missing:
        return []
    found = gaps(b.steps, lambda key: source.sets(1, key))
    return [gap.sentence for gap in found if gap.next == first.pair.path or gap.step == first.pair.path]


def _of_the_run(first: Judged, a: Side, b: Side, options: Options) -> Iterator[Change]:
    if first.from_run:
        for change in run_changes(a.run, b.run, options):
            if change.path.startswith("input"):
                yield change


def _sentence(first: Judged, parted: PartedAt, blame: Blame, changes: Sequence[Change]) -> str:
    what = _what(first, parted, blame)
    if parted.reordered:
        what += say("order_alone")
    named = list(explaining(parted, changes))
    if named:
        what += say("changes", changes="; ".join(named[:_MAX_NAMED]) + ("; ..." if len(named) > _MAX_NAMED else ""))
    return say("first_differs", step=parted.path, what=what)


def _what(first: Judged, parted: PartedAt, blame: Blame) -> str:
    if parted.kind == "missing_step" or first.missing:
        return say("missing", run="b" if parted.step_a is None else "a")
    if parted.kind == "input_changed":
        return say("given_by_run" if first.from_run else "given_something_else")
    state = "unknown" if first.inferred and blame.is_first(first) and not blame.run_inputs_told else first.inputs.state
    words = {"same": "same_input", "same_items": "same_items", "differs": "common_items"}
    silent = first.outputs.state == "unknown"
    text = say("unknown_output" if silent else words.get(state, "unknown_input"))
    if first.shows_in is not None:
        text = say("rewritten" if first.outputs.rewritten else "in_place", later=first.shows_in.pair.path)
    if parted.kind == "code_changed":
        code = any(path.endswith(".code_version") for path in parted.changed)
        if code and len(parted.changed) == 1 and file_alone(first.pair):
            return text + say("something_changed", what="file, though not the function that opens it,")
        parameters = any(not path.endswith(".code_version") for path in parted.changed)
        both = "code and its parameters" if code and parameters else "code" if code else "parameters"
        return text + say("something_changed", what=both)
    assert first.pair.a is not None
    assert first.pair.b is not None
    inside = [_run_inside(state) for state in (first.pair.a, first.pair.b)]
    if all(inside):
        return text + say("ran_inside", a=inside[0], b=inside[1])
    known = first.pair.a["code_version"] is not None and first.pair.b["code_version"] is not None
    return text + say("nothing_changed" if known else "no_code_version")


def _run_inside(state: State) -> str | None:
    """The run that a step stands for, whose own steps are not compared here."""
    ids = (state["origin"] or {}).get("ids") or {}
    return ids.get("flow_run_id") if state["step_type"] == SUBFLOW else None


def certain_words(parted: PartedAt) -> str:
    """The sentence of one step, with why it is not certain."""
    if parted.certain:
        return parted.sentence
    return parted.sentence + say("uncertain", reason=" and ".join(parted.not_certain_because))


def explaining(parted: PartedAt, changes: Sequence[Change]) -> Iterator[str]:
    """The changes that explain the difference, as "threshold: 100 -> 150"."""
    own = f"steps.{parted.path}."
    said: set[str] = set()
    for change in changes:
        came_of_it = ".metadata.result." in change.path and not change.path.endswith(f".{SKIPS}")
        if change.path.endswith((".capture", ".step_type")) or came_of_it:
            continue
        name = change.path.removeprefix(own).removeprefix("metadata.")
        if name not in said:  # what the run was given, the step often is given too
            said.add(name)
            yield f"{name}: {_from_to(change)}"


def _from_to(change: Change) -> str:
    """A change in a sentence; of columns and scores it may be no more than that they differ."""
    if (change.a, change.b) in ((VALUES, OTHER_VALUES), (VALUE, OTHER_VALUE)):
        return str(change.b)
    if PRESENT in (change.a, change.b) and None in (change.a, change.b):
        return f"only in run {'b' if change.a is None else 'a'}"
    return " -> ".join(short_pair(change.a, change.b))


def run_input_changes(a: Side, b: Side, options: Options, marks: RunMarks) -> list[str]:
    """The paths of the runs' inputs that differ."""
    if a.run["input"] is None or b.run["input"] is None:
        return []
    found = stored_difference(a.run["input"], b.run["input"], "input", options, marks)
    return [*(each.path for each in found.changes), *found.generated]
