"""What must not happen: tasks that behave otherwise because X-Ray is there, hooks that Airflow refuses, DAGs that no
longer import.

Tests config.py, listener.py and plugin.py.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest
from xray_airflow import config, listener
from xray_airflow.fields import skipped_tasks, step_type_of

from tests.integrations.airflow.conftest import Captured, Outcome

Runs = Callable[..., Outcome]
Reads = Callable[[], Captured]


@pytest.mark.parametrize("task_id", ["keep_even", "fails", "skips_itself", "chooses", "defers"])
def test_a_task_whose_capture_cannot_work_ends_as_without_xray(
    task_id: str, runs_task: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that no client can be made of: every hook of X-Ray's fails."""
    monkeypatch.setenv("XRAY_ENABLED", "0")
    without = runs_task(task_id)
    monkeypatch.setenv("XRAY_ENABLED", "1")
    monkeypatch.setenv("XRAY_CAPTURE", "everything")
    broken = runs_task(task_id)
    assert (broken.states, broken.exit_code) == (without.states, without.exit_code)
    assert _requests(broken) == _requests(without)


def test_switched_off_nothing_is_captured(runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_ENABLED", "0")
    assert runs_task("keep_even").states == ["success"]
    monkeypatch.delenv("XRAY_ENABLED")
    assert captured().records == []


def test_only_dags_that_are_allowed_and_not_denied_are_captured(
    runs_task: Runs, captured: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_DAG_DENY", "secret_*, ca*")
    assert runs_task("keep_even").states == ["success"]
    assert captured().records == []
    assert config.DagFilter(allow=("etl_*",)).wants("etl_daily")
    assert not config.DagFilter(allow=("etl_*",)).wants("ad_hoc")
    assert not config.DagFilter(allow=("etl_*",), deny=("*_tmp",)).wants("etl_tmp")


def test_another_plugin_whose_hooks_raise_costs_no_capture(runs_task: Runs, captured: Reads, airflow: None) -> None:
    from airflow.sdk.listener import get_listener_manager

    hookimpl = pluggy.HookimplMarker("airflow")

    class Broken:
        @hookimpl
        def on_task_instance_running(self, task_instance: Any) -> None:
            raise RuntimeError("another plugin's")

        @hookimpl
        def on_task_instance_success(self, task_instance: Any) -> None:
            raise RuntimeError("another plugin's")

    broken = Broken()
    get_listener_manager().add_listener(broken)  # inherited by the task's process
    try:
        assert runs_task("keep_even").states == ["success"]
    finally:
        get_listener_manager().pm.unregister(broken)
    assert captured().step("keep_even")["status"] == "completed"


def test_a_task_that_ends_in_the_triggerer_still_imports_and_its_neighbour_runs(
    runs_task: Runs, captured: Reads
) -> None:
    """Airflow refuses `end_from_trigger` as soon as its core manager has a listener; ours does not count."""
    assert runs_task("beside", dag_id="in_trigger").states == ["success"]
    assert captured().step("beside")["output"]["size"] == 2


def test_the_core_manager_has_our_listener_and_says_it_has_none_that_matters(airflow: None) -> None:
    from airflow.listeners.listener import get_listener_manager

    manager = get_listener_manager()
    assert any(type(plugin) is listener.Listener for plugin in manager.pm.get_plugins())
    assert not manager.has_listeners
    other = listener.SPECIFICATIONS  # any object will do: another plugin's listener counts as before
    manager.add_listener(other)
    try:
        assert manager.has_listeners
    finally:
        manager.pm.unregister(other)


def test_the_installed_airflow_knows_every_hook_of_ours(airflow: None) -> None:
    made = listener.make_listener()
    assert sorted(vars(made)) == sorted(candidates[0].__name__ for candidates in listener._HOOKS)


@pytest.mark.parametrize(
    ("specified", "registered"),
    [
        ({"on_something_new": {"x"}}, []),
        ({"on_task_instance_running": {"previous_state", "task_instance", "session"}}, ["on_task_instance_running"]),
        ({"on_task_instance_running": {"ti"}}, []),
        ({"on_task_instance_failed": {"task_instance", "session"}}, ["on_task_instance_failed"]),
        ({"on_dag_run_success": {"dag_run", "msg"}, "on_new": {"x"}}, ["on_dag_run_success"]),
    ],
)
def test_a_version_with_other_hooks_gets_those_that_fit_it(
    specified: dict[str, set[str]], registered: list[str]
) -> None:
    made = listener.make_listener({name: frozenset(arguments) for name, arguments in specified.items()})
    assert sorted(vars(made)) == registered
    manager = pluggy.PluginManager("airflow")
    manager.add_hookspecs(_specification(specified))
    manager.register(made)  # where Airflow would raise PluginValidationError


def test_importing_the_plugin_loads_nothing_that_a_process_without_tasks_would_pay_for(tmp_path: Path) -> None:
    code = (
        "import airflow.plugins_manager, sys; before = set(sys.modules); import xray_airflow.plugin; "
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in "
        "('pydantic', 'requests', 'msgspec', 'xxhash', 'urllib3') or m in ('xray_core.xray', 'xray_airflow.task')))"
    )
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_airflow_cfg_is_read_and_the_environment_wins(airflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XRAY__API_URL", "http://xray.example:8000")
    monkeypatch.setenv("AIRFLOW__XRAY__CAPTURE", "full")
    monkeypatch.setenv("AIRFLOW__XRAY__DAG_DENY", "tmp_*")
    monkeypatch.setenv("AIRFLOW__XRAY__API_URI", "a slip of the pen")
    environment = {"XRAY_CAPTURE": "minimal"}
    config.export_settings(environment)
    assert environment == {"XRAY_CAPTURE": "minimal", "XRAY_API_URL": "http://xray.example:8000"}
    monkeypatch.setenv("AIRFLOW__XRAY__ENABLED", "False")
    assert not config.enabled()
    monkeypatch.setenv("XRAY_ENABLED", "1")
    assert config.enabled()


@pytest.mark.parametrize(
    ("lines", "on", "allowed", "exported"),
    [
        ("enabled = False", False, (), {"XRAY_ENABLED": "False"}),
        ("enabled = 0", False, (), {"XRAY_ENABLED": "0"}),
        ("enabled = off  # for now", False, (), {"XRAY_ENABLED": "off"}),
        ("enabled =", True, (), {}),
        ("capture = full   # all of it\napi_key = a#b", True, (), {"XRAY_CAPTURE": "full", "XRAY_API_KEY": "a#b"}),
        ("dag_allow = etl_*, rank  # theirs", True, ("etl_*", "rank"), {}),
        ("shutdown_timeout_s = 0.5", True, (), {"XRAY_SHUTDOWN_TIMEOUT_S": "0.5"}),
    ],
)
def test_the_section_of_airflow_cfg_is_read_as_it_is_written_there(
    lines: str,
    on: bool,
    allowed: tuple[str, ...],
    exported: dict[str, str],
    airflow: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Airflow makes numbers and booleans of what looks like one, and leaves comments in texts."""
    from airflow.configuration import AirflowConfigParser

    parser = AirflowConfigParser()
    parser.read_string(f"[xray]\n{lines}\n")
    monkeypatch.setattr(config, "configuration", lambda: parser)
    config.dag_filter.cache_clear()
    assert (config.enabled(), config.dag_filter().allow) == (on, allowed)
    environment: dict[str, str] = {}
    config.export_settings(environment)
    assert environment == exported


def test_the_section_that_the_docs_show_is_read_without_its_comments(airflow: None) -> None:
    from airflow.configuration import AirflowConfigParser

    page = (Path(__file__).parents[3] / "docs" / "airflow.md").read_text(encoding="utf-8")
    shown = [block.split("```")[0] for block in page.split("```ini\n")[1:]]
    for block in shown:
        parser = AirflowConfigParser()
        parser.read_string(block)
        given = parser.getsection("xray") or {}
        assert not [value for value in given.values() if "#" in str(value)]
    assert "dag_allow" in shown[-1]


def test_step_types_follow_the_operators_class_and_those_it_inherits_from() -> None:
    assert step_type_of(["MyShortCircuitOperator", "PythonOperator", "SkipMixin"]) == "filter"
    assert step_type_of(["BranchSQLOperator"]) == "branch"
    assert step_type_of(["S3KeySensor", "BaseSensorOperator"]) == "sensor"
    assert step_type_of(["SQLExecuteQueryOperator"]) == "query"
    assert step_type_of(["KubernetesPodOperator", "BaseOperator"]) is None


def test_skipped_tasks_are_named_in_every_shape_airflow_gives_them() -> None:
    class Raised(Exception):
        tasks: Any = None

    raised = Raised()
    for raised.tasks, expected in (
        (["a", "b"], [("a", -1), ("b", -1)]),
        ([("a", 3)], [("a", 3)]),
        ("a", [("a", -1)]),
        (None, []),
    ):
        assert list(skipped_tasks(raised)) == expected


def _requests(outcome: Outcome) -> list[tuple[str, str]]:
    """What the task asked of Airflow, in order; heartbeats come when they come."""
    ti_id = next(path for _, path, _ in outcome.calls if path.endswith("/run")).split("/")[2]
    return [(verb, path.replace(ti_id, "ti")) for verb, path, _ in outcome.calls if not path.endswith("/heartbeat")]


def _specification(specified: dict[str, set[str]]) -> object:
    """A module of hook specifications as a version of Airflow might have it."""
    marker = pluggy.HookspecMarker("airflow")

    class Specification:
        pass

    for name, arguments in specified.items():
        namespace: dict[str, Any] = {}
        exec(f"def {name}({', '.join(sorted(arguments))}): pass", namespace)
        setattr(Specification, name, staticmethod(marker(namespace[name])))
    return Specification


@pytest.mark.parametrize(("task_id", "patient"), [("keep_even", True), ("defers", False)])
def test_a_task_that_goes_on_soon_is_not_kept_waiting_for_a_server_that_hangs(
    task_id: str, patient: bool, runs_task: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow calls a task failed when it is queued again before its last process is gone."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections and never answers
        monkeypatch.setenv("XRAY_API_URL", f"http://127.0.0.1:{hanging.getsockname()[1]}")
        monkeypatch.setenv("XRAY_SHUTDOWN_TIMEOUT_S", "5")
        outcome = runs_task(task_id)
    assert len(outcome.states) == 1
    assert (outcome.seconds > 5) == patient
