"""Planted faults in tasks and DAGs without an X-Ray line: the guilty task is named, in controls nothing is blamed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.diagnosis.score import Record, record_control, record_fault
from tests.integrations.airflow.conftest import Captured
from tests.missing import need_modules
from xray_core.testing import Captured as InMemory

need_modules("airflow", whole_module=True)  # not imported: it would take its home before the tests give it one

ROOT = Path(__file__).parents[3]
DAGS = Path(__file__).parent / "dags_diagnosis"


def judged(record: Record, parted: dict[str, Any] | None, step: str, kind: str) -> bool:
    """Record one verdict; whether the right step was named for the right cause."""
    named = parted is not None and parted["step"] == step
    cause = named and parted is not None and parted["kind"] == kind
    certain = parted is not None and parted["certain"]
    record_fault(record, named=parted is not None, step=named, cause=cause, certain=certain)
    return cause


def test_a_task_with_a_hidden_limit_is_named_and_the_same_again_is_not(
    runs_task: Callable[..., Any],
    captured: Callable[[], Captured],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    for run_id, limit in (("good", "60"), ("again", "60"), ("bad", "30")):
        monkeypatch.setenv("KEEP_LIMIT", limit)
        runs_task("keep", dag_id="diagnosis", dag_file="diagnosis.py", dag_run_id=run_id)
    result = InMemory()
    for record in captured().records:
        result.put("", json.dumps(record).encode())
    good, again, bad = result.run_ids
    control = result.diff(good, again)
    record_control(record_property, clean=control.parted_at is None)
    assert control.parted_at is None, control.sentence
    diff = result.diff(good, bad)
    assert judged(record_property, diff.as_json()["parted_at"], "keep", "non_deterministic"), diff.sentence
    assert result.why("r5", bad).step == "keep"


SCRIPT = """
import importlib, json, os
import offers
from xray_core.testing import capture

with capture() as result:  # one for all: what Airflow says late of a run belongs to it all the same
    for name in offers.VERSIONS:
        for version in ("chance" if name == "chance" else "same", name):
            os.environ["OFFERS_VERSION"] = version
            assert importlib.reload(offers).OFFERS.test().state == "success"
for number, name in enumerate(offers.VERSIONS):
    diff = result.diff(*result.run_ids[2 * number : 2 * number + 2])
    print("VERDICT", json.dumps([name, diff.as_json()["parted_at"], diff.sentence]))
"""
GUILTY = {
    "unit": ("clean", "code_changed"),
    "chance": ("load", "non_deterministic"),
    "limit": ("keep", "input_changed"),
    "left_out": ("report", "missing_step"),
}


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_in_whole_dags_the_guilty_task_is_named(tmp_path: Path, record_property: Record) -> None:
    environ = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin", "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "XRAY_API_URL": "http://127.0.0.1:9", "PYTHONPATH": f"{ROOT}{os.pathsep}{DAGS}",
    }  # fmt: skip
    for command in (["-m", "airflow", "db", "migrate"], ["-c", SCRIPT]):
        done = subprocess.run(
            [sys.executable, *command], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
    said = [json.loads(line[8:]) for line in done.stdout.splitlines() if line.startswith("VERDICT ")]
    assert [name for name, _, _ in said] == ["same", *GUILTY]
    wrong = []
    for name, parted, sentence in said:
        if name == "same":
            record_control(record_property, clean=parted is None)
            right = parted is None
        else:
            right = judged(record_property, parted, *GUILTY[name])
        if not right:
            wrong.append((name, sentence))
    assert wrong == []
