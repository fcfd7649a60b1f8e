"""A slice of Prefect's own tests, without X-Ray and with it: each of them has to end alike (`make test-stack`).

They come with Prefect's repository alone: `XRAY_TEST_PREFECT` names a checkout of the installed version, else one is cloned. Uses
own_suite_plugin.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integrations.own_suite import Ends, both, passed, printed, start, unlike
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
    "sqlalchemy<2.1",  # of the time of these versions: 2.1 warns of Prefect's own types, and its tests take warnings for errors
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


def test_prefects_own_tests_end_alike_with_and_without_x_ray(source: Path, tmp_path: Path) -> None:
    python = environment(VERSION, TOOLS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "XRAY_", "PYTEST_"))}
    live = Live(tmp_path)

    def start_tests(tests: Iterable[str], home: Path, with_xray: bool) -> subprocess.Popen[bytes]:
        variables = {
            **clean, "HOME": str(home), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parent), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }  # fmt: skip
        command = [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "own_suite_plugin", "-o", "timeout=600", *tests]
        if with_xray:
            command = [str(python.parent / "xray"), "run", "--", *command]
            variables |= {"XRAY_API_URL": live.url, "XRAY_SPOOL_DIR": str(home / "spool")}
        return start(command, home, source, variables)

    def ends(tests: Iterable[str], place: str) -> tuple[Ends, Ends]:
        return both(partial(start_tests, tests), tmp_path / place, source, timeout_s=1_400, at_once=False)

    try:
        without, with_ = ends([f"tests/{name}.py" for name in SLICE], "all")
        assert passed(without) >= AT_LEAST, printed(tmp_path / "all")[-6_000:]
        different = left = unlike(without, with_)
        for n in range(_AGAIN):
            if left:
                left = unlike(*ends(sorted(left), f"again{n}"))
        assert left == {}, printed(tmp_path / f"again{_AGAIN - 1}")[-6_000:]
        captured = len(live.get("/runs", limit=1_000)["runs"])
        print(f"{len(without)} tests of Prefect {VERSION}, {captured} runs captured, asked again: {sorted(different)}")
        assert captured >= RUNS_AT_LEAST
    finally:
        live.stop()
