"""A function that carries its step along: called, pickled, as a generator, as a coroutine.

Tests attaching.py.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import Live, health_of
from xray_core import TaskAttempt, attaching, current_step
from xray_core.attaching import Carried
from xray_core.testing import Captured, capture

FIRST = TaskAttempt("partition 0", 0, 1)


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as found:
        yield found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


def judge(item: str) -> str:
    current_step().reject(item, "late")
    return item


def ledger_of(captured: Captured) -> Any:
    return captured.ledger("judge")


class InTask(Carried):
    """Of an engine that says which attempt its function is in."""

    def attempt(self) -> TaskAttempt | None:
        return FIRST


def test_a_carried_function_runs_in_the_step_and_survives_pickling(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        function = pickle.loads(pickle.dumps(InTask(judge, step.token())))
        assert function("a") == "a"
        assert function.__name__ == "judge"
        assert current_step() is step
    assert ledger_of(captured).rejected == 1
    assert [each.get("task") for each in captured.records if each["kind"] == "step"][1] == "completed"


def test_an_iterator_is_in_the_step_while_it_makes_its_items_and_its_user_is_not(captured: Captured) -> None:
    def judged(items: list[str]) -> Iterator[str]:
        for item in items:
            yield judge(item)

    with captured.xray.run() as run, run.step("judge") as step:
        made = InTask(judged, step.token())(["a", "b", "c"])
        for _ in made:
            assert current_step() is step
    assert ledger_of(captured).rejected == 3
    assert "completed" in [each.get("task") for each in captured.records if each["kind"] == "step"]


def test_a_step_that_an_iterator_is_inside_of_stays_its_own_between_two_items(captured: Captured) -> None:
    def made(n: int) -> Iterator[int]:
        with current_step().step("inner"):
            for each in range(n):
                current_step().accept(each)
                yield each

    with captured.xray.run() as run, run.step("outer") as step:
        token = step.token()
    for _ in Carried(made, token)(3):
        assert not current_step()
    assert captured.ledger("inner").accepted == 3


def test_of_an_iterator_that_is_not_gone_through_the_attempt_does_not_end(captured: Captured) -> None:
    def judged(items: list[str]) -> Iterator[str]:
        for item in items:
            yield judge(item)

    with captured.xray.run() as run, run.step("judge") as step:
        made = InTask(judged, step.token())(["a", "b", "c"])
        next(made)
        made.close()
        tasks = [each["task"] for each in captured.records if "task" in each]
        assert set(tasks) == {"running"}
        with pytest.raises(ZeroDivisionError):
            list(InTask(lambda: (1 / n for n in (1, 0)), step.token())())
    assert ledger_of(captured).rejected == 1, "it counts, since there is no other"


def test_what_a_generator_returns_and_how_it_is_closed_stay_its_own(captured: Captured) -> None:
    def judged(items: list[str]) -> Any:
        try:
            for item in items:
                yield judge(item)
        finally:
            judge("at the end")
        return len(items)

    def through(made: Any) -> Any:
        return (yield from made)

    with captured.xray.run() as run, run.step("judge") as step:
        carried = InTask(judged, step.token())
        all_of_it = through(carried(["a", "b"]))
        assert [next(all_of_it), next(all_of_it)] == ["a", "b"]
        with pytest.raises(StopIteration) as end:
            next(all_of_it)
        assert end.value.value == 2
        left = carried(["c", "d"])
        next(left)
        left.close()
    assert ledger_of(captured).rejected == 5


def test_generators_that_nobody_begins_hold_nothing(captured: Captured) -> None:
    def judged() -> Iterator[str]:
        yield judge("a")

    with captured.xray.run() as run, run.step("judge") as step:
        token = step.token()
        for n in range(2 * attaching._MAX_HELD):
            attempt = type("Other", (InTask,), {"attempt": lambda _, n=n: TaskAttempt(f"task {n}")})
            attempt(judged, token)()
    assert len(attaching._held) <= attaching._MAX_HELD


def test_what_is_no_generator_and_can_be_gone_through_is_returned_as_it_is(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        token = step.token()
        with Carried(open, token)(__file__) as file:
            assert file.readline().startswith('"""A function')
        assert pickle.loads(pickle.dumps(Carried(iter, token)([1, 2]))).__next__() == 1
        assert list(Carried(map, token)(judge, ["a", "b"])) == ["a", "b"]
    assert ledger_of(captured).rejected == 2


def test_an_asynchronous_generator_is_in_the_step_while_it_makes_its_items(captured: Captured) -> None:
    closed = []

    async def judged(items: list[str]) -> Any:
        try:
            for item in items:
                await asyncio.sleep(0)
                yield judge(item)
        finally:
            closed.append(bool(current_step()))

    async def gone_through(carried: Carried) -> list[str]:
        found = []
        async for item in carried.generated(["a", "b", "c"]):
            assert not current_step()
            found.append(item)
        left = carried.generated(["d", "e"])
        await left.__anext__()
        await left.aclose()
        with pytest.raises(TypeError):
            async for _ in carried.generated(5):
                pass
        return found

    with captured.xray.run() as run:
        with run.step("judge") as step:
            token = step.token()
        with attaching.uncaptured():
            assert asyncio.run(gone_through(InTask(judged, token))) == ["a", "b", "c"]
            assert asyncio.run(gone_through(Carried(judged, ""))) == ["a", "b", "c"]
    assert ledger_of(captured).rejected == 4
    assert closed == [True] * 3 + [False] * 3


def test_a_coroutine_is_in_the_step_until_its_end(captured: Captured) -> None:
    async def judged(item: str) -> str:
        await asyncio.sleep(0)
        return judge(item)

    with captured.xray.run() as run, run.step("judge") as step:
        assert asyncio.run(InTask(judged, step.token()).awaited("a")) == "a"
    assert ledger_of(captured).rejected == 1
    assert "completed" in [each.get("task") for each in captured.records if each["kind"] == "step"]


def test_outside_of_any_step_a_carried_function_is_the_function(captured: Captured) -> None:
    assert Carried(judge, "")("a") == "a"
    assert captured.records == []


def test_a_task_that_calls_a_function_for_each_item_is_not_confirmed_after_each(live: Live) -> None:
    """As a bag's `map` does: each call ends the attempt, and goes on with it."""
    with live.xray("p") as xray, xray.run() as run, run.step("judge") as step:
        carried = InTask(judge, step.token())
        before = health_of(live.http)["ingest"]["commits"]
        for n in range(300):
            carried(f"item-{n}")
        assert health_of(live.http)["ingest"]["commits"] - before < 100
    (found,) = live.get(f"/runs/{run.run_id}")["steps"]
    assert found["ledger"]["rejected"] == 300
