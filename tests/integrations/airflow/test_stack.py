"""A whole Airflow with a DAG of every case, and a real X-Ray server: what the page of the run will show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_airflow.fields import run_id_of
from xray_server.backends.sqlite.store import SQLiteStore

from tests.integrations.airflow.airflow_stack import ROOT, Airflow, eventually
from tests.server.conftest import LoopbackServer
from xray_core.model import NOT_REACHED

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

DAGS = [
    Path(__file__).parent / "dags_stack" / "everything.py",
    Path(__file__).parent / "dags" / "cases.py",
    ROOT / "examples" / "xray_examples" / "flights" / "airflow_dag.py",
]
FINISHED = {"completed", "failed", "skipped"}


@pytest.fixture
def xray(tmp_path: Path) -> Iterator[httpx.Client]:
    store = SQLiteStore(tmp_path / "xray.db")
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
    server.stop()
    store.close()


@pytest.fixture
def airflow(tmp_path: Path, xray: httpx.Client) -> Iterator[Airflow]:
    running = Airflow(
        Path(sys.executable).parent, tmp_path / "airflow", DAGS,
        XRAY_API_URL=str(xray.base_url).rstrip("/"), XRAY_SPOOL_DIR=str(tmp_path / "spool"),
    )  # fmt: skip
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_a_dag_with_every_case_ends_as_a_run_whose_every_step_says_how_it_ended(
    airflow: Airflow, xray: httpx.Client
) -> None:
    airflow.trigger("everything", "r1", {"limit": 3, "password": "hush"})
    airflow.trigger("flight_rebooking", "f1", {"model_seed": 1})
    airflow.trigger("in_trigger", "t1")
    eventually(
        lambda: airflow.states("everything", "r1").get("marked") == "running",
        timeout_s=240,
        what=f"task 'marked' runs\n{airflow.log()}",
    )
    airflow.mark("everything", "r1", "marked", "success")
    eventually(
        lambda: airflow.run_state("everything", "r1") == "failed", timeout_s=300, what=f"the run ends\n{airflow.log()}"
    )
    run = eventually(
        lambda: finished(xray, "everything", "r1", tasks=20),
        timeout_s=60,
        what=f"X-Ray has the whole run\n{airflow.log()}",
    )
    assert (run["status"], run["pipeline"]) == ("failed", "everything")
    assert run["input"] == {"limit": 3, "password": "[redacted]"}
    assert run["origin"]["url"].endswith("/dags/everything/runs/r1")

    steps = steps_of(run)
    shown = {name: each[-1]["status"] for name, each in steps.items()}
    why = {name: each[-1]["error"]["message"] for name, each in steps.items() if each[-1].get("error")}
    assert shown == {
        "numbers": "completed", "double": "completed", "total": "completed", "second_time_lucky": "completed",
        "fails": "failed", "after_failure": "skipped", "skips_itself": "skipped", "dies": "failed", "marked": shown["marked"],
        "defers": "completed", "pokes": "completed", "empty": "completed", "group.bash": "completed",
        "chooses": "completed", "taken": "completed", "not_taken": "skipped", "after_not_taken": "skipped",
        "stops": "completed", "after_stop": "skipped", "triggers": "completed",
    }, why  # fmt: skip
    assert len(steps["double"]) == 3
    assert [each["attempt"] for each in steps["second_time_lucky"]] == [1, 2]
    assert [each["status"] for each in steps["second_time_lucky"]] == ["failed", "completed"]
    assert why["fails"] == "the price is missing"
    assert why["skips_itself"] == "nothing to do today"
    assert why["after_failure"] == "upstream failed: fails"
    assert why["not_taken"] == "chooses chose not to run it"
    assert why["after_not_taken"] == "upstream was skipped: not_taken"
    assert why["after_stop"] == "stops chose not to run it"
    assert "wrote no end" in why["dies"]
    assert steps["dies"][0]["rejection_counts"] == {"before_death": 1}
    assert steps["defers"][0]["rejection_counts"] == {"deferral": 2}
    assert len(steps["defers"]) == len(steps["pokes"]) == 1
    assert steps["group.bash"][0]["rejection_counts"] == {"bash": 1}
    doubled = {each["step_id"] for each in steps["double"]}
    assert set(steps["total"][0]["upstream"]) == doubled

    child = xray.get(f"/runs/{run_id_of('child', 'from_everything')}").json()
    assert child["parent"]["step_id"] == steps["triggers"][0]["step_id"]

    flights = eventually(
        lambda: finished(xray, "flight_rebooking", "f1", tasks=6), timeout_s=120, what=f"the flights\n{airflow.log()}"
    )
    assert flights["status"] == "completed"
    answer = xray.get(f"/runs/{flights['run_id']}/items/UA-1545-0101").json()
    assert answer["outcome"] == "rejected"
    chosen = steps_of(flights)["select"][0]["ledger"]
    assert chosen["input"] > 1
    assert chosen["accepted"] == 1  # one flight, not the seven fields of one
    assert not [each["name"] for each in [*run["steps"], *flights["steps"]] if NOT_REACHED in each["metadata"]]
    # the DAG that ends in the triggerer is still there, and what it does not report is swept up
    beside = eventually(
        lambda: finished(xray, "in_trigger", "t1", tasks=2), timeout_s=120, what=f"in_trigger\n{airflow.log()}"
    )
    assert {each["status"] for each in beside["steps"]} == {"completed"}


def finished(xray: httpx.Client, dag_id: str, dag_run_id: str, *, tasks: int) -> dict[str, Any] | None:
    """The run, once it, this many tasks and everything in it have ended; what never ran is told of last."""
    answer = xray.get(f"/runs/{run_id_of(dag_id, dag_run_id)}")
    if answer.status_code != 200:
        return None
    run: dict[str, Any] = answer.json()
    done = run["status"] in FINISHED and run["steps"] and all(each["status"] in FINISHED for each in run["steps"])
    return run if done and len({each["name"] for each in run["steps"]}) >= tasks else None


def steps_of(run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for step in run["steps"]:
        found.setdefault(step["name"], []).append(step)
    return {name: sorted(each, key=lambda step: step["attempt"]) for name, each in found.items()}
