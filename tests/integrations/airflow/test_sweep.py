"""What the scheduler tells of a dag run that is over: without a database, from what it would have read there.

Tests sweep.py, dagruns.py and client.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from xray_airflow import config, dagruns, fields, lifecycle, sweep
from xray_airflow.client import client

from tests.integrations.airflow.conftest import NOBODY, Captured
from xray_core import XRay
from xray_core.journey import uncaptured
from xray_core.model import NOT_REACHED
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import set_default_client

NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def seen(airflow: None) -> Iterator[MemoryTransport]:
    """Everything that the scheduler's hooks tell, in this process."""
    transport = MemoryTransport()
    xray = XRay("", transport=transport, api_url=NOBODY)
    set_default_client(xray)
    client.cache_clear()
    config.dag_filter.cache_clear()
    yield transport
    xray.close()
    set_default_client(None)
    client.cache_clear()


def captured(seen: MemoryTransport) -> Captured:
    assert client().flush(10)
    return Captured([record for record in seen.records if record["kind"] != "client"])


def ended(task_id: str, state: str | None, *, ran: bool = False, **more: Any) -> sweep.Instance:
    given = {
        "map_index": -1,
        "try_number": int(ran),
        "started_at": NOON if ran else None,
        "ended_at": NOON + timedelta(seconds=9),
    }
    return sweep.Instance(**{"task_id": task_id, "state": state, **given, **more})


def test_every_task_that_never_ran_says_why(seen: MemoryTransport) -> None:
    finished = sweep.Finished("d", "r", "failed", dag=_dag(
        load=[], choose=["load"], taken=["choose"], left=["choose"], behind=["left"], broken=[], after=["broken"], never=[],
    ))  # fmt: skip
    sweep.write_final_states(finished, [
        ended("load", "success", ran=True), ended("choose", "success", ran=True), ended("taken", "success"),
        ended("left", "skipped"), ended("behind", "skipped"), ended("broken", "failed", ran=True),
        ended("after", "upstream_failed"), ended("never", None), ended("odd", "running", ran=True),
    ])  # fmt: skip
    steps = captured(seen)
    assert {name: (steps.step(name)["error"] or {}).get("message") for name in sorted(steps.names())} == {
        "load": None, "choose": None, "taken": None,
        "left": "choose chose not to run it",
        "behind": "upstream was skipped: left",
        "broken": "Airflow says failed; the task's process wrote no end (it was killed, or could not write)",
        "after": "upstream failed: broken",
        "never": "never ran; Airflow's state is none",
    }  # fmt: skip
    assert steps.step("after")["upstream"] == [fields.step_id_of("d", "r", "broken", -1)]
    assert steps.step("broken")["status"] == "failed"


def test_the_instances_of_a_mapped_task_are_all_upstream_of_what_follows(seen: MemoryTransport) -> None:
    finished = sweep.Finished("d", "r", "success", dag=_dag(each=[], total=["each"]))
    mapped = [ended("each", "success", ran=True, map_index=n) for n in range(3)]
    sweep.write_final_states(finished, [*mapped, ended("total", "success", ran=True)])
    expected = {fields.step_id_of("d", "r", "each", n) for n in range(3)}
    assert set(captured(seen).step("total")["upstream"]) == expected


def test_a_try_that_died_before_the_last_one_is_closed_from_the_history(seen: MemoryTransport) -> None:
    tries = [ended("t", "failed", ran=True, last=False), ended("t", "success", ran=True, try_number=2)]
    sweep.write_final_states(sweep.Finished("d", "r", "success", dag=_dag(t=[])), tries)
    steps = captured(seen)
    assert (steps.step("t", attempt=1)["status"], steps.step("t", attempt=2)["status"]) == ("failed", "completed")


def test_a_task_of_which_its_own_process_wrote_nothing_says_so_until_a_record_of_it_is_there(
    seen: MemoryTransport,
) -> None:
    """Airflow knows of its process, which had no X-Ray: an EmptyOperator, which has no process, misses nothing."""
    finished = sweep.Finished(
        "d", "r", "success", dag=_dag(load=[], store=["load"], mark=["store"], choose=[], left=["choose"])
    )
    sweep.write_final_states(finished, [
        ended("load", "success", ran=True, in_process=True), ended("store", "failed", ran=True, in_process=True),
        ended("mark", "success"), ended("choose", "success", ran=True, in_process=True), ended("left", "skipped"),
    ])  # fmt: skip
    own = client().attach_run(fields.run_id_of("d", "r"), "d")
    own.open_step("choose", step_id=fields.step_id_of("d", "r", "choose", -1)).close()
    steps = captured(seen)
    assert [name for name in sorted(steps.names()) if NOT_REACHED in steps.step(name)["metadata"]] == ["load", "store"]
    (told,) = uncaptured(steps.step(name) for name in sorted(steps.names()))
    assert told.startswith(
        "2 of 4 steps were not captured by the process that ran them (load, store): nothing came from"
    )


@pytest.mark.swallows  # there is no database to sweep
def test_a_dag_run_lasts_as_long_as_airflow_says_and_is_one_part_however_often_it_is_told(
    seen: MemoryTransport,
) -> None:
    dag_run = SimpleNamespace(
        dag_id="d", run_id="r", run_type="manual", conf={"password": "hush"}, start_date=NOON, end_date=None,
        dag=SimpleNamespace(tags={"flights"}, task_dict={}), logical_date=NOON - timedelta(hours=1),
    )  # fmt: skip
    dagruns.on_running(dag_run)
    dag_run.end_date = NOON + timedelta(minutes=3)
    dagruns.on_ended(dag_run, "failed", "task_failure")
    sweep.finish(60)
    run = captured(seen).run("d")
    assert (run["status"], run["duration_us"], run["parts"]) == ("failed", 180_000_000, ["scheduler"])
    assert run["input"] == {"password": "[redacted]"}
    assert run["tags"] == {"flights": "true", "run_type": "manual"}
    assert run["error"] == {"type": "DagRunFailed", "message": "task_failure"}
    assert run["origin"]["ids"]["logical_date"] == str(NOON - timedelta(hours=1))


def test_a_state_set_from_outside_ends_the_step_and_says_so(seen: MemoryTransport) -> None:
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=2, map_index=-1, state="failed")
    lifecycle.task_ended(ti, "failed", "TaskInstance's state was manually set to `failed`.")
    step = captured(seen).step("t", attempt=2)
    assert (step["status"], step["metadata"]) == ("failed", {"result.set_from_outside": "failed"})
    assert step["error"]["message"] == "TaskInstance's state was manually set to `failed`."


def test_a_row_that_is_no_longer_loaded_is_not_loaded_again(seen: MemoryTransport, airflow: None) -> None:
    """Reading an expired attribute would be a query in the session of whoever called the hook."""
    from airflow.models.taskinstance import TaskInstance

    row = TaskInstance.__new__(TaskInstance)
    assert fields.loaded(row, "dag_id") is None
    lifecycle.task_ended(
        SimpleNamespace(dag_id=None, run_id="r", task_id="t", map_index=-1, try_number=1), "failed", None
    )
    assert captured(seen).records == []


def _dag(**upstream: list[str]) -> Any:
    """A serialized DAG: task ids and what they depend on."""
    dag = SimpleNamespace(task_dict={})
    for name, before in upstream.items():
        kind = "BranchPythonOperator" if name == "choose" else "PythonOperator"
        serialized = type("Serialized", (SimpleNamespace,), {"__module__": "airflow.serialization.definitions"})
        dag.task_dict[name] = serialized(
            task_id=name,
            task_type=kind,
            operator_name=kind,
            upstream_task_ids=set(before),
            dag=dag,
            is_mapped=name == "each",
        )
    return dag
