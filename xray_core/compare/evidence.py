"""Whether a step had the same inputs and the same outputs in both runs: yes, no, or what was captured proves neither.

Nothing here decodes a set: equal counts and equal sums of 64-bit hashes mean equal sets. A `partial` fingerprint proves
nothing. One piece of evidence that says "differ" outweighs any number that say "equal".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from xray_core.compare.types import State
from xray_core.model import HASH_MODULUS
from xray_core.objects.fingerprint import fingerprint

_ENOUGH_SCORES: Final = 10

Samples = Callable[[], tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Equality:
    """`equal` is None where it is not known; `reordered`: they differ in order alone."""

    equal: bool | None
    reordered: bool = False


def values_equal(a: State, b: State, side: Literal["input", "output"]) -> Equality:
    """Of what was given to `set_input` / `set_output` (or what a framework passed)."""
    one, other = (_fingerprint(state, side) for state in (a, b))
    if one is None or other is None or one.get("partial") or other.get("partial"):
        return Equality(None)
    if one.get("exact") == other.get("exact"):
        return Equality(True)
    return Equality(False, reordered=one.get("unordered") is not None and one["unordered"] == other.get("unordered"))


def inputs_equal(a: State, b: State) -> Equality:
    """Whether a step was given the same in both runs, by values, item sets, counts and verdicts."""
    return _together([
        values_equal(a, b, "input"),
        _item_sets(a, b, "in"),
        _given_counts(a, b, "input_count"),
        _judged(a, b),
    ])  # fmt: skip


def outputs_equal(a: State, b: State, samples: Samples) -> Equality:
    """`samples` fetches those of both; it is called only where scores have to be compared."""
    evidence = [
        values_equal(a, b, "output"),
        _item_sets(a, b, "out"),
        _given_counts(a, b, "output_count"),
        _verdicts(a, b),
        _decisions(a, b),
        Equality(False if "failed" in (a["status"], b["status"]) and a["status"] != b["status"] else None),
    ]
    if (a["scores"] or b["scores"]) and not any(each.equal is False and not each.reordered for each in evidence):
        evidence.append(_scores(a, b, samples))
        if evidence[-1].equal is None and _together(evidence[:2]).equal is None:
            return Equality(None)  # the same items, but whether with the same scores nobody knows
    return _together(evidence)


def given(state: State, side: Literal["input", "output"]) -> int | None:
    """How many items went in or came out, where a count or an item set says so."""
    count: int | None = state[f"{side}_count"]
    if count is not None:
        return count
    items = (state["items"] or {}).get("in" if side == "input" else "out")
    return None if items is None else int(items["n"])


def outcome_sums(state: State) -> dict[str, tuple[int, int | None]]:
    """outcome -> (number of verdicts, sum of their hashes or None where it is not known)."""
    sums = state["sums"] or {}
    found: dict[str, tuple[int, int | None]] = {}
    for outcome, n in (state["counts"] or {}).items():
        reasons = (state["reasons"] or {}).get(outcome, {})
        known = sums.get(outcome, {})
        total = None
        if known.keys() == {reason for reason, count in reasons.items() if count} and reasons:
            total = sum(int(digest, 16) for digest in known.values()) % HASH_MODULUS
        if n:
            found[outcome] = (n, total)
    return found


def _fingerprint(state: State, side: str) -> Mapping[str, Any] | None:
    known: Mapping[str, Any] | None = state[f"{side}_fp"]
    if known is not None:
        return known
    value = state[side]  # posted without the SDK: the value itself is whole
    return None if value is None else fingerprint(value)


def _together(evidence: Sequence[Equality]) -> Equality:
    different = [each for each in evidence if each.equal is False]
    if different:
        return Equality(False, reordered=all(each.reordered for each in different))
    return Equality(True if any(each.equal for each in evidence) else None)


def _item_sets(a: State, b: State, side: str) -> Equality:
    one, other = ((state["items"] or {}).get(side) for state in (a, b))
    if one is None or other is None:
        return Equality(None)
    if (one["n"], int(one["sum"], 16)) != (other["n"], int(other["sum"], 16)):
        return Equality(False)
    if one.get("order") is not None and other.get("order") is not None and one["order"] != other["order"]:
        return Equality(False, reordered=True)
    return Equality(True)


def _given_counts(a: State, b: State, name: str) -> Equality:
    """Different counts prove a difference; equal ones prove nothing."""
    one, other = a[name], b[name]
    return Equality(False if one is not None and other is not None and one != other else None)


def _judged(a: State, b: State) -> Equality:
    """The items that were given any verdict, where these are certainly all that went in."""
    if not (_all_judged(a) and _all_judged(b)):
        return Equality(None)
    totals = [_total(outcome_sums(state)) for state in (a, b)]
    if totals[0][0] != totals[1][0]:
        return Equality(False)
    if totals[0][1] is None or totals[1][1] is None:
        return Equality(None)
    return Equality(totals[0] == totals[1])


def _all_judged(state: State) -> bool:
    counts = state["counts"] or {}
    explicit = sum(counts.values())
    if not explicit or state["capture"] is None:
        return False
    went_in = given(state, "input")
    if went_in is not None:
        return bool(went_in == explicit)
    yes = counts.get("accepted", 0) + counts.get("selected", 0)
    came_out = given(state, "output")
    return yes + counts.get("not_selected", 0) > 0 and (came_out is None or came_out <= yes)


def _total(sums: Mapping[str, tuple[int, int | None]]) -> tuple[int, int | None]:
    digests = [digest for _, digest in sums.values()]
    known = [digest for digest in digests if digest is not None]
    return sum(n for n, _ in sums.values()), sum(known) % HASH_MODULUS if len(known) == len(digests) else None


def _verdicts(a: State, b: State) -> Equality:
    one, other = outcome_sums(a), outcome_sums(b)
    if not one and not other:
        return Equality(None)
    if {outcome: n for outcome, (n, _) in one.items()} != {outcome: n for outcome, (n, _) in other.items()}:
        posted = a["capture"] is None and b["capture"] is None
        return Equality(None if posted and a["input_count"] is None and b["input_count"] is None else False)
    if any(one[outcome][1] is None or other[outcome][1] is None for outcome in one):
        return Equality(None)
    return Equality(one == other)


def _decisions(a: State, b: State) -> Equality:
    """What was selected. Equal selections prove nothing of the rest."""
    chosen = [[(d.get("decision"), repr(d.get("selected"))) for d in state["decisions"]] for state in (a, b)]
    if sorted(map(repr, chosen[0])) == sorted(map(repr, chosen[1])):
        return Equality(None)
    return Equality(False)


def _scores(a: State, b: State, samples: Samples) -> Equality:
    """The ends of each range, then the scores and ranks of items that are sampled in both runs."""
    if _plain(a["scores"]) != _plain(b["scores"]):
        return Equality(False)
    one, other = ({(s["item_id"], s["outcome"]): s for s in side} for side in samples())
    both = one.keys() & other.keys()
    if any(one[key]["score"] != other[key]["score"] for key in both):
        return Equality(False)
    if any(one[key]["rank"] != other[key]["rank"] for key in both):
        return Equality(False, reordered=True)
    everything = sum((a["counts"] or {}).values())
    return Equality(True if len(both) >= min(_ENOUGH_SCORES, everything) else None)


def _plain(scores: Any) -> Any:
    return {outcome: {end: list(e) for end, e in ends.items() if e} for outcome, ends in (scores or {}).items()}
