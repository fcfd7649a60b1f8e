"""The types of an answer: what was looked up, one entry of a journey, the whole answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from xray_core import markup

Certainty = Literal["exact", "fingerprint", "not_captured"]
Json = dict[str, Any]
State = Mapping[str, Any]
StepKey = tuple[str, int]

NEGATIVE: Final = frozenset({"rejected", "not_selected", "errored", "dropped"})
POSITIVE: Final = frozenset({"accepted", "selected"})


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The sets of one outcome and reason at one step attempt, after looking for the item in each.

    Attributes:
        outcome: an outcome, or "in" / "out" for the item sets that were given.
        n: items in these sets as they were written; `distinct_ids`: different ids among the named ones.
        n_fingerprints: of the n, those kept as fingerprints.
        found: how the item was found, if it was.
        position: index among the named ids, where it was found there.
        value, limit: as its verdict declared them.
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
    value: float | None = None
    limit: float | None = None


@dataclass(slots=True, kw_only=True)  # frozen, the making of each costs three times as much: there are thousands
class Entry:
    """What happened to the item at one step attempt.

    Attributes:
        step: the step's name; `path`: with its parents and map index, as in "filter > price[3]".
        outcome: None where it is not known.
        implicit: the outcome follows from the item sets or counts; no verdict says it.
        p_false: probability that an item without any verdict here would be answered like this.
        cutoff: for `not_selected`: {item_id, score} of the last selected item.
        superseded: a later attempt of the same step counts instead.
        also: further outcomes that this step recorded for the item, as [outcome, reason].
        note: what is known beyond the outcome, or what to switch on to know it.
        instances: for mapped steps that never saw the item: how many this entry stands for.
        inferred: the outcome follows from items that an adapter found; nobody said so.
        before, after: the fields of the item that were kept as it went in and as it came out, where they were.
        changed: of these, name -> [before, after] of each that differs.
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
    inferred: bool = False
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    changed: Mapping[str, Sequence[Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer for one item in one run.

    Attributes:
        outcome: of the run for the item: what happened at the last step that said no, else at the last that knew it.
        reason, details, score: of that step.
        step, step_id: that step; None when there is none.
        sentence: the answer in words, saying how certain it is when it is not exact.
        certainty, p_false: of `outcome`. "not_captured" beside an outcome: some step could have recorded more, and did not.
        unsure: steps whose sets cannot tell, and that could change the answer.
        unasked: steps that tell nothing about items at all, and could have changed the answer: after the step that decided;
            before the first that the item never entered; or between the last that had it and the first that had not.
        child_runs: {run_id, pipeline, outcome, sentence} of runs that began inside this one and know the item.
        inferred: the outcome follows from items that an adapter found; nobody said so.
        waiting: runs that wait on this machine and could change the answer: this one, or newer ones of its pipeline.
        known_run: {run_id, started_at} of the newest run of the pipeline that knows the item, where this one does not.
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
    unasked: Sequence[str] = ()
    pipeline: str | None = None
    journey_omitted: int = 0
    child_runs: Sequence[Mapping[str, Any]] = ()
    known_run: Mapping[str, Any] | None = None
    inferred: bool = False
    waiting: Sequence[str] = ()

    def __str__(self) -> str:
        return markup.why_text(self)

    def _repr_html_(self) -> str:
        return markup.why_html(self)

    def as_json(self) -> Json:
        """The answer as the server sends it."""
        answer = {each.name: getattr(self, each.name) for each in fields(self)}
        if not self.waiting:  # no server knows of it
            del answer["waiting"]
        answer["journey"] = [{each.name: getattr(entry, each.name) for each in fields(entry)} for entry in self.journey]
        return answer

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Why:
        """The answer as the server sent it; fields that this version does not know are left out."""
        known = known_fields(cls, answer)
        known["journey"] = [Entry(**known_fields(Entry, entry)) for entry in answer.get("journey", ())]
        return cls(**known)


def known_fields(kind: Any, answer: Mapping[str, Any]) -> Json:
    """Of an answer, the fields that the dataclass `kind` has."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in answer.items() if name in names}
