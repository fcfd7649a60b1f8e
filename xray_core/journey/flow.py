"""The steps of a run in order: which is the last attempt, which is inside which, which builds on which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from xray_core.journey.types import State

T = TypeVar("T")


class Flow:
    """The steps of a run in the order in which they began, with their parents and their recorded dependencies."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self.last_attempt: dict[str, int] = {}
        self._parent: dict[str, str | None] = {}
        self._name: dict[str, str] = {}
        self._upstream: dict[str, set[str]] = {}
        self._mapped: dict[str, bool] = {}
        for state in states:
            step_id = state["step_id"]
            self.last_attempt[step_id] = max(state["attempt"], self.last_attempt.get(step_id, state["attempt"]))
            self._parent[step_id] = state["parent_id"]
            index = state["map_index"]
            self._mapped[step_id] = index is not None
            self._name[step_id] = (state["name"] or step_id) + ("" if index is None else f"[{index}]")
            self._upstream.setdefault(step_id, set()).update(state["upstream"] or ())

    def path(self, state: State) -> str:
        """The names of the steps around it and its own, as in "filter > price[3]"."""
        return self._path(state["step_id"])

    def _path(self, step_id: str) -> str:
        return " > ".join([*(self._name[each] for each in self.ancestors(step_id)[::-1]), self._name[step_id]])

    def around(self, step_id: str) -> dict[str, str]:
        """A step and the steps around it, the nearest first: {id: path}; empty for a step that is not known."""
        if step_id not in self._name:
            return {}
        return {each: self._path(each) for each in (step_id, *self.ancestors(step_id))}

    def ancestors(self, step_id: str) -> list[str]:
        """Ids of the parents, the nearest first. Cycles are broken."""
        found: list[str] = []
        parent = self._parent.get(step_id)
        while parent is not None and parent in self._name and parent not in found and parent != step_id:
            found.append(parent)
            parent = self._parent[parent]
        return found

    def children_first(self, things: Sequence[T], step_of: Callable[[T], str]) -> list[T]:
        """In order of time, but a step after all that is inside it: its own verdicts come last."""
        inside: dict[str | None, list[T]] = {}
        for thing in things:
            parent = next(iter(self.ancestors(step_of(thing))), None)
            inside.setdefault(parent, []).append(thing)
        ordered: list[T] = []
        waiting = [(thing, False) for thing in reversed(inside.get(None, ()))]
        expanded: set[str] = set()
        while waiting:
            thing, done = waiting.pop()
            step_id = step_of(thing)
            if done or step_id in expanded:
                ordered.append(thing)
                continue
            expanded.add(step_id)
            waiting.append((thing, True))
            waiting.extend((child, False) for child in reversed(inside.get(step_id, ())))
        seen = set(map(id, ordered))
        return ordered + [thing for thing in things if id(thing) not in seen]  # those in a cycle

    def instances(self, step_id: str) -> dict[tuple[str | None, str], str]:
        """Of a step and the steps around it, those that are instances of a mapped step: {the mapped step: the instance}."""
        return {
            (self._parent[each], self._name[each].rpartition("[")[0]): each
            for each in (step_id, *self.ancestors(step_id))
            if self._mapped[each]
        }

    def parallel(self, one: str, other: str) -> bool:
        """Whether two steps are in different instances of one mapped step."""
        if not (self._mapped_somewhere(one) and self._mapped_somewhere(other)):
            return False
        theirs = self.instances(other)
        return any(theirs.get(group, each) != each for group, each in self.instances(one).items())

    def builds_on(self, later: str, earlier: str) -> bool:
        """Whether recorded dependencies lead from one step to an earlier one."""
        recorded = any(self._upstream.get(each) for each in (later, *self.ancestors(later)))
        return recorded and not self.unrelated(earlier, later)

    def _mapped_somewhere(self, step_id: str) -> bool:
        return self._mapped[step_id] or any(self._mapped[each] for each in self.ancestors(step_id))

    def unrelated(self, earlier: str, later: str) -> bool:
        """Whether `later` certainly does not build on `earlier`: by recorded dependencies, or as instances of a mapped step."""
        if self.parallel(earlier, later):
            return True
        family = {later, *self.ancestors(later)}
        reached: set[str] = set()
        waiting = [up for each in family for up in self._upstream.get(each, ())]
        if not waiting:
            return False  # nothing recorded: nothing known
        goal = {earlier, *self.ancestors(earlier)} - family
        while waiting:
            each = waiting.pop()
            if each in goal:
                return False
            if each not in reached:
                reached.add(each)
                waiting.extend(self._upstream.get(each, ()))
        return True


def started(state: State) -> tuple[Any, ...]:
    """A key to sort states by the time at which they began."""
    index = state["index"]
    return (state["started_us"] or 0, index if index is not None else 0, state["step_id"], state["attempt"])
