"""Several hundred of Dagster's own tests, with X-Ray and without: each ends the same.

They come with Dagster's source distribution, which is fetched from the package index.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3_600)]

BIN = Path(sys.executable).parent
# What executes something in one process: runs, steps, hooks, dynamic outputs, Pipes, events, assets and their checks.
CHOSEN = (
    *(f"core_tests/{name}" for name in (
        "hook_tests", "test_job_execution.py", "test_compute_only_job.py", "test_multiple_outputs.py", "test_nothing_dependencies.py",
        "test_op_with_config.py", "test_event_logging.py", "test_mask_user_code_errors.py", "test_user_code_boundary.py",
    )),
    *(f"execution_tests/{name}" for name in (
        "context_tests", "dynamic_tests/test_dsl.py", "dynamic_tests/test_not_allowed.py",
        "execution_plan_tests/test_execution_plan.py", "execution_plan_tests/test_execution_plan_subset.py",
        "misc_execution_tests/test_async.py", "misc_execution_tests/test_context.py",
        "misc_execution_tests/test_expectations.py", "misc_execution_tests/test_failure.py", "misc_execution_tests/test_metadata.py",
        "misc_execution_tests/test_op_iterators.py", "misc_execution_tests/test_require_typed_event_stream.py",
        "pipes_tests/test_in_process_client.py", "pipes_tests/test_merge_streams.py",
    )),
    *(f"asset_defs_tests/{name}" for name in (
        "test_asset_job.py", "test_materialize.py", "test_materialize_to_memory.py", "test_observe.py", "test_partitioned_assets.py",
        "test_source_asset_observation_job.py",
    )),
    *(f"definitions_tests/{name}" for name in (
        "decorators_tests/test_asset_check_decorator.py", "test_materialize_result.py", "test_observe_result.py", "test_op_io.py",
        "test_output_events.py",
    )),
)  # fmt: skip
# Those of them that start processes, which takes seconds each.
STARTS_PROCESSES = "multiproc or reexecution or reconstructable or repo_context or earliest_step_failure"
# What the whole of Dagster's repository brings along and its source distribution does not.
STAND_IN = "def scrub_tox_uv_project_environment():\n    pass\n"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of the version that is installed here."""
    place = tmp_path_factory.mktemp("dagster_sdist")
    wanted = f"dagster=={version('dagster')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "dagster", wanted]
    done = subprocess.run([*command, "--dest", str(place)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    stand_in = place / "stand_in" / "dagster_test" / "dg_utils" / "utils.py"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(STAND_IN)
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "dagster_tests").symlink_to(place / archive.name.removesuffix(".tar.gz") / "dagster_tests")
    return place


def start(suite: Path, home: Path, tests: Sequence[str], *, with_xray: bool) -> subprocess.Popen[bytes]:
    """Their test runner on these tests; results.xml in `home` says how each ended."""
    (home / "tmp").mkdir(parents=True)
    environment = {
        **os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": os.pathsep.join([str(suite), str(suite / "stand_in")]),
        "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_SHUTDOWN_TIMEOUT_S": "0",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DAGSTER_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    environment.pop("DAGSTER_HOME", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout", "600"]
    command += [
        "-c",
        str(suite / "pytest.ini"),
        "--rootdir",
        str(suite),
        "--junitxml",
        str(home / "results.xml"),
        *tests,
    ]
    around = [str(BIN / "xray"), "run", "--"] if with_xray else []
    with (home / "out.txt").open("w") as out:
        return subprocess.Popen([*around, *command], cwd=suite, env=environment, stdout=out, stderr=out)


def ends(suite: Path, homes: dict[str, Path], tests: Sequence[str]) -> list[dict[str, str]]:
    """{test: how it ended} of a run without X-Ray and of one with it, side by side."""
    both = [start(suite, home, tests, with_xray=name == "with") for name, home in homes.items()]
    try:
        for process in both:
            process.wait(3_000)
    finally:
        for process in both:
            process.kill()
            process.wait()
    return [_ends(home) for home in homes.values()]


def _ends(home: Path) -> dict[str, str]:
    results = home / "results.xml"
    assert results.exists(), (home / "out.txt").read_text()[-3_000:]
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        how = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[f"{case.get('classname')}.{case.get('name')}"] = how
    return found


def test_dagsters_own_tests_end_as_without_xray(suite: Path, tmp_path: Path) -> None:
    tests = [f"dagster_tests/{each}" for each in CHOSEN]
    homes = {"without": tmp_path / "without", "with": tmp_path / "with"}
    without, with_ = ends(suite, homes, tests)
    assert len(without) >= 400
    assert sum(how == "passed" for how in without.values()) >= 250, (
        "some want other versions than ours: the same ones both times"
    )
    others = {
        name: (without.get(name), with_.get(name))
        for name in {*without, *with_}
        if without.get(name) != with_.get(name)
    }
    assert not others, (homes["with"] / "out.txt").read_text()[-6_000:]
    assert not (homes["without"] / "spool").exists()
    told = [line for line in (homes["with"] / "out.txt").read_text().splitlines() if "X-Ray: " in line]
    assert not [line for line in told if "cannot be reached" not in line], told
    assert sum(file.stat().st_size for file in (homes["with"] / "spool").rglob("*")) > 200_000, "X-Ray was at work"
