"""What a retriever around other retrievers left out: a compression, a fusion, a rerank inside one call.

It takes the spans of both, which may come in any order, in requests of their own, to any process. So it is worked out from
what is stored, after the commit of either, and before the sender hears that its spans were taken: whoever commits last sees
both, and a process that dies in between leaves a request that the sender repeats. The verdicts on one inner retriever's
documents depend on the two spans alone; the counts over all inner retrievers carry how many these are as their revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core.model import ITEMS_IN, ITEMS_OUT
from xray_server.otlp.documents import Document, aligned
from xray_server.otlp.records import ATTEMPT
from xray_server.otlp.verdicts import NOT_IN_OUTPUT, Scored, item_set, samples_of, scored, sum_of
from xray_server.records.schema import Items, Record, SamplesRecord, StepRecord, VerdictSet, VerdictsRecord, sample_text
from xray_server.store import Store, StoredStep

INNER: Final = "inner"  # the part of a step that follows from the retrievers inside it; written before its own part
_SOURCE: Final = "inner retrievers"  # where the items came from that went in
MAX_STEPS: Final = 10_000  # of a trace; beyond these no inner retrievers are looked for


@dataclass(frozen=True, slots=True)
class Retriever:
    """A stored step that says which documents came out, and not which came in."""

    step_id: str
    parent_id: str | None
    started_us: int
    ended_us: int
    pipeline: str | None
    came_out: Sequence[Document]


def records_of_trace(store: Store, project: str, trace_id: str) -> list[Record]:
    """The records of all retrievers of a stored trace that have others inside."""
    steps = [step for step in _steps(store, project, trace_id) if _is_retriever(step)]
    parents = {step.state["parent_id"] for step in steps}
    children = {step.step_id: step.state["parent_id"] for step in steps}
    wanted = [step for step in steps if step.step_id in parents or children.get(step.step_id) in children]
    if not wanted:
        return []
    samples = store.samples(project, trace_id, [step.key for step in wanted])
    retrievers = {step.step_id: _retriever(step, store, project, samples.get(step.key, [])) for step in wanted}
    inside: dict[str | None, list[Retriever]] = {}
    for each in retrievers.values():
        inside.setdefault(each.parent_id, []).append(each)
    records: list[Record] = []
    for outer in retrievers.values():
        inner = inside.get(outer.step_id)
        if inner:
            records += _records(trace_id, outer, sorted(inner, key=lambda each: each.step_id))
    return records


def _steps(store: Store, project: str, trace_id: str) -> Iterable[StoredStep]:
    cursor: str | None = None
    seen = 0
    while seen < MAX_STEPS:
        page = store.run_steps(project, trace_id, limit=1_000, cursor=cursor)
        yield from page.items
        seen += len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _is_retriever(step: StoredStep) -> bool:
    items = step.state["items"] or {}
    given = items.get(ITEMS_OUT)
    lost = (step.state["dropped"] or {}).get("items_out")
    came_in = items.get(ITEMS_IN)
    return (
        given is not None
        and bool(given.get("inferred"))
        and not lost
        and (came_in is None or came_in.get("source") == _SOURCE)
    )


def _retriever(step: StoredStep, store: Store, project: str, samples: Iterable[Mapping[str, Any]]) -> Retriever:
    sample_of = {each["item_id"]: each for each in samples if each["outcome"] == "accepted"}
    ids = [
        item
        for each in store.sets(project, step.run_id, step.step_id)
        if each.outcome == ITEMS_OUT
        for item in each.ids or ()
    ]
    return Retriever(
        step.step_id, step.state["parent_id"], step.state["started_us"] or step.at_us,
        step.state["ended_us"] or step.at_us, step.state["pipeline"],
        [Document(item, *_described(sample_of.get(item))) for item in ids],
    )  # fmt: skip


def _described(sample: Mapping[str, Any] | None) -> tuple[float | None, str | None, Mapping[str, Any] | None]:
    details = dict((sample or {}).get("details") or {})
    return (sample or {}).get("score"), details.pop("text", None), details or None


def _records(trace_id: str, outer: Retriever, inner: Sequence[Retriever]) -> list[Record]:
    came_in = list({each.id: each for retriever in inner for each in retriever.came_out}.values())
    # the outer one may name a document otherwise: compared with each inner one by itself, so that no other changes a pair
    pairs = [(each, aligned(each.came_out, outer.came_out)) for each in inner]
    stayed = {document.id for _, came_out in pairs for document in came_out}
    left_out = [each for each in came_in if each.id not in stayed]
    if not left_out or (outer.came_out and len(left_out) == len(came_in)):
        return []  # it gave all that it got; or the two name documents differently, and nothing can be said
    kept = [each for each in came_in if each.id in stayed]
    scores = scored(outer.came_out, came_in, left_out)
    step = StepRecord(
        v=1, run_id=trace_id, step_id=outer.step_id, attempt=ATTEMPT, part=INNER, rev=len(inner), pipeline=outer.pipeline,
        step_type="filter" if _in_order(outer, came_in) else "rank", started_us=outer.started_us,
        items=Items(in_=item_set(came_in, source=_SOURCE)), inference={"verdicts": True},
        counts={"selected": len(kept), "not_selected": len(left_out)},
        reasons={"not_selected": {NOT_IN_OUTPUT: len(left_out)}},
        sums={"not_selected": {NOT_IN_OUTPUT: sum_of([each.id for each in left_out])}},
        scores=None if scores.cut is None else {"selected": {"min": scores.cut}},
    )  # fmt: skip
    return [step, *(record for each, came_out in pairs for record in _pair(trace_id, outer, each, came_out))]


def _pair(trace_id: str, outer: Retriever, inner: Retriever, came_out: Sequence[Document]) -> list[Record]:
    """The verdicts on one inner retriever's documents: of these two spans alone, so never to be changed.

    Args:
        came_out: of the outer one, as the inner one names it.
    """
    stayed = {each.id for each in came_out}
    kept = list({each.id: each for each in inner.came_out if each.id in stayed}.values())
    left_out = list({each.id: each for each in inner.came_out if each.id not in stayed}.values())
    known = {each.id for each in kept}
    scores: Scored = scored(came_out, inner.came_out, left_out)
    sets = [
        VerdictSet(outcome="in", n=len(kept) + len(left_out), ids=[each.id for each in (*kept, *left_out)]),
        VerdictSet(outcome="selected", n=len(kept), ids=[each.id for each in kept]),
        VerdictSet(outcome="not_selected", reason=NOT_IN_OUTPUT, n=len(left_out), ids=[each.id for each in left_out]),
    ]
    samples = [
        *samples_of([each for each in came_out if each.id in known], "selected", scores.kept, outer.ended_us),
        *samples_of(left_out, "not_selected", scores.left_out, outer.ended_us),
    ]
    where = (trace_id, outer.step_id)
    return [
        VerdictsRecord(1, *where, [each for each in sets if each.n], ATTEMPT, INNER, inner.step_id),
        SamplesRecord(1, *where, sample_text(samples), ATTEMPT, INNER, inner.step_id),
    ]


def _in_order(outer: Retriever, came_in: Sequence[Document]) -> bool:
    left = [each.id for each in outer.came_out]
    return left == [each.id for each in came_in if each.id in set(left)]
