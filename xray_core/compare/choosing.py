"""Steps that only choose among items, and later steps whose given input names all that was chosen.

A filter, a rank, a select or a score step changes no item; where it did the same with the same items, it came out the same
although the values of the items were not captured. That is taken on trust only for a step that was given equal values in which
each of the chosen items is named: then nothing else of these steps is seen to have gone in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from xray_core.compare.columns import scores_differ
from xray_core.compare.evidence import Equality
from xray_core.compare.types import HeldSet, State
from xray_core.model import ITEMS_OUT, item_id_text

_CHOOSING: Final = frozenset({"filter", "rank", "select", "score"})
_LET_THROUGH: Final = frozenset({"accepted", "selected", ITEMS_OUT})
_MAX_LOOKED_AT: Final = 10_000  # values of one input


def only_chose(a: State, b: State, inputs: Equality, outputs: Equality, tolerance: float) -> bool:
    """Whether a step chose the same of the same items in both runs, by its type and by all scores that it gave."""
    if a["step_type"] not in _CHOOSING or a["step_type"] != b["step_type"] or inputs.state == "differs":
        return False
    if outputs.state not in ("same", "same_items"):
        return False
    if a["step_type"] != "score":
        return not (a["scores"] or b["scores"]) or _all_scores_equal(a, b, tolerance)
    return _all_scores_equal(a, b, tolerance)


def names_all(value: Any, sets: Iterable[HeldSet]) -> bool:
    """Whether a value holds the id of every item that came out of a step, and some came out."""
    named = set(_texts(value))
    chosen = [each for each in sets if each.outcome in _LET_THROUGH]
    if any(each.outcome == "selected" for each in chosen):
        chosen = [each for each in chosen if each.outcome == "selected"]
    return bool(chosen) and all(each.ids is not None and named.issuperset(each.ids) for each in chosen)


def _all_scores_equal(a: State, b: State, tolerance: float) -> bool:
    sums = a.get("score_sums"), b.get("score_sums")
    scored = [sum(column.get("n") or 0 for column in (each or {}).values()) for each in sums]
    judged = [sum((state["counts"] or {}).values()) for state in (a, b)]
    return scores_differ(*sums, tolerance) is False and scored == judged


def _texts(value: Any) -> Iterator[str]:
    left: list[Any] = [value]
    for _ in range(_MAX_LOOKED_AT):
        if not left:
            return
        each = left.pop()
        if isinstance(each, (str, int)) and not isinstance(each, bool):
            yield item_id_text(each)
        elif isinstance(each, Mapping):
            left += each.keys()
            left += each.values()
        elif isinstance(each, Sequence):
            left += each
