"""What `xray doctor` says of Airflow: in a shell beside it, in a process that captures, in the child of a task.

Tests instrument.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.airflow.conftest import Captured, Outcome

Runs = Callable[..., Outcome]
Reads = Callable[[], Captured]


def doctor(tmp_path: Path, *options: str, **environ: str) -> dict[str, Any]:
    """The report of `xray doctor` in a process of its own."""
    command = [str(Path(sys.executable).with_name("xray")), "doctor", "--json", *options]
    home = {
        "AIRFLOW_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "XRAY_SPOOL_DIR": str(tmp_path),
    }
    done = subprocess.run(command, capture_output=True, text=True, env={**home, **environ}, timeout=120)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def about(report: dict[str, Any]) -> dict[str, Any]:
    """The part about Airflow."""
    return next(each for each in report["integrations"] if each["framework"] == "airflow")


def test_beside_airflow_doctor_says_that_airflow_loads_the_plugin_itself_and_imports_none(tmp_path: Path) -> None:
    found = about(doctor(tmp_path))
    assert (found["enabled"], found["supported"]) == (False, True)
    assert "xray doctor --check" in found["how"]
    assert not (tmp_path / "airflow.cfg").exists()  # Airflow writes one when it is imported


@pytest.mark.stack
def test_check_looks_with_what_airflow_cfg_says_whether_and_where_to_tasks_are_captured_here(tmp_path: Path) -> None:
    """As one asks in a worker's shell."""
    (tmp_path / "airflow.cfg").write_text("[xray]\napi_url = http://127.0.0.1:9\ndag_deny = tmp_*\n")
    report = doctor(tmp_path, "--check", XRAY_DISABLE_PLUGINS="prefect,dagster")
    found = about(report)
    assert (found["enabled"], found["missing"], found["how"]) == (True, {}, "captured here, dags: all, but tmp_*")
    assert "on_task_instance_running" in found["seams"]
    assert report["server"]["api_url"] == "http://127.0.0.1:9"


def test_switched_off_doctor_says_by_what(tmp_path: Path) -> None:
    assert "XRAY_ENABLED" in about(doctor(tmp_path, XRAY_ENABLED="0"))["how"]


def test_the_child_of_a_task_is_told_whose_step_it_is_in(tmp_path: Path) -> None:
    assert doctor(tmp_path)["inside"] is None
    assert doctor(tmp_path, XRAY_RUN_ID="r", XRAY_STEP_ID="s")["inside"] == {"run_id": "r", "step_id": "s"}


def test_in_a_task_doctor_says_that_the_process_captures_and_what_it_runs(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("asks_doctor").states == ["success"]
    found = captured().step("asks_doctor")["metadata"]
    assert found["enabled"] is True
    assert found["how"] == "captured here, dags: all; this process runs asks_doctor of cases"


def test_the_command_in_a_task_says_whose_step_it_is_in_and_that_the_task_is_captured(
    runs_task: Runs, captured: Reads
) -> None:
    outcome = runs_task("runs_doctor")
    assert outcome.states == ["success"]
    said = json.loads(outcome.returned)
    step = captured().step("runs_doctor")
    assert said["inside"] == {"run_id": step["run_id"], "step_id": step["step_id"]}
    assert about(said)["supported"] is True
