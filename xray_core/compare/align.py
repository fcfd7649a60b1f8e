"""Which step of one run corresponds to which of the other: by name and occurrence, inside the same parent.

Mapped steps correspond by map index. Of several siblings with one name those with equal inputs correspond, the rest in
their order. Of a retried step the last attempt counts, also where a loop around it tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from xray_core.compare.types import State

_MAX_DEPTH: Final = 100


@dataclass(slots=True)
class Pair:
    """One step of both runs (or of one), in the tree of steps.

    Attributes:
        upstream: the pairs that it depends on, where that was recorded.
        earlier: of each run, the attempts before the last one, the first in front.
    """

    name: str
    map_index: int | None
    a: State | None
    b: State | None
    parent: Pair | None = None
    children: list[Pair] = field(default_factory=list)
    upstream: list[Pair] = field(default_factory=list)
    earlier: tuple[Sequence[State], Sequence[State]] = ((), ())

    @property
    def path(self) -> str:
        """The names of the steps around it and its own, as in "filter > price[3]"."""
        own = self.name if self.map_index is None else f"{self.name}[{self.map_index}]"
        return own if self.parent is None else f"{self.parent.path} > {own}"

    def ancestors(self) -> Iterator[Pair]:
        """The pairs around it, the nearest first."""
        each = self.parent
        while each is not None:
            yield each
            each = each.parent


def align(a: Sequence[State], b: Sequence[State]) -> list[Pair]:
    """The roots of the aligned trees, in an order that keeps the order of both runs as far as they agree."""
    children = [_children(_last_attempts(side)) for side in (a, b)]
    roots = _aligned(children, (None, None), None)
    earlier = [_earlier_attempts(side) for side in (a, b)]
    by_id: dict[tuple[int, str], Pair] = {}
    for pair in in_order(roots):
        for side, state in enumerate((pair.a, pair.b)):
            if state is not None:
                by_id[side, state["step_id"]] = pair
    for pair in in_order(roots):
        ups = [
            by_id[side, up]
            for side, state in enumerate((pair.a, pair.b))
            if state is not None
            for up in state["upstream"] or ()
            if (side, up) in by_id
        ]
        if any(earlier):
            one, other = (
                earlier[side].get(state["step_id"], []) if state is not None else []
                for side, state in enumerate((pair.a, pair.b))
            )
            pair.earlier = [*pair.earlier[0], *one[:-1]], [*pair.earlier[1], *other[:-1]]
        pair.upstream = list({id(up): up for up in ups}.values())
    return roots


def in_order(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Every pair, a parent before its children."""
    waiting = list(reversed(pairs))
    while waiting:
        pair = waiting.pop()
        yield pair
        waiting.extend(reversed(pair.children))


def children_first(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Every pair, a parent after its children."""
    waiting = [(pair, False) for pair in reversed(pairs)]
    while waiting:
        pair, done = waiting.pop()
        if done or not pair.children:
            yield pair
            continue
        waiting.append((pair, True))
        waiting.extend((child, False) for child in reversed(pair.children))


def _last_attempts(states: Sequence[State]) -> list[State]:
    last: dict[str, State] = {}
    for state in states:
        known = last.get(state["step_id"])
        if known is None or state["attempt"] >= known["attempt"]:
            last[state["step_id"]] = state
    first_start: dict[str, int] = {}
    for state in states:
        at_us = state["started_us"] or 0
        first_start[state["step_id"]] = min(at_us, first_start.get(state["step_id"], at_us))
    return sorted(last.values(), key=lambda s: (first_start[s["step_id"]], s["index"] or 0, s["step_id"]))


def _earlier_attempts(states: Sequence[State]) -> dict[str, list[State]]:
    """Step id -> its attempts in order, of steps that have several."""
    attempts: dict[str, list[State]] = {}
    for state in states:
        attempts.setdefault(state["step_id"], []).append(state)
    return {
        step_id: sorted(several, key=lambda state: state["attempt"])
        for step_id, several in attempts.items()
        if len(several) > 1
    }


def _children(states: Sequence[State]) -> dict[str | None, list[State]]:
    """The steps inside each step. A step whose parents are missing, form a cycle or nest too deep is a root."""
    parents = {state["step_id"]: state["parent_id"] for state in states}
    found: dict[str | None, list[State]] = {}
    for state in states:
        seen = {state["step_id"]}
        above = state["parent_id"]
        while above in parents and above not in seen and len(seen) <= _MAX_DEPTH:
            seen.add(above)
            above = parents[above]
        nested = state["parent_id"] in parents and above not in parents
        parent = state["parent_id"] if nested else None
        found.setdefault(parent, []).append(state)
    return found


def _aligned(
    children: list[dict[str | None, list[State]]], ids: tuple[str | None, str | None], parent: Pair | None
) -> list[Pair]:
    sides = [children[side].get(ids[side], []) if parent is None or ids[side] is not None else [] for side in (0, 1)]
    partner = _partners(sides[0], sides[1])
    taken = {id(other) for other in partner.values()}
    failed_before = _begun_again(sides[0], set(partner)), _begun_again(sides[1], taken)
    for side, again in enumerate(failed_before):
        failed = {id(state) for several in again.values() for state in several}
        sides[side] = [state for state in sides[side] if id(state) not in failed]
    pairs: list[Pair] = []
    placed: set[int] = set()
    positions = {id(state): position for position, state in enumerate(sides[1])}
    next_b = 0
    for state in sides[0]:
        other = partner.get(id(state))
        if other is not None:
            # what only b has comes before the first step that it came before in b
            for only in sides[1][next_b : positions[id(other)]]:
                if id(only) not in placed and id(only) not in taken:
                    pairs.append(_pair(None, only, parent))
                    placed.add(id(only))
            next_b = max(next_b, positions[id(other)] + 1)
        pairs.append(_pair(state, other, parent))
    placed |= taken
    pairs += [_pair(None, only, parent) for only in sides[1] if id(only) not in placed]
    for pair in pairs:
        pair.earlier = failed_before[0].get(id(pair.a), []), failed_before[1].get(id(pair.b), [])
        inner = (None if pair.a is None else pair.a["step_id"], None if pair.b is None else pair.b["step_id"])
        pair.children = _aligned(children, inner, pair)
    return pairs


def _pair(a: State | None, b: State | None, parent: Pair | None) -> Pair:
    state = a if a is not None else b
    assert state is not None
    return Pair(state["name"] or "", state["map_index"], a, b, parent)


def _partners(a: Sequence[State], b: Sequence[State]) -> dict[int, State]:
    """id(state of a) -> state of b."""
    groups: dict[tuple[str, int | None], tuple[list[State], list[State]]] = {}
    for side, states in enumerate((a, b)):
        for state in states:
            groups.setdefault((state["name"] or "", state["map_index"]), ([], []))[side].append(state)
    partner: dict[int, State] = {}
    for ours, theirs in groups.values():
        keys = [_place] if len(ours) == len(theirs) == 1 else [_signature, _place]
        if len(ours) != len(theirs):  # one that failed and was begun again is no partner of one that did not
            keys = [_signature_and_end, _signature, _end, _place]
        for key in keys:
            ours, theirs = _matched(ours, theirs, key, partner)
    return partner


def _begun_again(states: Sequence[State], paired: set[int]) -> dict[int, list[State]]:
    """id(step) -> those of its name before it that failed, may have been given the same, and have no partner: a loop around
    them tried again.
    """
    waiting: dict[tuple[object, object], list[State]] = {}
    found: dict[int, list[State]] = {}
    for state in states:
        name = state["name"], state["map_index"]
        if id(state) not in paired and _end(state):
            waiting.setdefault(name, []).append(state)
            continue
        for failed in waiting.pop(name, []):
            if _signature(failed) in (None, _signature(state)):
                found.setdefault(id(state), []).append(failed)
    return found


def _matched(
    ours: list[State], theirs: list[State], key: Callable[[State], object], partner: dict[int, State]
) -> tuple[list[State], list[State]]:
    """Make partners, in order, of those of one key; what is left of both."""
    waiting: dict[object, deque[State]] = {}
    for state in theirs:
        waiting.setdefault(key(state), deque()).append(state)
    matched: set[int] = set()
    for state in ours:
        known = key(state)
        if known is not None and waiting.get(known):
            other = partner[id(state)] = waiting[known].popleft()
            matched |= {id(state), id(other)}
    return ([each for each in ours if id(each) not in matched], [each for each in theirs if id(each) not in matched])


def _place(_: State) -> object:
    return ()


def _end(state: State) -> object:
    return bool(state["status"] == "failed")


def _signature_and_end(state: State) -> object:
    signature = _signature(state)
    return None if signature is None else (signature, _end(state))


def _signature(state: State) -> object:
    """What a step was given, where that is known for certain."""
    fingerprint, items = state["input_fp"] or {}, (state["items"] or {}).get("in")
    exact = fingerprint.get("exact") if not fingerprint.get("partial") else None
    if exact is None and items is None:
        return None
    return (exact, fingerprint.get("v")), None if items is None else (items["n"], items["sum"])
