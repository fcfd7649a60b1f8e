"""Which items a step judged, and how: the fingerprints of its sets, over its attempts.

Of a retried step the last attempt counts. One that went on where another stopped was given the rest alone: what the other said
of an item that the last one never had stands (as in `why`). Where two runs stopped at different items, their last attempts
cannot be compared, but all attempts together can.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from xray_core import verdicts
from xray_core.compare.align import Pair
from xray_core.compare.evidence import Equality, outcome_sums
from xray_core.compare.types import HeldSet, Source, State
from xray_core.model import ITEMS_IN, ITEMS_OUT

MAX_NAMES: Final = 200_000
ALL: Final = 256  # buckets of fingerprints: every one is read
OutcomeReason = tuple[str, "str | None"]
Members = dict[OutcomeReason, set[int]]


def judged_before(pair: Pair) -> bool:
    """Whether earlier attempts of a step said something of items, and not the same in both runs."""
    if not any(pair.earlier):
        return False
    one, other = ([said for state in pair.earlier[side] if any(said := _said(state))] for side in (0, 1))
    return one != other


def _said(state: State) -> tuple[object, object]:
    items = state["items"] or {}
    return outcome_sums(state), {
        side: (held["n"], held["sum"]) for side, held in items.items() if side in (ITEMS_IN, ITEMS_OUT)
    }


def members_of(
    pair: Pair, side: int, source: Source, wanted: set[OutcomeReason], share: int, names: dict[int, str]
) -> Members:
    """The fingerprints of the wanted sets of one side, of the share of 256 that is read.

    Args:
        names: ids met on the way, by fingerprint; added to.
    """
    state = (pair.a, pair.b)[side]
    assert state is not None
    if not judged_before(pair):
        return _members(source.sets(side, (state["step_id"], state["attempt"])), wanted, share, names)
    found = _over_attempts(pair, side, source, share, names)
    return {key: held for key, held in found.items() if key in wanted}


def over_attempts(pair: Pair, source: Source) -> tuple[Equality, Equality] | None:
    """Whether the same went in and came out of a step that went on where it had stopped; None where the last attempts tell."""
    if not judged_before(pair):
        return None
    names: dict[int, str] = {}
    one, other = (_over_attempts(pair, side, source, ALL, names) for side in (0, 1))
    last = [_last(pair, side, source, names) for side in (0, 1)]
    if (one, other) == (last[0], last[1]):
        return None  # each was begun again from the start
    outcomes = [_outcomes(held) for held in (one, other)]
    outputs = Equality("same_items") if outcomes[0] == outcomes[1] else Equality("differs", ("items",))
    given = [held.get((ITEMS_IN, None)) or set().union(*held.values()) for held in (one, other)]
    inputs = Equality("same_items") if given[0] == given[1] else Equality("differs", ("items",), judged=True)
    return inputs, outputs


def _outcomes(members: Members) -> dict[str, set[int]]:
    """By outcome alone: other reasons for the same outcomes are no difference."""
    found: dict[str, set[int]] = {}
    for (outcome, _), held in members.items():
        if outcome not in (ITEMS_IN, ITEMS_OUT) and held:
            found.setdefault(outcome, set()).update(held)
    return found


def _last(pair: Pair, side: int, source: Source, names: dict[int, str]) -> Members:
    state = (pair.a, pair.b)[side]
    assert state is not None
    return _members(source.sets(side, (state["step_id"], state["attempt"])), None, ALL, names)


def _over_attempts(pair: Pair, side: int, source: Source, share: int, names: dict[int, str]) -> Members:
    """What the last attempt said, and what those before it said of items that none after them had."""
    state = (pair.a, pair.b)[side]
    assert state is not None
    found: Members = {}
    had: set[int] = set()
    for each in (state, *reversed(pair.earlier[side])):
        told = _members(source.sets(side, (each["step_id"], each["attempt"])), None, share, names)
        for key, held in told.items():
            rest = held - had if key != (ITEMS_IN, None) else held
            if rest:
                found.setdefault(key, set()).update(rest)
        judged = [held for key, held in told.items() if key[0] != ITEMS_IN]
        had = had.union(*(judged if each is not state else told.values()))
    return found


def _members(sets: Iterable[HeldSet], wanted: set[OutcomeReason] | None, share: int, names: dict[int, str]) -> Members:
    members: Members = {}
    for each in sets:
        outcome_reason = (each.outcome, each.reason)
        taken = wanted is None or outcome_reason in wanted
        if each.ids is not None:
            named = {verdicts.fingerprint(item_id): item_id for item_id in each.ids}
            if len(names) < MAX_NAMES:
                names.update(named)
            if taken:
                found = (fingerprint for fingerprint in named if fingerprint >> 32 < share)
                members.setdefault(outcome_reason, set()).update(found)
        elif taken and each.fp40 is not None:
            members.setdefault(outcome_reason, set()).update(verdicts.decode_below(each.fp40, share))
    return members
