"""A plugin for Airflow's own test runner: X-Ray's listener, and what the published test tools, a year older than the tests, lack.

Loaded by its name from this folder, since Airflow's tests are a package `tests` of their own. Holds no tests.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests_common.test_utils import config, version_compat  # Airflow's; loaded before this by name, as it wants to be

from xray_core import safety

_WHEN = "2024-12-01T01:00:00Z"


@contextmanager
def conf_vars(overrides: Mapping[tuple[str, str], str | None]) -> Iterator[None]:
    """Settings of Airflow, by its environment variables: the core and the task SDK, which have one object each, both read them."""
    with pytest.MonkeyPatch.context() as patch:
        for (section, name), value in overrides.items():
            variable = f"AIRFLOW__{section.upper()}__{name.upper()}"
            if value is None:
                patch.delenv(variable, raising=False)
            else:
                patch.setenv(variable, value)
        yield


config.conf_vars = conf_vars
for _name in ("AIRFLOW_V_3_1_PLUS", "AIRFLOW_V_3_2_PLUS", "AIRFLOW_V_3_3_PLUS"):
    setattr(version_compat, _name, True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down which errors of its own X-Ray swallowed meanwhile."""
    Path(os.environ["HOME"], "swallowed.json").write_text(json.dumps(safety.swallowed))


@pytest.fixture(autouse=True)
def _captured() -> None:
    """X-Ray's listener, as Airflow would have registered it: its tests keep plugins from being loaded."""
    if os.environ.get("XRAY_ENABLED") == "0":
        return
    from airflow.sdk.listener import get_listener_manager
    from xray_airflow.plugin import XRayPlugin

    manager = get_listener_manager()
    for listener in XRayPlugin.listeners:
        if not manager.pm.is_registered(listener):
            manager.add_listener(listener)


@pytest.fixture
def listener_manager() -> Iterator[Callable[[Any], None]]:
    """Adds a listener for the length of a test."""
    from airflow.sdk.listener import get_listener_manager

    manager = get_listener_manager()
    added: list[Any] = []

    def add(listener: Any) -> None:
        manager.add_listener(listener)
        added.append(listener)

    yield add
    for listener in added:
        manager.pm.unregister(listener)


@pytest.fixture(autouse=True)
def _disable_redact() -> None:
    """Instead of the older one, which fits no masker of today: secrets are masked in these tests."""


@pytest.fixture
def mock_supervisor_comms(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands for the supervisor's end of the socket; knows how its methods are called."""
    from airflow.sdk.execution_time import comms, task_runner

    stand_in = mock.create_autospec(comms.CommsDecoder, instance=True)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", stand_in, raising=False)
    return stand_in


@pytest.fixture
def create_runtime_ti(mocked_parse: Callable[..., Any], make_ti_context: Callable[..., Any]) -> Callable[..., Any]:
    """A task instance as the task runner has it once it has read the DAG file."""
    from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
    from airflow.sdk.execution_time.comms import StartupDetails

    def create(task: Any, dag_id: str = "test_dag", run_id: str = "test_run", **given: Any) -> Any:
        dag_id = task.dag.dag_id if task.has_dag() else dag_id
        try_number, map_index = given.pop("try_number", 1), given.pop("map_index", -1)
        given.setdefault("max_tries", task.retries or 0)
        if given.get("should_retry") is None:
            given["should_retry"] = try_number <= (task.retries or 0)
        context = make_ti_context(dag_id=dag_id, run_id=run_id, **{"logical_date": _WHEN, **given})
        instance = TaskInstance(
            id=uuid.uuid4(), task_id=task.task_id, dag_id=dag_id, run_id=run_id, try_number=try_number,
            dag_version_id=uuid.uuid4(), map_index=map_index,
        )  # fmt: skip
        details = StartupDetails(
            ti=instance, dag_rel_path="", bundle_info=BundleInfo(name="any", version="any"), start_date=_WHEN,
            ti_context=context, sentry_integration="",
        )  # fmt: skip
        return mocked_parse(details, dag_id, task)

    return create
