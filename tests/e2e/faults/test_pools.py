"""Row 34: a pool that is a context manager ends its workers by SIGTERM as soon as the results are there.

Tests xray_core/delivery/child_processes.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import ROOT
from tests.live import Live

PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from xray_core import XRay
import pool_work

if __name__ == "__main__":
    method, kind, run_id = sys.argv[1:]
    context = multiprocessing.get_context(method)
    items = [f"item-{n}" for n in range(60)]
    xray = XRay("pooled")
    with xray.run(run_id=run_id) as run, run.step("filter") as step:
        step.set_input_items(items)
        ids = [(run_id, step.step_id, item) for item in items]
        if kind == "pool":
            with context.Pool(2) as pool:
                pool.map(pool_work.work, ids, chunksize=1)
        elif kind == "imap":
            with context.Pool(2) as pool:
                list(pool.imap_unordered(pool_work.work, ids, chunksize=7))
        else:
            pool = ProcessPoolExecutor(2, mp_context=context)
            list(pool.map(pool_work.work, ids))
            for process in pool._processes.values():
                process.terminate()
            pool.shutdown()
    xray.sync_offline()
    xray.close(10)
"""
WORK = """
from xray_core import current_step
from xray_core.xray import default_client

steps = {}

def work(ids):
    run_id, step_id, item = ids
    step = current_step()  # a forked worker is in its parent's step
    if not step:
        if step_id not in steps:  # any other is handed it
            steps[step_id] = default_client("pooled").attach_run(run_id).attach_step(step_id)
        step = steps[step_id]
    step.reject(item, "late", {"pid": 1})
    return item
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("fork", "pool"),
        ("spawn", "pool"),
        pytest.param("forkserver", "pool", marks=pytest.mark.stack),
        pytest.param("fork", "imap", marks=pytest.mark.stack),
        pytest.param("fork", "executor", marks=pytest.mark.stack),
        pytest.param("spawn", "executor", marks=pytest.mark.stack),
    ],
)
def test_row_34_every_verdict_of_a_returned_task_is_there(live: Live, tmp_path: Path, method: str, kind: str) -> None:
    (tmp_path / "pool_work.py").write_text(WORK)
    (tmp_path / "pooled.py").write_text(PROGRAM)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    run_id = f"{method}-{kind}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "pooled.py", method, kind, run_id],
        env={**kept, "XRAY_API_URL": live.url, "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        cwd=tmp_path, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (step,) = live.get(f"/runs/{run_id}")["steps"]
    assert step["reasons"] == {"rejected": {"late": 60}}
    assert (step["ledger"]["rejected"], step["ledger"]["flags"]) == (60, [])
    assert live.why(run_id, "item-59")["outcome"] == "rejected"


TERMINATED = """
import multiprocessing, sys, time
from xray_core import XRay, current_step

def work(said):
    for n in range(30):
        current_step().reject(f"item-{n}", "late")
    said.set()
    time.sleep(60)  # the pool terminates it in here

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    xray = XRay("pooled", snapshot_interval_s=30)
    with xray.run(run_id="terminated") as run, run.step("filter") as step:
        step.set_input_items([f"item-{n}" for n in range(100)])
        said = context.Event()
        process = context.Process(target=work, args=(said,))
        process.start()
        said.wait(30)
        process.terminate()
        process.join()
    xray.sync_offline()
    xray.close(10)
"""


def test_row_34_what_a_terminated_process_took_with_it_is_missing_in_the_ledger(live: Live, tmp_path: Path) -> None:
    (tmp_path / "terminated.py").write_text(TERMINATED)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    environ = {**kept, "XRAY_API_URL": live.url, "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "terminated.py"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    (step,) = live.get("/runs/terminated")["steps"]
    ledger = step["ledger"]
    assert ledger["unaccounted"] == 100 - (ledger["rejected"] or 0)
    assert ledger["flags"] == ["unaccounted"]
    assert live.why("terminated", "item-99")["outcome"] in ("not_captured", "dropped")  # never: rejected, or not there
