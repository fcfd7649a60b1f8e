"""One line in `dagster.yaml` enables X-Ray in each process that uses the instance, and `xray doctor` sees it.

Tests instance.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, job, op
from xray_dagster import instrument

from tests.integrations.dagster.capturing import Captured
from xray_core import autoload
from xray_core.errors import ConfigurationError
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay, set_default_client

LINE = "instance_class: {module: xray_dagster.instance, class: XRayInstance}\n"


@op
def one() -> int:
    return 1


@job
def ones() -> None:
    one()


@pytest.fixture
def not_enabled(isolated_home: Path) -> Iterator[Captured]:
    """A process as Dagster starts it: X-Ray is installed, and nothing has enabled it."""
    transport = MemoryTransport()
    client = XRay("", transport=transport)
    set_default_client(client)
    sys.modules.pop("xray_dagster.instance", None)
    yield Captured(client, transport)
    instrument.disable()
    sys.modules.pop("xray_dagster.instance", None)
    set_default_client(None)
    client.close()


@pytest.fixture
def home(dagster_home: Path) -> Iterator[Path]:
    """DAGSTER_HOME, whose `dagster.yaml` has the line: that of all these tests, for it takes seconds to make one."""
    file = dagster_home / "dagster.yaml"
    before = file.read_text()
    file.write_text(before + LINE)
    yield dagster_home
    file.write_text(before)


def test_a_line_in_dagster_yaml_enables_it_and_changes_nothing_else_of_the_instance(
    not_enabled: Captured, home: Path
) -> None:
    with DagsterInstance.get() as instance:
        run_id = ones.execute_in_process(instance=instance).run_id
        assert not_enabled.run["status"] == "completed"
        assert not_enabled.step("one")["run_id"] == run_id
        assert not instance.telemetry_enabled, "what else the file says holds"
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with DagsterInstance.get() as plain:
        assert type(plain) is DagsterInstance
        assert plain.get_run_by_id(run_id) is not None, "the same storage"
        assert type(plain.run_launcher) is type(instance.run_launcher)


def test_switched_off_the_line_does_nothing(not_enabled: Captured, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_ENABLED", "0")
    with DagsterInstance.get() as instance:
        assert ones.execute_in_process(instance=instance).success
    assert not_enabled.records == []
    assert instrument._how() == "switched off by XRAY_ENABLED"


def test_a_wrong_setting_is_an_error_when_dagster_reads_the_line(
    not_enabled: Captured, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_SAMPLE_RATE", "many")
    with pytest.raises(ConfigurationError, match="XRAY_SAMPLE_RATE"):
        DagsterInstance.get()


def test_doctor_says_what_enables_it_in_processes_started_like_its_own(
    not_enabled: Captured, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instrument._how().startswith(f"by {home / 'dagster.yaml'}: captured in every process")
    (home / "dagster.yaml").write_text("# " + LINE)
    assert instrument._how().startswith("`xray run -- dagster dev`")
    monkeypatch.setenv("XRAY_AUTOLOAD", "airflow,dagster")
    assert instrument._how().startswith("`xray run -- dagster dev`"), "its PYTHONPATH was replaced on the way"
    monkeypatch.setenv("PYTHONPATH", f"/elsewhere:{autoload.SITE_DIR}")
    assert instrument._how() == "started below `xray run`: captured wherever Dagster is imported"


def test_within_an_op_the_report_names_the_step_that_the_process_executes(xray: Captured) -> None:
    told: list[str] = []

    @op
    def asks() -> None:
        told.append(instrument._how())

    @job
    def asking() -> None:
        asks()

    run_id = asking.execute_in_process().run_id
    assert told == [f"captured here; this process executes asks of run {run_id}"]
