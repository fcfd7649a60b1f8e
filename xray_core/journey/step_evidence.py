"""`StepEvidence`: what the sets, counts, samples and decisions of one step attempt say of the item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from xray_core.journey import item_fields
from xray_core.journey.types import Certainty, Entry, Json, LookedUp, State
from xray_core.model import ITEMS_IN, ITEMS_OUT, ITEMS_UNKNOWN, NOT_REACHED, OTHER_ITEMS_COME_OUT
from xray_core.plurals import plural
from xray_core.verdicts import false_positive_probability

_EXACT: Final = 1 << 53  # whole numbers below it are doubles too
_CHILDREN_SHOWN: Final = 5
_LOST: Final = ("verdicts", "verdicts_without_id", "redaction_failed")
# Of several verdicts on one item at one step. An explicit no counts more, unless the item is known to have come out.
_NO_FIRST: Final = ("rejected", "errored", "selected", "not_selected", "accepted")
_YES_FIRST: Final = ("selected", "accepted", "not_selected", "rejected", "errored")


class StepEvidence:
    """What one step attempt says of the item, while the answer is worked out."""

    __slots__ = (
        "_samples",
        "after",
        "also",
        "before",
        "certainty",
        "changed",
        "complete",
        "cutoff",
        "details",
        "entered",
        "implicit",
        "inferred",
        "instances",
        "item_id",
        "keys",
        "lost_by",
        "note",
        "out",
        "outcome",
        "p_false",
        "path",
        "rank",
        "reason",
        "retried_silently",
        "score",
        "sets",
        "silent",
        "state",
        "superseded",
        "without_verdict",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        path: str,
        sets: list[LookedUp],
        samples: Sequence[Mapping[str, Any]],
        item_id: str,
        keys: frozenset[Any] = frozenset(),
    ) -> None:
        self.keys = keys
        self.inferred = False
        self.state, self.path, self.sets, self._samples, self.item_id = state, path, sets, samples, item_id
        self.outcome: str | None = None
        self.reason: str | None = None
        self.details: Any = None
        self.score: Any = None
        self.rank: Any = None
        self.certainty: Certainty = "not_captured"
        self.p_false = 0.0
        self.implicit = self.superseded = False
        self.retried_silently = False  # a later attempt tells nothing about items
        self.cutoff: Json | None = None
        self.note: str | None = None
        self.also: list[list[str | None]] = []
        self.instances = 1
        self.lost_by: str | None = (
            None  # the step that it never reached, where a silent one in between may have lost it
        )
        self.entered, entered_how = self._in_set(ITEMS_IN)
        self.out, out_how = self._in_set(ITEMS_OUT)
        self.complete = _verdicts_complete(state, sets)
        self.without_verdict = False
        self.silent = (
            not (sets or state["counts"] or state["items"] or state["input_count"] is not None or state["decisions"])
            and not samples
        )
        self._decide(entered_how, out_how)
        if self.outcome is not None and (state.get("inference") or {}).get("verdicts"):
            self.inferred = True
        self._describe()
        self.before, self.after = item_fields.held(samples)
        self.changed = item_fields.changed(self.before, self.after)

    # What is known -------------------------------------------------------------------------------------------------

    def _in_set(self, side: str) -> tuple[bool | None, Certainty]:
        """Whether the item is in a set that was given: True, False, or None where that cannot be known."""
        given = (self.state["items"] or {}).get(side)
        if given is None:
            return None, "not_captured"
        sets = [each for each in self.sets if each.outcome == side]
        written = sum(each.n for each in sets) + (given.get("nulls") or 0)
        found = next((each for each in sets if each.found), None)
        if found is None and given.get("inferred") and self.keys and key_of(given) not in self.keys | {None}:
            return None, "not_captured"  # the items here are named by another field: customers, not orders
        if found is None:
            known = written >= given["n"] and not (self.state["dropped"] or {}).get(f"items_{side}")
            known = known and not (side == ITEMS_IN and went_in_beside(self.state))
            return (False, "exact") if known else (None, "not_captured")
        if written > given["n"]:  # given twice; the sets before the last one are still here
            return None, "not_captured"
        return True, found.found or "exact"

    def _decide(self, entered_how: Certainty, out_how: Certainty) -> None:
        hits = [each for each in self.sets if each.found and each.outcome not in (ITEMS_IN, ITEMS_OUT)]
        if hits:
            order = _YES_FIRST if self.out else _NO_FIRST
            hits.sort(key=lambda each: (order.index(each.outcome), each.found != "exact", each.reason or ""))
            self.say(hits[0].outcome, hits[0].found or "exact", reason=hits[0].reason)
            self.also = [[each.outcome, each.reason] for each in hits[1:]]
            return
        metadata = self.state["metadata"]
        inference = self.state.get("inference") or {}
        unknown_because = metadata.get(ITEMS_UNKNOWN) or metadata.get(NOT_REACHED) or inference.get("note")
        if self.silent:
            self.note = unknown_because or "this step tells nothing about items"
        elif self.out:
            self.say("accepted", out_how, implicit=True)
            self.inferred = self.is_inferred(ITEMS_OUT)
        elif self.state["status"] == "running":
            self.note = "the step has not ended" + (", and the item is inside" if self.entered else "")
        elif self.entered is False:
            self.say("never_entered", "exact")
            self.inferred = self.is_inferred(ITEMS_IN)
        elif not self.complete:
            self.note = self._why_incomplete()
        elif self.entered:
            self._without_a_verdict(entered_how)
        elif self._all_have_verdicts():
            self.say("never_entered", "exact")
        else:
            self.without_verdict = True  # neither a no, nor a sign that it was here
            self.note = unknown_because or (
                "not rejected there, and nothing says whether it entered; step.set_input_items() would tell"
            )

    def _without_a_verdict(self, entered_how: Certainty) -> None:
        state = self.state
        if state["status"] == "failed":
            error = state["error"] or {}
            self.note = f"it entered, and the step failed before it left a verdict ({_error_text(error)})"
            return
        if state["relation"] in OTHER_ITEMS_COME_OUT and self.is_inferred():
            self._went_on_as_others(entered_how)
            return
        if self.out is False:
            self.say("dropped", entered_how)
            self.inferred = self.is_inferred()
            return
        counts = state["counts"]
        came_out = _given(state, "output")
        if came_out is not None:
            explicit_yes = counts.get("accepted", 0) + counts.get("selected", 0)
            entered = _given(state, "input") or 0
            silent = entered - sum(counts.values())
            if came_out - explicit_yes == silent:
                self.say("accepted", entered_how, implicit=True)
                return
            if came_out <= explicit_yes:
                self.say("dropped", entered_how)
                return
        self.note = "it entered, and no verdict says what became of it; step.set_output_items() would tell"

    def _went_on_as_others(self, entered_how: Certainty) -> None:
        """Of a step that makes other items of those that go in (chunks of documents, sums of orders): what became of it."""
        links = (self.state["items"] or {}).get("links") or ()
        children = [child for parent, child in links if parent == self.item_id]
        if children:
            self.say("accepted", entered_how, implicit=True)
            more = f" and {len(children) - _CHILDREN_SHOWN:,} more" if len(children) > _CHILDREN_SHOWN else ""
            self.note = f"it went on as {', '.join(children[:_CHILDREN_SHOWN])}{more}"
        elif links:  # they are of all that came out: each names another parent
            self.say("dropped", entered_how)
        else:
            self.note = f"it entered, and other items came out of it ({self.state['relation']})"
        self.inferred = True

    def is_inferred(self, *sides: str) -> bool:
        """Whether the items of one of these sides (of any, where none is named) were found by an adapter."""
        items = self.state["items"] or {}
        return any((items.get(side) or {}).get("inferred", False) for side in sides or (ITEMS_IN, ITEMS_OUT))

    def _all_have_verdicts(self) -> bool:
        """Whether every item that went in certainly left a verdict: then one without a verdict did not go in."""
        state = self.state
        counts = state["counts"]
        explicit = sum(counts.values())
        came_out = _given(state, "output")
        explicit_yes = counts.get("accepted", 0) + counts.get("selected", 0)
        return (
            state["input_count"] is not None
            and explicit == state["input_count"]
            and (came_out is None or came_out <= explicit_yes)
            and state["status"] != "failed"
        )

    def say(self, outcome: str, certainty: Certainty, *, reason: str | None = None, implicit: bool = False) -> None:
        """Set the outcome, its reason and how certain it is."""
        self.outcome, self.certainty, self.reason, self.implicit = outcome, certainty, reason, implicit
        if certainty == "fingerprint":
            self.p_false = false_positive_probability([each.n_fingerprints for each in self.sets])

    def _why_incomplete(self) -> str:
        state = self.state
        if state["capture"] == "minimal":
            return 'capture="minimal" keeps counts alone; capture="sample" keeps a verdict for every item'
        if state["capture"] is None:
            return "only samples were posted for this step; the SDK keeps a verdict for every item"
        dropped = {name: n for name, n in (state["dropped"] or {}).items() if name in _LOST}
        if dropped.get("redaction_failed"):
            return "a redactor failed, so the verdicts were withheld"
        if dropped:
            return f"{plural(sum(dropped.values()), 'verdict was', 'verdicts were')} lost before they were sent"
        return "some verdicts of this step have not arrived"

    # What the samples and decisions add ------------------------------------------------------------------------------

    def _describe(self) -> None:
        for sample in self._samples:
            if (sample["outcome"], sample["reason"]) == (self.outcome, self.reason):
                self.details = sample["details"] if sample["details"] is not None else self.details
                self.score = sample["score"] if sample["score"] is not None else self.score
                self.rank = sample["rank"] if sample["rank"] is not None else self.rank
        if self.details is None:
            self.details = self._declared()
        if self.score is None and self.outcome is not None:
            for end in (self.state["scores"] or {}).get(self.outcome, {}).values():
                if end is not None and end[1] == self.item_id:
                    self.score = end[0]
        for decision in self.state["decisions"]:
            self._from_decision(decision)
        if self.outcome == "not_selected":
            self.cutoff = _cutoff(self.state)

    def _declared(self) -> Json | None:
        """The number that decided and its limit, which every verdict that declares them keeps; details only samples have."""
        for each in self.sets:
            if each.found and each.value is not None and (each.outcome, each.reason) == (self.outcome, self.reason):
                known = {"value": each.value, "limit": each.limit}
                return {name: _whole(number) for name, number in known.items() if number is not None}
        return None

    def _from_decision(self, decision: Mapping[str, Any]) -> None:
        chosen = decision.get("selected")
        if self.outcome == "selected" and chosen == self.item_id and self.score is None:
            self.score = decision.get("score")
        alternatives = decision.get("alternatives")
        if self.outcome != "not_selected" or not isinstance(alternatives, Sequence):
            return
        ahead = len(chosen) if isinstance(chosen, list) else int(chosen is not None)
        for position, each in enumerate(alternatives):
            named = each.get("item_id", each.get("id")) if isinstance(each, Mapping) else each
            if named == self.item_id:
                self.rank = ahead + position + 1 if self.rank is None else self.rank
                if self.score is None and isinstance(each, Mapping):
                    self.score = each.get("score")

    def entry(self) -> Entry:
        """The evidence as an entry of the journey."""
        state = self.state
        return Entry(
            step=state["name"] or state["step_id"],
            step_id=state["step_id"],
            attempt=state["attempt"],
            outcome=self.outcome,
            reason=self.reason,
            details=self.details,
            score=self.score,
            rank=self.rank,
            certainty=self.certainty,
            p_false=self.p_false,
            path=self.path,
            map_index=state["map_index"] if self.instances == 1 else None,
            implicit=self.implicit,
            cutoff=self.cutoff,
            superseded=self.superseded,
            also=self.also,
            note=self.note,
            instances=self.instances,
            inferred=self.inferred,
            before=self.before,
            after=self.after,
            changed=self.changed,
        )


def went_in_beside(state: State) -> bool:
    """Whether further items, named by the same field or by nothing but their ids, went in by another argument: which was not kept."""
    items = state["items"] or {}
    given = [items.get(ITEMS_IN) or {}, *(items.get("others") or {}).values()]
    return any(each.get("beyond") for each in given)


def key_of(given: Mapping[str, Any]) -> Any:
    """The field, or fields, that name the items of a set; None where they name themselves."""
    key = given.get("key")
    return tuple(key) if isinstance(key, list) else key


def _verdicts_complete(state: State, sets: Sequence[LookedUp]) -> bool:
    """Whether every verdict that was counted is here to be looked up."""
    if state["capture"] == "minimal" or state["status"] == "running":
        return False
    if any((state["dropped"] or {}).get(name) for name in _LOST):
        return False
    counts = state["counts"]
    here: dict[str, int] = {}
    for each in sets:
        # what was posted may say the same item twice in two pieces: there only different ids count
        n = each.n if state["capture"] is not None else each.distinct_ids
        here[each.outcome] = here.get(each.outcome, 0) + n
    if state["capture"] is None:
        return state["input_count"] is not None and all(here.get(o, 0) == n for o, n in counts.items())
    return all(here.get(outcome, 0) >= n for outcome, n in counts.items())


def _cutoff(state: State) -> Json | None:
    """The last selected item and its score, where they are known."""
    end = ((state["scores"] or {}).get("selected") or {}).get("min")
    if end is not None:
        return {"item_id": end[1], "score": end[0]}
    for decision in reversed(state["decisions"]):
        chosen = decision.get("selected")
        last = chosen[-1] if isinstance(chosen, list) and chosen else chosen
        if isinstance(last, (str, int)):
            return {"item_id": str(last), "score": decision.get("score") if not isinstance(chosen, list) else None}
    return None


def _given(state: State, side: Literal["input", "output"]) -> int | None:
    """How many items went in or came out, where a count or an item set says so."""
    count: int | None = state[f"{side}_count"]
    if count is not None:
        return count
    items = (state["items"] or {}).get(ITEMS_IN if side == "input" else ITEMS_OUT)
    return None if items is None else int(items["n"])


def _error_text(error: Mapping[str, Any]) -> str:
    text = f"{error.get('type') or 'error'}: {error.get('message') or ''}"
    return text if len(text) <= 120 else text[:119] + "…"


def _whole(number: float) -> float:
    """150.0 as 150: it is kept as a double, and was given as either."""
    return int(number) if number.is_integer() and abs(number) < _EXACT else number
