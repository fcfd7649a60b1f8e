"""What is captured where: what `xray doctor` says, one line of Prefect's configuration, processes that were not reached.

Tests instrument.py and elsewhere.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect import flow, task
from prefect.futures import PrefectConcurrentFuture
from prefect.settings import get_current_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from xray_prefect import tasks
from xray_prefect.adapter import adapter

from tests.integrations.prefect.captured import Seen
from xray_core import autoload
from xray_core.journey import uncaptured
from xray_core.model import HANDED_OVER, NOT_REACHED
from xray_core.plugins.instrument import Instrument


def about(report: list[dict[str, Any]]) -> dict[str, Any]:
    """The part about Prefect."""
    return next(each for each in report if each["framework"] == "prefect")


def doctor(directory: Path, *options: str, **environ: str) -> dict[str, Any]:
    """What `xray doctor` says of Prefect in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_PLUGINS", "XRAY_"))}
    command = [str(Path(sys.executable).with_name("xray")), "doctor", "--json", *options]
    environment = {**clean, "XRAY_SPOOL_DIR": str(directory / "spool"), "XRAY_API_URL": "http://127.0.0.1:9", **environ}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=200)
    return about(json.loads(done.stdout)["integrations"])


def test_in_a_task_doctor_says_that_the_process_captures_and_what_it_runs(seen: Seen) -> None:
    @task(task_run_name="asks")
    def asks() -> dict[str, Any]:
        return about(autoload.report())

    @flow(flow_run_name="nightly-7")
    def asking() -> dict[str, Any]:
        return asks()

    found = asking()
    assert (found["enabled"], found["missing"]) == (True, {})
    assert found["how"].startswith("captured here; ")
    assert found["how"].endswith("; this process runs asks of nightly-7")
    assert about(autoload.report())["how"].startswith("captured here; ")
    assert "this process runs" not in about(autoload.report())["how"]


def test_beside_prefect_doctor_says_how_to_enable_it_and_imports_none(tmp_path: Path) -> None:
    found = doctor(tmp_path)
    assert (found["enabled"], found["supported"], found["imported"]) == (False, True, False)
    assert "prefect.toml" in found["how"]
    assert "xray doctor --check" in found["how"]


def test_switched_off_doctor_says_by_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_ENABLED", "0")
    assert about(autoload.report())["how"] == "switched off: XRAY_ENABLED"


@pytest.mark.stack
@pytest.mark.parametrize(("file", "table"), [("prefect.toml", "plugins"), ("pyproject.toml", "tool.prefect.plugins")])
def test_one_line_of_the_projects_own_configuration_enables_x_ray(tmp_path: Path, file: str, table: str) -> None:
    if not hasattr(get_current_settings(), "plugins"):
        # nothing is missing: older versions of Prefect are tested too (test_versions.py)
        pytest.skip("Prefect before 3.7 has no such setting in files")
    before = doctor(tmp_path, "--check")
    assert "Prefect loads the plugin by itself" not in before["how"]
    (tmp_path / file).write_text(f"[{table}]\nenabled = true\n")
    after = doctor(tmp_path, "--check")
    assert after["how"] == "captured here; Prefect loads the plugin by itself"
    assert after["missing"] == {}


class Elsewhere(TaskRunner[Any]):
    """A task runner of another package: who waits for its futures learns nothing of the process that runs them."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPoolTaskRunner(max_workers=1)

    def __enter__(self) -> Any:
        self._pool.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)
        super().__exit__(*error)

    def duplicate(self) -> Elsewhere:
        return Elsewhere()

    def submit(self, task: Any, parameters: Any, wait_for: Any = None, dependencies: Any = None) -> Any:
        future = self._pool.submit(task, parameters, wait_for, dependencies)
        return Hidden(future.task_run_id, future.wrapped_future)


class Hidden(PrefectConcurrentFuture[Any]):
    """What a cluster hands out: it can be waited for, and does not say whether it has begun."""

    @property
    def wrapped_future(self) -> Any:
        return _Opaque(super().wrapped_future)


class _Opaque:
    def __init__(self, future: Future[Any]) -> None:
        self.result = future.result
        self.add_done_callback = future.add_done_callback


def test_mapped_tasks_of_any_task_runner_are_numbered_and_the_run_says_where_they_went(seen: Seen) -> None:
    @task
    def double(n: int) -> int:
        return 2 * n

    @flow(task_runner=Elsewhere())
    def on_a_cluster() -> list[int]:
        return double.map([1, 2, 3]).result()

    assert on_a_cluster() == [2, 4, 6]
    captured = seen.now()
    assert [step["map_index"] for step in captured.steps("double")] == [0, 1, 2]
    metadata = captured.run("on-a-cluster")["metadata"]
    about = metadata[HANDED_OVER]
    assert {name: about[name] for name in ("n", "to", "own")} == {"n": 3, "to": "Elsewhere", "own": 0}
    assert "xray run" in about["note"]
    assert NOT_REACHED not in metadata
    assert uncaptured(captured.steps(), metadata=metadata) == []  # its workers are threads of this process


def test_a_run_says_which_of_its_tasks_went_where_nothing_is_captured_and_what_to_do(seen: Seen) -> None:
    @task
    def later(n: int) -> int:
        return n

    @task
    def now() -> int:
        return 1

    @flow
    def delays() -> int:
        later.delay(1)  # no task worker serves it
        later.apply_async((2,))
        return now()

    delays()
    captured = seen.now()
    (said,) = uncaptured(captured.steps(), metadata=captured.run("delays")["metadata"])
    assert said.startswith("at least 2 of the 2 tasks that this run handed to task workers were not captured: ")
    assert "`xray run -- CMD`" in said


def test_where_tasks_cannot_be_wrapped_a_run_without_a_step_says_so(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def alone() -> int:
        return 1

    alone()
    monkeypatch.setattr(adapter, "unseen", None)
    other = Instrument("prefect", distribution="prefect", since="3.0", before="4", seams={}, how=str)
    tasks.wrap_task_engine(ModuleType("prefect.task_engine"), other)  # as of a version that has its engines elsewhere
    alone()
    before, after = (run["metadata"].get(NOT_REACHED) for run in seen.now().runs("alone"))
    assert before is None
    assert after.endswith("has no prefect.task_engine.AsyncTaskRunEngine")
    assert [record.getMessage().split(";")[0] for record in caplog.records if record.name == "xray"] == [
        f"X-Ray: prefect {other.version()} has no prefect.task_engine.SyncTaskRunEngine (not in this version)"
    ]
