"""Which step is current: finders of adapters, threads that carry none, and clients that are gone."""

from __future__ import annotations

import gc
import logging
import threading
import time
from contextvars import copy_context

import pytest

from tests.core.capturing import Captured
from xray_core import XRay, carry, current_run, current_step, safety
from xray_core.capture import context
from xray_core.capture.context import NO_STEP
from xray_core.capture.step import Step
from xray_core.transport.memory import MemoryTransport


@pytest.fixture(autouse=True)
def alone_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of earlier tests may be alive still, with open steps, and go at any moment; a framework that ran in this
    process may have switched off the loggers it found. None of that is what these tests are about."""
    monkeypatch.setattr(context, "_open_probes", [])
    monkeypatch.setattr(context, "_warned_threads", False)
    monkeypatch.setattr(safety.log, "disabled", False)
    monkeypatch.setattr(safety.log, "propagate", True)


def _nothing_is_left_behind(within_s: float = 10.0) -> bool:
    """Whether every client of this test is collected; a thread of one may hold it for a moment."""
    deadline = time.monotonic() + within_s
    while context._open_probes and time.monotonic() < deadline:
        gc.collect()
    return not context._open_probes


def test_a_client_that_is_gone_leaves_nothing_behind_in_the_context() -> None:
    for _ in range(3):
        client = XRay("p", transport=MemoryTransport())
        with client.run() as run, run.step("filter") as step:
            step.reject("a", "dup")
        client.close()
    del client, run, step
    assert _nothing_is_left_behind()


def test_a_client_that_was_dropped_without_close_leaves_nothing_behind_either() -> None:
    XRay("p", transport=MemoryTransport())
    assert _nothing_is_left_behind()


def test_a_thread_without_a_step_beside_an_open_one_is_told_how_to_carry_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = XRay("p", transport=MemoryTransport())
    with caplog.at_level(logging.WARNING, "xray"), client.run() as run, run.step("filter"):
        for _ in range(2):
            thread = threading.Thread(target=lambda: current_step().reject("a", "dup"))
            thread.start()
            thread.join()
    client.close()
    assert caplog.text.count("xray_core.carry") == 1


def test_a_thread_without_a_step_says_nothing_where_no_step_is_open(caplog: pytest.LogCaptureFixture) -> None:
    client = XRay("p", transport=MemoryTransport())
    with caplog.at_level(logging.WARNING, "xray"):
        thread = threading.Thread(target=lambda: current_step().reject("a", "dup"))
        thread.start()
        thread.join()
    client.close()
    assert "carry" not in caplog.text


def test_a_step_finder_is_asked_once_however_often_it_is_added() -> None:
    captured = Captured()
    with captured.run() as run:
        step = run.step("filter")
    asked: list[str] = []

    def empty() -> Step | None:
        asked.append("empty")
        return None

    def finder() -> Step | None:
        asked.append("finder")
        return step

    try:
        for each in (finder, empty, empty):  # the last one added is asked first
            context.add_step_finder(each)
        assert current_step() is step
        assert asked == ["empty", "finder"]
    finally:
        context.remove_step_finder(finder)
        context.remove_step_finder(empty)


def test_leave_in_another_context_than_the_one_entered_changes_nothing_there() -> None:
    captured = Captured()
    with captured.run() as run, run.step("outer") as outer:
        token = carry(lambda: context.enter((run, run.step("inner"))))()  # entered in a copy of this context
        context.leave(token)
        assert current_step() is outer


def _public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_no_step_has_every_attribute_of_a_step_and_of_a_run_as_they_are_before_anything_is_said() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        for real in (step, run):
            for name in _public(type(real)) | {"part"}:
                own, none = getattr(real, name), getattr(NO_STEP, name)
                assert callable(none) == callable(own), name
                if not callable(own) and none is not None:
                    assert none is NO_STEP if name == "run" else isinstance(none, type(own)), name
    with current_step() as step:  # type: ignore[assignment]  # what stands in for one
        assert (step.ledger.rejected, step.rejection_counts.get("r"), step.run.run_id) == (None, None, "")


def test_a_run_or_step_that_ends_in_another_context_is_not_current_there() -> None:
    captured = Captured()
    with captured.run() as outer_run, outer_run.step("outer") as outer:
        step = outer.step("s")
        step.__enter__()
        elsewhere = copy_context()
        elsewhere.run(step.__exit__, None, None, None)
        assert elsewhere[context.current] == (outer_run, outer)
        assert current_step() is step, "its own context is left as it is"
    run = captured.run()
    run.__enter__()
    elsewhere = copy_context()
    elsewhere.run(run.__exit__, None, None, None)
    assert elsewhere.run(current_run) is NO_STEP
    context.current.set((None, None))
