"""Whether a step had the same inputs and the same outputs in both runs, and what that is known from.

Nothing here decodes a set: equal counts and equal sums of 64-bit hashes mean equal sets. Equal ids are the same items, not
the same values: `same_items` is a state of its own. A `partial` fingerprint proves nothing. One piece of evidence that says
"differs" outweighs any number that say "same".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from xray_core.compare.changes import close
from xray_core.compare.columns import (
    OTHER_VALUE,
    column_difference,
    scores_differ,
    shared_columns_that_differ,
    split_generated,
)
from xray_core.compare.options import Options
from xray_core.compare.stored import RunMarks, StoredDifference, stored_difference
from xray_core.compare.types import Knowledge, State
from xray_core.model import HASH_MODULUS, OTHER_REASONS, SKIPS
from xray_core.objects import fingerprint as canonical
from xray_core.objects.form import UNKNOWN as UNKNOWN_FORM
from xray_core.objects.near import TOLERANCE

# In these the order of what comes out is the answer; in others it may be that of a set or of a thread.
_ORDERED: Final = frozenset({"rank", "select", "retrieve", "sort"})
_SETS: Final = {"input": "in", "output": "out"}

Samples = Callable[[], tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Equality:
    """What is known of one side of a step.

    Attributes:
        state: "same" in value, "same_items" (values not captured), "differs", "unknown".
        what: what differs: "value", "items", "values", "order", "counts", "size", "scores", "selected", "reasons",
            "status".
        columns: the columns whose values differ.
        reordered: only the order differs; weak: and that may be the order of a set or of threads.
        generated: paths that differ as ids, times and hosts of runs do, or that hide secrets, and in nothing else.
        judged: differs only in the items that were given verdicts: they may have been lost before, or inside.
        close: equal within the tolerance, and not exactly, or written otherwise: 5 as 5.0, fields in another order.
        rewritten: equal to the last digit, and known to be of other types or in another order.
        declared: the values given to `set_input` / `set_output`, or passed by a framework, are equal.
    """

    state: Knowledge
    what: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    reordered: bool = False
    weak: bool = False
    generated: tuple[str, ...] = ()
    close: bool = False
    rewritten: bool = False
    declared: bool = False
    judged: bool = False

    @property
    def equal(self) -> bool | None:
        """As product.md has it: None where equality of the values is not known."""
        if self.state == "differs":
            return False
        return True if self.state == "same" and not self.generated else None

    @property
    def proven(self) -> bool:
        """Whether it is known to be the same to the last digit, ids and times of runs included."""
        return self.state == "same" and not self.generated and not self.close

    @property
    def differs(self) -> bool:
        """Whether the evidence shows a difference."""
        return self.state == "differs"


UNKNOWN: Final = Equality("unknown")
SAME: Final = Equality("same")


def values_equal(a: State, b: State, side: Literal["input", "output"], options: Options, marks: RunMarks) -> Equality:
    """Of what was given to `set_input` / `set_output` (or what a framework passed)."""
    one, other = (_fingerprint(state, side) for state in (a, b))
    if _size_differs(a[side], b[side]):
        return Equality("differs", ("size",))
    if one is None or other is None or one.get("partial") or other.get("partial"):
        return UNKNOWN
    same_rules = one.get("v") == other.get("v")  # else one value may have two fingerprints
    if same_rules and one.get("exact") == other.get("exact"):
        return _as_written(Equality("same", declared=True), one, other)
    if same_rules and options.tolerance >= TOLERANCE and _alike(one, other, "near"):
        return Equality("same", close=True, declared=True)
    stored = _stored(a, b, side, options, marks)
    if stored is not None and stored.whole and not stored.changes:
        return Equality("same", generated=tuple(stored.generated), close=True, declared=not stored.generated)
    if stored is not None and stored.masked and not stored.changes:  # a token is another in each run
        return Equality("same", generated=(*stored.generated, *stored.masked), close=True)
    told = stored is not None and stored.whole and any(each.b != OTHER_VALUE for each in stored.changes)  # what differs
    if same_rules and not told and options.tolerance >= TOLERANCE and _alike(one, other, "lasting"):
        return Equality("same", generated=(side,), close=True)
    if not same_rules:
        return Equality("differs", ("value",)) if stored is not None and stored.whole else UNKNOWN
    reordered = one.get("unordered") is not None and one["unordered"] == other.get("unordered")
    return Equality("differs", ("order",) if reordered else ("value",), reordered=reordered)


def _size_differs(one: Any, other: Any) -> bool:
    """Whether two collections differ of which no more than the size is shown, as of the yields of a generator."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    if "$type" in one or "$type" in other:
        sizes = _size(one), _size(other)
        return one.get("$type") == other.get("$type") and None not in sizes and sizes[0] != sizes[1]
    return any(_size_differs(one[name], other[name]) for name in one.keys() & other.keys())


def _alike(one: Mapping[str, Any], other: Mapping[str, Any], which: str) -> bool:
    return one.get(which) is not None and one[which] == other.get(which)


def inputs_equal(a: State, b: State, options: Options, marks: RunMarks, *, begins: bool) -> Equality:
    """What went into a step.

    Args:
        begins: items begin in this step, so what it judged is what it put out.
    """
    pieces = [
        *_values_and_items(a, b, "input", options, marks),
        _given_counts(a, b, "input_count"),
    ]
    if not begins:
        pieces = _with_ids(pieces, _judged(a, b))
    return together(_within_tolerance(pieces))


def outputs_equal(a: State, b: State, options: Options, marks: RunMarks, samples: Samples) -> Equality:
    """What came out of a step. `samples` fetches those of both; it is called only where scores have to be compared."""
    pieces = [
        *_values_and_items(a, b, "output", options, marks),
        _given_counts(a, b, "output_count"),
        _decisions(a, b),
        _orders(a, b),
    ]
    pieces = _with_ids(pieces, _verdicts(a, b))
    if not any(each.state in ("same", "differs") for each in pieces):
        pieces.append(_reasons(a, b))
    if ended_otherwise(a, b):
        pieces.append(Equality("differs", ("status",)))
    if _skipped(a) != _skipped(b):
        pieces.append(Equality("differs", ("value",)))  # what a branch put out are the steps that were not to run
    reordered = any(each.reordered for each in pieces)  # samples with ranks tell that the order was meant
    told_in_samples = a["scores"] or b["scores"] or reordered or _order_matters(a, b)
    if told_in_samples and not any(each.differs and not each.reordered for each in pieces):
        pieces.append(_scores(a, b, options, samples))
    alone = all("source" not in ((state["items"] or {}).get("out") or {}) for state in (a, b))
    found = together(_within_tolerance(pieces) if alone else pieces)
    if found.reordered and found.weak and _order_matters(a, b):
        return replace(found, weak=False)
    return found


def _values_and_items(
    a: State, b: State, side: Literal["input", "output"], options: Options, marks: RunMarks
) -> list[Equality]:
    """Of the values and of the item sets, which tell nothing of an argument beside them that was not read."""
    values, items = values_equal(a, b, side, options, marks), _item_sets(a, b, _SETS[side], options, marks)
    if values.generated and all(((state["items"] or {}).get(_SETS[side]) or {}).get("inferred") for state in (a, b)):
        return [values]  # its items were found in it, and may be named by ids that were made up in each run
    if items.state == "same" and any(_has_copies(state, _SETS[side], values) for state in (a, b)):
        items = replace(items, close=True)  # which of two rows of one id came first is in no sum
    if side == "input" and values.state == "unknown" and items.state == "same" and any(map(_unread_beside, (a, b))):
        return [Equality("same_items")]
    return [values, items]


def _has_copies(state: State, side: str, values: Equality) -> bool:
    """Whether an item is in a set more than once, and the value that the set was found in is not known to be equal."""
    held = state["items"][side]
    return held.get("distinct") not in (None, held["n"]) and not (held.get("inferred") and values.proven)


def _unread_beside(state: State) -> bool:
    """Whether a step was given, beside the argument that holds its items, what could not be read whole."""
    given, items = state["input"], state["items"]
    told = {*(items["in"].get("source") or "").split(", "), *(items.get("others") or ())}
    if not isinstance(given, Mapping) or told.isdisjoint(given) or not (state["input_fp"] or {}).get("partial"):
        return False
    return any(
        name not in told and isinstance(each, Mapping) and "$type" in each and "fp" not in each
        for name, each in given.items()
    )


def ended_otherwise(a: State, b: State) -> bool:
    """Whether a step that did its job in one run failed, or was skipped, in the other."""
    return a["status"] != b["status"] and bool({"failed", "skipped"} & {a["status"], b["status"]})


def _skipped(state: State) -> Any:
    return (state["metadata"] or {}).get(SKIPS)


def _within_tolerance(pieces: Sequence[Equality]) -> list[Equality]:
    """Without what a fingerprint says of values that their items show to be equal but for a last digit."""
    near = any(each.close and each.state == "same" and not each.declared for each in pieces)
    return [each for each in pieces if not (near and each.what == ("value",))]


def together(pieces: Sequence[Equality]) -> Equality:
    """Several pieces of evidence of one side as one."""
    different = [each for each in pieces if each.differs]
    if different:
        strong = [each for each in different if not each.reordered] or different
        return Equality(
            "differs",
            tuple(dict.fromkeys(what for each in strong for what in each.what)),
            tuple(dict.fromkeys(column for each in strong for column in each.columns)),
            reordered=all(each.reordered for each in different),
            weak=all(each.weak for each in strong),
            judged=all(each.judged for each in strong),
        )
    declared = any(each.declared for each in pieces)
    if any(each.state == "same_items" for each in pieces):
        return Equality("same_items", declared=declared)
    same = [each for each in pieces if each.state == "same"]
    if not same:
        return UNKNOWN
    return Equality(
        "same",
        generated=tuple(path for each in same for path in each.generated),
        close=any(each.close for each in same),
        rewritten=any(each.rewritten for each in same),
        declared=declared,
    )


def _with_ids(pieces: list[Equality], verdicts: Equality) -> list[Equality]:
    """Verdicts on the same items tell nothing where the values themselves are known to be equal."""
    known = verdicts.state == "same_items" and any(each.state == "same" for each in pieces)
    return pieces if known else [*pieces, verdicts]


def given(state: State, side: Literal["input", "output"]) -> int | None:
    """How many items went in or came out, where a count or an item set says so."""
    count: int | None = state[f"{side}_count"]
    if count is not None:
        return count
    items = (state["items"] or {}).get(_SETS[side])
    return None if items is None else int(items["n"])


def rows_known(a: State, b: State, side: Literal["input", "output"]) -> bool:
    """Whether item sets tell the values of all that went in or came out, beside the ids."""
    sets = [(state["items"] or {}).get(_SETS[side]) or {} for state in (a, b)]
    return all(each.get("rows") is not None and not each.get("nulls") for each in sets)


def handled(state: State, side: Literal["input", "output"]) -> int | None:
    """How many items a step was given, or put out, as far as it said."""
    counts = state["counts"] or {}
    told = sum(counts.values()) if side == "input" else counts.get("accepted", 0) + counts.get("selected", 0)
    return given(state, side) or told or None


def outcome_sums(state: State) -> dict[str, tuple[int, int | None]]:
    """Outcome -> (number of verdicts, sum of their hashes or None where it is not known)."""
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
    return None if value is None else canonical.fingerprint(value)


def _stored(a: State, b: State, side: str, options: Options, marks: RunMarks) -> StoredDifference | None:
    if a[side] is None or b[side] is None:
        return None
    return stored_difference(a[side], b[side], side, options, marks)


def _item_sets(a: State, b: State, side: str, options: Options, marks: RunMarks) -> Equality:
    one, other = ((state["items"] or {}).get(side) for state in (a, b))
    found = _two_sets(one, other, options, marks)
    return found if side == "out" or found.differs else _with_others(found, a, b, options, marks)


def _with_others(found: Equality, a: State, b: State, options: Options, marks: RunMarks) -> Equality:
    """With the further collections that went in: of the customers that orders were joined with other ones are another input."""
    one, other = ((state["items"] or {}).get("others") or {} for state in (a, b))
    went_in = [name for name in one.keys() & other.keys() if all(each.get("relation") != "expanded" for each in (a, b))]
    beside = [replace(_two_sets(one[name], other[name], options, marks), reordered=False) for name in sorted(went_in)]
    return together([found, *beside]) if any(each.state != "unknown" for each in beside) else found


def _two_sets(
    one: Mapping[str, Any] | None, other: Mapping[str, Any] | None, options: Options, marks: RunMarks
) -> Equality:
    if one is None or other is None:
        return UNKNOWN
    if _members(one) != _members(other):
        return Equality("differs", ("items",))
    if one.get("order") is not None and other.get("order") is not None and one["order"] != other["order"]:
        return Equality("differs", ("order",), reordered=True, weak=True)
    if one.get("rows") is None or other.get("rows") is None:
        shared = shared_columns_that_differ(one, other, options.tolerance)  # not all columns are known
        differ, _ = split_generated(shared, one, other, marks.began_us)
        return Equality("differs", ("values",), differ) if differ else Equality("same_items")
    known: Knowledge = (
        "same_items" if one.get("nulls") else "same"
    )  # rows without an id are counted, what they hold is in no sum
    if one["rows"] == other["rows"]:
        return _as_written(Equality(known), one, other)
    columns = column_difference(one, other, options.tolerance)
    if columns is None:
        return Equality("differs", ("values",))
    differ, generated = split_generated(columns, one, other, marks.began_us)
    return Equality("differs", ("values",), differ) if differ else Equality(known, generated=generated, close=True)


def _as_written(equal: Equality, one: Mapping[str, Any], other: Mapping[str, Any]) -> Equality:
    """Equal values that may be of other types, or have their fields in another order (`objects.form`)."""
    forms = {one.get("form"), other.get("form")}
    unlike = len(forms) > 1
    return replace(equal, close=unlike or UNKNOWN_FORM in forms, rewritten=unlike and not forms & {UNKNOWN_FORM, None})


def _members(items: Mapping[str, Any]) -> tuple[int, int, int]:
    return items["n"], items.get("nulls") or 0, int(items["sum"], 16)


def _given_counts(a: State, b: State, name: str) -> Equality:
    """Different counts prove a difference; equal ones prove nothing."""
    one, other = a[name], b[name]
    return Equality("differs", ("counts",)) if one is not None and other is not None and one != other else UNKNOWN


def _size(shown: Mapping[str, Any]) -> int | None:
    """How many there are in all; None where that is not known, as of a stream that was left early."""
    size = None if shown.get("left") else shown.get("size")
    return size if isinstance(size, int) else None


def _judged(a: State, b: State) -> Equality:
    """The items that were given any verdict, where these are certainly all that went in."""
    if not (_all_judged(a) and _all_judged(b)):
        return UNKNOWN
    totals = [_total(outcome_sums(state)) for state in (a, b)]
    if totals[0][0] == totals[1][0] and (totals[0][1] is None or totals[1][1] is None):
        return UNKNOWN
    return Equality("same_items") if totals[0] == totals[1] else Equality("differs", ("items",), judged=True)


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
        return UNKNOWN
    if {outcome: n for outcome, (n, _) in one.items()} != {outcome: n for outcome, (n, _) in other.items()}:
        posted = a["capture"] is None and b["capture"] is None
        unknown = posted and a["input_count"] is None and b["input_count"] is None
        return UNKNOWN if unknown else Equality("differs", ("items",))
    if any(one[outcome][1] is None or other[outcome][1] is None for outcome in one):
        return UNKNOWN
    return Equality("same_items") if one == other else Equality("differs", ("items",))


def _reasons(a: State, b: State) -> Equality:
    """Other reasons for the same outcomes matter where somebody reads them: weak evidence of a difference."""
    one, other = (state["reasons"] or {} for state in (a, b))
    shared = one.keys() & other.keys()
    if any(OTHER_REASONS in (one[outcome].keys() | other[outcome].keys()) for outcome in shared):
        return UNKNOWN  # which reasons were put together hangs on their order
    sums = [state["sums"] or {} for state in (a, b)]
    differ = any(_counted(one[outcome]) != _counted(other[outcome]) for outcome in shared) or any(
        sums[0][outcome] != sums[1][outcome] for outcome in shared & sums[0].keys() & sums[1].keys()
    )
    return Equality("differs", ("reasons",), weak=True) if differ else UNKNOWN


def _counted(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: n for reason, n in reasons.items() if n}


def _decisions(a: State, b: State) -> Equality:
    """What was selected. Equal selections prove nothing of the rest."""
    chosen = [[(d.get("decision"), repr(d.get("selected"))) for d in state["decisions"]] for state in (a, b)]
    if sorted(map(repr, chosen[0])) == sorted(map(repr, chosen[1])):
        return UNKNOWN
    return Equality("differs", ("selected",))


def _orders(a: State, b: State) -> Equality:
    """The order in which items were accepted or selected, where it is known of both."""
    one, other = (state.get("orders") or {} for state in (a, b))
    different = any(one[outcome] != other[outcome] for outcome in one.keys() & other.keys())
    return Equality("differs", ("order",), reordered=True, weak=True) if different else UNKNOWN


def _order_matters(a: State, b: State) -> bool:
    return any(state["step_type"] in _ORDERED or state.get("relation") == "rank" for state in (a, b))


def _scores(a: State, b: State, options: Options, samples: Samples) -> Equality:
    """All scores by their sums, else the ends of each range and the scores and ranks of items sampled in both runs."""
    differ = scores_differ(a.get("score_sums"), b.get("score_sums"), options.tolerance)
    if differ is True or (differ is None and _ends_differ(a["scores"], b["scores"], options.tolerance)):
        return Equality("differs", ("scores",))
    one, other = (
        {(s["item_id"], s["outcome"]): s for s in side if s["outcome"] not in ("in", "out")} for side in samples()
    )
    both = one.keys() & other.keys()
    scale = max((abs(s["score"]) for s in one.values() if isinstance(s["score"], (int, float))), default=0.0)
    if differ is None and any(
        _unlike(one[key]["score"], other[key]["score"], options.tolerance, scale) for key in both
    ):
        return Equality("differs", ("scores",))
    if any(one[key]["rank"] != other[key]["rank"] for key in both):
        return Equality("differs", ("order",), reordered=True)
    everything = sum((a["counts"] or {}).values())
    scored = bool(a["scores"] or b["scores"])
    return UNKNOWN if differ is False or not scored or len(both) >= everything else Equality("same_items")


def _ends_differ(a: Any, b: Any, tolerance: float) -> bool:
    one, other = _plain(a), _plain(b)
    if one.keys() != other.keys():
        return True
    numbers = [abs(end[0]) for end in one.values() if isinstance(end[0], (int, float)) and end[0] == end[0]]
    scale = max(numbers, default=0.0)
    return any(_unlike(one[key][0], other[key][0], tolerance, scale) for key in one)


def _plain(scores: Any) -> dict[tuple[str, str], list[Any]]:
    return {(outcome, end): list(e) for outcome, ends in (scores or {}).items() for end, e in ends.items() if e}


def _unlike(a: Any, b: Any, tolerance: float, scale: float = 0.0) -> bool:
    """Whether two scores differ; `scale`: the size of the scores around them, since one near zero has none of its own."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return not (close(a, b, tolerance) or abs(a - b) <= tolerance * scale or (a != a and b != b))
    return bool(a != b)
