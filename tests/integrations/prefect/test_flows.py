"""A flow run is a run: what it was asked, where it came from, how it ended."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow, tags, task
from prefect.context import FlowRunContext

from tests.integrations.prefect.captured import Seen
from xray_core import XRay, current_run, current_step


@task
def step_one(x: object = None) -> int:
    current_step().reject("i", "r")
    return 1


def test_a_run_has_parameters_tags_version_and_the_page_in_prefect(seen: Seen, prefect_server: str) -> None:
    @flow(version="v7")
    def documented(day: str, api_key: str) -> int:
        return step_one()

    with tags("nightly"):
        state = documented("2013-06-14", "sk-very-secret", return_state=True)
    run = seen.now().run("documented")
    assert run["run_id"] == str(state.state_details.flow_run_id)
    assert run["input"] == {"day": "2013-06-14", "api_key": "[redacted]"}
    assert run["tags"] == {"nightly": "true"}
    assert run["metadata"]["flow_version"] == "v7"
    origin = run["origin"]
    assert (origin["framework"], origin["kind"], origin["state"]) == ("prefect", "flow_run", "Completed")
    assert origin["url"] == f"{prefect_server.removesuffix('/api')}/runs/flow-run/{run['run_id']}"
    assert run["output"] == 1


def test_a_flow_that_fails_is_a_failed_run_with_the_message(seen: Seen) -> None:
    @flow
    def fails() -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError):
        fails()
    run = seen.now().run("fails")
    assert (run["status"], run["origin"]["state"]) == ("failed", "Failed")
    assert "missing" in run["error"]["message"]


def test_a_flow_that_is_retried_is_one_run_and_ends_as_its_last_try(seen: Seen) -> None:
    tries: list[int] = []

    @flow(retries=1)
    def again() -> str:
        tries.append(1)
        step_one()
        if len(tries) == 1:
            raise ValueError("first")
        return "second"

    assert again() == "second"
    captured = seen.now()
    run = captured.run("again")
    assert (run["status"], run["output"], run["error"]) == ("completed", "second", None)
    assert len(captured.steps("step_one")) == 2
    assert all(run["started_us"] <= step["started_us"] + 1_000 for step in captured.steps())


def test_a_subflow_is_a_child_run_and_a_step_that_stands_for_it(seen: Seen) -> None:
    @flow
    def child(x: int) -> int:
        return step_one(x)

    @flow
    def parent() -> int:
        value = child(1)
        return step_one.with_options(name="after")(value)

    assert parent() == 1
    captured = seen.now()
    outer, inner = captured.run("parent"), captured.run("child")
    stands = captured.step("child")
    assert (stands["step_type"], stands["run_id"], stands["status"]) == ("subflow", outer["run_id"], "completed")
    assert inner["parent"] == {"run_id": outer["run_id"], "step_id": stands["step_id"]}
    assert captured.step("step_one")["run_id"] == inner["run_id"]
    assert captured.step("after")["run_id"] == outer["run_id"]


def test_a_subflow_that_fails_fails_its_step(seen: Seen) -> None:
    @flow
    def bad_child() -> None:
        raise ValueError("child")

    @flow
    def good_parent() -> int:
        bad_child(return_state=True)
        return 1

    assert good_parent() == 1
    captured = seen.now()
    assert (captured.step("bad-child")["status"], captured.run("good-parent")["status"]) == ("failed", "completed")


def test_a_flow_called_in_a_task_is_a_child_of_that_task(seen: Seen) -> None:
    @flow
    def inner() -> int:
        assert not current_step()
        return step_one()

    @task
    def calls_a_flow() -> int:
        return inner()

    @flow
    def outermost() -> int:
        return calls_a_flow()

    assert outermost() == 1
    captured = seen.now()
    caller = captured.step("calls_a_flow")
    stands = captured.step("inner")
    assert stands["parent_id"] == caller["step_id"]
    assert captured.run("inner")["parent"] == {"run_id": caller["run_id"], "step_id": stands["step_id"]}


def test_the_body_of_a_flow_is_in_the_run_and_in_no_step(seen: Seen, xray: XRay) -> None:
    @flow
    def body() -> None:
        assert not current_step()
        current_run().set_metadata("k", "v")
        with current_run().step("by hand") as step:
            step.reject("x", "r")

    body()
    assert not current_run()
    captured = seen.now()
    assert captured.run("body")["metadata"]["k"] == "v"
    assert captured.step("by hand")["run_id"] == captured.run("body")["run_id"]


def test_an_async_flow_is_a_run(seen: Seen) -> None:
    @task
    async def awaits() -> int:
        current_step().reject("a", "r")
        return 2

    @flow
    async def coroutine() -> int:
        futures = [awaits.submit() for _ in range(2)]
        return await awaits() + sum(future.result() for future in futures)

    assert asyncio.run(coroutine()) == 6
    captured = seen.now()
    assert captured.run("coroutine")["status"] == "completed"
    assert [captured.rejected(step) for step in captured.steps("awaits")] == [["a"]] * 3


def test_a_flow_whose_parameters_are_wrong_raises_as_ever_and_is_no_run(seen: Seen) -> None:
    @flow
    def typed(n: int) -> int:
        return n

    with pytest.raises(Exception, match="invalid parameters"):
        typed("many")  # type: ignore[arg-type]  # on purpose
    assert seen.now().runs("typed") == []


def test_prefects_own_context_is_left_as_it_was(seen: Seen) -> None:
    @flow
    def clean() -> None:
        step_one()

    clean()
    assert FlowRunContext.get() is None
    assert not current_run()
    assert not current_step()
