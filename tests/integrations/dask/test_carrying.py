"""What Dask's workers decide is on the step that handed them the work, each item once, with Dask's own keys and graphs.

Tests carrying.py and plugin.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pytest
from dask.base import tokenize
from distributed import Client, LocalCluster
from xray_dask import carry, map_partitions
from xray_dask.plugin import xray_task_attempt

from xray_core import TaskAttempt, XRay, current_step
from xray_core.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as found:
        yield found


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A scheduler and a worker on threads of this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def judge(item: int) -> int:
    current_step().reject(f"item-{item}", "late")
    return item


def test_submit_and_map_judge_in_the_step_and_each_task_is_one_attempt(client: Client, captured: Captured) -> None:
    with XRay("judging").run() as run, run.step("judge"):
        assert client.submit(carry(judge), 0).result() == 0
        assert client.gather(client.map(carry(judge), range(1, 5))) == [1, 2, 3, 4]
    assert captured.ledger("judge").rejected == 5
    parts = {each["part"] for each in captured.records if each["kind"] == "step" and "task" in each}
    assert len(parts) == 5
    assert all(int(part.split("~")[1]) > 0 for part in parts), "the scheduler's number of the run"


def test_a_task_that_dask_computes_again_counts_once(client: Client, captured: Captured) -> None:
    with XRay("judging").run() as run, run.step("judge"):
        for _ in range(2):
            future = client.submit(carry(judge), 0, key="the task")
            future.result()
            del future
            while client.run_on_scheduler(lambda dask_scheduler: "the task" in dask_scheduler.tasks):
                pass  # until it is forgotten
    assert captured.ledger("judge").rejected == 1
    assert len({each["part"] for each in captured.records if each.get("task")}) == 2


def test_a_pure_task_of_one_step_is_computed_once_as_it_would_be_without(client: Client, captured: Captured) -> None:
    with XRay("judging").run() as run:
        with run.step("judge"):
            one, other = client.submit(carry(judge), 7), client.submit(carry(judge), 7)
            assert one.key == other.key
            assert one.result() == 7
        with run.step("judge again"):
            assert tokenize(carry(judge)) not in one.key
            assert client.submit(carry(judge), 7).result() == 7
    assert captured.ledger("judge").rejected == captured.ledger("judge again").rejected == 1


def test_the_partitions_of_a_frame_are_judged_and_the_rows_that_dask_makes_up_are_not(
    client: Client, captured: Captured
) -> None:
    def kept(part: pd.DataFrame, least: int) -> pd.DataFrame:
        for item in part["item"]:
            if item < least:
                current_step().reject(int(item), "small")
            else:
                current_step().accept(int(item))
        return part[part["item"] >= least]

    frame = dd.from_pandas(pd.DataFrame({"item": range(100)}), npartitions=4)
    with XRay("judging").run() as run, run.step("judge") as step:
        step.set_input_items(range(100))
        assert len(map_partitions(frame, kept, least=30)) == 70
    ledger = captured.ledger("judge")
    assert (ledger.accepted, ledger.rejected, ledger.unaccounted, ledger.flags) == (70, 30, 0, ())


def test_coroutines_run_in_the_step(client: Client, captured: Captured) -> None:
    async def judged(item: int) -> int:
        await asyncio.sleep(0)
        return judge(item)

    with XRay("judging").run() as run, run.step("judge"):
        assert client.submit(carry(judged), 3).result() == 3
    assert captured.ledger("judge").rejected == 1


def test_outside_of_a_step_nothing_is_wrapped() -> None:
    assert carry(judge) is judge


def test_the_attempt_is_that_of_this_thread_and_of_an_older_dask_the_moment_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert xray_task_attempt() is None, "in no worker"
    import threading

    worker: Any = SimpleNamespace(active_threads={}, state=SimpleNamespace(tasks={}))
    monkeypatch.setitem(sys.modules, "distributed.worker", SimpleNamespace(get_worker=lambda: worker))
    assert xray_task_attempt() is None, "a thread that the task started"
    worker.active_threads[threading.get_ident()] = "key"
    worker.state.tasks["key"] = SimpleNamespace(start_time=2.5)
    assert xray_task_attempt() == TaskAttempt("dask key", 0, 2_500_000)
    worker.state.tasks["key"] = SimpleNamespace(run_id=41)
    assert xray_task_attempt() == TaskAttempt("dask key", 42, 0)
    monkeypatch.delitem(sys.modules, "distributed.worker")
    assert xray_task_attempt() is None
