"""The example DAGs that come with Airflow's packages, with X-Ray and without: every task ends the same, and is a step.

Runs run_examples.py twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from xray_airflow.fields import run_id_of

from tests.integrations.airflow.airflow_stack import ROOT
from xray_core import XRay
from xray_core.merge import merge_run, merge_step, newest
from xray_core.transport.memory import MemoryTransport

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]

STATUS = {"success": "completed", "failed": "failed", "skipped": "skipped", "upstream_failed": "skipped"}


def run_all(home: Path, **environ: str) -> Any:
    """What `run_examples` writes, with a database of its own under `home`."""
    (home / "dags").mkdir(parents=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home), "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "True", "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"), "PYTHONPATH": str(ROOT),
        "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SHUTDOWN_TIMEOUT_S": "0", **environ,
    }  # fmt: skip
    subprocess.run(["airflow", "db", "migrate"], env=environment, check=True, capture_output=True, timeout=300)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integrations.airflow.run_examples", str(home / "out.json")],
        env=environment, cwd=ROOT, stdout=(home / "out.txt").open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_every_task_of_airflows_examples_ends_as_without_xray_and_is_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"without": run_all(tmp_path / "without", XRAY_ENABLED="0"), "with": run_all(tmp_path / "with")}
    try:
        for name, process in both.items():
            assert process.wait(1_500) == 0, (tmp_path / name / "out.txt").read_text()[-3_000:]
    finally:
        for process in both.values():
            process.kill()
            process.wait()
    without, with_ = (json.loads((tmp_path / name / "out.json").read_text()) for name in ("without", "with"))
    assert len(with_) > 60
    assert {dag_id: _told(each) for dag_id, each in with_.items()} == {
        dag_id: _told(each) for dag_id, each in without.items()
    }
    assert not (tmp_path / "without" / "spool").exists()
    assert "X-Ray:" not in (tmp_path / "with" / "out.txt").read_text().replace(
        "X-Ray: the server cannot be reached", ""
    )

    monkeypatch.setenv("XRAY_SPOOL_DIR", str(tmp_path / "with" / "spool"))
    runs, steps = _captured()
    wrong = []
    for dag_id, each in with_.items():
        if not each["tasks"]:
            continue
        run_id = run_id_of(dag_id, each["run_id"])
        run = runs.get(run_id)
        if run is None or run["status"] != STATUS[each["state"]]:
            wrong.append(f"{dag_id}: {each['state']}, but {run and run['status']}")
            continue
        mine = {
            f"{step['name']}[{-1 if step['map_index'] is None else step['map_index']}]": step["status"]
            for (of, _), step in steps.items()
            if of == run_id
        }
        expected = {task: STATUS[task_["state"]] for task, task_ in each["tasks"].items() if task_["state"] in STATUS}
        wrong += [
            f"{dag_id}.{task}: {status}, but {mine.get(task)}"
            for task, status in expected.items()
            if mine.get(task) != status
        ]
    assert not wrong


def _told(dag: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in dag.items() if name != "run_id"}


def _captured() -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """The last attempt of every step, and every run, of what lies in the spool: as the server would merge them."""
    transport = MemoryTransport()
    with XRay("reader", transport=transport, api_url="http://127.0.0.1:9") as reader:
        reader.sync_offline()
    parts: dict[str, dict[Any, dict[Any, Any]]] = {"run": {}, "step": {}}
    for record in transport.records:
        if record["kind"] in parts:
            key = (record["run_id"], record.get("step_id"), record.get("attempt"))
            known = parts[record["kind"]].setdefault(key, {})
            known[record["part"]] = newest(known.get(record["part"]), record)
    runs = {key[0]: merge_run(each.values()) for key, each in parts["run"].items()}
    steps = {}
    for key in sorted(parts["step"], key=lambda key: (key[0], key[1], key[2] or 0)):
        steps[key[0], str(key[1])] = merge_step(parts["step"][key].values())
    return runs, steps
