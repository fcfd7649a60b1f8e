"""The versions of Prefect that docs/prefect.md promises, each in an environment of its own (`make test-stack`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integrations.prefect.captured import Captured, read_spool

ROOT = Path(__file__).parents[3]
# one place a checkout: the environments hold it as it stands
VENVS = Path(tempfile.gettempdir()) / f"xray-prefect-matrix-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"
DASK = ("3.9.1", ["prefect-dask"])
MATRIX = [
    ("3.9.1", "plugin"),
    ("3.8.8", "plugin"),
    ("3.7.7", "plugin"),
    ("3.4.24", "plugin"),
    ("3.4.0", "xray run"),
    ("3.2.0", "xray run"),
    ("3.0.11", "xray run"),
    ("3.0.0", "one line"),
]
# What these versions ask for without an upper bound, and do not work with any more: Prefect alone fails the same way.
PERIOD = [
    ((4,), "fastapi<0.140"),
    ((3, 8), "fastapi<0.137"),
    ((3, 7), "fastapi<0.116"),
    ((3, 7), "pydantic<2.12"),
    ((3, 2), "pydantic<2.10"),
    ((3, 2), "griffe<2"),
]
pytestmark = [pytest.mark.stack]


def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def environment(version: str, more: Sequence[str] = ()) -> Path:
    """The Python of an environment with this Prefect and this checkout; made once, and kept for the next time."""
    venv = VENVS / "-".join([version, *more])
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        run = [str(Path(sys.executable).parent / "uv")]
        settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
        subprocess.run([*run, "venv", "-q", "--clear", "--python", sys.executable, str(venv)], check=True, env=settings)
        packages = [
            f"prefect=={version}",
            *more,
            "-e",
            str(ROOT),
            *(pin for below, pin in PERIOD if _key(version) < below),
        ]
        subprocess.run(
            [*run, "pip", "install", "-q", "--python", str(python), *packages], check=True, env=settings, timeout=400
        )
        (venv / "complete").touch()
    return python


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("version", "way"), MATRIX)
def test_this_version_is_captured(version: str, way: str, tmp_path: Path) -> None:
    python = environment(version)
    script = ROOT / "tests" / "integrations" / "prefect" / "matrix_flow.py"
    command = [str(python), str(script)]
    variables = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200",
        "DO_NOT_TRACK": "1",
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": str(ROOT),
    }
    if way == "plugin":
        variables["PREFECT_PLUGINS_ENABLED" if _key(version) >= (3, 7) else "PREFECT_EXPERIMENTS_PLUGINS_ENABLED"] = "1"
    elif way == "xray run":
        command = [str(python.parent / "xray"), "run", "--", *command]
    else:
        code = "import xray_prefect, runpy; xray_prefect.enable(); runpy.run_path({!r}, run_name='__main__')"
        command = [str(python), "-c", code.format(str(script))]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XRAY_"))}
    done = subprocess.run(
        command, env={**clean, **variables}, capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["prefect"] == version
    assert told["results"] == [1, [0, 1], 2]
    assert told["report"]["missing"] == {}
    captured = Captured(told["records"])
    first, second = captured.steps("flaky")
    assert (first["status"], second["status"], second["output"]["size"]) == ("failed", "completed", 3)
    assert (captured.rejected(first), captured.rejected(second)) == (["try1"], ["try2"])
    assert captured.step("fails")["status"] == "failed"
    statuses = sorted((step["status"], step["map_index"] is not None) for step in captured.steps("after"))
    assert statuses == [("completed", False), ("completed", True), ("completed", True), ("skipped", False)]
    assert captured.rejected(captured.step("numbers")) == ["g0", "g1"]
    assert sorted(captured.rejected(step) for step in captured.steps("awaits")) == [["a0"], ["a1"]]
    assert captured.run("parent")["input"] == {"api_key": "[redacted]"}
    assert captured.run("child")["parent"]["step_id"] == captured.step("child")["step_id"]
    assert captured.run("crashes")["origin"]["state"] == "Crashed"


ON_DASK = """
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness
from prefect_dask import DaskTaskRunner
from xray_core import current_step

@task
def work(n):
    import os
    current_step().reject(f"item{n}", "r", {"pid": os.getpid()})
    return n

@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}))
def on_dask():
    return sum(work.map(range(4)).result())

if __name__ == "__main__":
    import os
    print(os.getpid())
    with prefect_test_harness(server_startup_timeout=200):
        assert on_dask() == 6
"""


@pytest.mark.timeout(600)
def test_tasks_on_dask_workers_are_steps_of_the_flow_they_belong_to(tmp_path: Path) -> None:
    version, more = DASK
    python = environment(version, more)
    (tmp_path / "flow.py").write_text(ON_DASK)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XRAY_"))}
    variables = {
        **clean,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200",
        "DO_NOT_TRACK": "1",
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "XRAY_API_URL": "http://127.0.0.1:9",
    }
    command = [str(python.parent / "xray"), "run", "--", str(python), "flow.py"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3_000:]
    captured = read_spool(tmp_path)
    steps = captured.steps("work")
    assert sorted(captured.rejected(step) for step in steps) == [["item0"], ["item1"], ["item2"], ["item3"]]
    assert {step["run_id"] for step in steps} == {captured.run("on-dask")["run_id"]}
    assert {step["status"] for step in steps} == {"completed"}
    pids = {
        sample["details"]["pid"]
        for record in captured.records
        if record["kind"] == "samples"
        for sample in record["samples"]
    }
    assert int(done.stdout.split()[0]) not in pids, "tasks ran in Dask's own processes"
