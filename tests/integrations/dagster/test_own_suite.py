"""Several hundred of Dagster's own tests, with X-Ray and without: each ends the same.

They come with Dagster's source distribution, which is fetched from the package index.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integrations.own_suite import both, passed, printed, sdist, start, unlike

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
# What the whole of Dagster's repository brings along and its source distribution does not.
AT_LEAST = 400  # tests that pass: fewer compare little
STAND_IN = "def scrub_tox_uv_project_environment():\n    pass\n"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests of the version that is installed here, and with what else they need."""
    place = tmp_path_factory.mktemp("dagster_suite")
    stand_in = place / "stand_in" / "dagster_test" / "dg_utils" / "utils.py"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(STAND_IN)
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "dagster_tests").symlink_to(sdist("dagster", version("dagster")) / "dagster_tests")
    return place


def test_dagsters_own_tests_end_as_without_xray(suite: Path, tmp_path: Path) -> None:
    def start_tests(home: Path, with_xray: bool) -> subprocess.Popen[bytes]:
        (home / "tmp").mkdir()
        environment = {
            **os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(suite), str(suite / "stand_in")]),
            "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": str(home / "spool"), "XRAY_SHUTDOWN_TIMEOUT_S": "0",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DAGSTER_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        environment.pop("DAGSTER_HOME", None)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--timeout", "600"]
        command += [
            "-c",
            str(suite / "pytest.ini"),
            "--rootdir",
            str(suite),
            *(f"dagster_tests/{each}" for each in CHOSEN),
        ]
        around = [str(BIN / "xray"), "run", "--"] if with_xray else []
        return start([*around, *command], home, suite, environment)

    without, with_ = both(start_tests, tmp_path, suite, timeout_s=3_000)
    assert passed(without) >= AT_LEAST
    assert unlike(without, with_) == {}, printed(tmp_path)[-6_000:]
    assert not (tmp_path / "without" / "spool").exists()
    told = [line for line in printed(tmp_path).splitlines() if "X-Ray: " in line]
    assert not [line for line in told if "cannot be reached" not in line], told
    assert sum(file.stat().st_size for file in (tmp_path / "with" / "spool").rglob("*")) > 200_000, "X-Ray was at work"
