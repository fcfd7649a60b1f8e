"""Every way a task can go is a step, or an attempt of one.

Tests adapter.py, fields.py, blocks.py and wrapping.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prefect import State, flow, task, unmapped
from prefect.blocks.system import Secret
from prefect.cache_policies import INPUTS
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import SecretStr

from tests.integrations.prefect.captured import Seen
from xray_core import XRay, current_step


@task
def double(numbers: list[int]) -> list[int]:
    for number in numbers:
        if number < 0:
            current_step().reject(f"n{number}", "negative")
    return [2 * number for number in numbers if number >= 0]


@task
def one(x: object = None) -> int:
    return 1


@task
def broken() -> None:
    raise ValueError("this task fails")


def test_a_task_is_a_step_with_what_went_in_and_came_out(seen: Seen) -> None:
    @flow
    def plain() -> list[int]:
        return double([1, -2, 3])

    assert plain() == [2, 6]
    captured = seen.now()
    step = captured.step("double")
    assert (step["status"], step["input"]["numbers"]["size"], step["output"]["size"]) == ("completed", 3, 2)
    assert captured.rejected(step) == ["n-2"]
    assert step["run_id"] == captured.run("plain")["run_id"]
    assert step["origin"]["state"] == "Completed"
    assert step["code_version"]


def test_each_try_of_a_retried_task_is_an_attempt_with_its_own_items(seen: Seen) -> None:
    tries: list[int] = []

    @task(retries=2)
    def flaky() -> str:
        tries.append(1)
        current_step().reject(f"try{len(tries)}", "seen")
        if len(tries) < 3:
            raise ValueError(f"try {len(tries)}")
        return "done"

    @flow
    def retrying() -> str:
        return flaky()

    assert retrying() == "done"
    captured = seen.now()
    steps = captured.steps("flaky")
    assert [step["attempt"] for step in steps] == [1, 2, 3]
    assert [step["status"] for step in steps] == ["failed", "failed", "completed"]
    assert [captured.rejected(step) for step in steps] == [["try1"], ["try2"], ["try3"]]
    assert steps[0]["error"]["message"] == "try 1"
    assert len({step["step_id"] for step in steps}) == 1


def test_a_retry_that_waits_is_an_attempt_too(seen: Seen) -> None:
    tries: list[int] = []

    @task(retries=1, retry_delay_seconds=0.05)
    def late() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")

    @flow
    def waiting() -> None:
        late()

    waiting()
    steps = seen.now().steps("late")
    assert [(step["attempt"], step["status"], step["origin"]["state"]) for step in steps] == [
        (1, "failed", "AwaitingRetry"),
        (2, "completed", "Completed"),
    ]


def test_a_failed_task_has_its_exception_and_the_flow_sees_the_same_one(seen: Seen) -> None:
    @flow
    def failing() -> None:
        broken()

    with pytest.raises(ValueError, match="this task fails"):
        failing()
    captured = seen.now()
    step = captured.step("broken")
    assert (step["status"], step["error"]["type"], step["error"]["message"]) == (
        "failed",
        "ValueError",
        "this task fails",
    )
    assert captured.run("failing")["status"] == "failed"
    assert captured.run("failing")["error"]["message"].endswith("this task fails")


def test_a_failure_taken_as_a_state_fails_the_step_and_not_the_run(seen: Seen) -> None:
    @flow
    def tolerant() -> int:
        assert broken(return_state=True).is_failed()
        return 7

    assert tolerant() == 7
    captured = seen.now()
    assert captured.step("broken")["status"] == "failed"
    assert captured.run("tolerant")["status"] == "completed"


def test_a_task_that_returns_a_failed_state_failed(seen: Seen) -> None:
    @task
    def says_no() -> object:
        return Failed(message="no flights today")

    @flow
    def returning() -> object:
        says_no(return_state=True)
        return Completed(message="fine")

    returning()
    step = seen.now().step("says_no")
    assert (step["status"], step["error"]["message"]) == ("failed", "no flights today")


def test_a_task_whose_dependency_failed_is_skipped_and_says_why(seen: Seen) -> None:
    @flow
    def not_ready() -> object:
        failed = broken.submit()
        after = one.submit(failed)
        after.wait()
        return Completed()

    not_ready()
    captured = seen.now()
    step = captured.step("one")
    assert (step["status"], step["error"]["type"]) == ("skipped", "NotReady")
    assert captured.step("broken")["step_id"] in step["error"]["message"]
    assert step["upstream"] == [captured.step("broken")["step_id"]]


def test_a_timeout_is_named(seen: Seen) -> None:
    @task(timeout_seconds=0.2)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    @flow
    def too_slow() -> object:
        slow(return_state=True)
        return Completed()

    too_slow()
    step = seen.now().step("slow")
    assert (step["status"], step["origin"]["state"]) == ("failed", "TimedOut")


def test_sys_exit_in_a_task_is_a_crash_and_leaves_as_it_came(seen: Seen) -> None:
    @task
    def leaves() -> None:
        raise SystemExit(3)

    @flow
    def crashing() -> None:
        leaves()

    with pytest.raises(SystemExit) as left:
        crashing()
    assert left.value.code == 3
    captured = seen.now()
    assert (captured.step("leaves")["status"], captured.step("leaves")["origin"]["state"]) == ("failed", "Crashed")
    assert (captured.run("crashing")["status"], captured.run("crashing")["origin"]["state"]) == ("failed", "Crashed")


def test_a_task_called_in_a_task_is_its_child(seen: Seen) -> None:
    @task
    def outer() -> int:
        current_step().reject("before", "r")
        value = one()
        current_step().reject("after", "r")
        return value

    @flow
    def nesting() -> int:
        return outer()

    assert nesting() == 1
    captured = seen.now()
    assert captured.step("one")["parent_id"] == captured.step("outer")["step_id"]
    assert captured.rejected(captured.step("outer")) == ["after", "before"]
    assert captured.rejected(captured.step("one")) == []


def test_async_tasks_in_a_gather_keep_their_items_apart(seen: Seen) -> None:
    @task
    async def look(name: str) -> str:
        for n in range(3):
            current_step().reject(f"{name}{n}", "r")
            await asyncio.sleep(0)
        return name

    @flow
    async def gathering() -> list[str]:
        return list(await asyncio.gather(*(look(name) for name in "abc")))

    assert asyncio.run(gathering()) == ["a", "b", "c"]
    captured = seen.now()
    assert sorted(captured.rejected(step) for step in captured.steps("look")) == [
        ["a0", "a1", "a2"],
        ["b0", "b1", "b2"],
        ["c0", "c1", "c2"],
    ]


def test_a_generator_task_is_current_while_it_runs_and_not_in_the_loop_over_it(seen: Seen) -> None:
    @task
    def numbers() -> Iterator[int]:
        for n in range(3):
            current_step().reject(f"made{n}", "r")
            yield n

    @task
    def consumer() -> int:
        total = 0
        for n in numbers():
            current_step().reject(f"used{n}", "r")
            total += n
        return total

    @flow
    def generating() -> int:
        for n in numbers():
            assert not current_step(), n
        return consumer()

    assert generating() == 3
    captured = seen.now()
    assert captured.rejected(captured.step("consumer")) == ["used0", "used1", "used2"]
    for step in captured.steps("numbers"):
        assert captured.rejected(step) == ["made0", "made1", "made2"]
        assert (step["status"], step["output"]["size"]) == ("completed", 3)


def test_a_generator_task_that_is_left_early_is_completed(seen: Seen) -> None:
    @task
    def endless() -> Iterator[int]:
        while True:
            yield 1

    @flow
    def leaving() -> int:
        for n in endless():
            return n
        return 0

    assert leaving() == 1
    assert seen.now().step("endless")["status"] == "completed"


def test_an_async_generator_task_is_a_step(seen: Seen) -> None:
    @task
    async def numbers() -> AsyncIterator[int]:
        for n in range(3):
            current_step().reject(f"made{n}", "r")
            await asyncio.sleep(0)
            yield n

    @flow
    async def generating() -> int:
        total = 0
        async for n in numbers():
            assert not current_step()
            total += n
        return total

    assert asyncio.run(generating()) == 3
    captured = seen.now()
    assert captured.rejected(captured.step("numbers")) == ["made0", "made1", "made2"]
    assert captured.step("numbers")["output"]["size"] == 3


def test_a_cached_result_is_a_step_that_says_so(seen: Seen) -> None:
    calls: list[int] = []

    @task(cache_policy=INPUTS, persist_result=True)
    def costly(x: int) -> list[int]:
        calls.append(x)
        return [x]

    @flow
    def caching(key: int) -> None:
        costly(key)
        costly(key)

    caching(time.time_ns())
    assert len(calls) == 1
    first, second = seen.now().steps("costly")
    assert (first["origin"]["state"], second["origin"]["state"]) == ("Completed", "Cached")
    assert second["metadata"]["result.cached"] is True
    assert second["output"]["size"] == 1


def test_the_graph_has_results_passed_on_and_wait_for(seen: Seen) -> None:
    @flow
    def graph() -> None:
        first = one.submit()
        second = double.submit([1], wait_for=[first])
        third = one.with_options(name="third").submit(second)
        third.wait()

    graph()
    captured = seen.now()
    assert captured.step("double")["upstream"] == [captured.step("one")["step_id"]]
    assert captured.step("third")["upstream"] == [captured.step("double")["step_id"]]


def test_mapped_tasks_are_steps_numbered_as_they_were_mapped_in_every_try(seen: Seen) -> None:
    failed: list[int] = []

    @task
    def inner() -> None:
        return None

    @task(retries=1)
    def score(x: int) -> int:
        current_step().accept(f"x{x}", score=x)
        inner()
        if x == 20 and not failed:
            failed.append(x)
            raise ValueError("once more")
        return x

    @flow
    def mapping() -> list[int]:
        return score.map([10, 20, 30]).result()

    assert mapping() == [10, 20, 30]
    captured = seen.now()
    steps = captured.steps("score")
    assert sorted((step["map_index"], step["attempt"]) for step in steps) == [(0, 1), (1, 1), (1, 2), (2, 1)]
    assert {step["counts"]["accepted"] for step in steps} == {1}
    assert {step["map_index"] for step in captured.steps("inner")} == {None}


def test_mapped_tasks_do_not_build_on_each_other_and_a_returned_state_holds_what_came_out(seen: Seen) -> None:
    @task
    def fetch(item_id: int, fields: list[str]) -> dict[str, int]:
        return dict.fromkeys(fields, item_id)

    @task
    def gate(rows: list[dict[str, int]]) -> State[Any]:
        return Completed(message="enough", data=rows[:2])

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def gated() -> None:
        gate(fetch.map([1, 2, 3], unmapped(["id", "title"])))

    gated()
    captured = seen.now()
    assert [step["upstream"] for step in captured.steps("fetch")] == [[], [], []]
    assert [step["items"]["in"]["n"] for step in captured.steps("fetch")] == [1, 1, 1]
    assert [captured.step("gate")["items"][side]["n"] for side in ("in", "out")] == [3, 2]


def test_a_task_outside_any_flow_is_a_run_of_its_own(seen: Seen) -> None:
    @task
    def alone(x: list[int]) -> int:
        current_step().reject("a", "r")
        return one()

    assert alone([1, 2]) == 1
    captured = seen.now()
    run = captured.run("alone")
    assert (run["status"], run["input"]) == ("completed", {"x": [1, 2]})
    assert {step["name"] for step in captured.steps()} == {"alone", "one"}
    assert {step["run_id"] for step in captured.steps()} == {run["run_id"]}
    assert captured.step("one")["parent_id"] == captured.step("alone")["step_id"]


def test_a_run_started_by_hand_in_a_task_is_its_child(seen: Seen, xray: XRay) -> None:
    @task
    def by_hand() -> None:
        with xray.run(pipeline="manual") as run, run.step("inside") as step:
            step.reject("i", "r")
        current_step().reject("o", "r")

    @flow
    def around() -> None:
        by_hand()

    around()
    captured = seen.now()
    step = captured.step("by_hand")
    assert captured.run("manual")["parent"] == {"run_id": step["run_id"], "step_id": step["step_id"]}
    assert captured.run("manual")["origin"]["kind"] == "task_run"
    assert captured.rejected(step) == ["o"]
    assert captured.rejected(captured.step("inside")) == ["i"]


def test_a_task_named_or_tagged_as_a_step_type_has_it(seen: Seen) -> None:
    @flow
    def typed() -> None:
        one.with_options(name="filter")()
        one.with_options(name="by tag", tags={"rank", "nightly"})()
        one()

    typed()
    captured = seen.now()
    assert [captured.step(name)["step_type"] for name in ("filter", "by tag", "one")] == ["filter", "rank", None]


def test_what_the_user_counts_wins_over_what_prefect_passes(seen: Seen) -> None:
    @task
    def counted(rows: list[int]) -> list[int]:
        current_step().set_input_count(100)
        return rows

    @flow
    def counting() -> None:
        counted([1])

    counting()
    step = seen.now().step("counted")
    assert (step["input_count"], step["input"]["rows"]["size"]) == (100, 1)


def test_a_lazy_argument_is_not_measured(seen: Seen) -> None:
    class Lazy:
        def __len__(self) -> int:
            raise AssertionError("len() of an unknown type may be a query")

    @task
    def takes(x: Lazy) -> None:
        return None

    @flow
    def lazily() -> None:
        takes(Lazy())

    lazily()
    assert seen.now().step("takes")["input_count"] is None


def test_row_41_what_a_secret_block_holds_is_masked(seen: Seen) -> None:
    @task
    def log_in(word: str, block: object, typed: SecretStr) -> str:
        current_step().reject("a", "r", {"tried": f"with {word}"})
        return f"logged in with {word}"

    @flow
    def uses_secrets() -> None:
        block = Secret(value="Winter in Boston")
        log_in(block.get(), block, SecretStr("open sesame"))
        raise ValueError(f"refused: {block.get()} and open sesame")

    with pytest.raises(ValueError):
        uses_secrets()
    text = json.dumps(seen.now().records)
    assert "Winter" not in text
    assert "sesame" not in text
