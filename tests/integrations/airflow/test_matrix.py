"""The same plugin and the same DAG under other versions of Airflow than the one of the development environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.integrations.airflow.airflow_stack import ROOT, Airflow, eventually
from tests.integrations.airflow.test_stack import finished, steps_of
from tests.missing import missing
from tests.server.conftest import LoopbackServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

# The newest is the development environment's (test_stack.py). Packages are taken as of a day when the version was new:
# what Airflow's own constraint files are for.
VERSIONS = {"3.0.6": "2025-09-10", "2.11.0": "2025-09-10"}
DEPENDENCIES = ["apache-airflow-providers-standard", "pluggy", "pydantic", "requests", "xxhash", "msgspec", "rich"]


@pytest.fixture(params=list(VERSIONS))
def environment(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """(version, bin directory) of a virtual environment with that Airflow and this X-Ray; kept for the next time."""
    version: str = request.param
    place = (
        Path(tempfile.gettempdir()) / "xray-airflow-matrix" / f"{version}-py{sys.version_info[0]}{sys.version_info[1]}"
    )
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        missing("uv: make .venv/.dev installs it")
    install = [uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python")]
    try:
        if not (place / ".done").exists():
            subprocess.run(
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
                check=True,
                capture_output=True,
            )
            wanted = [f"apache-airflow=={version}", *DEPENDENCIES]
            dated = [*install, "--exclude-newer", f"{VERSIONS[version]}T00:00:00Z", *wanted]
            subprocess.run(dated, check=True, capture_output=True, timeout=600)
            (place / ".done").touch()
        subprocess.run([*install, "--no-deps", "-e", str(ROOT)], check=True, capture_output=True, timeout=120)
    except subprocess.CalledProcessError as error:
        missing(f"Airflow {version}, which cannot be installed: {error.stderr.decode()[-500:]}")
    return version, place / "bin"


@pytest.fixture
def xray(tmp_path: Path) -> Iterator[httpx.Client]:
    store = SQLiteStore(tmp_path / "xray.db")
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
    server.stop()
    store.close()


def test_the_same_dag_gives_the_same_run_in_every_version(
    environment: tuple[str, Path], xray: httpx.Client, tmp_path: Path
) -> None:
    version, bin_dir = environment
    airflow = Airflow(
        bin_dir, tmp_path / "airflow", [Path(__file__).parent / "dags_stack" / "matrix.py"],
        XRAY_API_URL=str(xray.base_url).rstrip("/"), XRAY_SPOOL_DIR=str(tmp_path / "spool"),
    )  # fmt: skip
    try:
        airflow.start(legacy=version.startswith("2."))
        airflow.trigger("matrix", "m1", {"limit": 3})
        run = eventually(
            lambda: finished(xray, "matrix", "m1", tasks=10),
            timeout_s=600,
            what=f"the run under {version}\n{airflow.log()}",
        )
    finally:
        airflow.stop()
    steps = steps_of(run)
    assert run["status"] == "failed"
    assert run["input"] == {"limit": 3}
    assert {name: each[-1]["status"] for name, each in steps.items()} == {
        "keep_even": "completed", "double": "completed", "second_time_lucky": "completed", "fails": "failed",
        "after_failure": "skipped", "skips_itself": "skipped", "bash": "completed", "chooses": "completed",
        "taken": "completed", "not_taken": "skipped",
    }  # fmt: skip
    assert len(steps["double"]) == 2
    assert steps["keep_even"][0]["rejection_counts"] == {"odd": 3}
    assert steps["bash"][0]["rejection_counts"] == {"bash": 1}
    assert [each["status"] for each in steps["second_time_lucky"]] == ["failed", "completed"]
    assert steps["fails"][0]["error"]["message"] == "the price is missing"
    assert steps["skips_itself"][0]["error"]["message"] == "nothing to do today"
    assert steps["not_taken"][0]["error"]["message"] == "chooses chose not to run it"
    assert steps["after_failure"][0]["error"]["message"] == "upstream failed: fails"
