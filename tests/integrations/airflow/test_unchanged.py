"""Airflow DAGs without a line of X-Ray, run by `dag.test()`: for every item that was lost `why` names the step.

Mapped results that a task pulls lazily are not touched, so what it drops of them is not known, and nothing is blamed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("airflow") is None:  # imported here, Airflow would take its home before the other tests give it one
    pytest.skip("missing: Airflow: pip install 'xray-pipelines[airflow]'", allow_module_level=True)
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]
DAGS = Path(__file__).parent / "dags_unchanged"
SCRIPT = """
import unchanged as dags
from tests.integrations import unchanged as work
from xray_core.testing import capture


def captured_of(dag):
    with capture() as captured:
        assert dag.test().state == "success"
    return captured


found = captured_of(dags.ETL)
work.check(found, work.ETL_LOST, work.ETL_KEPT)
work.check_figures(found, work.ETL_FIGURES)
found = captured_of(dags.ANSWER)
work.check(found, work.RAG_LOST, work.RAG_KEPT)
work.check_figures(found, work.RAG_FIGURES)
found = captured_of(dags.BATCH)
work.check(found, {}, (*work.BATCH_LOST, *work.BATCH_KEPT))
for item in work.BATCH_LOST:
    assert found.why(item).step.startswith("score"), found.why(item).sentence
print("all was as it should be")
"""


def test_for_every_item_that_was_lost_why_names_the_step_and_nothing_else_is_blamed(tmp_path: Path) -> None:
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
    assert "all was as it should be" in done.stdout
