"""A slice of Prefect's own tests, without X-Ray and with it: each of them has to end alike (`make test-stack`).

They come with Prefect's repository alone: `XRAY_TEST_PREFECT` names a checkout of the installed version, else one is cloned. Uses
own_suite_plugin.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integrations.prefect.test_versions import VENVS, environment
from tests.live import Live
from tests.missing import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3_000)]

VERSION = version("prefect")
SLICE = (
    "test_task_engine",
    "test_flow_engine",
    "test_transactions",
    "test_context",
    "test_futures",
    "test_task_runners",
)
AT_LEAST = 300  # tests that pass: fewer compare little
RUNS_AT_LEAST = 100  # that X-Ray captures meanwhile
TOOLS = [
    "pytest>=9,<10", "pytest-asyncio>=1.1,<1.5", "pytest-env", "pytest-timeout", "pytest-xdist", "asyncpg", "numpy",
    "opentelemetry-test-utils", "respx", "moto", "pyyaml", "setuptools<81",
]  # fmt: skip
_AGAIN = 3  # a test that ends otherwise is asked so often alone: some of Prefect's own are right only mostly


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of Prefect, of the version installed."""
    given = os.environ.get("XRAY_TEST_PREFECT")
    if given:
        return Path(given)
    place = VENVS / f"source-{VERSION}"
    if not (place / "tests").is_dir():
        shutil.rmtree(place, ignore_errors=True)
        clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", VERSION]
        done = subprocess.run(
            [*clone, "https://github.com/PrefectHQ/prefect", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            missing(f"Prefect {VERSION} in XRAY_TEST_PREFECT, or a network to clone it: {done.stderr[-300:]}")
    return place


class Suite:
    """Prefect's tests in an environment of their own."""

    def __init__(self, source: Path, python: Path, home: Path, server_url: str) -> None:
        self._source, self._python, self._home = source, python, home
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XRAY_", "PYTEST_"))
        }
        self._environment = {
            **clean,
            "HOME": str(home),
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parent),
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self._xray = {"XRAY_API_URL": server_url, "XRAY_SPOOL_DIR": str(home / "spool")}

    def outcomes(self, tests: Iterable[str], *, with_xray: bool) -> dict[str, str]:
        """How each test ended: {its node id: "passed", "skipped", "failure" or "error"}."""
        report = self._home / "report.xml"
        report.unlink(missing_ok=True)
        options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-p", "own_suite_plugin", "-o", "timeout=600"]
        command = [str(self._python), "-m", "pytest", *options, f"--junitxml={report}", *tests]
        if with_xray:
            command = [str(self._python.parent / "xray"), "run", "--", *command]
        done = subprocess.run(
            command, cwd=self._source, env={**self._environment, **(self._xray if with_xray else {})},
            capture_output=True, text=True, timeout=1_400,
        )  # fmt: skip
        assert report.exists(), (done.stdout + done.stderr)[-3_000:]
        return {
            self._node_id(case): next(
                (each.tag for each in case if each.tag in ("skipped", "failure", "error")), "passed"
            )
            for case in ElementTree.parse(report).iter("testcase")
        }

    def _node_id(self, case: ElementTree.Element) -> str:
        """pytest's report has the module and the class as one dotted name."""
        parts = str(case.get("classname")).split(".")
        for n in range(len(parts), 0, -1):
            file = Path(*parts[:n]).with_suffix(".py")
            if (self._source / file).is_file():
                return "::".join([file.as_posix(), *parts[n:], str(case.get("name"))])
        return str(case.get("name"))


def test_prefects_own_tests_end_alike_with_and_without_x_ray(source: Path, tmp_path: Path) -> None:
    python = environment(VERSION, TOOLS)
    live = Live(tmp_path)
    try:
        suite = Suite(source, python, tmp_path, live.url)
        files = [f"tests/{name}.py" for name in SLICE]
        without = suite.outcomes(files, with_xray=False)
        with_xray = suite.outcomes(files, with_xray=True)
        assert with_xray.keys() == without.keys()
        assert sum(outcome == "passed" for outcome in without.values()) >= AT_LEAST
        different = {name for name, outcome in without.items() if with_xray[name] != outcome}
        left = set(different)
        for _ in range(_AGAIN):
            if left:
                again = [suite.outcomes(sorted(left), with_xray=way) for way in (False, True)]
                left = {name for name in left if again[0].get(name) != again[1].get(name)}
        assert not left, {name: (without[name], with_xray[name]) for name in sorted(left)}
        captured = len(live.get("/runs", limit=1_000)["runs"])
        print(f"{len(without)} tests of Prefect {VERSION}, {captured} runs captured, asked again: {sorted(different)}")
        assert captured >= RUNS_AT_LEAST
    finally:
        live.stop()
