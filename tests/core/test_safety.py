from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from xray_core import safety
from xray_core.safety import guard, guarded, swallow

pytestmark = pytest.mark.swallows


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_is_counted_each_time_and_logged_once_a_site(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="xray"):
        for _ in range(3):
            swallow("one place", ValueError("bad"))
        swallow("another", ValueError("bad"))
    assert safety.swallowed == {"one place": 3, "another": 1}
    assert [record.getMessage().split(" failed")[0] for record in caplog.records] == [
        "X-Ray: one place",
        "X-Ray: another",
    ]


def test_an_error_that_has_no_text_is_counted_too() -> None:
    swallow("here", Hostile())
    assert safety.swallowed == {"here": 1}


def test_what_is_logged_can_be_written_and_is_no_longer_than_a_line_may_be(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="xray"):
        swallow("half a character \ud800", ValueError("\ud800" + "x" * 100_000))
    (record,) = caplog.records
    assert len(record.getMessage().encode()) < 3_000
    assert "ValueError: \\ud800xx" in record.getMessage()


def test_sites_without_end_are_counted_together() -> None:
    for n in range(1_500):
        swallow(f"site {n}", ValueError())
    assert len(safety.swallowed) == 1_001
    assert safety.swallowed["(other sites)"] == 500
    swallow("site 3", ValueError())
    assert safety.swallowed["site 3"] == 2


def test_a_guarded_function_returns_its_default_and_keeps_its_name() -> None:
    @guarded("dividing", default=-1)
    def ratio(a: int, b: int) -> int:
        """A ratio."""
        return a // b

    assert (ratio(6, 3), ratio(1, 0)) == (2, -1)
    assert (ratio.__name__, ratio.__doc__) == ("ratio", "A ratio.")
    assert safety.swallowed == {"dividing": 1}


def test_a_guarded_block_ends_where_it_fails_and_the_program_goes_on() -> None:
    reached = []
    with guard("a block"):
        reached.append("before")
        raise ValueError
        reached.append("after")  # type: ignore[unreachable]
    assert reached == ["before"]
    assert safety.swallowed == {"a block": 1}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_always_passes(stop: type[BaseException]) -> None:
    @guarded("here")
    def ends() -> None:
        raise stop

    with pytest.raises(stop):
        ends()
    with pytest.raises(stop), guard("here"):
        raise stop
    assert safety.swallowed == {}


def test_a_forked_child_begins_to_count_anew_and_logs_nothing_twice() -> None:
    program = """
import os, sys
from xray_core import safety
safety.swallow("here", ValueError("bad"))
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    safety.swallow("here", ValueError("bad"))
print(safety.swallowed, flush=True)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines() == ["{'here': 1}"] * 2
    assert ran.stderr.count("here failed") == 1
