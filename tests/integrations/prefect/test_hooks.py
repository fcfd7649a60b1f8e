"""What the hooks of a task decide is that task's, whatever task or flow calls it."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, task

from tests.integrations.prefect.captured import Seen
from xray_core import current_step


def rejects(task: Any, task_run: Any, state: Any) -> None:
    current_step().reject(state.name, "by a hook")


async def rejects_later(task: Any, task_run: Any, state: Any) -> None:
    current_step().reject(state.name, "by a hook")


def test_hooks_of_a_task_that_is_called_in_a_task_decide_on_its_step(seen: Seen) -> None:
    @task(on_completion=[rejects])
    def inner() -> int:
        current_step().reject("itself", "r")
        return 1

    @task
    def outer() -> int:
        return inner()

    @flow
    def calls() -> int:
        return outer()

    assert calls() == 1
    captured = seen.now()
    assert captured.rejected(captured.step("inner")) == ["Completed", "itself"]
    assert captured.rejected(captured.step("outer")) == []
    assert captured.step("inner")["status"] == "completed"


def test_hooks_of_a_retried_task_decide_on_its_last_try_and_coroutines_do_too(seen: Seen) -> None:
    @task(retries=1, on_failure=[rejects, rejects_later])
    async def fails() -> None:
        raise ValueError("no")

    @flow
    async def calls() -> None:
        await fails(return_state=True)

    asyncio.run(calls())
    captured = seen.now()
    first, last = captured.steps("fails")
    assert (captured.rejected(first), captured.rejected(last)) == ([], ["Failed", "Failed"])
    assert (last["status"], last["reasons"]["rejected"]) == ("failed", {"by a hook": 2})


def test_a_hook_that_raises_leaves_the_step_and_the_flow_as_they_were(seen: Seen) -> None:
    def raises(task: Any, task_run: Any, state: Any) -> None:
        current_step().reject("before it raised", "r")
        raise RuntimeError("a hook")

    @task(on_completion=[raises])
    def done() -> int:
        return 1

    @task
    def after() -> bool:
        return bool(current_step())

    @flow
    def calls() -> bool:
        done()
        assert not current_step()
        return after()

    assert calls() is True
    captured = seen.now()
    assert captured.rejected(captured.step("done")) == ["before it raised"]
    assert captured.step("done")["status"] == "completed"
