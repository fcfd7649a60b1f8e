"""`compare`: two runs side by side, from their steps in pairs to the sentence that says where they first differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from xray_core.compare.align import align, in_order
from xray_core.compare.blame import Blame, Judged
from xray_core.compare.changes import bounded, run_changes, step_changes
from xray_core.compare.evidence import Equality
from xray_core.compare.flips import Flips, find_flips
from xray_core.compare.options import DEFAULT, Options
from xray_core.compare.parting import parting, parting_at, run_input_changes
from xray_core.compare.sentences import listed, say
from xray_core.compare.stored import stored_difference
from xray_core.compare.types import Change, ComparedStep, Diff, Json, PartedAt, Side, Source, State
from xray_core.compare.what_changed import declared_limits, limit_changes, samples_of
from xray_core.model import Ledger, ledger_of

_FIGURES = ("input", "accepted", "rejected", "not_selected", "errored", "unaccounted", "selected")
_MAX_ALSO = 10


def compare(a: Side, b: Side, source: Source, options: Options = DEFAULT) -> Diff:
    """Two runs side by side; deltas are b - a."""
    roots = align(a.steps, b.steps)
    blame = Blame(roots, a, b, source, options)
    parted, explained = parting(blame, a, b, source, options)
    first = blame.origins[0] if blame.origins else None
    differing = [
        each.pair
        for each in blame.judged
        if not each.missing and each.outputs.state in ("differs", "unknown") and not each.outputs.reordered
    ]
    flips = find_flips(differing, first.pair if first is not None and first.pair in differing else None, source)
    others = blame.origins[1:]
    masked = _masked(blame, flips, source, options)
    if masked is not None and first is not None and parted is not None and masked not in blame.origins:
        if (parted.kind == "input_changed" or blame.new_data(first)) and flips.common.get(
            masked.pair.path
        ):  # new data, and a fault of its own
            others = [first, *others]
            parted, explained = parting_at(masked, blame, a, b, source, options, masked=True)
        else:
            others = [masked, *others]
    also = [
        _also(*parting_at(each, blame, a, b, source, options, masked=each is masked)) for each in others[:_MAX_ALSO]
    ]
    changes, omitted = bounded(
        chain(
            run_changes(a.run, b.run, options),
            explained,
            *(step_changes(pair, options) for pair in in_order(roots)),
        )
    )
    beside = masked.pair.path if masked is not None and masked not in blame.origins else ""
    sentence = _sentence(blame, parted, flips, also, run_input_changes(a, b, options, blame.marks), masked=beside)
    return Diff(
        a=a.run_id,
        b=b.run_id,
        sentence=sentence,
        parted_at=parted,
        steps=[_compared(each) for each in blame.judged],
        flipped=flips.shown,
        flipped_count=flips.count,
        flipped_exact=flips.exact,
        flipped_error=flips.error,
        changes=changes,
        changes_omitted=omitted,
        inputs_equal=blame.run_inputs.equal,
        outputs_equal=blame.run_outputs.equal,
        also=also,
        options={"tolerance": options.tolerance, "ignore": list(options.ignore)},
    )


def where_parted(a: Side, b: Side, source: Source, options: Options = DEFAULT) -> PartedAt | None:
    """Where two runs part, as `compare` says it. Nearly always without counting what flipped: cheap enough for a page that
    shows one of them.
    """
    blame = Blame(align(a.steps, b.steps), a, b, source, options)
    parted = parting(blame, a, b, source, options)[0]
    if parted is not None and (parted.kind == "input_changed" or blame.new_data(blame.origins[0])):
        return compare(a, b, source, options).parted_at  # new data may hide a fault: what flipped tells
    return parted


def _masked(blame: Blame, flips: Flips, source: Source, options: Options) -> Judged | None:
    """Where the runs had different data: the first step whose code, parameters or limits differ as well.

    One that let through in one run alone items that both had goes before one that only differs.
    """
    differing = [each for each in blame.judged if each.inputs.differs and each.outputs.differs and not each.missing]
    common = [each for each in differing if flips.common.get(each.pair.path)]
    for each in common:
        if each.changed or _limit_of_its_own(each, source, options, blame):
            return each
    return next((each for each in differing if each.changed), None)


def _limit_of_its_own(judged: Judged, source: Source, options: Options, blame: Blame) -> bool:
    """Whether a limit in its details changed that it was not given with its input."""
    pair = judged.pair
    assert pair.a is not None
    assert pair.b is not None
    limits = [*declared_limits(pair, source, options), *limit_changes(*samples_of(source, pair), "", options)]
    if not limits:
        return False
    given = stored_difference(pair.a["input"], pair.b["input"], "input", options, blame.marks).changes
    return any((limit.a, limit.b) not in [(each.a, each.b) for each in given] for limit in limits)


def _also(parted: PartedAt, _: Sequence[Change]) -> Json:
    return {
        "step": parted.step,
        "path": parted.path,
        "kind": parted.kind,
        "reached_output": parted.reached_output,
        "certain": parted.certain,
        "sentence": parted.sentence,
    }


def _sentence(
    blame: Blame,
    parted: PartedAt | None,
    flips: Flips,
    also: Sequence[Json],
    given_others: Sequence[str],
    *,
    masked: str,
) -> str:
    """`masked`: the path of a step that was given something else, and whose code or parameters changed as well."""
    if parted is None:
        return _nothing_differs(blame, given_others)
    text = parted.sentence
    if flips.count:
        about = "" if flips.exact else "about "
        text += say("flipped", about=about, n=f"{flips.count:,}", items="item" if flips.count == 1 else "items")
    if blame.run_inputs.differs and parted.kind == "input_changed":
        for path, n in list(flips.common.items())[:1]:
            text += say("common", n=f"{n:,}", step=path)
    if blame.run_inputs.differs and parted.kind != "input_changed":
        text += say("other_inputs", changes=listed(given_others) or "their values were not captured")
    if parted.reached_output is False and blame.run_outputs.differs and not any(each.reached for each in blame.origins):
        text += say("not_reached")
    if blame.run_outputs.equal:
        text += say("same_output")
    shown = blame.origins[0].shows_in  # it is named already
    paths = [
        each["path"] for each in also if each["path"] != masked and (shown is None or each["path"] != shown.pair.path)
    ]
    if any(each["path"] == masked for each in also):
        text += say("masked", step=masked)
    if paths:
        one = len(paths) == 1
        text += say(
            "also",
            steps=listed(paths),
            differs="differs" if one else "differ",
            itself="itself" if one else "themselves",
        )
    if not parted.certain:
        text += say("uncertain", reason=" and ".join(parted.not_certain_because))
    return text


def _nothing_differs(blame: Blame, given_others: Sequence[str]) -> str:
    if blame.run_outputs.differs:
        return say("output_alone")
    text = say("same")
    if blame.run_inputs.differs:
        text += say("same_given_others", changes=listed(given_others) or "their values were not captured")
    unknown = sum("unknown" in (each.inputs.state, each.outputs.state) for each in blame.judged)
    return text + (say("too_little", n=unknown, steps="step" if unknown == 1 else "steps") if unknown else "")


def _compared(judged: Judged) -> ComparedStep:
    pair = judged.pair
    reasons = _reason_counts(pair.a, pair.b)
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
        ledger={"a": _ledger_json(pair.a), "b": _ledger_json(pair.b)},
        ledger_delta=_ledger_delta(pair.a, pair.b),
        reason_delta={o: {r: b - a for r, (a, b) in each.items()} for o, each in reasons.items()},
        reason_counts=reasons,
        note=_note(judged),
        inputs=_known(judged.inputs),
        outputs=_known(judged.outputs),
    )


def _known(equality: Equality) -> Json:
    return {
        "state": equality.state,
        "what": list(equality.what),
        "columns": list(equality.columns),
        "generated": list(equality.generated),
    }


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
    if partial and "unknown" in (judged.inputs.state, judged.outputs.state):
        return f"the {' and the '.join(partial)} could not be read whole, so equal fingerprints prove nothing"
    for what, side in (("inputs", judged.inputs), ("outputs", judged.outputs)):
        call = "input" if what == "inputs" else "output"
        if side.state == "unknown":
            verdicts = "" if call == "input" else " or verdicts"
            return f"its {what} were not captured: step.set_{call}() or step.set_{call}_items(){verdicts} would tell"
        if side.state == "same_items":
            return f"its {what} are the same items; their values were not captured: step.set_{call}_items(records, key=...) would tell"
    return None


def _ledger(state: State | None) -> Ledger:
    return Ledger() if state is None else ledger_of(state)


def _ledger_json(state: State | None) -> Json | None:
    return None if state is None else _ledger(state).as_json()


def _ledger_delta(a: State | None, b: State | None) -> dict[str, int]:
    one, other = _ledger(a), _ledger(b)
    return {name: (getattr(other, name) or 0) - (getattr(one, name) or 0) for name in _FIGURES}


def _reason_counts(a: State | None, b: State | None) -> dict[str, dict[str, list[int]]]:
    """Outcome -> reason -> how many in each run, of those that differ."""
    one, other = ((state or {}).get("reasons") or {} for state in (a, b))
    counts: dict[str, dict[str, list[int]]] = {}
    for outcome in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(outcome, {}), other.get(outcome, {})
        for reason in sorted(mine.keys() | theirs.keys()):
            pair = [mine.get(reason, 0), theirs.get(reason, 0)]
            if pair[0] != pair[1]:
                counts.setdefault(outcome, {})[reason] = pair
    return counts
