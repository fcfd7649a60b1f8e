"""`compare`: two runs side by side, from their steps in pairs to the sentence that says where they part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from xray_core.compare.align import align, in_order
from xray_core.compare.blame import Blame, Judged
from xray_core.compare.changes import bounded, run_changes, step_changes
from xray_core.compare.evidence import values_equal
from xray_core.compare.flips import Flips, find_flips
from xray_core.compare.types import Change, ComparedStep, Diff, Json, PartedAt, Side, Source, State
from xray_core.model import Ledger, ledger_of

_FIGURES = ("input", "accepted", "rejected", "not_selected", "errored", "unaccounted", "selected")


def compare(a: Side, b: Side, source: Source) -> Diff:
    """Two runs side by side; deltas are b - a."""
    roots = align(a.steps, b.steps)
    run_inputs = _run_inputs_equal(a.run, b.run)
    blame = Blame(roots, run_inputs, source)
    first = blame.origin
    differing = [
        each.pair
        for each in blame.judged
        if not each.missing and each.outputs.equal is not True and not each.outputs.reordered
    ]
    flips = find_flips(differing, first.pair if first is not None and first.pair in differing else None, source)
    changes, omitted = bounded(chain(run_changes(a.run, b.run), *(step_changes(pair) for pair in in_order(roots))))
    return Diff(
        a=a.run_id,
        b=b.run_id,
        sentence=_sentence(blame, flips, changes, run_inputs),
        parted_at=blame.parted_at,
        steps=[_compared(each) for each in blame.judged],
        flipped=flips.shown,
        flipped_count=flips.count,
        flipped_exact=flips.exact,
        flipped_error=flips.error,
        changes=changes,
        changes_omitted=omitted,
        inputs_equal=run_inputs,
    )


def where_parted(a: Side, b: Side, source: Source) -> PartedAt | None:
    """Only where two runs part, without counting what flipped: cheap enough for a page that shows one of them."""
    return Blame(align(a.steps, b.steps), _run_inputs_equal(a.run, b.run), source).parted_at


def _run_inputs_equal(a: State, b: State) -> bool | None:
    if all(run[name] is None for run in (a, b) for name in ("input", "input_fp")):
        return True  # neither was given anything
    return values_equal(a, b, "input").equal


def _compared(judged: Judged) -> ComparedStep:
    pair = judged.pair
    return ComparedStep(
        name=pair.name,
        path=pair.path,
        map_index=pair.map_index,
        a=_about(pair.a),
        b=_about(pair.b),
        inputs_equal=judged.inputs.equal,
        outputs_equal=judged.outputs.equal,
        reordered=judged.outputs.reordered,
        inputs_inferred=judged.inferred,
        role=judged.role,
        ledger_delta=_ledger_delta(pair.a, pair.b),
        reason_delta=_reason_delta(pair.a, pair.b),
        note=_note(judged),
    )


def _about(state: State | None) -> Json | None:
    return None if state is None else {name: state[name] for name in ("step_id", "attempt", "status")}


def _note(judged: Judged) -> str | None:
    if judged.missing:
        return f"only run {'b' if judged.pair.a is None else 'a'} has this step"
    assert judged.pair.a is not None
    assert judged.pair.b is not None
    partial = [
        side
        for side in ("input", "output")
        if any((state[f"{side}_fp"] or {}).get("partial") for state in (judged.pair.a, judged.pair.b))
    ]
    if partial and None in (judged.inputs.equal, judged.outputs.equal):
        return f"the {' and the '.join(partial)} could not be read whole, so equal fingerprints prove nothing"
    if judged.inputs.equal is None:
        return "its inputs were not captured: step.set_input() or step.set_input_items() would tell"
    if judged.outputs.equal is None:
        return "its outputs were not captured: step.set_output(), step.set_output_items() or verdicts would tell"
    return None


def _ledger(state: State | None) -> Ledger:
    return Ledger() if state is None else ledger_of(state)


def _ledger_delta(a: State | None, b: State | None) -> dict[str, int]:
    one, other = _ledger(a), _ledger(b)
    return {name: (getattr(other, name) or 0) - (getattr(one, name) or 0) for name in _FIGURES}


def _reason_delta(a: State | None, b: State | None) -> dict[str, dict[str, int]]:
    one, other = ((state or {}).get("reasons") or {} for state in (a, b))
    delta: dict[str, dict[str, int]] = {}
    for outcome in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(outcome, {}), other.get(outcome, {})
        for reason in sorted(mine.keys() | theirs.keys()):
            n = theirs.get(reason, 0) - mine.get(reason, 0)
            if n:
                delta.setdefault(outcome, {})[reason] = n
    return delta


def _sentence(blame: Blame, flips: Flips, changes: list[Change], run_inputs: bool | None) -> str:
    parted = blame.parted_at
    if parted is None:
        unknown = sum(each.inputs.equal is None or each.outputs.equal is None for each in blame.judged)
        text = "the two runs came out the same wherever that can be told"
        if run_inputs is False:
            text += ", though they were given different inputs"
        return f"{text}; of {unknown} steps too little was captured" if unknown else text
    words = {
        "non_deterministic": "the same input gave a different output, and neither its code nor its parameters changed",
        "code_changed": "the same input gave a different output, and its code or parameters changed",
        "input_changed": "it is the first that was given something else",
        "missing_step": f"only run {'b' if parted.step_a is None else 'a'} has this step",
    }
    text = f"here it parted: {parted.path}: {words[parted.kind]}"
    if parted.kind == "input_changed" and run_inputs is False:
        text = f"here it parted: {parted.path}: the runs were given different inputs, and it is the first to show that"
    if parted.reordered:
        text += ", in its order alone"
    named = list(_explaining_changes(parted, changes, run_inputs))
    if named:
        text += f" ({'; '.join(named[:3])}{'; ...' if len(named) > 3 else ''})"
    if flips.count:
        text += f"; {'' if flips.exact else 'about '}{flips.count:,} item{'s' * (flips.count != 1)} flipped"
    if not parted.certain:
        text += "; its inputs were not captured well enough to rule out that it began earlier"
    return text


def _explaining_changes(parted: PartedAt, changes: list[Change], run_inputs: bool | None) -> Iterator[str]:
    """The changes that explain the parting, as "threshold: 100 -> 150"."""
    prefix = f"steps.{parted.path}.metadata."
    for change in changes:
        of_run = parted.kind == "input_changed" and run_inputs is False and change.path.startswith("input")
        if of_run or (parted.kind == "code_changed" and change.path in parted.changed):
            yield f"{change.path.removeprefix(prefix)}: {_short(change.a)} -> {_short(change.b)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"
