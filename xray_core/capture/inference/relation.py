"""What became of items: which argument's items the result is about, by which key, and how the two relate.

Pairs of keys are judged by the ids they share, not by their names alone. What cannot be known is left out: a wrong claim that
items were lost is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from xray_core.capture.budget import Tick, no_tick
from xray_core.capture.inference import union
from xray_core.capture.inference.id_sets import IdSet
from xray_core.capture.inference.keys import SELF, Candidate, best

MAX_LINKS: Final = 1_000
_HAS_DIGIT: Final = re.compile(rb"\d").search  # names of columns seldom have one; see `collections.is_id`
_LOOKED_AT: Final = 100
_MOST: Final = 0.5  # of the result's ids have to be the argument's, or the two speak of different things


class Side(NamedTuple):
    """The items of one argument or of the result, under the key that was chosen.

    Attributes:
        values: see `item_values.summed`; `fields`: of the chosen ones a column each, see `item_fields.taken`.
        members: the arguments, where it is several as one (see `union`).
        beyond: how many are not among those that the step is about: of further items that are named by the same field, and, told
            of what went in, of lists of ids that have no records.
    """

    source: str | None
    chosen: Candidate
    values: Mapping[str, Any] = MappingProxyType({})
    fields: Mapping[str, Any] = MappingProxyType({})
    members: tuple[str, ...] = ()
    beyond: int = 0


class Related(NamedTuple):
    """What was found.

    Attributes:
        came_in, came_out: the items, as far as they are known.
        others: further collections of records among the arguments.
        relation: see `xray_core.wire`.
        links: (parent, child) of an expansion.
        unclear: names of fields that would do, where none tells the rows of the result apart.
    """

    came_in: Side | None = None
    came_out: Side | None = None
    others: Sequence[Side] = ()
    relation: str | None = None
    links: Sequence[tuple[bytes, bytes]] = ()
    unclear: Sequence[str] = ()


def relate(
    arguments: Mapping[str, Sequence[Candidate]],
    result: Sequence[Candidate] | None,
    *,
    nothing: bool,
    tick: Tick = no_tick,
) -> Related:
    """How the result follows from the arguments.

    Args:
        arguments: the candidates of each collection among the arguments, in order.
        result: those of the result; None where it is no collection of items.
        nothing: the result is a list of nothing.

    Raises:
        whatever `tick` raises.
    """
    related = _relate(arguments, result, nothing, tick)
    if related.came_in is None or related.came_out is not None:
        return related  # what came out tells which argument the step is about: ids beside it are its parameters
    return related._replace(came_in=related.came_in._replace(beyond=_ids_beyond(arguments, related.came_in)))


def _relate(
    arguments: Mapping[str, Sequence[Candidate]], result: Sequence[Candidate] | None, nothing: bool, tick: Tick
) -> Related:
    unclear: Sequence[str] = ()
    if result:
        found = _shared(arguments, result, tick) or _expanded(arguments, result)
        chosen = best(result)
        if found is not None or chosen is not None:
            # where ids relate it to nothing that went in, no item is said to be lost
            return found or Related(None, chosen and Side(None, chosen), (), None if arguments else "source")
        unclear = [name for each in result for name in each.key if name]
    source = _source_alone(arguments, None if nothing else tick)
    if source is None:
        return Related(unclear=unclear)
    others = _others(arguments, source)
    if nothing:
        return Related(source, Side(None, _none_of(source.chosen)), others, "filter")
    return Related(source, None, others, "sink" if result is None else None, unclear=unclear)


def _shared(arguments: Mapping[str, Sequence[Candidate]], result: Sequence[Candidate], tick: Tick) -> Related | None:
    """An argument, or several together, and the result have a key in common."""
    given: dict[tuple[str, ...], Sequence[Candidate]] = {(name,): several for name, several in arguments.items()}
    unions = union.of_result(arguments, result, tick)
    given.update({names: each.candidates for names, each in unions.items()})
    within = {(name, each.key) for names, found in unions.items() for each in found.candidates for name in names}
    pairs = [
        (came_out, came_in, names)
        for came_out in result
        for names, several in given.items()
        for came_in in several
        if (names[0], came_in.key) not in within or len(names) > 1
        if _speak_of_the_same(came_in, came_out)
    ]
    if not pairs:
        return None
    came_out, came_in, names = max(pairs, key=lambda pair: _fit(pair[0], pair[1]))
    if _is_expansion(came_in, came_out, result, given[names]):
        return None
    own = best(given[names])
    if own is not None and not came_in.unique and own.unique and own.key not in {each.key for each in result}:
        source = _with_all_alike(arguments, names[0], own, tick) if len(names) == 1 else _side(names, own)
        return Related(source, Side(None, came_out), _others(arguments, source), "aggregated")
    source = _side(names, came_in)
    others = _others(arguments, source)
    return Related(source, Side(None, came_out), others, _kind(came_in, came_out, joined=bool(others)))


def _side(names: tuple[str, ...], chosen: Candidate) -> Side:
    return Side(", ".join(names), chosen, members=names if len(names) > 1 else ())


def _speak_of_the_same(came_in: Candidate, came_out: Candidate) -> bool:
    shared = came_in.different.shared(came_out.different)
    if SELF in (came_in.key, came_out.key):
        # ids that name themselves are the argument's if all of them are; a few numbers may be that by chance
        by_chance = came_out.key == SELF != came_in.key and came_out.ids.texts[:1] and came_out.ids.texts[0].isdigit()
        return bool(came_out.different) and shared == came_out.different.n and not by_chance
    if came_in.key != came_out.key:
        return False
    smaller = min(came_in.different.n, came_out.different.n)
    return shared >= _MOST * smaller


def _fit(came_out: Candidate, came_in: Candidate) -> tuple[float, ...]:
    """Unique in the result first: a join of orders and customers is about orders."""
    covered = came_in.different.shared(came_out.different) / max(1, came_out.different.n)
    return (came_out.unique, came_in.unique, round(covered, 3), came_out.share, came_in.share, -came_out.rank)


def _is_expansion(
    came_in: Candidate, came_out: Candidate, result: Sequence[Candidate], argument: Sequence[Candidate]
) -> bool:
    """Whether each item became several, which have a key of their own."""
    own = best(result)
    known = {each.key for each in argument}
    return came_in.unique and not came_out.unique and own is not None and own.unique and own.key not in known


def _expanded(arguments: Mapping[str, Sequence[Candidate]], result: Sequence[Candidate]) -> Related | None:
    """The result's items are others, and one of their fields names the items that they came of (chunks of documents)."""
    own = best(result)
    if own is None or not own.unique:
        return None
    for name, several in arguments.items():
        for came_in in several:
            for parents in result:
                if parents is own or not parents.different or not came_in.unique or parents.ids.rows is not None:
                    continue
                shared = parents.different.shared(came_in.different)
                if shared == parents.different.n and not own.different.shared(came_in.different):
                    links = list(zip(parents.ids.texts, own.ids.texts)) if own.n <= MAX_LINKS else []
                    return Related(Side(name, came_in), Side(None, own), [Side("parents", parents)], "expanded", links)
    return None


def _source_alone(arguments: Mapping[str, Sequence[Candidate]], tick: Tick | None) -> Side | None:
    """The items that went in where the result says nothing of them: of the first argument that has records, else ids.

    Args:
        tick: None where they are to be those of one argument: of all of them nothing came out, and not all need be lost.
    """
    known = {name: chosen for name, several in arguments.items() if (chosen := best(several)) is not None}
    records = {name: each for name, each in known.items() if each.key != SELF}
    first = next(iter(records or known), None)
    if first is None:
        return None
    return Side(first, known[first]) if tick is None else _with_all_alike(arguments, first, known[first], tick)


def _with_all_alike(arguments: Mapping[str, Sequence[Candidate]], name: str, chosen: Candidate, tick: Tick) -> Side:
    """The items of one argument, with those of the others whose records are named by the same field."""
    best_of = {each: best(several) for each, several in arguments.items()}
    alike = tuple(each for each, found in best_of.items() if found is not None and found.key == chosen.key)
    if chosen.key == SELF or not 1 < len(alike) <= union.MAX_MEMBERS:
        return Side(name, chosen)
    return _side(alike, union.of_all(arguments, alike, chosen.key, tick))


def _others(arguments: Mapping[str, Sequence[Candidate]], source: Side) -> list[Side]:
    """The further collections of records; lists of ids are parameters as often as items."""
    within = source.members or (source.source,)
    found = [
        Side(name, chosen, beyond=_beyond(chosen, source.chosen))
        for name, several in arguments.items()
        if name not in within and (chosen := best(several))
    ]
    return [each for each in found if each.chosen.key != SELF and each.chosen.n > 1][:8]


def _beyond(further: Candidate, chosen: Candidate) -> int:
    """Of items that are named by the same field, those that are not among the ones chosen."""
    same = further.key == chosen.key
    return further.different.n - further.different.shared(chosen.different) if same else 0


def _ids_beyond(arguments: Mapping[str, Sequence[Candidate]], source: Side) -> int:
    """Of ids without records, among the other arguments, those that may be items which went in beside the ones chosen."""
    within = source.members or (source.source,)
    lists = [
        each
        for name, several in arguments.items()
        if name not in within
        for each in several
        if each.key == SELF and not each.weak and each.unique and all(map(_HAS_DIGIT, each.ids.texts[:_LOOKED_AT]))
    ]
    return sum(each.different.n - each.different.shared(source.chosen.different) for each in lists)


def _none_of(candidate: Candidate) -> Candidate:
    ids = candidate.ids._replace(texts=[], rows=None, nulls=0)
    nothing = candidate.hashes[:0]
    return Candidate(candidate.key, candidate.rank, ids, nothing, IdSet(nothing))


def _kind(came_in: Candidate, came_out: Candidate, *, joined: bool) -> str:
    if joined:
        return "joined"
    shared = came_in.different.shared(came_out.different)
    if shared < came_in.different.n:
        return "filter" if shared == came_out.different.n else "transform"
    if shared < came_out.different.n:
        return "transform"
    if came_out.n < came_in.n:
        return "filter"  # copies were taken out
    return "rank" if came_out.hashes != came_in.hashes else "transform"
