"""Which items came out differently: found by comparing sets, on the 40-bit fingerprints under which both runs keep them.

Only sets whose counts or sums differ are read. The step at which the runs part is compared whole; when all others together
are more than a bound, of them a share of all fingerprints is read (the same share everywhere, so an item is compared
throughout or not at all), and the count becomes an estimate with its standard error.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from xray_core import verdicts
from xray_core.compare.align import Pair
from xray_core.compare.members import MAX_NAMES, OutcomeReason, judged_before, members_of
from xray_core.compare.types import Flip, Source, State
from xray_core.model import ITEMS_IN, ITEMS_OUT, OUTCOMES

MAX_FLIPPED: Final = 100
MAX_READ: Final = 1_000_000  # fingerprints of the steps after the first: about half a second
_BUCKETS: Final = 256
ABSENT: Final = "absent"
# Of several outcomes of one item at one step the strongest counts.
_STRENGTH: Final = {
    name: position for position, name in enumerate(("accepted", "not_selected", "selected", "errored", "rejected"))
}

_OPPOSITE: Final = ({"accepted", "rejected"}, {"accepted", "errored"})

_EMPTY: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Flips:
    """The items that flipped: `shown` of them, their `count`, whether that is `exact`, and its standard `error`."""

    shown: Sequence[Flip]
    count: int
    exact: bool
    error: float
    common: Mapping[str, int]
    """path -> items that both runs had there, accepted in one and rejected or errored in the other (of those compared)"""


def find_flips(pairs: Sequence[Pair], first: Pair | None, source: Source) -> Flips:
    """Items whose outcome differs, each at the first of `pairs` where it does.

    Args:
        pairs: the steps whose outputs differ, in order.
        first: the one at which the runs part: always compared whole.
    """
    whole: dict[int, tuple[Pair, OutcomeReason, OutcomeReason]] = {}
    names: dict[int, str] = {}
    positions = {id(pair): position for position, pair in enumerate(pairs)}
    rest = [pair for pair in _with_sets_of_their_own(pairs) if pair is not first]
    size = sum(_size(pair) for pair in rest)
    share = _BUCKETS if size <= MAX_READ else max(1, int(_BUCKETS * MAX_READ / size))
    if first is not None:
        _compare(first, source, _BUCKETS, whole, names)
    sampled: dict[int, tuple[Pair, OutcomeReason, OutcomeReason]] = {}
    for pair in rest:
        _compare(pair, source, share, sampled, names)
    base = len(whole)
    extra = sum(fingerprint not in whole for fingerprint in sampled)  # items that the first step does not know
    for fingerprint, found in sampled.items():
        mine = whole.get(fingerprint)
        if mine is None or positions[id(found[0])] < positions[id(mine[0])]:
            whole[fingerprint] = found
    scale = _BUCKETS / share
    shown = heapq.nsmallest(
        MAX_FLIPPED,
        whole.items(),
        key=lambda each: (each[0] not in names, positions[id(each[1][0])], names.get(each[0], ""), each[0]),
    )
    return Flips(
        [
            Flip(
                item_id=names.get(fingerprint),
                fingerprint=f"{fingerprint:010x}",
                step=pair.path,
                a=_refined(pair.a, 0, fingerprint, a, source),
                b=_refined(pair.b, 1, fingerprint, b, source),
            )
            for fingerprint, (pair, a, b) in shown
        ],
        base + round(extra * scale),
        share == _BUCKETS,
        0.0 if share == _BUCKETS else scale * sqrt(max(1, extra) * (1 - 1 / scale)),
        _common(whole.values()),
    )


def _with_sets_of_their_own(pairs: Sequence[Pair]) -> list[Pair]:
    """Without the steps whose differing sets are those of a step before: what flipped there has flipped already."""
    seen: set[object] = set()
    kept = []
    for pair in pairs:
        figures = [_figures(state) for state in (pair.a, pair.b)]
        wanted = differing_sets(pair)
        told = all(digest is not None for each in figures for _, digest in each.values())
        key = (
            repr([sorted(each.items()) for each in figures])
            if told and wanted and not judged_before(pair)
            else id(pair)
        )
        if key not in seen:
            seen.add(key)
            kept.append(pair)
    return kept


def _common(flipped: Iterable[tuple[Pair, OutcomeReason, OutcomeReason]]) -> dict[str, int]:
    """How many items were let through in one run and not in the other, by step; not where they compete for a place."""
    found: dict[str, int] = {}
    for pair, a, b in flipped:
        if {a[0], b[0]} in _OPPOSITE and (pair.a or pair.b or {}).get("step_type") not in ("select", "rank"):
            found[pair.path] = found.get(pair.path, 0) + 1
    return found


def _figures(state: State | None) -> dict[tuple[str, str], tuple[int, str | None]]:
    """(outcome, reason) -> how many, and the sum of their hashes where it is known."""
    sums = (state or {}).get("sums") or {}
    return {
        (outcome, reason): (n, sums.get(outcome, {}).get(reason))
        for outcome, reasons in ((state or {}).get("reasons") or {}).items()
        for reason, n in reasons.items()
        if n
    }


def differing_sets(pair: Pair) -> set[tuple[str, str | None]]:
    """(outcome, reason) of the sets that may differ; empty when all are equal."""
    assert pair.a is not None
    assert pair.b is not None
    anything = judged_before(pair)
    earlier = [*pair.earlier[0], *pair.earlier[1]] if anything else []
    figures = [_figures(state) for state in (pair.a, pair.b, *earlier)]
    different = {
        key
        for key in set[tuple[str, str]]().union(*figures)
        if anything or figures[0].get(key) != figures[1].get(key) or figures[0][key][1] is None
    }
    return {(outcome, reason or None) for outcome, reason in different}


def _size(pair: Pair) -> int:
    wanted = differing_sets(pair)
    total = 0
    for state in (pair.a, pair.b):
        reasons = (state or {}).get("reasons") or {}
        total += sum(reasons.get(outcome, {}).get(reason or "", 0) for outcome, reason in wanted)
        if not wanted:
            total += ((state or {}).get("items") or {}).get(ITEMS_OUT, {}).get("n", 0)
    return total


def _compare(
    pair: Pair,
    source: Source,
    share: int,
    into: dict[int, tuple[Pair, OutcomeReason, OutcomeReason]],
    names: dict[int, str],
) -> None:
    wanted = differing_sets(pair) or {(ITEMS_OUT, None)}  # no verdicts: only what came out can be compared
    held: list[dict[OutcomeReason, set[int]]] = []
    for side, state in enumerate((pair.a, pair.b)):
        assert state is not None
        key = (state["step_id"], state["attempt"])
        held.append(members_of(pair, side, source, wanted, share, names))
        for sample in source.samples(side, key) if len(names) < MAX_NAMES else ():
            names.setdefault(verdicts.fingerprint(sample["item_id"]), sample["item_id"])
    changed: set[int] = set()
    for outcome_reason in wanted:
        # set algebra runs in C: of 100,000 items only those that changed are ever looked at one by one
        changed |= held[0].get(outcome_reason, _EMPTY) ^ held[1].get(outcome_reason, _EMPTY)
    for fingerprint in changed:
        if fingerprint not in into:
            a, b = (_strongest(members, fingerprint) for members in held)
            if a[0] != b[0]:
                into[fingerprint] = (pair, a, b)


def _strongest(members: Mapping[OutcomeReason, set[int]], fingerprint: int) -> OutcomeReason:
    found = [outcome_reason for outcome_reason, held in members.items() if fingerprint in held]
    if not found:
        return ABSENT, None
    outcome, reason = max(
        found, key=lambda outcome_reason: (_STRENGTH.get(outcome_reason[0], -1), outcome_reason[1] or "")
    )
    return ("accepted" if outcome == ITEMS_OUT else outcome), reason


def _refined(
    state: State | None, side: int, fingerprint: int, outcome_reason: OutcomeReason, source: Source
) -> dict[str, Any]:
    """An item without a verdict at a step: what the step's item sets say of it."""
    if outcome_reason[0] != ABSENT or state is None or not state["items"]:
        return {"outcome": outcome_reason[0], "reason": outcome_reason[1]}
    held = {ITEMS_IN: False, ITEMS_OUT: False}
    for each in source.sets(side, (state["step_id"], state["attempt"])):
        if each.outcome in held and not held[each.outcome]:
            held[each.outcome] = (
                verdicts.contains(each.fp40, fingerprint)
                if each.fp40 is not None
                else any(verdicts.fingerprint(item_id) == fingerprint for item_id in each.ids or ())
            )
        elif each.outcome in OUTCOMES and each.fp40 is not None and verdicts.contains(each.fp40, fingerprint):
            return {"outcome": each.outcome, "reason": each.reason}
    outcome = ABSENT
    if held[ITEMS_OUT]:
        outcome = "accepted"
    elif ITEMS_IN in state["items"]:
        outcome = "never_entered" if not held[ITEMS_IN] else "dropped" if ITEMS_OUT in state["items"] else ABSENT
    return {"outcome": outcome, "reason": None}
