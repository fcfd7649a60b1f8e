"""Steps that X-Ray did not see run: made from Dagster's events, marked so, with one warning. Tests elsewhere.py."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DynamicOut, DynamicOutput, Executor, RetryPolicy, executor, job, op
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import ExecuteRunWithPlanIterable, execute_run_iterator
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.retries import RetryMode
from xray_dagster import elsewhere

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step
from xray_core.model import NOT_REACHED

TRIES: list[int] = []


@op(out=DynamicOut(int))
def fan_out() -> Iterator[DynamicOutput[int]]:
    for n in (1, 2):
        yield DynamicOutput(n, str(n))


@op
def double(n: int) -> int:
    current_step().reject(f"item-{n}", "small")
    return n * 2


@op(retry_policy=RetryPolicy(max_retries=1))
def flaky(numbers: list[int]) -> int:
    TRIES.append(1)
    if len(TRIES) == 1:
        raise ConnectionError("no answer")
    return sum(numbers)


class OwnLoop(Executor):
    """Runs steps by itself, by a function that it took from Dagster before X-Ray was enabled."""

    def __init__(self, run_step: Any) -> None:
        self._run_step = run_step

    @property
    def retries(self) -> RetryMode:
        return RetryMode.ENABLED

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        manager = PlanExecutionContextManager(
            job=plan_context.job,
            retry_mode=self.retries,
            execution_plan=execution_plan,
            run_config=plan_context.run_config,
            dagster_run=plan_context.dagster_run,
            instance=plan_context.instance,
            raise_on_error=False,
            output_capture=None,
        )
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan, iterator=self._loop, execution_context_manager=manager
        )

    def _loop(self, job_context: Any, execution_plan: Any) -> Iterator[Any]:
        with execution_plan.start(retry_mode=self.retries) as active:
            while not active.is_complete:
                step = active.get_next_step()
                if step is None:
                    active.sleep_til_ready()
                    continue
                for event in self._run_step(job_context.for_step(step, active.get_known_state())):
                    yield event
                    active.handle_event(event)
                active.verify_complete(job_context, step.key)
                yield from active.plan_events_iterator(job_context)


@pytest.fixture
def own_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An executor with a step loop of its own; "bodies" pass through X-Ray, or "nothing" does."""
    from dagster._core.execution.plan import execute_plan, execute_step

    wrapped = execute_plan.dagster_event_sequence_for_step
    if request.param == "nothing":
        core = execute_step.execute_core_compute
        monkeypatch.setattr(execute_step, "execute_core_compute", core.__wrapped__)  # type: ignore[attr-defined]

    @executor
    def own(_: Any) -> OwnLoop:
        return OwnLoop(wrapped.__wrapped__)  # type: ignore[attr-defined]

    elsewhere.reset()
    TRIES.clear()
    yield own
    elsewhere.reset()


def run(own: Any) -> None:
    @job(executor_def=own)
    def several() -> None:
        flaky(fan_out().map(double).collect())

    with DagsterInstance.ephemeral() as instance:
        dagster_run = instance.create_run_for_job(several)
        for _ in execute_run_iterator(InMemoryJob(several), dagster_run, instance):
            pass
        assert instance.get_run_by_id(dagster_run.run_id).is_success  # type: ignore[union-attr]


@pytest.mark.parametrize("own_loop", ["nothing"], indirect=True)
def test_steps_of_an_executor_with_its_own_loop_are_made_of_events_and_say_that_they_were_not_captured(
    xray: Captured, own_loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="xray"):
        run(own_loop)
    steps = xray.steps
    assert sorted(steps) == [("double[1]", 1), ("double[2]", 1), ("fan_out", 1), ("flaky", 1), ("flaky", 2)]
    assert {key: step["status"] for key, step in steps.items() if step["status"] != "completed"} == {
        ("flaky", 1): "failed"
    }
    assert steps["flaky", 1]["error"]["type"] == "ConnectionError"
    assert [steps[f"double[{n}]", 1]["map_index"] for n in (1, 2)] == [0, 1]
    assert all(NOT_REACHED in step["metadata"] for step in steps.values())
    assert xray.run["status"] == "completed"
    assert NOT_REACHED in xray.run["metadata"], "a run without a captured step says so"
    said = [each.getMessage() for each in caplog.records if each.name == "xray" and each.levelno == logging.WARNING]
    assert len([each for each in said if "is not captured" in each]) == 1, said


@pytest.mark.parametrize("own_loop", ["bodies"], indirect=True)
def test_bodies_that_pass_through_x_ray_are_captured_whatever_loop_calls_them(
    xray: Captured, own_loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="xray"):
        run(own_loop)
    assert xray.rejected("double[1]") == ["item-1"]
    assert xray.step("double[2]")["output"] == {"$type": "int"} or xray.step("double[2]")["output"] is not None
    assert not [key for key, step in xray.steps.items() if NOT_REACHED in step["metadata"]]
    assert NOT_REACHED not in xray.run["metadata"]
    assert not [each for each in caplog.records if "is not captured" in each.getMessage()]


def test_what_processes_say_of_a_run_is_read_by_its_others_and_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    spool, run_id = tmp_path / "spool", "abc-1"
    assert elsewhere.rejected_elsewhere(spool, run_id) == {}
    elsewhere.announce(spool, run_id, "rejected 7 x", 1)  # a step of an odd name
    elsewhere.announce_rejected(spool, run_id, "graph.trim[a b]", 3)
    elsewhere.announce_rejected(spool, run_id, "graph.flaky", 100)
    elsewhere.announce_rejected(spool, run_id, "graph.flaky", 0)
    with next(spool.iterdir()).open("a") as file:
        file.write("rejected ")
    assert elsewhere.rejected_elsewhere(spool, run_id) == {"graph.trim[a b]": 3, "graph.flaky": 0}
    run = elsewhere.Elsewhere(spool, run_id, lambda *args: None)
    assert run.is_captured("rejected 7 x", 1)
    assert not run.is_captured("graph.flaky", 1)
    run.end()
    assert list(spool.iterdir()) == []
