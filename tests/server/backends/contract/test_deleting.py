"""A run that is deleted is gone, all of it, and stays gone (row 50 of the fault matrix).

Tests backends/relational/deleted.py, backends/sqlite/delete.py and backends/postgres/delete.py.
"""

from __future__ import annotations

import threading
from typing import Any

from xray_server.records.schema import RunRecord, SamplesRecord, StepRecord, VerdictSet, VerdictsRecord, sample_text
from xray_server.store import Batch, RunFilter, StepFilter, Store

from tests.server.backends.contract.conftest import MakeStore

NOW = 1_764_000_000_000_000


def records(run_id: str, steps: int = 6) -> list[Any]:
    made: list[Any] = [
        RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline="p", started_us=NOW, tags={"t": run_id}, input="i")
    ]
    for i in range(steps):
        step = f"s{i}"
        made += [
            StepRecord(v=1, run_id=run_id, step_id=step, attempt=1, part="a", rev=1, name="n", pipeline="p", started_us=NOW + i,
                       counts={"rejected": 1}, reasons={"rejected": {"late": 1}}),
            VerdictsRecord(1, run_id, step, [VerdictSet("rejected", 1, "late", ["item-1"])], 1, "a", "0"),
            SamplesRecord(1, run_id, step, sample_text([]), 1, "a", "live", 1),
        ]  # fmt: skip
    return made


def seen(store: Store, run_id: str) -> list[Any]:
    """All that the store's questions find of a run."""
    return [
        store.run("default", run_id),
        store.run_steps("default", run_id, limit=9).items,
        [run for run in store.runs("default", RunFilter(), limit=99).items if run.run_id == run_id],
        [run for run in store.runs("default", RunFilter(q=run_id), limit=99).items if run.run_id == run_id],
        store.runs("default", RunFilter(tag=f"t:{run_id}"), limit=99).items,
        [step for step in store.steps("default", StepFilter(reason="late"), limit=99).items if step.run_id == run_id],
        [run for run in store.item_runs("default", "item-1", pipeline=None, limit=99).items if run.run_id == run_id],
        store.samples("default", run_id),
        store.look_up("default", run_id, "item-1"),
        list(store.sets("default", run_id)),
        [run for run in store.dump(cursor=None, limit=99).items if (run.project, run.run_id) == ("default", run_id)],
    ]


def write(store: Store, *batches: list[Any], project: str = "default") -> None:
    assert all(refused == {} for refused in store.write([Batch(each, project, NOW) for each in batches]))


def test_a_deleted_run_is_gone_and_no_other_is(store: Store) -> None:
    write(store, records("a"), records("b"))
    write(store, records("a"), project="other")
    assert store.delete_run("default", "a", NOW)
    assert not any(seen(store, "a"))
    assert all(seen(store, "b")[:1])
    assert len(store.run_steps("default", "b", limit=99).items) == 6
    assert store.run("other", "a") is not None
    assert store.check() == []
    assert not store.delete_run("default", "a", NOW), "it is not there any more"
    assert not store.delete_run("default", "never", NOW)
    assert not store.delete_run("no such project", "b", NOW)


def test_hourly_sums_keep_what_a_deleted_run_added(store: Store) -> None:
    write(store, records("a"), records("b"))
    before = store.trend("default", pipeline="p", name="n", since_us=0, until_us=NOW * 2)
    assert [(point.steps, point.rejected, point.reasons) for point in before] == [(12, 12, {"late": 12})]
    store.delete_run("default", "a", NOW)
    write(store, records("a"))
    assert store.trend("default", pipeline="p", name="n", since_us=0, until_us=NOW * 2) == before
    assert store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2) == before
    assert store.trend("default", pipeline="q", name=None, since_us=0, until_us=NOW * 2) == []


def test_what_still_arrives_of_it_is_taken_and_not_kept(store: Store) -> None:
    write(store, records("a"), records("b"))
    store.delete_run("default", "a", NOW)
    write(store, records("a"))
    write(store, records("b") + records("a") + records("c"), records("a")[1:4])
    write(store, records("a"), project="other")
    assert not any(seen(store, "a"))
    assert {run.run_id for run in store.runs("default", RunFilter(), limit=99).items} == {"b", "c"}
    assert store.run("other", "a") is not None
    assert store.check() == []


def test_it_stays_gone_when_a_dump_of_before_is_written_back(new_store: MakeStore) -> None:
    store = new_store()
    write(store, records("a"))
    (dumped,) = store.dump(cursor=None, limit=9).items
    assert len(dumped.records) > 10
    store.delete_run("default", "a", NOW)
    write(store, records("a"))
    assert store.dump(cursor=None, limit=9).items == []


def test_it_stays_gone_when_it_is_deleted_while_it_is_written(store: Store) -> None:
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            for record in records("a", steps=1):
                write(store, [record])

    write(store, records("a", steps=1))
    writing = threading.Thread(target=keep_writing)
    writing.start()
    try:
        for _ in range(5):
            store.delete_run("default", "a", NOW)
    finally:
        stop.set()
        writing.join(30)
    assert not any(seen(store, "a"))
    assert store.check() == []
