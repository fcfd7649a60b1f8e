"""Airflow DAGs without a line of X-Ray, run by `dag.test()`: for every item that was lost `why` names the step.

Tests pulled.py: what a task pulls lazily of mapped results is noted as the task itself reads it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integrations import unchanged as work
from tests.live import Live
from tests.missing import need_modules

need_modules("airflow", whole_module=True)  # not imported: it would take its home before the tests give it one
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
work.check(found, work.BATCH_LOST, work.BATCH_KEPT)
work.check_figures(found, {"score": (4, 4, 0), "above": (4, 2, 2), "notify": (2, None, None)})
print("all was as it should be")
"""


TWICE = """
import unchanged as dags

for dag in (dags.ETL, dags.ANSWER, dags.BATCH, dags.ETL, dags.ANSWER, dags.BATCH):
    assert dag.test().state == "success"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """Run a script where Airflow has a database; its arguments are the script and the address of the X-Ray server."""
    home = tmp_path_factory.mktemp("airflow")

    def call(script: str, url: str, *command: str) -> str:
        environ = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin", "HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_API_URL": url, "PYTHONPATH": f"{ROOT}{os.pathsep}{DAGS}",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, *(command or ("-c", script))], env=environ, cwd=home, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
        return done.stdout

    call("", "http://127.0.0.1:9", "-m", "airflow", "db", "migrate")
    return call


def test_for_every_item_that_was_lost_why_names_the_step_and_nothing_else_is_blamed(run: Callable[..., str]) -> None:
    assert "all was as it should be" in run(SCRIPT, "http://127.0.0.1:9")


def test_a_second_run_has_the_first_as_its_baseline_and_differs_in_nothing(
    run: Callable[..., str], tmp_path: Path
) -> None:
    live = Live(tmp_path)
    try:
        run(TWICE, live.url)
        for pipeline, lost in (("etl", work.ETL_LOST), ("answer", work.RAG_LOST), ("batch", work.BATCH_LOST)):
            second, first = live.get("/runs", pipeline=pipeline)["runs"]
            assert (second["flagged_steps"], first["flagged_steps"]) == (0, 0)
            diff = live.get(f"/runs/{second['run_id']}/diff/baseline")
            assert (diff["baseline"]["run_id"], diff["parted_at"], diff["flipped_count"]) == (first["run_id"], None, 0)
            for item, step in lost.items():
                why = live.why(second["run_id"], item)
                assert (why["outcome"], why["step"], why["inferred"]) == ("dropped", step, True), why["sentence"]
    finally:
        live.stop()
