"""A real Celery worker of the prefork kind: its children end by `os._exit` after a few tasks, and take nothing with them.

Tests xray_core/delivery/child_processes.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import ROOT
from tests.live import Live
from tests.missing import need_modules

pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("ignore")]

APP = """
import os
from celery import Celery
from xray_core import XRay

here = os.environ["APP_DIRECTORY"]
app = Celery("shop", broker="filesystem://", backend=f"file://{here}/results")
folders = {"data_folder_in": f"{here}/queue", "data_folder_out": f"{here}/queue", "control_folder": f"{here}/control"}
app.conf.update(broker_transport_options=folders, broker_connection_retry_on_startup=True)
xray = XRay("shop")  # in the parent of the workers, as modules of tasks do

@app.task
def whole(n):
    with xray.run(run_id=f"whole-{n}") as run, run.step("filter") as step:
        for item in range(10):
            step.reject(f"i{item}", "late")
    return os.getpid()

@app.task
def part(run_id, step_id, n):
    step = xray.attach_run(run_id).attach_step(step_id)
    for item in range(10):
        step.reject(f"i{n}-{item}", "late")
    return os.getpid()
"""
PRODUCER = """
from shop import part, whole, xray

with xray.run(run_id="parts") as run, run.step("filter") as step:
    results = [whole.delay(n) for n in range(20)] + [part.delay("parts", step.step_id, n) for n in range(30)]
    print(len({result.get(timeout=90) for result in results}))
xray.close(10)
"""


def test_row_34_every_task_of_a_prefork_worker_is_captured_whole(tmp_path: Path) -> None:
    need_modules("celery")
    (tmp_path / "shop.py").write_text(APP)
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    live = Live(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    environ = {
        **kept, "APP_DIRECTORY": str(tmp_path), "XRAY_API_URL": live.url, "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
    }  # fmt: skip
    command = ["-A", "shop", "worker", "-P", "prefork", "-c", "3", "--max-tasks-per-child", "4", "-l", "error"]
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", *command], cwd=tmp_path, env=environ, stdout=log, stderr=log, start_new_session=True
        )  # fmt: skip
    try:
        made = subprocess.run(
            [sys.executable, "-c", PRODUCER], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip
        worker.terminate()  # a warm shutdown
        worker.wait(timeout=60)
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    assert made.returncode == 0, made.stderr
    assert int(made.stdout) >= 10, "the worker's processes were replaced as they went"
    sync = [sys.executable, "-c", "from xray_core.cli import main; raise SystemExit(main(['sync']))"]
    assert subprocess.run(sync, env=environ, cwd=tmp_path, timeout=60, check=False).returncode == 0
    (step,) = live.get("/runs/parts")["steps"]
    assert (step["reasons"], step["ledger"]["flags"]) == ({"rejected": {"late": 300}}, [])
    for n in range(20):
        (step,) = live.get(f"/runs/whole-{n}")["steps"]
        assert (step["status"], step["reasons"]) == ("completed", {"rejected": {"late": 10}})
    live.stop()
