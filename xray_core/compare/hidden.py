"""Steps whose difference shows in a later one alone: changed in silence, written otherwise, or made in place.

Nothing that such a step is known to have put out differs in value. It is named before the step in which that shows, and never
with certainty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from xray_core.compare.align import Pair, in_order
from xray_core.compare.changes import differences, file_alone
from xray_core.compare.types import State

if TYPE_CHECKING:
    from xray_core.compare.blame import Blame, Judged

_NOTHING: Final = (None, {"$type": "NoneType"})
_HELD_AS_ITEMS: Final = frozenset({"list", "tuple", "set", "frozenset", "DataFrame", "Table"})


def hidden(blame: Blame, first: Judged) -> Judged | None:
    """The step to be named before the one that would be, if there is one."""
    found = _written_otherwise(blame, first) or _made_in_place(blame, first)
    if found is not None:
        found.shows_in = first
        return found
    if (first.inputs.state == "same" and not first.inferred) or not blame.run_outputs.differs:
        return None  # it was given nothing that another one changed, or that matters to nobody
    near = {id(each.pair) for each in _before(blame, first)} | set(map(id, in_order(first.pair.children)))
    return next((each for each in blame.judged if id(each.pair) in near and _changed_in_silence(blame, each)), None)


def _before(blame: Blame, judged: Judged) -> list[Judged]:
    """The steps that one builds on, where that was recorded, else all before it, those around it too."""
    upstream = set(map(id, _all_upstream(judged.pair)))
    return [each for each in blame.judged if id(each.pair) in upstream] or blame.judged[: blame.judged.index(judged)]


def _all_upstream(pair: Pair) -> Iterator[Pair]:
    """The steps that one builds on, and those that these build on."""
    seen: set[int] = set()
    waiting = list(pair.upstream)
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += each.upstream


# Written otherwise ---------------------------------------------------------------------------------------------------


def _written_otherwise(blame: Blame, first: Judged) -> Judged | None:
    """The first step that put out equal values of other types or in another order, where a later one that was given these, or
    what nothing else explains, and is not known to have changed, came out different.
    """
    if first.changed or first.missing or not (first.inputs.state == "same" or first.inputs.differs):
        return None
    around = {id(each) for each in first.pair.ancestors()}
    told = [each for each in _before(blame, first) if id(each.pair) not in around and each.outputs.state == "same"]
    guessed = (first.inferred or first.inputs.differs) and bool(told) and told[-1].outputs.rewritten
    if not first.inputs.rewritten and not guessed:
        return None
    begins = [each for each in told if each.outputs.rewritten and not each.inputs.rewritten]
    inner = [each for each in begins if not any(_is_inside(other.pair, each.pair) for other in begins)]
    return inner[0] if inner else None


def _is_inside(one: Pair, other: Pair) -> bool:
    return any(each is other for each in one.ancestors())


# Made in place -------------------------------------------------------------------------------------------------------


def _made_in_place(blame: Blame, first: Judged) -> Judged | None:
    """The step before one that was given something else, or may have been, if both were given the same items or the same object, and nothing
    tells what that one made of it: the last to which these were given unchanged, or one with another argument.
    """
    if first.missing or first.from_run or first.inputs.state == "same":
        return None
    around = {id(each) for each in first.pair.ancestors()}
    found = None
    for each in reversed(_before(blame, first)):
        if each.missing or id(each.pair) in around or not _shares(each, first):
            continue
        if not _tells_nothing(each):
            break
        found = each
        if not each.inputs.differs or _other_arguments(each):
            break
    if found is None or first.inputs.differs or found.changed or _other_arguments(found):
        return found
    return None  # neither is known to have been given something else


def _shares(one: Judged, other: Judged) -> bool:
    """Whether two steps were given items of the same ids, of which the later one's have other values; or one object."""
    sides = [(one.pair.a, other.pair.a), (one.pair.b, other.pair.b)]
    if "values" in other.inputs.what and all(_same_items(*states) for states in sides):
        return True
    return not _other_arguments(other) and all(_same_object(*states) for states in sides)


def _other_arguments(judged: Judged) -> bool:
    """Whether a step is seen to have been given another argument: more than another size."""
    one, other = (None if state is None else state["input"] for state in (judged.pair.a, judged.pair.b))
    return any(not change.path.endswith(".size") for change in differences(one, other, ""))


def _same_items(one: State | None, other: State | None) -> bool:
    ids = [(((state or {}).get("items") or {}).get("in") or {}).get("sum") for state in (one, other)]
    return ids[0] is not None and ids[0] == ids[1]


def _same_object(one: State | None, other: State | None) -> bool:
    """Whether two steps have an argument of one name and type that may be changed in place."""
    given, later = (_objects((state or {}).get("input")) for state in (one, other))
    return any(later.get(name) == kind for name, kind in given.items())


def _objects(given: Any) -> dict[str, str]:
    """Argument -> its type, of those whose value is not shown. Of collections their items tell."""
    arguments: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    shown = {name: each for name, each in arguments.items() if isinstance(each, Mapping) and "$type" in each}
    return {
        name: each["$type"]
        for name, each in shown.items()
        if "fp" not in each and each["$type"] not in _HELD_AS_ITEMS
    }  # fmt: skip


def _tells_nothing(judged: Judged) -> bool:
    """Whether nothing is known of what a step put out, or it put out None."""
    states = [state for state in (judged.pair.a, judged.pair.b) if state is not None]
    told: Sequence[bool] = [
        bool(state["output"] not in _NOTHING or state["counts"] or state["decisions"] or state["output_count"])
        or "out" in (state["items"] or {})
        for state in states
    ]
    return not any(told) and not judged.outputs.differs


# Changed in silence --------------------------------------------------------------------------------------------------


def _changed_in_silence(blame: Blame, judged: Judged) -> bool:
    """Whether a step itself was changed, and nobody knows what it put out."""
    around = judged.pair.parent
    changed = set(judged.changed) - set(() if around is None else blame.of[id(around)].changed)
    if file_alone(judged.pair):
        changed = {path for path in changed if not path.endswith(".code_version")}
    unknown = judged.outputs.state == blame.came_out(judged.pair).state == "unknown"
    return bool(changed) and not judged.missing and unknown
