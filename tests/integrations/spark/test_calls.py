"""Functions as Spark is given them, called here without a Spark: its own calls are test_cluster.py's.

Tests frames.py, calls.py and plugin.py.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from xray_spark import calls, foreach_partition, map_in_pandas
from xray_spark.calls import AtEnd, AtEndParam, Calls, InSpark, accumulator
from xray_spark.plugin import xray_task_attempt

from xray_core import TaskAttempt, current_step
from xray_core.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as found:
        yield found


class Task:
    """What a worker of Spark's knows of the partition that it computes."""

    def __init__(self, attempt_id: int, partition: int = 0, stage: int = 4, query: str | None = "9") -> None:
        self.attempt_id, self.partition, self.stage, self.query = attempt_id, partition, stage, query

    def taskAttemptId(self) -> int:
        return self.attempt_id

    def partitionId(self) -> int:
        return self.partition

    def stageId(self) -> int:
        return self.stage

    def getLocalProperty(self, name: str) -> str | None:
        return self.query if name == "spark.sql.execution.id" else None


@pytest.fixture
def in_task(monkeypatch: pytest.MonkeyPatch) -> Any:
    context = SimpleNamespace(task=None)
    module = SimpleNamespace(TaskContext=SimpleNamespace(get=lambda: context.task))
    monkeypatch.setitem(sys.modules, "pyspark.taskcontext", module)

    def enter(task: Task | None) -> None:
        context.task = task

    return enter


def judge(item: str) -> str:
    current_step().reject(item, "late")
    return item


def test_the_attempt_is_that_of_the_partition(in_task: Any) -> None:
    assert xray_task_attempt() is None
    in_task(Task(17, partition=3))
    assert xray_task_attempt() == TaskAttempt("spark stage 4 3", 0, 17)


def test_a_stage_that_is_computed_again_in_a_query_is_the_same_task_and_another_use_another(in_task: Any) -> None:
    one, other = InSpark(judge, ""), InSpark(judge, "")
    assert one.attempt() is None
    in_task(Task(17))
    first = one.attempt()
    in_task(Task(31, stage=8))
    again, elsewhere = one.attempt(), other.attempt()
    assert first is not None
    assert again is not None
    assert elsewhere is not None
    assert (again.task, again.attempt) == (first.task, 31)
    assert elsewhere.task != first.task
    in_task(Task(31, stage=8, query=None))
    of_rdd = one.attempt()
    assert of_rdd is not None
    assert "stage 8" in of_rdd.task


def test_a_function_that_is_called_for_every_row_ends_with_its_accumulator(captured: Captured, in_task: Any) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        called = Calls(judge, step.token()).as_function()
    for attempt in (1, 2):  # the first dies after two rows of three
        in_task(Task(attempt))
        for item in ("a", "b", "c")[: 1 + attempt]:
            assert called(item) == item
        assert not current_step()
        if attempt == 1:
            calls.open_calls.clear()
    assert isinstance(pickle.loads(pickle.dumps(AtEnd())), AtEnd)
    assert calls.open_calls == []
    assert captured.ledger("judge").rejected == 3
    assert "completed" in [each.get("task") for each in captured.records]


def test_without_an_accumulator_the_next_task_of_a_worker_says_that_the_last_one_ended(
    captured: Captured, in_task: Any
) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        called = Calls(judge, step.token())
    for partition in range(3):
        in_task(Task(10 + partition, partition=partition))
        called(f"item-{partition}")
    assert [each["task"] for each in captured.records if each.get("task")] == ["completed", "completed"]
    calls.end_calls("completed")
    assert captured.ledger("judge").rejected == 3


def test_a_row_that_raises_fails_the_attempt(captured: Captured, in_task: Any) -> None:
    def broken(item: str) -> str:
        judge(item)
        raise ZeroDivisionError

    with captured.xray.run() as run, run.step("judge") as step:
        called = Calls(broken, step.token())
    in_task(Task(1))
    with pytest.raises(ZeroDivisionError):
        called("a")
    assert [each["task"] for each in captured.records if each.get("task")] == ["failed"]
    assert calls.open_calls == []


def test_iterators_of_batches_are_in_the_step(captured: Captured, in_task: Any) -> None:
    def batches(given: Iterator[list[str]]) -> Iterator[list[str]]:
        for batch in given:
            yield [judge(item) for item in batch]

    with captured.xray.run() as run, run.step("judge") as step:
        for kind in (InSpark, Calls):
            in_task(Task(1))
            assert list(kind(batches, step.token())(iter([["a"], ["b", "c"]]))) == [["a"], ["b", "c"]]
            calls.end_calls("completed")
    assert captured.ledger("judge").rejected == 6


def test_what_is_pickled_for_the_workers_holds_nothing_of_this_process(captured: Captured, in_task: Any) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        called = Calls(judge, step.token())
    in_task(Task(1))
    called("a")
    again = pickle.loads(pickle.dumps(called))
    assert (again._held, again._of, again._use) == (None, None, called._use)
    calls.end_calls("completed")


def test_frames_are_given_functions_and_their_own_arguments(captured: Captured) -> None:
    given: list[Any] = []
    frame = SimpleNamespace(
        mapInPandas=lambda function, schema, **options: given.append((function, schema, options)),
        foreachPartition=lambda function: given.append((function,)),
    )
    map_in_pandas(frame, judge, "id long", barrier=True)
    foreach_partition(frame, judge)
    assert given == [(judge, "id long", {"barrier": True}), (judge,)], "outside of a step nothing is wrapped"
    with captured.xray.run() as run, run.step("judge"):
        map_in_pandas(frame, judge, "id long")
        foreach_partition(frame, judge)
    for function, *_ in given[2:]:
        assert function("a") == "a"
    assert captured.ledger("judge").rejected == 2


def test_without_a_session_there_is_no_accumulator_and_one_adds_nothing_up() -> None:
    assert accumulator() is None
    value = AtEnd()
    assert AtEndParam().addInPlace(AtEndParam().zero(value), AtEnd()) is value
