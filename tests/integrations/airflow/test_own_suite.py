"""Several hundred tests of Airflow's own task runner and operators, with X-Ray and without: each ends the same.

They come with the source distribution of Airflow's task SDK, and the test tools with a package of their own. Uses own_suite_plugin.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integrations.own_suite import both, passed, printed, sdist, start, unlike
from tests.missing import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]

BIN = Path(sys.executable).parent
# What runs tasks, and what they are made of.
CHOSEN = (
    "execution_time/test_task_runner.py", "execution_time/test_supervisor.py", "execution_time/test_lazy_sequence.py",
    "execution_time/test_task_mapping.py", "execution_time/test_context.py", "execution_time/test_timeout.py", "bases",
    "definitions/test_mappedoperator.py", "definitions/test_xcom_arg.py", "definitions/test_dag.py", "definitions/decorators",
)  # fmt: skip
TOOLS = ("apache-airflow-devel-common==0.1.1", "kgb==7.3", "pytest-unordered==0.8.0", "pytest-asyncio==1.5.0", "pytest-mock==3.17.0", "time-machine==3.6.0")  # fmt: skip
AT_LEAST = 700  # tests that pass: fewer would compare little


@pytest.fixture(scope="module")
def suite() -> Path:
    """The tests of the version installed here; beside them `tools` and `sources`. Kept for the next time."""
    unpacked = sdist("apache-airflow-task-sdk", version("apache-airflow-task-sdk"))
    if not (unpacked.parent / "tools_done").exists():
        _install_tools(unpacked.parent)
        (unpacked.parent / "tools_done").touch()
    return unpacked


def _install_tools(place: Path) -> None:
    uv = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        missing("uv: make .venv/.dev installs it")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(place / "tools"), *TOOLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        missing(f"{command[-1]} from the package index: {done.stderr[-300:]}")
    generated = place / "sources" / "generated"  # without them the tools would make a list of providers
    generated.mkdir(parents=True, exist_ok=True)
    (generated / "provider_dependencies.json").write_text("{}")
    (generated / "provider_dependencies.json.sha256sum").write_text(hashlib.sha256().hexdigest())


def test_airflows_own_tests_of_its_task_runner_end_as_without_xray(suite: Path, tmp_path: Path) -> None:
    def start_tests(home: Path, with_xray: bool) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": f"{BIN}{os.pathsep}/usr/bin:/bin", "HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"), "LANG": "C.UTF-8",
            "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{suite.parent / 'tools'}",
            "AIRFLOW_SOURCES": str(suite.parent / "sources"),
            "_AIRFLOW_SKIP_DB_TESTS": "true", "_AIRFLOW__AS_LIBRARY": "true", "PYTHONDONTWRITEBYTECODE": "1",
            "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_SHUTDOWN_TIMEOUT_S": "0",
            **({} if with_xray else {"XRAY_ENABLED": "0"}),
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests_common.pytest_plugin", "-p", "own_suite_plugin"]
        command += ["-p", "no:randomly", "--continue-on-collection-errors", "--timeout", "120"]
        return start([*command, *(f"tests/task_sdk/{each}" for each in CHOSEN)], home, suite, environment)

    without, with_ = both(start_tests, tmp_path, suite, timeout_s=1_500)
    assert passed(without) >= AT_LEAST
    assert unlike(without, with_) == {}, printed(tmp_path)[-6_000:]
    assert not (tmp_path / "without" / "spool").exists()
    assert json.loads((tmp_path / "with" / "swallowed.json").read_text()) == {}
    captured = b"".join(file.read_bytes() for file in (tmp_path / "with" / "spool").rglob("*.seg"))
    assert captured.count(b'"kind":"step"') > 200, "X-Ray was at work"
