"""Any order, any duplication and any split of the records gives one and the same state, through the real store.

Tests backends/relational/rows.py, backends/sqlite/documents.py, samples.py, steps.py, backends/postgres/samples.py, steps.py
and records/schema.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xray_server.ingest import run_document
from xray_server.records.schema import (
    Column,
    Items,
    ItemSet,
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)
from xray_server.store import MAX_PAGE, Batch, RunFilter, StepFilter, Store

from xray_core import merge

FAR = 253_402_300_799_000_000
PROJECT = "default"
T0 = 1_760_000_000_000_000

_words = st.sampled_from(["alpha", "beta", "gamma", "δ-é\x00", "x" * 300])
_times = st.one_of(st.none(), st.integers(T0, T0 + 50_000_000))
_status = st.sampled_from([None, "running", "completed", "failed", "skipped"])
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip
_outcomes = st.sampled_from(["accepted", "rejected", "selected", "not_selected", "errored"])
_counts = st.dictionaries(_outcomes, st.integers(0, 1000), max_size=3)
_numbers = st.one_of(st.none(), st.floats(-1e9, 1e9))
_columns = st.builds(
    Column, n=st.integers(0, 9), sum=st.just("ff"), nulls=st.integers(0, 2), min=_numbers, max=_numbers, total=_numbers
)
_sets = st.one_of(
    st.none(),
    st.builds(ItemSet, n=st.integers(0, 9), sum=st.just("ff"), distinct=st.one_of(st.none(), st.integers(0, 9)), inferred=st.booleans(),
              key=st.sampled_from([None, "id", ["a", "b"]]), columns=st.one_of(st.none(), st.dictionaries(_words, _columns, max_size=2))),
)  # fmt: skip
_common: dict[str, Any] = {
    "v": st.just(1),
    "run_id": st.sampled_from(["r1", "0192f3b0-7f6e-7c3a-9f7e-aaaaaaaaaaaa"]),
    "part": st.sampled_from(["a", "b", "task:x~0~1~a", "task:x~0~2~a"]),
    "rev": st.integers(0, 3),
    "pipeline": st.one_of(st.none(), _words),
    "status": _status,
    "started_us": _times,
    "ended_us": _times,
    "duration_us": st.one_of(st.none(), st.integers(0, 10**9)),
    "input": _json,
    "output": _json,
    "error": st.one_of(st.none(), st.just({"type": "E", "message": "m"})),
    "metadata": st.one_of(st.none(), st.dictionaries(_words, _json, max_size=2)),
}
_runs = st.builds(RunRecord, **_common, tags=st.dictionaries(_words, st.text(max_size=3), max_size=2))
_steps = st.builds(
    StepRecord,
    **_common,
    step_id=st.sampled_from(["s1", "s2"]),
    attempt=st.integers(1, 2),
    name=st.one_of(st.none(), _words),
    step_type=st.one_of(st.none(), st.sampled_from(["filter", "rank"])),
    index=st.one_of(st.none(), st.integers(0, 3)),
    upstream=st.one_of(st.none(), st.lists(st.sampled_from(["s1", "s9"]), max_size=2)),
    counts=_counts,
    reasons=st.dictionaries(_outcomes, st.dictionaries(_words, st.integers(0, 9), max_size=2), max_size=2),
    input_count=st.one_of(st.none(), st.integers(0, 1000)),
    items=st.one_of(
        st.none(), st.builds(Items, in_=_sets, out=_sets, others=st.one_of(st.none(), st.just({"b": ItemSet(1, "2")})))
    ),
    score_sums=st.one_of(st.none(), st.dictionaries(_outcomes, _columns, max_size=1)),
    orders=st.one_of(st.none(), st.dictionaries(_outcomes, st.just("ab"), max_size=1)),
    relation=st.sampled_from([None, "filter", "rank"]),
    inference=st.sampled_from([None, {"skipped": "budget"}]),
    task=st.sampled_from([None, "running", "completed"]),
)
_samples = st.builds(
    SamplesRecord,
    v=st.just(1),
    run_id=st.just("r1"),
    step_id=st.sampled_from(["s1", "s3"]),
    attempt=st.just(1),
    part=st.sampled_from(["a", "task:x~0~1~a", "task:x~0~2~a"]),
    chunk=st.just("live"),
    rev=st.integers(0, 2),
    samples=st.lists(
        st.builds(
            Sample, item_id=st.text(max_size=3), outcome=_outcomes | st.sampled_from(["in", "out"]), details=_json
        ),
        max_size=2,
    ).map(sample_text),
)
# a chunk never changes: its content follows from its name
_verdicts = st.builds(
    lambda step, part, chunk: VerdictsRecord(
        1, "r1", step, [VerdictSet("rejected", 1, f"reason {chunk}", [f"item {chunk}"])], 1, part, str(chunk)
    ),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["a", "task:x~0~1~a"]),
    st.integers(0, 2),
)
_records = st.lists(st.one_of(_runs, _steps, _samples, _verdicts), min_size=1, max_size=12)
_quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def state_of(store: Store) -> dict[str, Any]:
    """All that the store answers, in one value."""
    runs = store.runs(PROJECT, RunFilter(), limit=MAX_PAGE).items
    state: dict[str, Any] = {
        "runs": {},
        "trend": store.trend(PROJECT, pipeline=None, name=None, since_us=0, until_us=FAR),
    }
    for run in runs:
        steps = store.run_steps(PROJECT, run.run_id, limit=MAX_PAGE).items
        state["runs"][run.run_id] = {
            "run": dataclasses.asdict(run),
            "steps": {step.key: dataclasses.asdict(step) for step in steps},
            "samples": store.samples(PROJECT, run.run_id),
            "item": sorted(map(repr, store.look_up(PROJECT, run.run_id, "item 1"))),
            "groups": sorted(map(repr, store.step_groups(PROJECT, [run.run_id])[run.run_id])),
        }
    for word in ("alpha", "beta"):
        for where in (StepFilter(name=word), StepFilter(reason=word), StepFilter(pipeline=word)):
            found = store.steps(PROJECT, where, limit=MAX_PAGE).items
            state[repr(where)] = sorted((step.run_id, *step.key) for step in found)
        state[f"tag {word}"] = sorted(r.run_id for r in store.runs(PROJECT, RunFilter(tag=word), limit=MAX_PAGE).items)
    return state


def write(store: Store, *batches: list[Record]) -> None:
    refused = store.write([Batch(batch, PROJECT, T0 + 99_000_000) for batch in batches])
    assert refused == [{} for _ in batches]


@_quick
@given(records=_records, data=st.data())
def test_order_duplication_and_split_make_no_difference(
    new_store: Callable[[], Store], records: list[Record], data: st.DataObject
) -> None:
    at_once, scattered = new_store(), new_store()
    write(at_once, records)
    order = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=5))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(order)]):
        write(scattered, order[start:end])
    assert state_of(scattered) == state_of(at_once)


def test_a_start_that_was_told_and_taken_back_leaves_no_trace(new_store: Callable[[], Store]) -> None:
    told = StepRecord(1, "r1", "s1", 1, "a", rev=1, started_us=T0)
    taken_back = StepRecord(1, "r1", "s1", 1, "a", rev=2)
    states = []
    for arrived in ([[told], [taken_back]], [[taken_back], [told]], [[told, taken_back]]):
        store = new_store()
        write(store, *arrived[:1])
        write(store, *arrived[1:])
        states.append(state_of(store))
    assert states[0] == states[1] == states[2]


def test_samples_of_several_processes_come_in_one_order_whichever_arrived_first(new_store: Callable[[], Store]) -> None:
    def of(part: str, outcome: Any, reason: str | None, at_us: int | None) -> SamplesRecord:
        sample = Sample(item_id="i", outcome=outcome, reason=reason, at_us=at_us)
        return SamplesRecord(1, "r1", "s1", sample_text([sample]), 1, part, "live", 1)

    records = [
        of("a", "rejected", "no", 5),
        of("b", "accepted", None, 5),
        of("c", "accepted", "", 5),
        of("d", "accepted", None, None),
    ]
    orders = []
    for arrived in (records, records[::-1]):
        store = new_store()
        write(store, *[[record] for record in arrived])
        orders.append(store.samples(PROJECT, "r1"))
    assert len(orders[0]["s1", 1]) == 4
    assert orders[0] == orders[1]


@_quick
@given(records=st.lists(st.one_of(_runs, _steps), min_size=1, max_size=8))
def test_a_run_and_its_steps_are_what_the_merge_rule_says(
    new_store: Callable[[], Store], records: list[Record]
) -> None:
    store = new_store()
    for rev, record in enumerate(records):  # equal revisions are told apart by content, and not every spelling is kept
        record.rev = rev
    write(store, records)
    newest: dict[Any, dict[str, Any]] = {}
    for record in records:
        part = msgspec.json.decode(msgspec.json.encode(record))
        key = (record.run_id, getattr(record, "step_id", None), getattr(record, "attempt", None))
        parts = newest.setdefault(key, {})
        parts[record.part] = merge.newest(parts.get(record.part), part)
    for (run_id, step_id, attempt), parts in newest.items():
        if step_id is None:
            run = store.run(PROJECT, run_id)
            assert run is not None
            assert run.state == merge.merge_run(parts.values())
        else:
            step = next(step for step in store.step(PROJECT, run_id, step_id) if step.attempt == attempt)
            assert step.state == merge.merge_step(parts.values())


@_quick
@given(data=st.data())
def test_a_run_posted_in_pieces_in_any_order_is_the_run_posted_at_once(
    new_store: Callable[[], Store], data: st.DataObject
) -> None:
    """Run fields in one piece, steps in another, a step's own fields over two: they fill in and never add up."""
    first, second = {"run_id": "r1", "pipeline": "p"}, {"run_id": "r1", "pipeline": "p"}
    whole: dict[str, Any] = {
        "input": {"a": 1}, "output": [1], "status": "completed", "started_at": "2026-01-01T00:00:00",
        "duration_ms": 5, "metadata": {"k": 1},
        "steps": [{"name": "f", "step_id": "s", "input_count": 10, "rejection_counts": {"no": 4}, "metadata": {"t": 1},
                   "started_at": "2026-01-01T00:00:00", "sampled_rejections": [{"item_id": "i", "reason": "no"}]}],
    }  # fmt: skip
    for name, value in whole.items():
        (first if data.draw(st.booleans()) else second)[name] = value
    pieces = data.draw(st.permutations([first, second, first, second]))
    in_pieces, at_once = new_store(), new_store()
    for piece in pieces:
        write(in_pieces, run_document.records_of(run_document.decode_run(msgspec.json.encode(piece))))
    write(at_once, run_document.records_of(run_document.decode_run(msgspec.json.encode({**first, **second}))))
    a, b = state_of(in_pieces), state_of(at_once)
    assert a == b


def test_a_step_posted_again_with_higher_counts_is_not_added_up(store: Store) -> None:
    for rejected in (3, 7, 3):
        body = {"run_id": "r1", "pipeline": "p", "steps": [
            {"name": "f", "input_count": 10, "rejection_counts": {"no": rejected}}]}  # fmt: skip
        write(store, run_document.records_of(run_document.decode_run(msgspec.json.encode(body))))
    (step,) = store.run_steps(PROJECT, "r1", limit=10).items
    assert step.ledger.rejected == 7
    assert step.state["reasons"] == {"rejected": {"no": 7}}


def test_which_item_came_of_which_is_merged_of_processes_that_say_so_one_after_the_other(store: Store) -> None:
    def said(part: str, *links: tuple[str, str]) -> StepRecord:
        items = Items(in_=ItemSet(n=1, sum="ff"), links=list(links))
        return StepRecord(v=1, run_id="r", step_id="s", part=part, rev=1, name="split", items=items)

    for record in (said("one", ("a", "a-1")), said("other", ("b", "b-1"), ("a", "a-0")), said("one", ("a", "a-1"))):
        assert store.write([Batch([record], PROJECT, T0)]) == [{}]
    (step,) = store.step(PROJECT, "r", "s")
    assert step.state["items"]["links"] == [["a", "a-0"], ["a", "a-1"], ["b", "b-1"]]
