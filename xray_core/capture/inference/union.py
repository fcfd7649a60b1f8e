"""Several arguments whose items came out together: lists that were put end to end, sources that were merged.

They are one collection of what went in: told one by one, the items of all but one would be said never to have come, or to be lost
before. Knows nothing of results but the ids in them.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from xray_core.capture.budget import Tick
from xray_core.capture.columns import Ids
from xray_core.capture.inference.id_sets import IdSet
from xray_core.capture.inference.keys import Candidate
from xray_core.item_keys import Key

MAX_MEMBERS: Final = 20
_COST_S: Final = 0.3e-6  # of an id, at least: read, looked up and copied


class Union(NamedTuple):
    """Arguments as one: their names in order, and the keys that they share."""

    names: tuple[str, ...]
    candidates: Sequence[Candidate]


def of_result(
    arguments: Mapping[str, Sequence[Candidate]], result: Sequence[Candidate], tick: Tick
) -> dict[tuple[str, ...], Union]:
    """Those of the arguments of which the result has ids that no other argument explains.

    Raises:
        whatever `tick` raises.
    """
    found: dict[tuple[str, ...], Union] = {}
    for came_out in result:
        having = {name: each for name, several in arguments.items() if (each := _of_key(several, came_out.key))}
        if len(having) < 2:
            continue
        names = _explaining(having, came_out)
        if len(names) > 1 and names not in found:
            found[names] = _united(names, arguments, {each.key for each in result if each.unique}, tick)
    return found


def of_all(arguments: Mapping[str, Sequence[Candidate]], names: tuple[str, ...], key: Key, tick: Tick) -> Candidate:
    """What went in under one key, each item once.

    Raises:
        whatever `tick` raises.
    """
    return next(each for each in _united(names, arguments, {key}, tick).candidates if each.key == key)


def _explaining(having: Mapping[str, Candidate], came_out: Candidate) -> tuple[str, ...]:
    """The arguments that the result is made of, the one that explains most first; in their own order."""
    if len(having) > MAX_MEMBERS:
        return ()
    if not came_out.unique and sum(each.n for each in having.values()) == came_out.n:
        return tuple(having)  # put end to end
    ranked = sorted(having, key=lambda name: -having[name].different.shared(came_out.different))
    chosen, known = [ranked[0]], having[ranked[0]].different
    for name in ranked[1:]:
        if known.shared(came_out.different) == came_out.different.n:
            break
        both = IdSet(having[name].hashes + known.as_array())
        if both.shared(came_out.different) > known.shared(came_out.different):
            chosen.append(name)
            known = both
    return tuple(name for name in having if name in chosen)


def _united(names: tuple[str, ...], arguments: Mapping[str, Sequence[Candidate]], once: set[Key], tick: Tick) -> Union:
    """Args:
    once: keys whose ids are each there once, whichever arguments have it: those that tell the rows of the result apart.
    """
    shared = [each.key for each in arguments[names[0]] if all(_of_key(arguments[name], each.key) for name in names)]
    candidates = []
    for key in shared:
        members = [each for name in names if (each := _of_key(arguments[name], key)) is not None]
        tick(sum(each.n for each in members) * _COST_S)
        candidates.append(_one(members, once=key in once and all(each.unique for each in members)))
    return Union(names, candidates)


def _one(members: Sequence[Candidate], *, once: bool) -> Candidate:
    texts: list[bytes] = []
    hashes, rows = array("Q"), array("Q")
    taken: set[int] = set()
    at = nulls = odd = 0
    for each in members:
        own = each.ids.rows if each.ids.rows is not None else range(each.n)
        keep = [k for k, hashed in enumerate(each.hashes) if not (once and hashed in taken)]
        texts += [each.ids.texts[k] for k in keep]
        hashes.extend([each.hashes[k] for k in keep])
        rows.extend([at + own[k] for k in keep])
        taken.update(each.hashes)
        at, nulls, odd = at + each.ids.size, nulls + each.ids.nulls, odd + each.ids.odd
    whole = len(texts) == at
    first = members[0]
    ids = Ids(texts, None if whole else rows, nulls, odd)
    return Candidate(first.key, first.rank, ids, hashes, IdSet(hashes, texts), any(each.weak for each in members))


def _of_key(several: Sequence[Candidate], key: Key) -> Candidate | None:
    return next((each for each in several if each.key == key), None)
