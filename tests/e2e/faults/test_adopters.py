"""Rows 21 and 27 of the fault matrix: several adopters, and records in any order, any number of times."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.read import runs as queries
from xray_server.records.schema import decode_record
from xray_server.store import Batch

from tests.e2e.faults.conftest import RUN_ID, finish, step_payload
from tests.e2e.faults.stand_in import StandIn
from xray_core import merge, wire
from xray_core.delivery import Delivery

Start = Callable[..., subprocess.Popen[str]]
MakeDelivery = Callable[..., Delivery]


def test_row_21_several_adopters_deliver_each_record_once(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    server.stop()
    finish(
        program("""
        delivery = make(shutdown_timeout_s=0)
        for process in range(12):
            if os.fork() == 0:
                for n in range(40):
                    delivery.put("counts", step(f"orphan-{process}-{n}"))
                os._exit(0)
            os.wait()
    """)
    )
    server.start()
    adopters = [
        program("""
        delivery = make()
        print(delivery.sync()["synced"])
    """)
        for _ in range(4)
    ]
    synced = [int(finish(adopter)) for adopter in adopters]
    left = delivery().sync()
    assert left["failed"] == 0
    assert sum(synced) + left["synced"] == 480
    names = server.names()
    assert len(names) == len(set(names)) == 480


def test_row_21_an_orphan_is_delivered_by_a_process_that_only_passes_by(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    finish(
        program("""
        delivery = make()
        delivery.put("counts", step("orphan"))
        os._exit(0)
    """)
    )
    passer = delivery()
    passer.put("counts", step_payload("own"))
    assert passer.flush(timeout_s=30)
    passer.close(timeout_s=10)
    delivery().sync()
    assert sorted({row["name"] for row in server.rows().values()}) == ["orphan", "own"]


TIMES = st.integers(1_700_000_000_000_000, 1_700_000_100_000_000)
WORDS = st.sampled_from(["too_dear", "duplicate", "late"])


@st.composite
def snapshots(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What two or three processes know of a run and of its two steps: growing snapshots and verdict chunks."""
    records: list[dict[str, Any]] = []
    for process in range(draw(st.integers(1, 3))):
        part = f"p{process}"
        started = draw(TIMES)
        for rev in range(1, draw(st.integers(1, 3)) + 1):
            records.append(
                {
                    "v": 1,
                    "kind": "run",
                    "run_id": RUN_ID,
                    "part": part,
                    "rev": rev,
                    "pipeline": "p",
                    "status": draw(st.sampled_from(["running", "completed", "failed"])),
                    "started_us": started,
                    "ended_us": started + rev,
                    "tags": {part: str(rev)},
                    "metadata": draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), max_size=3)),
                }
            )
            for index, step in enumerate(("filter", "rank")):
                rejected = draw(st.dictionaries(WORDS, st.integers(1, 9), max_size=3))
                records.append(
                    {
                        "v": 1,
                        "kind": "step",
                        "run_id": RUN_ID,
                        "step_id": step,
                        "attempt": 1,
                        "part": part,
                        "rev": rev,
                        "pipeline": "p",
                        "name": step,
                        "index": index,
                        "status": draw(st.sampled_from(["running", "completed", "failed"])),
                        "started_us": started,
                        "ended_us": started + rev,
                        "counts": {"accepted": draw(st.integers(0, 50)), "rejected": sum(rejected.values())},
                        "reasons": {"rejected": rejected},
                    }
                )
        for chunk in range(draw(st.integers(0, 2))):
            own = range(10 * process + 5 * chunk, 10 * process + 5 * chunk + 5)  # a step decides about an item once
            ids = draw(st.lists(st.sampled_from([f"item{n}" for n in own]), min_size=1, unique=True))
            records.append(
                {
                    "v": 1,
                    "kind": "verdicts",
                    "run_id": RUN_ID,
                    "step_id": "filter",
                    "attempt": 1,
                    "part": part,
                    "chunk": f"{part}-{chunk}",
                    "sets": [{"outcome": "rejected", "reason": draw(WORDS), "n": len(ids), "ids": ids}],
                }
            )
    return records


def stored(batches: list[list[dict[str, Any]]]) -> Any:
    """The run and the journeys of its items after these batches, through the real store."""
    with tempfile.TemporaryDirectory() as place:
        store = SQLiteStore(Path(place) / "xray.db")
        for batch in batches:
            records = [decode_record(wire.to_line(wire.to_payload(record))) for record in batch]
            assert store.write([Batch(records, received_us=1)]) == [{}]
        run = queries.one_run(store, "default", RUN_ID, limit=100, cursor=None, samples=0)
        verdicts = sorted(
            (str(found), item)
            for item in (f"item{n}" for n in range(30))
            for found in store.look_up("default", RUN_ID, item)
        )
        store.close()
    return json.loads(json.dumps([run, verdicts], sort_keys=True, default=str))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(records=snapshots(), seed=st.integers(0, 2**32))
def test_row_27_any_order_any_duplication_any_split_is_the_same_state_in_the_store(
    records: list[dict[str, Any]], seed: int
) -> None:
    dice = random.Random(seed)
    shuffled = records + [dice.choice(records) for _ in range(dice.randrange(6))]
    dice.shuffle(shuffled)
    batches: list[list[dict[str, Any]]] = [[]]
    for record in shuffled:
        if dice.random() < 0.3:
            batches.append([])
        batches[-1].append(record)
    assert stored([batch for batch in batches if batch]) == stored([records])


@settings(max_examples=200, deadline=None)
@given(records=snapshots(), seed=st.integers(0, 2**32))
def test_row_27_the_merge_rule_is_the_same_in_any_order(records: list[dict[str, Any]], seed: int) -> None:
    dice = random.Random(seed)

    def state(arrivals: list[dict[str, Any]]) -> dict[str, Any]:
        newest: dict[tuple[str, str], Mapping[str, Any]] = {}
        for record in arrivals:
            if record["kind"] != "verdicts":
                key = (record.get("step_id", ""), record["part"])
                newest[key] = merge.newest(newest.get(key), record)
        by_step: dict[str, list[Mapping[str, Any]]] = {}
        for (step, _), record in sorted(newest.items(), key=lambda item: dice.random()):
            by_step.setdefault(step, []).append(record)
        return {step: (merge.merge_step if step else merge.merge_run)(parts) for step, parts in by_step.items()}

    shuffled = records + [dice.choice(records) for _ in range(5)]
    dice.shuffle(shuffled)
    assert state(shuffled) == state(records)


def test_row_27_records_from_many_processes_add_up_in_any_order_of_arrival(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    """Each process writes growing revisions; connections break after commits, and orphans are sent late."""
    server.flaky = 0.4
    writers = [
        program("""
        delivery = make()
        for rev in range(1, 60):
            delivery.put("counts", step("shared", rev=rev, counts={"accepted": rev}))
            time.sleep(0.005)
        os._exit(0)
    """)
        for _ in range(3)
    ]
    for writer in writers:
        finish(writer)
    server.flaky = 0.0
    delivery().sync()
    rows = list(server.rows().values())
    assert len(rows) == 3
    assert merge.merge_step(rows)["counts"] == {"accepted": 3 * 59}
