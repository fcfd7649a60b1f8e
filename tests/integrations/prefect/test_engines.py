"""Prefect's tasks on the workers of Dask and Ray, one of which is killed in the middle: each item is counted once.

Tests adapter.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.prefect.test_versions import environment
from tests.live import Live

pytestmark = [pytest.mark.stack]
VERSION = "3.9.1"
RUNNERS = {
    "prefect-dask": "from prefect_dask import DaskTaskRunner as Runner\n"
    "runner = Runner(cluster_kwargs={'n_workers': 2, 'threads_per_worker': 1, 'dashboard_address': None})",
    "prefect-ray": "from prefect_ray import RayTaskRunner as Runner\n"
    "runner = Runner(init_kwargs={'num_cpus': 2, 'include_dashboard': False, 'log_to_driver': False})",
}
FLOW = """
import os, signal
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness
from xray_core import current_step
from xray_core.xray import living_clients
{runner}

@task
def work(n):
    step = current_step()
    for item in range(100):
        if n == 2 and item == 50:
            try:
                os.close(os.open("died", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                for client in living_clients():
                    assert client.flush(30)
                os.kill(os.getpid(), signal.SIGKILL)
        step.reject(f"{{n}}-{{item}}", "r")
    with step.step("inner") as inner:
        inner.accept(n)
    return n

@flow(task_runner=runner)
def judged():
    return sum(work.map(range(4)).result())

if __name__ == "__main__":
    with prefect_test_harness(server_startup_timeout=200):
        assert judged() == 6
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("runner", list(RUNNERS))
def test_a_task_whose_worker_is_killed_is_run_again_by_the_engine_and_counts_once(
    runner: str, live: Live, tmp_path: Path
) -> None:
    python = environment(VERSION, [runner])
    (tmp_path / "flow.py").write_text(FLOW.format(runner=RUNNERS[runner]))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XRAY_"))}
    variables = {
        **clean,
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "XRAY_API_URL": live.url,
    }
    command = [str(python.parent / "xray"), "run", "--", str(python), "flow.py"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, (done.stdout[-2_000:], done.stderr[-3_000:])
    assert (tmp_path / "died").exists()
    (run,) = live.get("/runs", pipeline="judged")["runs"]
    steps = live.get(f"/runs/{run['run_id']}")["steps"]
    judged = [step for step in steps if step["name"] == "work"]
    assert [step["ledger"]["rejected"] for step in judged] == [100] * 4
    assert {(step["status"], step["attempt"]) for step in judged} == {("completed", 1)}
    inner = [step for step in steps if step["name"] == "inner"]
    assert [step["ledger"]["accepted"] for step in inner] == [1] * 4
    assert {step["parent_id"] for step in inner} == {step["step_id"] for step in judged}
    in_sets = [item for each in live.store.sets("default", run["run_id"]) for item in each.ids or ()]
    assert len([item for item in in_sets if "-" in item]) == len(set(in_sets)) - 4 == 400
