"""A client's clock may be wrong by years: lists, retention and stored times stay sane (row 42 of the fault matrix)."""

from __future__ import annotations

import random

import pytest
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch, Prune, RunFilter, StepFilter, Store

from tests.server.backends.contract.conftest import MakeStore

NOW = 1_764_000_000_000_000
DAY = 86_400_000_000
AHEAD = {"in-70-years": NOW + 70 * 365 * DAY, "in-3-days": NOW + 3 * DAY, "in-an-hour": NOW + 3_600_000_000}


def records(run_id: str, started_us: int | None, rev: int = 1, **values: object) -> list[RunRecord | StepRecord]:
    return [
        RunRecord(v=1, run_id=run_id, part="a", rev=rev, pipeline="p", started_us=started_us, tags={"t": "x"}, **values),  # type: ignore[arg-type]
        StepRecord(
            v=1, run_id=run_id, step_id="s", attempt=1, part="a", rev=rev, name="n", started_us=started_us, pipeline="p", status="completed",
            ended_us=None if started_us is None else started_us + 5, duration_us=5,
            counts={"rejected": 1}, reasons={"rejected": {"late": 1}},
        ),
    ]  # fmt: skip


def write(store: Store, run_id: str, started_us: int | None, received_us: int, **values: object) -> None:
    assert store.write([Batch(records(run_id, started_us, **values), "default", received_us)]) == [{}]  # type: ignore[arg-type]


def test_what_says_it_starts_in_the_future_stands_where_it_was_received(store: Store) -> None:
    for place, (run_id, started_us) in enumerate(AHEAD.items()):
        write(store, run_id, started_us, NOW + place)
    write(store, "newer", NOW + DAY, NOW + DAY)
    for where in (RunFilter(), RunFilter(pipeline="p"), RunFilter(tag="t:x")):
        assert [run.run_id for run in store.runs("default", where, limit=9).items] == ["newer", *list(AHEAD)[::-1]]
    assert store.steps("default", StepFilter(), limit=9).items[0].run_id == "newer"
    for run_id, started_us in AHEAD.items():
        run, (step,) = store.run("default", run_id), store.step("default", run_id, "s")
        assert run is not None
        assert run.state["started_us"] == started_us, "what was said is kept as it was said"
        assert (step.state["started_us"], step.state["ended_us"]) == (started_us, started_us + 5)
        assert run.at_us < NOW + DAY
        assert step.at_us < NOW + DAY
    points = store.trend("default", pipeline="p", name="n", since_us=NOW - DAY, until_us=NOW + DAY - 1)
    assert sum(point.steps for point in points) == len(AHEAD)


def test_retention_takes_what_says_it_is_from_the_future(store: Store) -> None:
    for run_id, started_us in AHEAD.items():
        write(store, run_id, started_us, NOW)
    order, cursor = Prune("ledgers", before_us=NOW + DAY, pipeline="p"), None
    while True:
        _, cursor = store.prune(order, cursor=cursor, limit=1000)
        if cursor is None:
            break
    assert store.runs("default", RunFilter(), limit=9).items == []
    assert store.steps("default", StepFilter(reason="late"), limit=9).items == []


def test_clocks_that_differ_by_minutes_are_believed(store: Store) -> None:
    write(store, "r", NOW + 60_000_000, NOW)
    run = store.run("default", "r")
    assert run is not None
    assert run.at_us == NOW + 60_000_000


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_clock_gives_the_same_state_in_any_order_and_split(new_store: MakeStore, seed: int) -> None:
    ahead = NOW + 3 * DAY
    batches = [
        Batch([record], "default", NOW) for rev, at in ((1, None), (2, ahead)) for record in records("r", at, rev)
    ]
    states = []
    for order in (batches, random.Random(seed).sample(batches, len(batches))):
        store = new_store()
        for batch in order:
            store.write([batch])
        (step,) = store.step("default", "r", "s")
        run = store.run("default", "r")
        assert run is not None
        states.append((step.at_us, dict(step.state), run.at_us, dict(run.state)))
        assert [each.step_id for each in store.steps("default", StepFilter(reason="late"), limit=9).items] == ["s"]
    assert states[0] == states[1]
    assert states[0][0] == states[0][2] == NOW
