"""Prefect and Dagster, as they are, under `xray run` with `XRAY_OPENLINEAGE=1`: their runs and tasks become events (`make test-stack`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.openlineage.test_run_events import check

SCRIPTS = {
    "prefect": """
from prefect import flow, task
from xray_core import current_step

@task
def cut():
    current_step().reject("a", "too_dear")
    current_step().accept("b")

@flow
def shop():
    cut()

shop()
""",
    "dagster": """
from dagster import job, op
from xray_core import current_step

@op
def cut():
    current_step().reject("a", "too_dear")
    current_step().accept("b")

@job
def shop():
    cut()

shop.execute_in_process()
""",
}
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.mark.parametrize("framework", SCRIPTS)
def test_what_an_orchestrator_runs_becomes_events(framework: str, tmp_path: Path) -> None:
    script, events = tmp_path / "script.py", tmp_path / "events.json"
    script.write_text(SCRIPTS[framework])
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XRAY_")},
        "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "XRAY_OPENLINEAGE": "1",
        "OPENLINEAGE__TRANSPORT__TYPE": "file", "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(events),
        "OPENLINEAGE__TRANSPORT__APPEND": "true", "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200", "DAGSTER_HOME": "",
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "xray"), "run", "--", sys.executable, str(script)]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in events.read_text().splitlines()]
    for event in told:
        check(event)
    ended = {event["job"]["name"]: event for event in told if event["eventType"] == "COMPLETE"}
    assert {"shop", "shop.cut"} <= set(ended), sorted(ended)
    assert ended["shop.cut"]["run"]["facets"]["xray_decisions"]["reasons"] == {"rejected": {"too_dear": 1}}
    assert ended["shop.cut"]["run"]["facets"]["parent"]["run"]["runId"] == ended["shop"]["run"]["runId"]
