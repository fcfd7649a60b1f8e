"""Why: what became of one item in one run, step by step, in one sentence, and how certain each part of the answer is.

Pure: takes merged states, the sets that were looked up and the item's samples, and returns the answer; the server fetches
them from its store, `xray_core.testing` from memory. Knows no storage and no HTTP. What each answer rests on, and where it
stops, is told in docs/why.md. The one rule above all: absence is only said where a complete set says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from xray_core.model import ITEMS_IN, ITEMS_OUT, Outcome
from xray_core.verdicts import false_positive_probability

Certainty = Literal["exact", "fingerprint", "not_captured"]
Answer = Outcome | Literal["never_entered", "dropped", "not_captured"]
Json = dict[str, Any]
State = Mapping[str, Any]
StepKey = tuple[str, int]

NEGATIVE: Final = frozenset({"rejected", "not_selected", "errored", "dropped"})
POSITIVE: Final = frozenset({"accepted", "selected"})
MAX_JOURNEY: Final = 1_000
_MAX_DETAILS_CHARS: Final = 200
_LOST: Final = ("verdicts", "verdicts_without_id", "redaction_failed")
# Of several verdicts on one item at one step. An explicit no counts more, unless the item is known to have come out.
_NO_FIRST: Final = ("rejected", "errored", "selected", "not_selected", "accepted")
_YES_FIRST: Final = ("selected", "accepted", "not_selected", "rejected", "errored")


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The sets of one outcome and reason at one step attempt, after looking for the item in each.

    Attributes:
        outcome: an outcome, or "in" / "out" for the item sets that were given.
        n: items in these sets as they were written; `distinct_ids`: different ids among the named ones.
        n_fingerprints: of the n, those kept as fingerprints.
        found: how the item was found, if it was.
        position: place among the named ids, where it was found there.
    """

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int
    n_fingerprints: int = 0
    distinct_ids: int = 0
    found: Literal["exact", "fingerprint"] | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What happened to the item at one step attempt.

    Attributes:
        step: the step's name; `path`: with its parents and map index, as in "filter > price[3]".
        outcome: None where it is not known.
        implicit: the outcome follows from the item sets or counts, nobody said it.
        p_false: probability that an item without any verdict here would be answered like this.
        cutoff: for `not_selected`: {item_id, score} of the last selected item.
        superseded: a later attempt of the same step counts instead.
        also: further outcomes that this step recorded for the item, as [outcome, reason].
        note: what is known beyond the outcome, or what to switch on to know it.
        instances: for mapped steps that never saw the item: how many this entry stands for.
    """

    step: str
    step_id: str
    attempt: int
    outcome: str | None = None
    reason: str | None = None
    details: Any = None
    score: Any = None
    rank: Any = None
    certainty: Certainty = "not_captured"
    p_false: float = 0.0
    path: str = ""
    map_index: int | None = None
    implicit: bool = False
    cutoff: Mapping[str, Any] | None = None
    superseded: bool = False
    also: Sequence[Sequence[str | None]] = ()
    note: str | None = None
    instances: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer for one item in one run.

    Attributes:
        outcome: of the run for the item: what happened at the last step that said no, else at the last that knew it.
        reason, details, score: of that step.
        step, step_id: that step; None when there is none.
        sentence: the answer in words, saying how certain it is when it is not exact.
        certainty, p_false: of `outcome`. "not_captured" beside an outcome: some step could have told more, and cannot.
        unsure: steps whose sets cannot tell, and that could change the answer.
    """

    run_id: str
    item_id: str
    outcome: str
    sentence: str
    journey: Sequence[Entry] = ()
    reason: str | None = None
    details: Any = None
    score: Any = None
    step: str | None = None
    step_id: str | None = None
    certainty: Certainty = "exact"
    p_false: float = 0.0
    unsure: Sequence[str] = ()
    pipeline: str | None = None
    journey_omitted: int = 0

    def as_json(self) -> Json:
        answer = {each.name: getattr(self, each.name) for each in fields(self)}
        answer["journey"] = [{each.name: getattr(entry, each.name) for each in fields(entry)} for entry in self.journey]
        return answer

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Why:
        """The answer as the server sent it; fields that this version does not know are left out."""
        known = _known(cls, answer)
        known["journey"] = [Entry(**_known(Entry, entry)) for entry in answer.get("journey", ())]
        return cls(**known)


def explain(
    item_id: str,
    *,
    run_id: str,
    run: State,
    steps: Iterable[State],
    looked_up: Iterable[LookedUp],
    samples: Mapping[StepKey, Sequence[Mapping[str, Any]]],
) -> Why:
    """What became of the item.

    Args:
        item_id: in its one spelling (`model.item_id_text`).
        run: the merged run (`merge.merge_run`).
        steps: every merged step attempt (`merge.merge_step`).
        looked_up: every set of every step attempt of the run, whether it holds the item or not.
        samples: the item's own samples, by (step id, attempt).
    """
    sets: dict[StepKey, list[LookedUp]] = {}
    for each in looked_up:
        sets.setdefault((each.step_id, each.attempt), []).append(each)
    flow = _Flow(sorted(steps, key=_started))
    marks = [
        _Mark(state, flow.path(state), sets.get(_key(state), []), samples.get(_key(state), ()), item_id)
        for state in flow.states
    ]
    for mark in marks:
        mark.superseded = flow.last_attempt[mark.state["step_id"]] != mark.state["attempt"]
    counting = [mark for mark in flow.children_first(marks) if not mark.superseded]
    _settle_by_neighbours(counting, flow)
    journey = _collapsed(marks)
    return replace(
        _answer(item_id, run_id, run, counting, flow),
        journey=[mark.entry() for mark in journey[:MAX_JOURNEY]],
        journey_omitted=max(0, len(journey) - MAX_JOURNEY),
    )


class _Flow:
    """The steps of a run in the order in which they began, with what is known of who is inside and behind whom."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self.last_attempt: dict[str, int] = {}
        self._parent: dict[str, str | None] = {}
        self._name: dict[str, str] = {}
        self._upstream: dict[str, set[str]] = {}
        for state in states:
            step_id = state["step_id"]
            self.last_attempt[step_id] = max(state["attempt"], self.last_attempt.get(step_id, state["attempt"]))
            self._parent[step_id] = state["parent_id"]
            index = state["map_index"]
            self._name[step_id] = (state["name"] or step_id) + ("" if index is None else f"[{index}]")
            self._upstream.setdefault(step_id, set()).update(state["upstream"] or ())

    def path(self, state: State) -> str:
        return " > ".join([*(self._name[each] for each in self.ancestors(state["step_id"])[::-1]),
                           self._name[state["step_id"]]])  # fmt: skip

    def ancestors(self, step_id: str) -> list[str]:
        """Parents, the nearest first; a chain that bites its tail is cut."""
        found: list[str] = []
        parent = self._parent.get(step_id)
        while parent is not None and parent in self._name and parent not in found and parent != step_id:
            found.append(parent)
            parent = self._parent[parent]
        return found

    def children_first(self, marks: Sequence[_Mark]) -> list[_Mark]:
        """In order of time, but a step after all that is inside it: its own verdicts come last."""
        inside: dict[str | None, list[_Mark]] = {}
        for mark in marks:
            parent = next(iter(self.ancestors(mark.state["step_id"])), None)
            inside.setdefault(parent, []).append(mark)
        ordered: list[_Mark] = []
        waiting = [(mark, False) for mark in reversed(inside.get(None, ()))]
        told: set[str] = set()
        while waiting:
            mark, done = waiting.pop()
            step_id = mark.state["step_id"]
            if done or step_id in told:
                ordered.append(mark)
                continue
            told.add(step_id)
            waiting.append((mark, True))
            waiting.extend((child, False) for child in reversed(inside.get(step_id, ())))
        seen = set(map(id, ordered))
        return ordered + [mark for mark in marks if id(mark) not in seen]  # of chains that bite their tails

    def unrelated(self, earlier: str, later: str) -> bool:
        """Whether the recorded dependencies say that `later` does not build on `earlier`."""
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


class _Mark:
    """One step attempt's answer while it is worked out."""

    __slots__ = (
        "_samples", "_sets", "also", "certainty", "complete", "cutoff", "details", "entered", "implicit", "instances",
        "item_id", "note", "out", "outcome", "p_false", "path", "rank", "reason", "score", "silent", "state", "superseded",
        "without_verdict",
    )  # fmt: skip

    def __init__(
        self, state: State, path: str, sets: list[LookedUp], samples: Sequence[Mapping[str, Any]], item_id: str
    ) -> None:
        self.state, self.path, self._sets, self._samples, self.item_id = state, path, sets, samples, item_id
        self.outcome: str | None = None
        self.reason: str | None = None
        self.details: Any = None
        self.score: Any = None
        self.rank: Any = None
        self.certainty: Certainty = "not_captured"
        self.p_false = 0.0
        self.implicit = self.superseded = False
        self.cutoff: Json | None = None
        self.note: str | None = None
        self.also: list[list[str | None]] = []
        self.instances = 1
        self.entered, entered_how = self._in_set(ITEMS_IN)
        self.out, out_how = self._in_set(ITEMS_OUT)
        self.complete = _verdicts_complete(state, sets)
        self.without_verdict = False
        self.silent = (
            not (sets or state["counts"] or state["items"] or state["input_count"] is not None or state["decisions"])
            and not samples
        )
        self._decide(entered_how, out_how)
        self._describe()

    # What is known -------------------------------------------------------------------------------------------------

    def _in_set(self, side: str) -> tuple[bool | None, Certainty]:
        """Whether the item is in a set that was given: True, False, or None where that cannot be known."""
        given = (self.state["items"] or {}).get(side)
        if given is None:
            return None, "not_captured"
        sets = [each for each in self._sets if each.outcome == side]
        written = sum(each.n for each in sets)
        found = next((each for each in sets if each.found), None)
        if found is None:
            known = written >= given["n"] and not (self.state["dropped"] or {}).get(f"items_{side}")
            return (False, "exact") if known else (None, "not_captured")
        if written > given["n"]:  # given twice; the sets before the last one are still here
            return None, "not_captured"
        return True, found.found or "exact"

    def _decide(self, entered_how: Certainty, out_how: Certainty) -> None:
        hits = [each for each in self._sets if each.found and each.outcome not in (ITEMS_IN, ITEMS_OUT)]
        if hits:
            order = _YES_FIRST if self.out else _NO_FIRST
            hits.sort(key=lambda each: (order.index(each.outcome), each.found != "exact", each.reason or ""))
            self._say(hits[0].outcome, hits[0].found or "exact", reason=hits[0].reason)
            self.also = [[each.outcome, each.reason] for each in hits[1:]]
            return
        if self.silent:
            self.note = "this step tells nothing about items"
        elif self.out:
            self._say("accepted", out_how, implicit=True)
        elif self.state["status"] == "running":
            self.note = "the step has not ended" + (", and the item is inside" if self.entered else "")
        elif self.entered is False:
            self._say("never_entered", "exact")
        elif not self.complete:
            self.note = self._why_incomplete()
        elif self.entered:
            self._without_a_verdict(entered_how)
        elif self._all_have_verdicts():
            self._say("never_entered", "exact")
        else:
            self.without_verdict = True  # neither a no, nor a sign that it was here
            self.note = "no verdict here: it was not rejected; step.set_input_items() would tell whether it entered"

    def _without_a_verdict(self, entered_how: Certainty) -> None:
        state = self.state
        if state["status"] == "failed":
            error = state["error"] or {}
            self.note = f"it entered, and the step failed before it left a verdict ({_error_text(error)})"
            return
        if self.out is False:
            self._say("dropped", entered_how)
            return
        counts = state["counts"]
        came_out = _given(state, "output")
        if came_out is not None:
            explicit_yes = counts.get("accepted", 0) + counts.get("selected", 0)
            entered = _given(state, "input") or 0
            silent = entered - sum(counts.values())
            if came_out - explicit_yes == silent:
                self._say("accepted", entered_how, implicit=True)
                return
            if came_out <= explicit_yes:
                self._say("dropped", entered_how)
                return
        self.note = "it entered, and no verdict says what became of it; step.set_output_items() would tell"

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

    def _say(self, outcome: str, certainty: Certainty, *, reason: str | None = None, implicit: bool = False) -> None:
        self.outcome, self.certainty, self.reason, self.implicit = outcome, certainty, reason, implicit
        if certainty == "fingerprint":
            self.p_false = false_positive_probability([each.n_fingerprints for each in self._sets])

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
            return f"{sum(dropped.values())} verdicts were lost before they were sent"
        return "some verdicts of this step have not arrived"

    # What the samples and decisions add ------------------------------------------------------------------------------

    def _describe(self) -> None:
        for sample in self._samples:
            if (sample["outcome"], sample["reason"]) == (self.outcome, self.reason):
                self.details = sample["details"] if sample["details"] is not None else self.details
                self.score = sample["score"] if sample["score"] is not None else self.score
                self.rank = sample["rank"] if sample["rank"] is not None else self.rank
        if self.score is None and self.outcome is not None:
            for end in (self.state["scores"] or {}).get(self.outcome, {}).values():
                if end is not None and end[1] == self.item_id:
                    self.score = end[0]
        for decision in self.state["decisions"]:
            self._from_decision(decision)
        if self.outcome == "not_selected":
            self.cutoff = _cutoff(self.state)

    def _from_decision(self, decision: Mapping[str, Any]) -> None:
        chosen = decision.get("selected")
        if self.outcome == "selected" and chosen == self.item_id and self.score is None:
            self.score = decision.get("score")
        alternatives = decision.get("alternatives")
        if self.outcome != "not_selected" or not isinstance(alternatives, Sequence):
            return
        ahead = len(chosen) if isinstance(chosen, list) else int(chosen is not None)
        for place, each in enumerate(alternatives):
            named = each.get("item_id", each.get("id")) if isinstance(each, Mapping) else each
            if named == self.item_id:
                self.rank = ahead + place + 1 if self.rank is None else self.rank
                if self.score is None and isinstance(each, Mapping):
                    self.score = each.get("score")

    def entry(self) -> Entry:
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
        )


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


def _settle_by_neighbours(marks: Sequence[_Mark], flow: _Flow) -> None:
    """What one step leaves open, and the steps before and after it settle."""
    for place, mark in enumerate(marks):
        if mark.outcome is not None or not mark.complete or mark.state["status"] == "failed":
            continue
        after = [m for m in marks[place + 1 :] if not m.silent and not _inside(m, mark, flow)]
        before = [m for m in marks[:place] if m.outcome in POSITIVE | NEGATIVE or m.entered or m.out]
        turned_up = next((m for m in after if m.outcome in POSITIVE | NEGATIVE or m.entered), None)
        if turned_up is not None:
            mark.note = f"no verdict here; it turned up later, at {turned_up.path}"
        elif mark.entered:
            related = [m for m in after if not flow.unrelated(mark.state["step_id"], m.state["step_id"])]
            if related and all(m.outcome == "never_entered" for m in related):
                how: Certainty = "exact" if any(s.found == "exact" for s in mark._sets) else "fingerprint"
                mark._say("dropped", how)
                mark.note = f"it entered, left no verdict, and never reached {related[0].path}"
        elif mark.out is False and not before:
            mark._say("never_entered", "exact")
            mark.note = "it is not among the items that this step put out"


def _inside(inner: _Mark, outer: _Mark, flow: _Flow) -> bool:
    return outer.state["step_id"] in flow.ancestors(inner.state["step_id"])


def _collapsed(marks: Sequence[_Mark]) -> list[_Mark]:
    """Without the instances of mapped steps that never saw the item, but for one to stand for all where none did."""
    groups: dict[Any, list[_Mark]] = {}
    for mark in marks:
        if mark.state["map_index"] is not None:
            groups.setdefault((mark.state["parent_id"], mark.state["name"]), []).append(mark)
    hidden: set[int] = set()
    for group in groups.values():
        never = [mark for mark in group if mark.outcome == "never_entered"]
        if len(never) == len(group) > 1:
            never[0].instances = len(never)
            never = never[1:]
        hidden.update(map(id, never))
    single = {id(group[0]) for group in groups.values() if len(group) == 1}
    return [mark for mark in marks if id(mark) not in hidden or id(mark) in single]


# The answer ------------------------------------------------------------------------------------------------------------


def _answer(item_id: str, run_id: str, run: State, marks: Sequence[_Mark], flow: _Flow) -> Why:
    told = [mark for mark in marks if not mark.silent]
    seen = [mark for mark in told if mark.outcome in POSITIVE | NEGATIVE]
    pipeline = run.get("pipeline")
    if not seen:
        return replace(_not_seen(item_id, run_id, told), pipeline=pipeline)
    last = seen[-1]
    ancestors = set(flow.ancestors(last.state["step_id"]))
    after = [
        mark
        for mark in told[told.index(last) + 1 :]
        if mark.state["step_id"] not in ancestors and not flow.unrelated(last.state["step_id"], mark.state["step_id"])
    ]
    noes = [mark for mark in seen if mark.outcome in NEGATIVE]
    if last.outcome in NEGATIVE:
        inner = [mark for mark in noes if _inside(mark, last, flow)]
        decisive = inner[-1] if inner else last
    elif noes and (after or flow.unrelated(noes[-1].state["step_id"], last.state["step_id"])):
        decisive, after = noes[-1], []  # one of several checks said no, and the item was not seen to come through
    else:
        decisive = last
    unsure = [mark for mark in after if mark.outcome is None] if decisive.outcome in POSITIVE else []
    lost = [mark for mark in after if mark.outcome == "never_entered"]
    fate, at = decisive.outcome, decisive
    sentence = _sentence(item_id, decisive)
    if decisive.outcome in POSITIVE and lost and not unsure:
        fate, at = "dropped", lost[0]
        where = f"{'selected' if decisive.outcome == 'selected' else 'accepted'} at {decisive.path}"
        sentence = f"{item_id} was dropped without a reason: {where}, it never reached {lost[0].path}{_doubt(decisive)}"
    elif unsure:
        sentence += f"; what became of it after that is not captured ({unsure[0].path}: {unsure[0].note})"
    elif last is not decisive and last.outcome in POSITIVE:
        sentence += f" (though {last.path} {last.outcome} it)"
    return Why(
        run_id=run_id, item_id=item_id, outcome=fate or "not_captured", sentence=sentence, reason=at.reason,
        details=at.details, score=at.score, step=at.state["name"] or at.state["step_id"], step_id=at.state["step_id"],
        certainty="not_captured" if unsure else decisive.certainty, p_false=decisive.p_false,
        unsure=[mark.path for mark in unsure][:20], pipeline=pipeline,
    )  # fmt: skip


def _not_seen(item_id: str, run_id: str, told: Sequence[_Mark]) -> Why:
    unsure = [mark for mark in told if mark.outcome is None]
    certain = [mark for mark in told if mark.outcome == "never_entered"]
    inside = next((mark for mark in told if mark.entered and mark.outcome is None), None)
    paths = [mark.path for mark in unsure][:20]
    if inside is not None:
        sentence = f"{item_id} entered {inside.path}; what became of it is not captured: {inside.note}"
        return Why(run_id=run_id, item_id=item_id, outcome="not_captured", sentence=sentence, unsure=paths,
                   step=inside.state["name"], step_id=inside.state["step_id"], certainty="not_captured")  # fmt: skip
    if certain and certain[0] is told[0]:
        first = certain[0]
        why = first.note or f"it is not among the items of {first.path}"
        sentence = (
            f"{item_id} never entered: {why}" if first.note is None else f"{item_id} never entered {first.path}: {why}"
        )
        if unsure:
            sentence += f" ({_listed(paths)} cannot tell: {unsure[0].note})"
        return Why(run_id=run_id, item_id=item_id, outcome="never_entered", sentence=sentence, unsure=paths,
                   step=first.state["name"], step_id=first.state["step_id"],
                   certainty="not_captured" if unsure else "exact")  # fmt: skip
    if not told:
        sentence = (
            f"{item_id} left no trace: no step of this run tells anything about items; "
            "step.accept(), step.reject() and step.set_input_items() would"
        )
    else:
        reached = f"; it certainly did not reach {_listed([mark.path for mark in certain])}" if certain else ""
        sentence = f"{item_id} left no trace in this run{reached}; {_listed(paths)} cannot tell: {unsure[0].note}"
    return Why(run_id=run_id, item_id=item_id, outcome="not_captured", sentence=sentence, unsure=paths,
               certainty="not_captured")  # fmt: skip


def _sentence(item_id: str, mark: _Mark) -> str:
    words = {"not_selected": "not selected"}.get(mark.outcome or "", mark.outcome)
    if mark.outcome == "dropped":
        text = f"{item_id} was dropped at {mark.path} without a reason"
    elif mark.outcome == "errored":
        text = f"{item_id} errored at {mark.path}"
    else:
        text = f"{item_id} was {words} at {mark.path}"
    if mark.reason:
        text += f": {mark.reason}"
    about: list[str] = [details_text(mark.details)] if mark.details else []
    if mark.outcome in ("selected", "not_selected"):
        about += [f"score {mark.score}"] if mark.score is not None else []
        about += [f"rank {mark.rank}"] if mark.rank is not None and mark.outcome == "not_selected" else []
    if about:
        text += f" ({'; '.join(about)})"
    if mark.cutoff is not None:
        score = "" if mark.cutoff["score"] is None else f" with {mark.cutoff['score']}"
        text += f"; the last selected was {mark.cutoff['item_id']}{score}"
    if mark.implicit:
        text += " (nobody said so: it is among what came out)"
    return text + _doubt(mark)


def _doubt(mark: _Mark) -> str:
    if mark.certainty != "fingerprint":
        return ""
    return f" [by fingerprint: wrong with probability {mark.p_false:.0e}]"


def details_text(details: Any) -> str:
    """Details as "dest IAH; wanted LAX, BUR", cut at 200 characters."""
    if isinstance(details, Mapping):
        text = "; ".join(f"{key} {_value_text(value)}" for key, value in details.items())
    else:
        text = _value_text(details)
    return text if len(text) <= _MAX_DETAILS_CHARS else text[: _MAX_DETAILS_CHARS - 1] + "…"


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value[:20]))
    return {True: "true", False: "false", None: "none"}[value] if value is None or value is True or value is False else str(value)  # fmt: skip


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
    """How many items went in or came out, where somebody said so."""
    count: int | None = state[f"{side}_count"]
    if count is not None:
        return count
    items = (state["items"] or {}).get(ITEMS_IN if side == "input" else ITEMS_OUT)
    return None if items is None else int(items["n"])


def _error_text(error: Mapping[str, Any]) -> str:
    text = f"{error.get('type') or 'error'}: {error.get('message') or ''}"
    return text if len(text) <= 120 else text[:119] + "…"


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3])
    return shown if len(unique) <= 3 else f"{shown} and {len(unique) - 3} more"


def _started(state: State) -> tuple[Any, ...]:
    index = state["index"]
    return (state["started_us"] or 0, index if index is not None else 0, state["step_id"], state["attempt"])


def _key(state: State) -> StepKey:
    return state["step_id"], state["attempt"]


def _known(kind: Any, answer: Mapping[str, Any]) -> Json:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in answer.items() if name in names}
