"""A step's token, and what is captured by it: in threads, in other processes, and in tasks that run more than once.

Tests attaching.py, capture/token.py and capture/task_step.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xray_core
from tests.live import Live
from xray_core import TaskAttempt, XRay, attach, attaching, current_step, hookimpl, safety
from xray_core.capture.token import Token, carried, read_token
from xray_core.settings import load
from xray_core.testing import Captured, capture

FIRST, SECOND = TaskAttempt("partition 0", 0, 1), TaskAttempt("partition 0", 0, 2)


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as found:
        yield found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


def judge(item: str) -> str:
    current_step().reject(item, "late")
    return item


def ledger_of(captured: Captured) -> Any:
    return captured.ledger("judge")


def state_of(captured: Captured, name: str) -> Any:
    (state,) = captured._steps(name, None)
    return state


# ---------------------------------------------------------------------------- the token


def test_a_token_is_plain_text_that_holds_what_capture_needs_and_no_key() -> None:
    xray = XRay(
        "p",
        api_url="http://me:secret-word@127.0.0.1:1/x?token=t",
        api_key="key-of-mine",
        sample_rate=0.5,
        redact=["iban"],
    )
    with capture(), xray.run(run_id="r") as run, run.step("judge", capture="full") as step:
        token = step.token()
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()
    read = read_token(token)
    assert (read.run_id, read.step_id, read.attempt, read.pipeline) == ("r", step.step_id, 1, "p")
    assert (read.name, read.index, read.capture) == ("judge", 0, "full")
    assert read.settings == {"api_url": "http://127.0.0.1:1/x", "sample_rate": 0.5, "redact": ["iban"]}
    assert "secret-word" not in str(read)
    assert "key-of-mine" not in str(read)


@pytest.mark.swallows
@pytest.mark.parametrize("token", [None, 7, "x", "xray1.", "xray1.AAAA", "xray1." + "W10", "xray1.é"])
def test_what_is_no_token_is_said_once_and_changes_nothing(token: Any, captured: Captured) -> None:
    before = safety.swallowed.get("attach", 0)
    with attach(token) as step:
        step.reject("a", "late")
        assert not step
    assert safety.swallowed["attach"] == before + 1
    assert captured.records == []


def test_where_no_step_is_the_token_is_empty_and_attaching_to_it_does_nothing(captured: Captured) -> None:
    token = current_step().token()
    with attach(token) as step:
        step.reject("a", "late")
    assert (token, captured.records) == ("", [])


def test_where_the_step_is_not_captured_nor_is_what_attaches_to_it(captured: Captured) -> None:
    off = XRay("p", enabled=False)
    with off.run() as run, run.step("judge") as step, attach(step.token(), task=FIRST) as attached:
        attached.reject("a", "late")
    assert captured.records == []


# ---------------------------------------------------------------------------- in this process


def test_threads_that_are_handed_a_token_add_to_the_step_and_it_is_current_in_them(captured: Captured) -> None:
    def work(token: str, n: int) -> None:
        with attach(token):
            judge(f"item-{n}")
        assert not current_step()

    with captured.xray.run() as run, run.step("judge") as step:
        step.set_input_items([f"item-{n}" for n in range(5)])
        threads = [threading.Thread(target=work, args=(step.token(), n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        judge("item-4")
    ledger = ledger_of(captured)
    assert (ledger.input, ledger.rejected, ledger.unaccounted) == (5, 5, 0)
    assert state_of(captured, "judge")["index"] == 0


def test_an_error_in_the_block_passes_and_what_was_said_before_it_counts(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        with pytest.raises(ZeroDivisionError), attach(step.token()):
            judge("a")
            raise ZeroDivisionError
    assert ledger_of(captured).rejected == 1
    assert state_of(captured, "judge")["status"] == "completed"


# ---------------------------------------------------------------------------- attempts of a task


def test_a_task_that_is_run_again_counts_once_with_the_verdicts_of_the_attempt_that_ended(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        token = step.token()
        with pytest.raises(ZeroDivisionError), attach(token, task=FIRST):
            judge("a")
            judge("only the first")
            raise ZeroDivisionError
        with attach(token, task=SECOND):
            judge("a")
            judge("b")
        with attach(token, task=TaskAttempt("partition 1")):
            judge("c")
    assert ledger_of(captured).rejected == 3
    assert captured.why("only the first").outcome != "rejected"
    assert captured.why("b").outcome == "rejected"


def test_an_attempt_that_attaches_several_times_is_one(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        for number in range(3):
            with attach(step.token(), task=FIRST) as outer:
                judge(f"item-{number}")
                with attach(step.token(), task=FIRST) as inner:
                    assert inner is outer
                judge(f"again-{number}")
    assert ledger_of(captured).rejected == 6
    assert len({each["part"] for each in captured.records if each["kind"] == "step"}) == 2


def test_an_attempt_that_judged_nothing_and_ended_takes_the_place_of_one_that_died(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        held = attaching.hold(step.token(), FIRST)
        assert held is not None
        with held.current():
            judge("a")
        attaching.let_go(held, "running")  # as far as it came
        with attach(step.token(), task=SECOND):
            pass
    assert not ledger_of(captured).rejected


def test_steps_opened_in_a_task_are_the_same_steps_in_each_attempt(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        for attempt, items in ((FIRST, ["a", "only the first"]), (SECOND, ["a"])):
            with attach(step.token(), task=attempt) as attached, attached.step("inner", "filter") as inner:
                for item in items:
                    inner.reject(item, "late")
                if attempt is FIRST:
                    inner._log.drain()  # and there it died
                    break_off(inner)
    inner = state_of(captured, "inner")
    assert inner["parent_id"] == step.step_id
    assert captured.ledger("inner").rejected == 1


def break_off(step: Any) -> None:
    """As if the process had died here: what was written stays, and nothing follows."""
    step.snapshot()
    step._released = True


def test_clients_made_for_tokens_are_bounded_and_one_that_makes_room_for_another_is_closed(captured: Captured) -> None:
    while attaching._clients:  # what tests before this one left
        attaching._clients.popitem()[1].close(0)
    tokens = []
    for n in range(20):
        xray = XRay("p", sample_rate=0.7 + n / 1_000)  # as no client of another test has
        with xray.run() as run, run.step("judge") as step:
            tokens.append(step.token())
        xray.close(0)
    made = []
    for token in tokens:
        with attach(token) as step:
            made.append(attaching._client_of(read_token(token)))
            step.reject("a", "late")
    assert [client._closed for client in made] == [True] * 4 + [False] * 16
    with attach(tokens[0]) as step:
        step.reject("b", "late")
    assert len(attaching._clients) == 16
    assert captured.ledger("judge", captured.run_ids[0]).rejected == 2
    while attaching._clients:
        attaching._clients.popitem()[1].close(0)


def test_coroutines_attach_by_async_with(captured: Captured) -> None:
    async def work(token: str, item: str) -> None:
        async with attach(token, task=TaskAttempt(item)) as step:
            await asyncio.sleep(0)
            assert current_step() is step
            judge(item)

    async def all_of_them(token: str) -> None:
        await asyncio.gather(*(work(token, f"item-{n}") for n in range(5)))

    with captured.xray.run() as run, run.step("judge") as step:
        asyncio.run(all_of_them(step.token()))
    assert ledger_of(captured).rejected == 5


def test_plugins_say_which_attempt_of_a_task_code_is_in(captured: Captured) -> None:
    class Engine:
        attempt = 0

        @hookimpl
        def xray_task_attempt(self) -> TaskAttempt:
            self.attempt += 1
            return TaskAttempt("t", self.attempt)

    xray = XRay("p", plugins=[Engine()])
    with xray.run() as run, run.step("judge") as step:
        for _ in range(3):
            with attach(step.token()):
                judge("a")
    assert ledger_of(captured).rejected == 1


def test_code_that_an_engine_tries_out_is_not_captured(captured: Captured) -> None:
    with captured.xray.run() as run, run.step("judge") as step:
        with attaching.uncaptured():
            judge("made up")
        assert current_step() is step
    assert not ledger_of(captured).rejected


# ---------------------------------------------------------------------------- in other processes


def test_settings_come_with_the_token_and_what_a_machine_sets_itself_wins_but_masks_add_up() -> None:
    settings = carried(load({"api_url": "http://a:1", "sample_rate": 0.5, "redact": ["iban"]}, {}))
    assert attaching._arguments(settings, {}) == settings
    environment = {"XRAY_API_URL": "http://b:2", "XRAY_SAMPLE_RATE": "1", "XRAY_REDACT": "text:cc, pan"}
    assert attaching._arguments(settings, environment) == {"redact": ["iban", "text:cc", "pan"]}


WORKER = """
import os, sys, signal
import xray_core
token, number, attempt, dies = sys.argv[1:]
task = xray_core.TaskAttempt("partition " + number, 0, int(attempt))
with xray_core.attach(token, task=task) as step:
    for item in range(1_000):
        if dies == "dies" and item == 700:
            step.snapshot()
            os.kill(os.getpid(), signal.SIGKILL)
        step.reject(f"{number}-{item}", "late", {"iban": "DE02"})
os._exit(0)  # as an engine ends its workers
"""


def work(tmp_path: Path, token: str, number: int, attempt: int, dies: str = "lives") -> int:
    home = tmp_path / f"machine-{number}-{attempt}"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    command = [sys.executable, "-c", WORKER, token, str(number), str(attempt), dies]
    return subprocess.run(command, env={**environment, "HOME": str(home)}, check=False, timeout=60).returncode


def test_workers_on_machines_of_their_own_deliver_by_themselves_and_a_killed_one_is_counted_once(
    live: Live, tmp_path: Path
) -> None:
    with live.xray("p", redact=["iban"]) as xray, xray.run() as run, run.step("judge") as step:
        step.set_input_items([f"{number}-{item}" for number in range(2) for item in range(1_000)])
        token = step.token()
        assert work(tmp_path, token, 0, 1) == 0
        assert work(tmp_path, token, 1, 1, "dies") == -signal.SIGKILL
        (spool,) = (tmp_path / "machine-1-1" / ".xray" / "spool").iterdir()
        left = XRay(
            "p", api_url=live.url, spool_dir=spool.parent
        )  # what it left behind comes late, and not to be counted
        assert left.sync_offline()["failed"] == 0
        left.close(5)
        assert work(tmp_path, token, 1, 2) == 0
    (found,) = live.get(f"/runs/{run.run_id}")["steps"]
    ledger = found["ledger"]
    assert (ledger["input"], ledger["rejected"], ledger["unaccounted"], ledger["flags"]) == (2_000, 2_000, 0, [])
    assert (found["name"], found["status"]) == ("judge", "completed")
    for item in ("0-0", "1-0", "1-699", "1-999"):
        assert live.why(run.run_id, item)["outcome"] == "rejected"
    assert "DE02" not in str(live.why(run.run_id, "1-0"))


def test_a_server_that_is_away_is_waited_for_by_one_task_and_not_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "_CONFIRM_S", 0.3)
    monkeypatch.setattr(attaching, "_wait_again_at", 0.0)
    xray = XRay("p", api_url="http://127.0.0.1:9", spool_dir=tmp_path)
    with xray.run() as run, run.step("judge") as step:
        started = time.monotonic()
        for attempt in range(20):
            with attach(step.token(), task=TaskAttempt("t", 0, attempt)):
                judge("a")
        assert time.monotonic() - started < 3, "twenty waits would take six seconds"
    xray.close(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork, so no child process of this kind")
def test_what_a_child_process_of_a_task_says_counts_if_the_task_does(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("judge") as step:
        for attempt in (FIRST, SECOND):
            with attach(step.token(), task=attempt):
                judge("a")
                child = os.fork()
                if not child:
                    try:
                        judge("b")
                        xray.flush(20)
                    finally:
                        os._exit(0)
                os.waitpid(child, 0)
    (found,) = live.get(f"/runs/{run.run_id}")["steps"]
    assert found["ledger"]["rejected"] == 2


def test_the_token_says_where_to_find_the_function() -> None:
    assert xray_core.attach is attach
    assert isinstance(read_token(Token("r", "s", 1, "p", "n", None, "sample", {}, "c").spell()), Token)
