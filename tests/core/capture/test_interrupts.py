"""What a signal handler raises is the program's, wherever X-Ray is when it comes; and nothing is lost by it, nor by Ctrl-C.

Tests step.py, run.py, verdict_log.py and spool.py.
"""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.capturing import Captured
from xray_core.capture.step import Step
from xray_core.safety import guarded
from xray_core.spool import Spool


class TimeLimitError(Exception):
    """As Celery's SoftTimeLimitExceeded: an Exception like any other."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Called:
    def __call__(self, number: int, frame: Any) -> None:
        raise TimeLimitError

    def with_arguments(self, *arguments: Any) -> None:
        self.deeper()

    def deeper(self) -> None:
        raise TimeLimitError


def _handler(limit: str, number: int, frame: Any) -> None:
    raise TimeLimitError(limit)


@pytest.mark.parametrize(
    "handler", [Called(), Called().with_arguments, functools.partial(_handler, "soft"), lambda *_: Called().deeper()]
)
def test_what_a_signal_handler_raises_passes_whatever_its_kind(handler: Any) -> None:
    @guarded("here")
    def busy() -> None:
        signal.raise_signal(signal.SIGALRM)

    signal.signal(signal.SIGALRM, handler)
    with pytest.raises(TimeLimitError):
        busy()


@pytest.mark.swallows
def test_an_error_of_the_same_class_that_no_handler_raised_is_swallowed() -> None:
    def looks_at(frame: Any) -> int:
        raise TimeLimitError

    @guarded("here", default=1)
    def fails() -> int:
        return looks_at(sys._getframe())  # the one below it, and no signal's number

    assert fails() == 1


def _interrupted(at: int, work: Callable[[], None], stop: type[BaseException]) -> bool:
    """Do some work, and raise at its nth line within X-Ray's capture, as a signal handler would; whether there is such a line."""
    left = at

    def at_each_line(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if "/xray_core/capture/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == -1:
                sys.settrace(None)
                handle(signal.SIGALRM, sys._getframe())
        return at_each_line

    def handle(number: int, frame: Any) -> None:
        raise stop

    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        work()
    except stop:
        return True
    finally:
        sys.settrace(before)
    assert left >= 0, "it was swallowed"
    return False


@pytest.mark.parametrize("stop", [TimeLimitError, KeyboardInterrupt])
def test_nothing_that_was_captured_is_lost_by_an_interrupted_end(stop: type[BaseException]) -> None:
    """Whatever line of the writing down it is."""
    at = 0
    while True:
        captured = Captured()
        run = captured.run().open()
        step = run.step("s").open()
        step.accept("a", "best", details={"x": 1}, score=0.5)
        step._made_log().names_left = 5  # the others by their fingerprints
        step.accept_many(range(20))
        step.set_metadata("model", "v3")
        again = _interrupted(at, functools.partial(_write_down, step), stop)
        again = _interrupted(at, run.close, stop) or again
        captured.recorder.snapshot_open()
        if step.times_us[1] is not None:  # else it was interrupted before it began to end
            seen = captured.step("s")
            assert (seen["status"], seen["counts"]["accepted"], seen["metadata"]) == (
                "completed",
                21,
                {"model": "v3"},
            ), at
            ids, prints = captured.verdicts("accepted")
            assert len({*ids}) + len({*prints}) >= 21, at
            assert "a" in {sample["item_id"] for sample in captured.samples()}, at
            assert step not in captured.recorder.open_things
        if run.times_us[1] is not None:
            assert captured.of_kind("run")[-1]["status"] == "completed"
            assert run not in captured.recorder.open_things
        if not again:
            break
        at += 1
    assert at > 300


def _write_down(step: Step) -> None:
    step.snapshot()
    step.close()


def test_a_time_limit_reaches_a_program_that_does_little_but_capture() -> None:
    def handler(number: int, frame: Any) -> None:
        raise TimeLimitError

    signal.signal(signal.SIGALRM, handler)
    for _ in range(20):
        captured = Captured()
        with pytest.raises(TimeLimitError), captured.run() as run, run.step("s") as step:
            until = time.monotonic() + 5
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            while time.monotonic() < until:
                step.accept("a", details={"a": 1}, score=1 / 7)


def test_a_record_that_was_interrupted_on_its_way_to_the_disk_is_there(tmp_path: Path) -> None:
    def handler(number: int, frame: Any) -> None:
        raise TimeLimitError

    class Slow(Spool):
        def _append(self, stream: Any, payload: bytes) -> None:
            signal.raise_signal(signal.SIGALRM)

    spool = Slow(tmp_path)
    signal.signal(signal.SIGALRM, handler)
    with pytest.raises(TimeLimitError):
        spool.put("counts", b"{}")
    spool.__class__ = Spool
    spool.put("counts", b"{}")
    assert spool.waiting() == 2
    spool.close()
