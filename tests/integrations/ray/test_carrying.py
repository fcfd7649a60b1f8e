"""Functions and classes as Ray is given them, called here without a Ray: its own calls are test_cluster.py's.

Tests carrying.py and plugin.py.
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from xray_ray import carry, map_batches
from xray_ray.plugin import xray_task_attempt

from xray_core import TaskAttempt, current_step
from xray_core.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as found:
        yield found


def judge(item: str, twice: bool = False) -> str:
    """Judges."""
    current_step().reject(item, "late")
    return item


class Judge:
    def __init__(self, reason: str) -> None:
        self.reason = reason
        self._seen = 0

    def judge(self, item: str) -> int:
        current_step().reject(item, self.reason)
        self._seen += 1
        return self._seen

    async def judge_later(self, item: str) -> int:
        await asyncio.sleep(0)
        return self.judge(item)

    def __call__(self, batch: list[str]) -> list[str]:
        for item in batch:
            self.judge(item)
        return batch

    @staticmethod
    def about() -> str:
        return "judges"


def test_a_function_stays_one_with_its_parameters(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge"):
        carried = carry(judge)
    assert inspect.isfunction(carried)
    assert inspect.signature(carried) == inspect.signature(judge)
    assert (carried.__name__, carried.__doc__) == ("judge", "Judges.")
    assert carried("a") == "a"
    assert captured.ledger("judge").rejected == 1


def test_generators_stay_generators_by_which_ray_knows_that_results_come_one_by_one(captured: Captured) -> None:
    class Judges:
        def each(self, items: list[str]) -> Iterator[str]:
            for item in items:
                yield judge(item)

        async def each_later(self, items: list[str]) -> AsyncIterator[str]:
            for item in items:
                await asyncio.sleep(0)
                yield judge(item)

    with captured.xray.run() as run, run.step("judge"):
        actor, each = carry(Judges), carry(Judges.each)
    assert inspect.isgeneratorfunction(each)
    assert inspect.isgeneratorfunction(actor.each)
    assert inspect.isasyncgenfunction(actor.each_later)
    assert list(each(None, ["a"])) + list(actor().each(["b", "c"])) == ["a", "b", "c"]

    async def later() -> list[str]:
        return [item async for item in actor().each_later(["d", "e"])]

    assert asyncio.run(later()) == ["d", "e"]
    assert captured.ledger("judge").rejected == 5


def test_what_a_function_returns_is_sent_as_it_is(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge"):
        carried = carry(zip)
        read = carry(iter)
    assert isinstance(carried([1], [2]), zip)
    assert pickle.loads(pickle.dumps(read([1, 2]))).__next__() == 1


def test_an_actors_methods_are_in_the_step_and_its_state_is_its_own(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge"):
        carried = carry(Judge)
    actor = carried("late")
    assert isinstance(actor, Judge)
    assert [actor.judge("a"), actor.judge("b"), asyncio.run(actor.judge_later("c"))] == [1, 2, 3]
    assert carried.about() == actor.about() == "judges"
    assert captured.ledger("judge").rejected == 3


def test_batches_go_to_the_dataset_with_its_own_options(captured: Captured) -> None:
    given: list[Any] = []
    dataset = SimpleNamespace(map_batches=lambda function, **options: given.extend((function, options)))
    with captured.xray.run() as run, run.step("judge"):
        map_batches(dataset, Judge, fn_constructor_args=("late",))
    assert given[0](*given[1]["fn_constructor_args"])(["a", "b"]) == ["a", "b"]
    assert captured.ledger("judge").rejected == 2


def test_outside_of_a_step_nothing_is_wrapped() -> None:
    assert carry(judge) is judge
    assert carry(Judge) is Judge
    assert pickle.loads(pickle.dumps(carry(judge))) is judge


def test_outside_of_ray_and_in_its_driver_there_is_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert xray_task_attempt() is None
    worker = SimpleNamespace(mode=0, core_worker=SimpleNamespace(get_current_task_attempt_number=lambda: 2))
    context = SimpleNamespace(get_task_id=lambda: "c266")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setitem(sys.modules, "ray._private.worker", SimpleNamespace(global_worker=worker, WORKER_MODE=1))
    assert xray_task_attempt() is None
    worker.mode = 1
    assert xray_task_attempt() == TaskAttempt("ray c266", 2)
