"""Ops of every kind, in process: each is a step of its run, and `current_step()` works in its body.

Tests ops.py, runs.py, begin.py and fields.py.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from inspect import signature
from itertools import pairwise
from typing import Any

import pytest
from dagster import (
    Config,
    DynamicOut,
    DynamicOutput,
    Field,
    OpExecutionContext,
    Out,
    Output,
    RetryPolicy,
    graph,
    job,
    op,
)
from xray_dagster import fields, runs

from tests.integrations.dagster.capturing import Captured
from xray_core import current_run, current_step


def test_ops_become_the_steps_of_their_run(xray: Captured) -> None:
    @op
    def load() -> list[int]:
        return [1, 2, 3, 4]

    @op(tags={"xray/step_type": "filter"})
    def keep_even(numbers: list[int]) -> list[int]:
        step = current_step()
        for number in numbers:
            if number % 2:
                step.reject(number, "odd")
        return [number for number in numbers if number % 2 == 0]

    @job(tags={"team": "numbers"})
    def numbers() -> None:
        keep_even(load())

    result = numbers.execute_in_process(run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}})
    assert result.output_for_node("keep_even") == [2, 4]
    run, first, second = xray.run, xray.step("load"), xray.step("keep_even")
    assert (run["pipeline"], run["status"], run["origin"]["state"]) == ("numbers", "completed", "SUCCESS")
    assert run["input"]["run_config"] == {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    assert run["tags"] == {"team": "numbers"}
    assert first["run_id"] == result.run_id, "the run has the same id in Dagster"
    assert (first["status"], first["output"]["size"], first["name"]) == ("completed", 4, "load")
    assert (second["step_type"], second["input"]["numbers"]["size"], second["output"]["size"]) == ("filter", 4, 2)
    assert second["reasons"]["rejected"] == {"odd": 2}
    assert xray.rejected("keep_even") == ["1", "3"]
    assert second["upstream"] == [first["step_id"]]
    assert first["index"] < second["index"]
    assert first["code_version"].startswith("code:")
    assert second["origin"]["kind"] == "op"
    assert not current_run()


def test_values_are_kept_at_capture_level_full_alone(xray: Captured) -> None:
    @op
    def brief() -> list[str]:
        return ["a secret plan"]

    @op(tags={"xray/capture": "full"})
    def whole(plans: list[str]) -> list[str]:
        return [*plans, "another"]

    @job
    def plans() -> None:
        whole(brief())

    assert plans.execute_in_process().success
    assert xray.step("brief")["output"] == {"$type": "list", "size": 1}
    assert xray.step("whole")["output"] == ["a secret plan", "another"]
    assert xray.step("whole")["input"] == {"plans": ["a secret plan"]}


def test_a_generator_op_is_current_between_its_yields_and_nowhere_else(xray: Captured) -> None:
    seen: list[str] = []

    @op(out={"low": Out(list), "high": Out(list)})
    def split() -> Iterator[Output[list[int]]]:
        current_step().reject("a", "first")
        yield Output([1], "low")
        with current_step().step("inner") as inner:
            seen.append(current_step().name)
            yield Output([2, 3], "high")
            seen.append(current_step().name)
            inner.reject("b", "within")
        current_step().reject("c", "last")

    @op
    def one(values: list[int]) -> None:
        seen.append(current_step().name)

    @job
    def splitting() -> None:
        outputs = split()
        one(outputs.low)
        one.alias("two")(outputs.high)

    assert splitting.execute_in_process().success
    assert seen == ["inner", "inner", "one", "two"]
    assert xray.rejected("split") == ["a", "c"]
    assert xray.step("split")["output"] == {"low": {"$type": "list", "size": 1}, "high": {"$type": "list", "size": 2}}
    assert xray.step("split")["output_count"] is None, "a size is no count"
    assert xray.step("inner")["parent_id"] == xray.step("split")["step_id"]
    assert xray.step("inner")["counts"] == {"rejected": 1}


def test_async_ops_gather_and_to_thread_stay_in_their_step(xray: Captured) -> None:
    async def decide(item: str) -> None:
        await asyncio.sleep(0)
        current_step().reject(item, "gathered")

    @op
    async def coroutine() -> list[str]:
        await asyncio.gather(*(decide(str(n)) for n in range(5)))
        await asyncio.to_thread(lambda: current_step().reject("t", "threaded"))
        return ["kept"]

    @op(out={"result": Out(list)})
    async def generator(items: list[str]) -> AsyncIterator[Output[list[str]]]:
        await asyncio.to_thread(lambda: current_step().reject("g", "threaded"))
        yield Output(items)
        await decide("h")

    @job
    def asynchronous() -> None:
        generator(coroutine())

    assert asynchronous.execute_in_process().success
    assert xray.step("coroutine")["reasons"]["rejected"] == {"gathered": 5, "threaded": 1}
    assert xray.step("coroutine")["output"]["size"] == 1
    assert xray.rejected("generator") == ["g", "h"]


def test_dynamic_outputs_are_mapped_and_collected(xray: Captured) -> None:
    @op(out=DynamicOut(int))
    def fan_out() -> Iterator[DynamicOutput[int]]:
        for number in (7, 8, 9):
            yield DynamicOutput(number, mapping_key=f"n{number}")

    @op
    def double(number: int) -> int:
        current_step().accept(number)
        return number * 2

    @op
    def add_up(numbers: list[int]) -> int:
        return sum(numbers)

    @job
    def mapping() -> None:
        add_up(fan_out().map(double).collect())

    assert mapping.execute_in_process().output_for_node("add_up") == 48
    assert list(xray.step("fan_out")["output"]) == ["result[n7]", "result[n8]", "result[n9]"]
    mapped = [xray.step(f"double[n{n}]") for n in (7, 8, 9)]
    assert [step["map_index"] for step in mapped] == [0, 1, 2]
    assert {step["name"] for step in mapped} == {"double"}, "mapped steps are compared across runs by one name"
    assert {step["index"] for step in mapped} == {1}
    assert mapped[0]["origin"]["ids"]["mapping_key"] == "n7"
    assert xray.step("add_up")["upstream"] == sorted(step["step_id"] for step in mapped)
    assert xray.step("add_up")["input"]["numbers"]["size"] == 3


def test_nothing_to_map_is_said_to_be_so(xray: Captured) -> None:
    @op(out=DynamicOut(int))
    def nothing() -> Iterator[DynamicOutput[int]]:
        yield from ()

    @op
    def double(number: int) -> int:
        return number * 2

    @job
    def mapping() -> None:
        nothing().map(double)

    assert mapping.execute_in_process().success
    never = xray.step("double[?]")
    assert (never["status"], never["name"]) == ("skipped", "double")
    assert never["metadata"] == {"result.not_run": "nothing yielded no dynamic output"}


@pytest.mark.parametrize("unreadable", [None, pytest.param("link_5", marks=pytest.mark.swallows)])
def test_every_step_of_a_long_plan_is_read_though_one_cannot_be_read_ahead(
    xray: Captured, monkeypatch: pytest.MonkeyPatch, unreadable: str | None
) -> None:
    class Links(Config):
        factor: int = 1

    tries = []

    @op
    def start() -> int:
        return 1

    @op(retry_policy=RetryPolicy(max_retries=1))
    def link(config: Links, value: int) -> int:
        tries.append(value)
        if len(tries) == 3:
            raise ValueError("once")
        return value * config.factor

    @job
    def chain() -> None:
        value = start()
        for at in range(10):
            value = link.alias(f"link_{at}")(value)

    class Once(fields.StepFields):
        def __init__(self, step: Any) -> None:
            if step.key == unreadable and unreadable not in failed:
                failed.append(unreadable)
                raise RuntimeError("not to be read")
            super().__init__(step)

    failed: list[str | None] = []
    monkeypatch.setattr(fields, "StepFields", Once)
    monkeypatch.setattr(runs, "_READ_AHEAD", 4)
    assert chain.execute_in_process(run_config={"ops": {"link_9": {"config": {"factor": 3}}}}).success
    assert failed == ([unreadable] if unreadable else [])
    steps = [xray.step(f"link_{at}", attempt=2 if at == 2 else 1) for at in range(10)]
    assert [step["name"] for step in steps] == [f"link_{at}" for at in range(10)]
    assert [step["upstream"] for step in steps[1:]] == [[step["step_id"]] for step in steps[:-1]]
    assert all(after["started_us"] >= before["ended_us"] for before, after in pairwise(steps))
    assert {step["code_version"] for step in steps} == {steps[0]["code_version"]}
    assert [step["metadata"]["max_retries"] for step in steps] == [1] * 10
    assert [step["metadata"]["config"]["factor"] for step in steps] == [1] * 9 + [3]
    assert xray.step("link_2", attempt=1)["status"] == "failed"


def test_steps_are_made_once_whatever_order_they_run_in_and_those_that_are_skipped_are_let_go(
    xray: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    @op(out={"result": Out(int, is_required=False)})
    def silent() -> Iterator[Output[int]]:
        yield from ()

    @op
    def skipped(value: int) -> int:
        return value

    @op
    def work() -> int:
        return 1

    @job
    def wide() -> None:
        value = silent()
        for at in range(5):
            skipped.alias(f"a_skipped_{at:02}")(value)
        for at in range(11):  # the last of the plan's order first
            work.alias(f"b_work_{at:02}").tag({"dagster/priority": str(at)})()

    made: Counter[str] = Counter()
    captures = set()
    make, ready = runs.RunCapture._make, runs.RunCapture.made

    def counted(self: Any, step: Any, *args: Any) -> Any:
        made[step.key] += 1
        return make(self, step, *args)

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        captures.add(self)
        return ready(self, *args, **kwargs)

    monkeypatch.setattr(runs.RunCapture, "_make", counted)
    monkeypatch.setattr(runs.RunCapture, "made", noted)
    monkeypatch.setattr(runs, "_READ_AHEAD", 4)
    assert wide.execute_in_process().success
    assert set(made.values()) == {1}
    assert [len(capture._made) for capture in captures] == [0]
    assert {xray.step(f"b_work_{at:02}")["status"] for at in range(11)} == {"completed"}
    assert {xray.step(f"a_skipped_{at:02}")["status"] for at in range(5)} == {"skipped"}


def test_ops_in_graphs_carry_their_place_and_their_parameters(xray: Captured) -> None:
    class Limits(Config):
        threshold: int = 3
        api_token: str = "hunter2-hunter2"

    @op
    def cut(config: Limits) -> int:
        return config.threshold

    @graph
    def inner() -> int:
        return cut()

    @job
    def nested() -> None:
        inner()
        inner.alias("again")()

    given = {"ops": {"inner": {"ops": {"cut": {"config": {"threshold": 5}}}}}}
    assert nested.execute_in_process(run_config=given).output_for_node("inner.cut") == 5
    step = xray.step("inner.cut")
    assert step["name"] == "inner.cut"
    assert step["metadata"]["config"] == {"threshold": 5, "api_token": "[redacted]"}
    assert step["origin"]["ids"]["graph"] == "inner"
    assert xray.step("again.cut")["metadata"]["config"]["threshold"] == 3
    assert "hunter2" not in str(xray.records)


def test_output_metadata_is_what_came_of_the_step(xray: Captured) -> None:
    @op
    def counted(context: OpExecutionContext) -> int:
        context.add_output_metadata({"rows": 12, "source": "s3"})
        return 12

    @job
    def counting() -> None:
        counted()

    assert counting.execute_in_process().success
    assert xray.step("counted")["metadata"] == {"result.output_metadata": {"result": {"rows": 12, "source": "s3"}}}


def test_a_run_started_by_hand_in_an_op_is_a_child_of_it(xray: Captured) -> None:
    @op
    def asks() -> None:
        with xray.client.run() as run:
            run.set_metadata("by", "hand")

    @job
    def asking() -> None:
        asks()

    dagster_run_id = asking.execute_in_process().run_id
    from tests.integrations.dagster.capturing import runs_of

    child = next(run for run_id, run in runs_of(xray.records).items() if run_id != dagster_run_id)
    assert child["parent"] == {"run_id": dagster_run_id, "step_id": xray.step("asks")["step_id"]}
    assert (child["origin"]["framework"], child["origin"]["ids"]["step_key"]) == ("dagster", "asks")


def test_a_job_executed_in_an_op_is_a_run_of_its_own_and_a_child(xray: Captured) -> None:
    @op
    def innermost() -> None:
        current_step().reject("x", "inside")

    @job
    def inner_job() -> None:
        innermost()

    @op
    def outer() -> None:
        current_step().reject("a", "before")
        assert inner_job.execute_in_process().success
        current_step().reject("b", "after")

    @job
    def outer_job() -> None:
        outer()

    outer_id = outer_job.execute_in_process().run_id
    from tests.integrations.dagster.capturing import runs_of

    runs = {run["pipeline"]: (run_id, run) for run_id, run in runs_of(xray.records).items()}
    assert runs["inner_job"][1]["parent"] == {"run_id": outer_id, "step_id": xray.step("outer")["step_id"]}
    assert xray.rejected("outer") == ["a", "b"]
    assert xray.rejected("innermost") == ["x"]


def test_with_x_ray_switched_off_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    import xray_dagster
    from dagster._core.execution import api

    monkeypatch.setenv("XRAY_ENABLED", "0")
    xray_dagster.enable()
    assert not hasattr(api.job_execution_iterator, "__wrapped__")


def test_row_41_what_dagster_calls_secret_is_masked(xray: Captured) -> None:
    if "is_secret" not in signature(Field.__init__).parameters:
        # nothing is missing: older versions of Dagster are tested too (test_versions.py)
        pytest.skip("Dagster 1.8 knows no secret fields")

    @op(config_schema={"door": Field(str, is_secret=True), "turns": Field(int, is_secret=True), "city": str})
    def opens(context: OpExecutionContext) -> None:
        current_step().reject("a", "r", {"tried": f"with {context.op_config['door']}"})

    @job
    def doors() -> None:
        opens()

    config = {"door": "Winter in Boston", "turns": 4711, "city": "Boston"}
    doors.execute_in_process(run_config={"ops": {"opens": {"config": config}}})
    shown = {"door": "[redacted]", "turns": "[redacted]", "city": "Boston"}
    assert xray.run["input"]["run_config"]["ops"]["opens"]["config"] == shown
    assert xray.steps["opens", 1]["metadata"]["config"] == shown
    assert "Winter" not in json.dumps(xray.records)
