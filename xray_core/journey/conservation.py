"""Conservation between steps: what came out of one step and went into none after it, and what went into a step twice.

Asked by `show`, `why`, `diff` and the pages alike. Steps are compared in the order in which they began, or along the
recorded dependencies; mapped instances count as one. Sums settle most of it; sets are read only where sums differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from xray_core import verdicts
from xray_core.journey.flow import Flow, started
from xray_core.journey.sentences import say
from xray_core.journey.step_evidence import key_of, went_in_beside
from xray_core.journey.types import Json, State, StepKey
from xray_core.model import HASH_MODULUS, ITEMS_IN, ITEMS_OUT
from xray_core.plurals import plural

MAX_READ: Final = 400_000  # fingerprints read for one run: about a tenth of a second
_MAX_EXAMPLES: Final = 5
_MAX_GAPS: Final = 50


class HeldSet(Protocol):
    """A set of items as it is kept: ids, or an fp40 blob."""

    @property
    def outcome(self) -> str:
        """An outcome, or "in" / "out" for an item set."""

    @property
    def reason(self) -> str | None:
        """The reason of all items of the set."""

    @property
    def ids(self) -> Sequence[str] | None:
        """The ids; None where only fingerprints are kept."""

    @property
    def fp40(self) -> bytes | None:
        """The fingerprints as `verdicts.encode` makes them; None where ids are kept."""


Sets = Callable[[StepKey], Iterable[HeldSet]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Items that are not conserved.

    Attributes:
        kind: "lost_between": came out of `step` and went into none after it; "duplicated": went into `step` more than once.
        step, next: paths; `next` is the first step that they did not reach, None for "duplicated".
        n: how many items; `of`: of how many.
        items: ids of some of them; `through`: steps in between that tell nothing about items.
        inferred: an adapter found the items, nobody said so.
    """

    kind: Literal["lost_between", "duplicated"]
    step: str
    next: str | None
    n: int
    of: int
    items: Sequence[str] = ()
    through: Sequence[str] = ()
    inferred: bool = False

    @property
    def sentence(self) -> str:
        """The gap in one sentence."""
        names = f": {', '.join(self.items)}{', ...' if self.n > len(self.items) else ''}" if self.items else ""
        if self.kind == "duplicated":
            return say("duplicated", items=plural(self.n, "item"), step=self.step,
                       of=f"{self.of:,}", names=names)  # fmt: skip
        text = say(
            "lost_between_steps",
            n=f"{self.n:,}",
            of=plural(self.of, "item"),
            step=self.step,
            later=self.next,
            names=names,
        )
        text += say("silent_between", silent=list(self.through)) if self.through else ""
        return text + (say("inferred") if self.inferred else "")

    def as_json(self) -> Json:
        """The gap as the server sends it, with its sentence."""
        return {
            "kind": self.kind,
            "step": self.step,
            "next": self.next,
            "n": self.n,
            "of": self.of,
            "items": list(self.items),
            "through": list(self.through),
            "inferred": self.inferred,
            "sentence": self.sentence,
        }


@dataclass(slots=True)
class _Stage:
    """The attempts and mapped instances of one step of the flow."""

    states: list[State]
    paths: list[str]
    ids: set[str] = field(default_factory=set)

    @property
    def path(self) -> str:
        first = self.paths[0]
        return first if len(self.ids) == 1 else first.rpartition("[")[0] or first

    @property
    def retried(self) -> bool:
        return len(self.states) > len(self.ids)


def gaps(states: Iterable[State], sets: Sets) -> list[Gap]:
    """Where the items of a run are not conserved between its steps; at most 50."""
    flow = Flow(sorted(states, key=started))
    found: list[Gap] = []
    reading = _Reading(sets)
    for stages in _levels(flow):
        found += _between(stages, flow, reading)
        if len(found) >= _MAX_GAPS:
            break
    return found[:_MAX_GAPS]


def _levels(flow: Flow) -> list[list[_Stage]]:
    """The stages inside each step, and of the run itself, in order."""
    levels: dict[str | None, dict[Any, _Stage]] = {}
    for state in flow.states:
        parent = next(iter(flow.ancestors(state["step_id"])), None)
        mapped = state["map_index"] is not None
        key = (state["name"],) if mapped else state["step_id"]
        stage = levels.setdefault(parent, {}).setdefault(key, _Stage([], []))
        stage.states.append(state)
        stage.paths.append(flow.path(state))
        stage.ids.add(state["step_id"])
    return [list(stages.values()) for stages in levels.values()]


def _between(stages: Sequence[_Stage], flow: Flow, reading: _Reading) -> list[Gap]:
    found: list[Gap] = []
    suspicious: set[int] = set()  # stages that were given something else than the one before them put out
    for position, stage in enumerate(stages):
        after = [each for each in stages[position + 1 :] if not _unrelated(stage, each, flow)]
        informative = [each for each in after if not _silent(each) and not _of_others(stage, each)]
        if not informative or any(_skipped(each, stage) for each in after):
            continue
        first = informative[0]
        through = [each.path for each in after[: after.index(first)] if _silent(each)]
        came_out = _figures(stage, "out")
        if came_out is None or came_out == _figures(first, "in"):
            continue
        suspicious.add(id(first))
        found += _lost(stage, informative, through, reading)
    for stage in stages:
        found += _duplicated(stage, reading, suspicious=id(stage) in suspicious)
    return found


def _lost(stage: _Stage, informative: Sequence[_Stage], through: list[str], reading: _Reading) -> list[Gap]:
    """What came out of a stage and is in none of those after it; nothing where one of them cannot tell."""
    out = reading.members(stage, "out")
    if not out:
        return []
    later: set[int] = set()
    for each in informative:
        went_in = reading.members(each, "in")
        if went_in is None:
            return []
        later |= went_in
    lost = out - later
    if not lost or (len(lost) == len(out) and later):
        return []  # nothing in common: these are other things (chunks of documents, orders of customers)
    names = [reading.names[each] for each in sorted(lost) if each in reading.names]
    return [Gap(kind="lost_between", step=stage.path, next=informative[0].path, n=len(lost), of=len(out),
                items=sorted(names)[:_MAX_EXAMPLES], through=through,
                inferred=any(_inferred(each) for each in (stage, *informative)))]  # fmt: skip


def _duplicated(stage: _Stage, reading: _Reading, *, suspicious: bool) -> list[Gap]:
    if stage.retried or len(stage.states) != 1:
        return []
    given = (stage.states[0]["items"] or {}).get(ITEMS_IN)
    if given is None or not given["n"]:
        return []
    distinct = given.get("distinct")
    if distinct < given["n"] if distinct is not None else suspicious:
        twice, of = reading.repeated(stage.states[0])
        if twice:
            names = sorted(reading.names[each] for each in twice if each in reading.names)
            return [
                Gap(
                    kind="duplicated",
                    step=stage.path,
                    next=None,
                    n=len(twice),
                    of=of,
                    items=names[:_MAX_EXAMPLES],
                    inferred=bool(given.get("inferred")),
                )
            ]
    return []


class _Reading:
    """The members of stages' sets, read once, within a bound."""

    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._left = MAX_READ
        self._of: dict[StepKey, dict[tuple[str, str | None], list[int]]] = {}
        self.names: dict[int, str] = {}

    def members(self, stage: _Stage, side: Literal["in", "out"]) -> set[int] | None:
        """All that went in or came out, or None where that is not known completely."""
        found: set[int] = set()
        for state in stage.states:
            known = self._known(state, side, stage.retried)
            if known is None:
                return None
            found |= known
        return found

    def repeated(self, state: State) -> tuple[set[int], int]:
        """The items that went in more than once, and how many went in, with repetition."""
        held = self._read(state)
        if held is None:
            return set(), 0
        went_in = held.get((ITEMS_IN, None), [])
        given = state["items"][ITEMS_IN]["n"]
        if len(went_in) != given:
            return set(), 0
        seen: set[int] = set()
        twice = {each for each in went_in if each in seen or seen.add(each)}  # type: ignore[func-returns-value]
        return twice, given

    def _known(self, state: State, side: Literal["in", "out"], retried: bool) -> set[int] | None:
        if side == "out" and retried:
            return None  # what one attempt let out, another may have taken back
        given = (state["items"] or {}).get(ITEMS_IN if side == "in" else ITEMS_OUT)
        if (given is None and not _all_judged(state, side)) or (side == "in" and went_in_beside(state)):
            return None
        held = self._read(state)
        if held is None:
            return None
        if given is not None:
            listed = held.get((ITEMS_IN if side == "in" else ITEMS_OUT, None), [])
            return set(listed) if len(listed) + (given.get("nulls") or 0) == given["n"] else None
        wanted = {"accepted", "selected"} if side == "out" else None
        judged = [each for (outcome, _), members in held.items() for each in members
                  if outcome not in (ITEMS_IN, ITEMS_OUT) and (wanted is None or outcome in wanted)]  # fmt: skip
        counts = state["counts"] or {}
        expected = sum(n for outcome, n in counts.items() if wanted is None or outcome in wanted)
        return set(judged) if len(judged) == expected else None

    def _read(self, state: State) -> dict[tuple[str, str | None], list[int]] | None:
        key = (state["step_id"], state["attempt"])
        if key not in self._of:
            items = state["items"] or {}
            size = sum((state["counts"] or {}).values())
            size += sum(items[side]["n"] for side in (ITEMS_IN, ITEMS_OUT) if side in items)
            if size > self._left:
                return None
            self._left -= size
            held: dict[tuple[str, str | None], list[int]] = {}
            for each in self._sets(key):
                into = held.setdefault((each.outcome, None), [])
                if each.ids is not None:
                    for item_id in each.ids:
                        print_ = verdicts.fingerprint(item_id)
                        self.names[print_] = item_id
                        into.append(print_)
                elif each.fp40 is not None:
                    into.extend(verdicts.decode(each.fp40))
            self._of[key] = held
        return self._of[key]


def _figures(stage: _Stage, side: Literal["in", "out"]) -> tuple[int, int] | None:
    """(number, sum of hashes) of what went in or came out; None where that is not known completely."""
    number = total = 0
    if stage.retried:
        return None
    for state in stage.states:
        given: Mapping[str, Any] | None = (state["items"] or {}).get(ITEMS_IN if side == "in" else ITEMS_OUT)
        if given is not None:
            number, total = number + given["n"], total + int(given["sum"], 16)
        elif _all_judged(state, side):
            for outcome, reasons in (state["sums"] or {}).items():
                if side == "in" or outcome in ("accepted", "selected"):
                    total += sum(int(digest, 16) for digest in reasons.values())
                    number += (state["counts"] or {}).get(outcome, 0)
        else:
            return None
    return number, total % HASH_MODULUS


def _all_judged(state: State, side: Literal["in", "out"]) -> bool:
    """Whether the verdicts are certainly of all items that went in (or came out)."""
    counts = state["counts"] or {}
    yes = counts.get("accepted", 0) + counts.get("selected", 0)
    if not counts or state["capture"] in (None, "minimal") or state["status"] == "running" or state["dropped"]:
        return False
    items = state["items"] or {}
    went_in = state["input_count"] if state["input_count"] is not None else (items.get(ITEMS_IN) or {}).get("n")
    came_out = state["output_count"] if state["output_count"] is not None else (items.get(ITEMS_OUT) or {}).get("n")
    if side == "out":
        return bool(yes if came_out is None else came_out == yes) and (
            went_in is None or went_in <= sum(counts.values())
        )
    if went_in is not None:
        return bool(went_in == sum(counts.values()))
    return yes + counts.get("not_selected", 0) > 0 and (came_out is None or came_out <= yes)


def _of_others(stage: _Stage, later: _Stage) -> bool:
    """Whether adapters found that the items of one stage are named by another field than those of a later one: customers are not
    lost where orders go in.
    """
    keys = [
        {
            key_of(given)
            for state in each.states
            if (given := (state["items"] or {}).get(side)) and given.get("inferred")
        }
        for each, side in ((stage, ITEMS_OUT), (later, ITEMS_IN))
    ]
    return all(keys) and None not in keys[0] | keys[1] and not keys[0] & keys[1]


def _inferred(stage: _Stage) -> bool:
    return any(
        (given or {}).get("inferred")
        for state in stage.states
        for side, given in (state["items"] or {}).items()
        if side in (ITEMS_IN, ITEMS_OUT)
    )


def _silent(stage: _Stage) -> bool:
    return not any(
        state["counts"] or state["items"] or state["input_count"] is not None or state["decisions"]
        for state in stage.states
    )


def _skipped(later: _Stage, stage: _Stage) -> bool:
    """Whether a stage that builds on another never ran: what came out of that may have been for it."""
    return all(
        state["status"] == "skipped" and not stage.ids.isdisjoint(state["upstream"] or ()) for state in later.states
    )


def _unrelated(earlier: _Stage, later: _Stage, flow: Flow) -> bool:
    one, other = earlier.states[0]["step_id"], later.states[0]["step_id"]
    return flow.unrelated(one, other)
