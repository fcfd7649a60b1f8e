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
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.missing import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]

BIN = Path(sys.executable).parent
# What runs tasks, and what they are made of.
CHOSEN = (
    "execution_time/test_task_runner.py", "execution_time/test_supervisor.py", "execution_time/test_lazy_sequence.py",
    "execution_time/test_task_mapping.py", "execution_time/test_context.py", "execution_time/test_timeout.py", "bases",
    "definitions/test_mappedoperator.py", "definitions/test_xcom_arg.py", "definitions/test_dag.py", "definitions/decorators",
)  # fmt: skip
TOOLS = ("apache-airflow-devel-common==0.1.1", "kgb==7.3", "pytest-asyncio==1.5.0", "pytest-mock==3.17.0", "time-machine==3.6.0")  # fmt: skip
AT_LEAST = 700  # tests that pass: fewer would compare little


@pytest.fixture(scope="module")
def suite() -> Path:
    """A folder with the tests of the version installed here, and beside it `tools`; kept for the next time."""
    place = Path(tempfile.gettempdir()) / "xray-airflow-own-suite" / version("apache-airflow-task-sdk")
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        _install(place)
        (place / "done").touch()
    (unpacked,) = (each for each in place.glob("apache_airflow_task_sdk-*") if each.is_dir())
    return unpacked


def _install(place: Path) -> None:
    uv = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        missing("uv: make .venv/.dev installs it")
    wanted = f"apache-airflow-task-sdk=={version('apache-airflow-task-sdk')}"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", wanted]
    for command in (
        [*download, "--dest", str(place)],
        [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(place / "tools"), *TOOLS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            missing(f"{command[-1]} from the package index: {done.stderr[-300:]}")
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    generated = place / "sources" / "generated"  # without them the tools would make a list of providers
    generated.mkdir(parents=True)
    (generated / "provider_dependencies.json").write_text("{}")
    (generated / "provider_dependencies.json.sha256sum").write_text(hashlib.sha256().hexdigest())


def start(suite: Path, home: Path, tests: Sequence[str], **environ: str) -> subprocess.Popen[bytes]:
    """Their test runner on these tests; results.xml in `home` says how each ended."""
    home.mkdir(parents=True)
    plugins = Path(__file__).parent
    environment = {
        "PATH": f"{BIN}{os.pathsep}/usr/bin:/bin", "HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"), "LANG": "C.UTF-8",
        "PYTHONPATH": f"{plugins}{os.pathsep}{suite.parent / 'tools'}", "AIRFLOW_SOURCES": str(suite.parent / "sources"),
        "_AIRFLOW_SKIP_DB_TESTS": "true", "_AIRFLOW__AS_LIBRARY": "true", "PYTHONDONTWRITEBYTECODE": "1",
        "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_SHUTDOWN_TIMEOUT_S": "0", **environ,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests_common.pytest_plugin", "-p", "own_suite_plugin"]
    command += [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--continue-on-collection-errors",
        "--timeout",
        "120",
        "--junitxml",
        str(home / "results.xml"),
    ]
    with (home / "out.txt").open("w") as out:
        return subprocess.Popen([*command, *tests], cwd=suite, env=environment, stdout=out, stderr=out)


def _ends(home: Path) -> dict[str, str]:
    """{test: how it ended}."""
    results = home / "results.xml"
    assert results.exists(), (home / "out.txt").read_text()[-3_000:]
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        how = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[f"{case.get('classname')}.{case.get('name')}"] = how
    return found


def test_airflows_own_tests_of_its_task_runner_end_as_without_xray(suite: Path, tmp_path: Path) -> None:
    tests = [f"tests/task_sdk/{each}" for each in CHOSEN]
    homes = {"without": tmp_path / "without", "with": tmp_path / "with"}
    both = [
        start(suite, home, tests, **({} if name == "with" else {"XRAY_ENABLED": "0"})) for name, home in homes.items()
    ]
    try:
        for process in both:
            process.wait(1_500)
    finally:
        for process in both:
            process.kill()
            process.wait()
    without, with_ = (_ends(home) for home in homes.values())
    assert sum(how == "passed" for how in without.values()) >= AT_LEAST
    others = {
        name: (without.get(name), with_.get(name))
        for name in {*without, *with_}
        if without.get(name) != with_.get(name)
    }
    assert not others, (homes["with"] / "out.txt").read_text()[-6_000:]
    assert not (homes["without"] / "spool").exists()
    assert json.loads((homes["with"] / "swallowed.json").read_text()) == {}
    captured = b"".join(file.read_bytes() for file in (homes["with"] / "spool").rglob("*.seg"))
    assert captured.count(b'"kind":"step"') > 200, "X-Ray was at work"
