"""Which step is current: finders of adapters, threads that carry none, and clients that are gone."""

from __future__ import annotations

import gc
import logging
import threading

import pytest

from tests.core.capturing import Captured
from xray_core import XRay, carry, current_step
from xray_core.capture import context
from xray_core.capture.step import Step
from xray_core.transport.memory import MemoryTransport


@pytest.fixture
def not_warned_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_warned_threads", False)
    return


def test_a_client_that_is_gone_leaves_nothing_behind_in_the_context() -> None:
    gc.collect()
    before = len(context._open_probes)
    for _ in range(3):
        client = XRay("p", transport=MemoryTransport())
        with client.run() as run, run.step("filter") as step:
            step.reject("a", "dup")
        client.close()
    del client, run, step
    gc.collect()
    assert len(context._open_probes) == before


def test_a_client_that_was_dropped_without_close_leaves_nothing_behind_either() -> None:
    gc.collect()
    before = len(context._open_probes)
    XRay("p", transport=MemoryTransport())
    gc.collect()
    assert len(context._open_probes) == before


@pytest.mark.usefixtures("not_warned_yet")
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


@pytest.mark.usefixtures("not_warned_yet")
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
