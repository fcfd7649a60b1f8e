"""A whole Airflow with its own OpenLineage provider, and X-Ray beside it: both speak of one job and one run (`make test-stack`).

Tests airflow.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.airflow.airflow_stack import Airflow, eventually

ROOT = Path(__file__).parents[3]
PROVIDER = "apache-airflow-providers-openlineage"
pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def environment() -> Path:
    """The bin directory of an environment of its own: the provider is at work in every task of the one it is installed in."""
    venv = Path(tempfile.gettempdir()) / f"xray-openlineage-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"
    uv = str(Path(sys.executable).parent / "uv")
    settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if not (venv / "complete").exists():
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(venv)], check=True, env=settings)
        airflow = f"apache-airflow=={version('apache-airflow')}"
        packages = [airflow, "apache-airflow-providers-standard", PROVIDER, "-e", f"{ROOT}[openlineage]"]
        install = [
            uv,
            "pip",
            "install",
            "-q",
            "--python",
            str(venv / "bin" / "python"),
            "-c",
            str(ROOT / "constraints.txt"),
        ]
        subprocess.run([*install, *packages], check=True, env=settings, timeout=600)
        (venv / "complete").touch()
    return venv / "bin"


def test_beside_airflows_provider_a_task_is_told_under_the_providers_job_and_run(tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    airflow = Airflow(
        environment(), tmp_path / "airflow", [Path(__file__).parent / "beside_airflow_dag.py"],
        XRAY_API_URL="http://127.0.0.1:9", XRAY_SPOOL_DIR=str(tmp_path / "spool"), XRAY_OPENLINEAGE="1",
        AIRFLOW__OPENLINEAGE__NAMESPACE="warehouse",
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
        OPENLINEAGE__TRANSPORT__TYPE="file", OPENLINEAGE__TRANSPORT__LOG_FILE_PATH=str(events),
        OPENLINEAGE__TRANSPORT__APPEND="true",
    )  # fmt: skip

    def of_task() -> list[Any] | None:
        lines = events.read_text().splitlines() if events.exists() else []
        told = [json.loads(line) for line in lines]
        found = [event for event in told if event["job"]["name"] == "shop.cut"]
        kinds = {event["eventType"] for event in found}
        return found if {"START", "COMPLETE", "OTHER"} <= kinds else None

    try:
        airflow.start()
        airflow.trigger("shop", "r1", {})
        found = eventually(of_task, timeout_s=400, what=f"the events of the task\n{airflow.log()}")
    finally:
        airflow.stop()
    assert {event["job"]["namespace"] for event in found} == {"warehouse"}
    assert len({event["run"]["runId"] for event in found}) == 1
    ours = next(event for event in found if event["eventType"] == "OTHER")
    assert ours["run"]["facets"]["xray_decisions"]["reasons"] == {"rejected": {"too_dear": 1}}
    theirs = next(event for event in found if event["eventType"] == "COMPLETE")
    assert "xray_decisions" not in theirs["run"]["facets"]
