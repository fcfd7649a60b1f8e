"""Each seam by itself: with any one missing, runs succeed, the others capture, and one warning says what is lost.

Tests seams.py, instrument.py, installed.py and event_observer.py.
"""

import importlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import xray_dagster
from dagster import Out, Output, RetryPolicy, job, op
from xray_dagster import instrument, ops, seams
from xray_dagster.event_observer import EventObserver

from tests.integrations.dagster.capturing import Captured
from xray_core import current_step
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay, set_default_client


@op
def numbers() -> list[int]:
    current_step().reject("x", "tried")
    return [1, 2, 3]


@op(retry_policy=RetryPolicy(max_retries=1))
def flaky(values: list[int]) -> list[int]:
    FLAKY.append(1)
    if len(FLAKY) % 2:
        raise ConnectionError("no answer")
    return values[:1]


@op(out={"result": Out(list, is_required=False)})
def silent(values: list[int]) -> Iterator[Output[list[int]]]:
    yield from ()


@op
def skipped(values: list[int]) -> None: ...


FLAKY: list[int] = []


@job
def everything() -> None:
    skipped(silent(flaky(numbers())))


@pytest.fixture
def without(
    request: pytest.FixtureRequest, isolated_home: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> Iterator[Captured]:
    """X-Ray enabled on a Dagster in which one of the functions has another name."""
    seam = next(each for each in instrument.SEAMS if each.name == request.param)
    module = importlib.import_module(seam.module)
    original = getattr(module, seam.function)
    transport = MemoryTransport()
    client = XRay("", transport=transport)
    set_default_client(client)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="xray"):
        patch.delattr(module, seam.function)
        made = instrument.make_instrument()
        made.enable()
        made.enable()
    FLAKY.clear()
    assert getattr(module, seam.function) is original
    yield Captured(client, transport)
    instrument.disable()
    set_default_client(None)
    client.close()


def the_warning(caplog: pytest.LogCaptureFixture) -> str:
    warnings = [each.getMessage() for each in caplog.get_records("setup") if each.name == "xray"]
    assert len(warnings) == 1, warnings
    return warnings[0]


@pytest.mark.parametrize("without", ["run"], indirect=True)
def test_without_the_run_seam_steps_are_captured_and_the_run_is_what_they_say(
    without: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    assert "nothing of how runs end" in the_warning(caplog)
    assert everything.execute_in_process().success
    assert sorted(without.steps) == [("flaky", 1), ("flaky", 2), ("numbers", 1), ("silent", 1)]
    assert without.step("numbers")["counts"] == {"rejected": 1}
    assert without.step("flaky", 2)["input"]["values"]["size"] == 3
    assert without.run["pipeline"] == "everything"
    assert without.run["status"] in ("completed", "failed")


@pytest.mark.parametrize("without", ["step"], indirect=True)
def test_without_the_step_seam_the_runs_events_and_the_bodies_tell_of_steps(
    without: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    assert "nothing of what steps materialized" in the_warning(caplog)
    assert everything.execute_in_process().success
    assert sorted(without.steps) == [("flaky", 1), ("flaky", 2), ("numbers", 1), ("silent", 1), ("skipped", 1)]
    assert without.step("numbers")["counts"] == {"rejected": 1}
    assert without.step("numbers")["output"]["size"] == 3
    assert without.step("flaky", 1)["error"]["type"] == "ConnectionError"
    assert without.step("flaky", 2)["status"] == "completed"
    assert without.run["status"] == "completed"


@pytest.mark.parametrize("without", ["data"], indirect=True)
def test_without_the_data_seam_only_inputs_and_outputs_are_lost(
    without: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    assert "the inputs and outputs of steps" in the_warning(caplog)
    assert everything.execute_in_process().success
    assert len(without.steps) == 5
    assert without.step("numbers")["counts"] == {"rejected": 1}
    assert without.step("numbers")["output"] is None
    assert without.run["status"] == "completed"


def test_enabling_twice_wraps_once(xray: Captured) -> None:
    xray_dagster.enable()
    assert len(instrument.instrument.report()["seams"]) == 5
    from dagster._core.execution import api, execute_in_process

    assert api.job_execution_iterator is execute_in_process.job_execution_iterator
    assert not hasattr(api.job_execution_iterator.__wrapped__, "__wrapped__")


@pytest.mark.swallows
def test_an_event_that_does_not_say_its_kind_is_said_once_and_not_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A version of Dagster that calls it otherwise: the run goes on, and nobody wonders where the ends of steps are."""

    class Other:
        event_type_value = "STEP_START"

    shown: list[Any] = []

    def renamed(*args: Any) -> Iterator[Any]:
        yield Other()
        yield object()

    following = EventObserver(
        lambda event: shown.append(capture.observe(event)), lambda error: None, ops.OBSERVED_KINDS
    )
    capture = object.__new__(ops.OpCapture)
    assert len(list(seams.around(renamed, lambda args, kwargs: following)())) == 2
    assert shown == [None]  # the second alone
    assert "observing a Dagster step" in caplog.text


def test_what_closes_early_is_told_and_closes_dagsters_own() -> None:
    told: list[str] = []

    def events() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            told.append("closed")

    following = EventObserver(lambda event: told.append("seen"), lambda error: told.append(type(error).__name__))
    wrapped = seams.around(events, lambda args, kwargs: following)()
    assert next(wrapped) == 1
    wrapped.close()
    assert told == ["seen", "closed", "GeneratorExit"]


@pytest.mark.swallows
def test_whatever_x_ray_gets_wrong_the_run_succeeds(isolated_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that became wrong after start-up: no client can be made, every hook of ours fails."""
    set_default_client(None)
    xray_dagster.enable()
    monkeypatch.setenv("XRAY_SAMPLE_RATE", "many")
    FLAKY.clear()
    try:
        result = everything.execute_in_process()
        assert result.success
        assert result.output_for_node("flaky") == [1]
    finally:
        instrument.disable()


def test_a_wrong_setting_is_an_error_when_enabling(monkeypatch: pytest.MonkeyPatch) -> None:
    from xray_core.errors import ConfigurationError

    monkeypatch.setenv("XRAY_SAMPLE_RATE", "many")
    with pytest.raises(ConfigurationError, match="XRAY_SAMPLE_RATE"):
        xray_dagster.enable()
