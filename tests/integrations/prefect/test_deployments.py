"""Flow runs that `run_deployment` makes for a worker: children of the flow or task that asked for them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, get_client, task
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed

from tests.integrations.prefect.captured import Record, Seen


@pytest.fixture
def deployment(prefect_server: str) -> str:
    """The name of a deployment that no worker serves."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("nightly")
        name = f"at-{uuid4().hex[:8]}"
        client.create_deployment(flow_id, name)
    return f"nightly/{name}"


def about(step: Record, run: Record) -> dict[str, Any]:
    return {
        "type": step["step_type"], "status": step["status"], "state": step["origin"]["state"],
        "child": run["parent"] == {"run_id": step["run_id"], "step_id": step["step_id"]},
        "pipeline": run["pipeline"], "page": run["origin"]["ids"]["flow_run_id"] == run["run_id"],
    }  # fmt: skip


STARTED = {"type": "subflow", "status": "completed", "state": "Scheduled", "child": True, "pipeline": "nightly", "page": True}  # fmt: skip


def test_a_run_that_nobody_waits_for_is_a_child_of_the_flow_that_started_it(seen: Seen, deployment: str) -> None:
    @task
    def load() -> list[str]:
        return ["a", "b"]

    @flow
    def starts() -> str:
        made = run_deployment(deployment, parameters={"ids": load()}, timeout=0)
        return str(made.id)  # type: ignore[union-attr]

    flow_run_id = starts()
    captured = seen.now()
    step = captured.step(deployment)
    child = next(run for run in captured.runs() if run["run_id"] == flow_run_id)
    assert about(step, child) == STARTED
    assert child["status"] == "running"
    assert step["run_id"] == captured.run("starts")["run_id"]
    assert step["upstream"] == [captured.step("load")["step_id"]]


def test_in_a_task_it_is_a_child_of_the_task_and_async_code_does_the_same(seen: Seen, deployment: str) -> None:
    @task
    async def asks() -> str:
        return str((await run_deployment(deployment, timeout=0)).id)  # type: ignore[misc]

    @flow
    async def starts_two() -> list[str]:
        return list(await asyncio.gather(asks(), asks()))

    made = asyncio.run(starts_two())
    captured = seen.now()
    steps = {step["step_id"]: step for step in captured.steps(deployment)}
    children = {run["run_id"]: run for run in captured.runs() if run["run_id"] in made}
    assert len(children) == len(steps) == 2
    for child in children.values():
        assert about(steps[child["parent"]["step_id"]], child) == STARTED
    tasks = {step["step_id"] for step in captured.steps("asks")}
    assert {step["parent_id"] for step in steps.values()} == tasks


@pytest.mark.parametrize(("end", "status"), [(Completed(), "completed"), (Failed(message="no stock"), "failed")])
def test_the_step_of_a_run_that_is_waited_for_ends_as_the_run_does(
    seen: Seen, deployment: str, end: Any, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    read = SyncPrefectClient.read_flow_run

    def ended_by_a_worker(self: SyncPrefectClient, flow_run_id: Any) -> Any:
        self.set_flow_run_state(flow_run_id, end, force=True)
        return read(self, flow_run_id)

    monkeypatch.setattr(SyncPrefectClient, "read_flow_run", ended_by_a_worker)

    @flow
    def waits() -> str:
        return str(run_deployment(deployment).state.name)  # type: ignore[union-attr]

    assert waits() == end.name
    step = seen.now().step(deployment)
    assert (step["status"], step["origin"]["state"]) == (status, end.name)
    assert (step["error"] or {}).get("message") == (end.message if status == "failed" else None)


def test_a_run_that_is_asked_for_outside_any_flow_or_not_as_a_subflow_is_nobodys_child(
    seen: Seen, deployment: str
) -> None:
    @flow
    def alone() -> None:
        run_deployment(deployment, timeout=0, as_subflow=False)

    run_deployment(deployment, timeout=0)
    alone()
    captured = seen.now()
    assert [run["pipeline"] for run in captured.runs()] == ["alone"]
    assert captured.steps() == []


def test_a_deployment_that_is_not_there_raises_as_ever_and_leaves_no_step(seen: Seen, prefect_server: str) -> None:
    @flow
    def mistaken() -> None:
        run_deployment("nightly/nowhere", timeout=0)

    with pytest.raises(ObjectNotFound):
        mistaken()
    captured = seen.now()
    assert captured.run("mistaken")["status"] == "failed"
    assert captured.steps() == []
