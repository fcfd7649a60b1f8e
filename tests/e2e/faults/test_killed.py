"""Rows 1 to 5 of the fault matrix: processes that die, in every way there is."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import eventually, finish, stored_steps
from tests.e2e.faults.killing import Killer
from tests.e2e.faults.stand_in import StandIn
from tests.server.conftest import LoopbackServer
from xray_core.delivery import Delivery

Start = Callable[..., subprocess.Popen[str]]
MakeDelivery = Callable[..., Delivery]

WEATHER = ("up", "down", "flaky")
CROWDS = ((1, False), (1, True), (8, False), (8, True))


def kill_often(
    rounds: int,
    *,
    server: StandIn,
    real_server: LoopbackServer,
    program: Start,
    delivery: MakeDelivery,
    book: Path,
) -> None:
    """Kill writers in every weather; then let one adopter deliver the rest, and compare the books."""
    killer = Killer(program, book, seed=rounds)
    situations = itertools.cycle(itertools.product(WEATHER, CROWDS))
    writers_in_all = 0
    for n in range(rounds):
        weather, (writers, forks) = next(situations)
        if weather == "down":
            server.stop()
        server.flaky = 0.4 if weather == "flaky" else 0.0
        # Every other round kills writers that are sending, the others before they began.
        sent = len(server.seen)
        sending = n % 2 and weather != "down"
        killer.round(
            writers=writers, forks=forks, after=(lambda sent=sent: len(server.seen) > sent) if sending else None
        )
        writers_in_all += writers * (2 if forks else 1)
        if weather == "down":
            server.start()
    server.flaky = 0.0
    assert server.committed, "no writer was killed while it was sending"
    adopter = delivery(timeout_s=60)  # of one request: thousands of records wait, on a machine that may be busy
    assert adopter.sync()["failed"] == 0
    safe = killer.safe()
    rows = stored_steps(real_server)
    assert killer.killed >= rounds
    assert len(safe) > rounds
    assert safe - set(rows) == set(), "records were lost"
    assert len(rows) == len(set(rows)), "records were stored twice"
    # A writer may be killed between the append and its note in the book: one record each, no more.
    assert len(set(rows) - safe) <= writers_in_all


def test_row_01_sigkill_at_any_moment_loses_no_acknowledged_record(
    server: StandIn, real_server: LoopbackServer, program: Start, delivery: MakeDelivery, tmp_path: Path
) -> None:
    kill_often(12, server=server, real_server=real_server, program=program, delivery=delivery, book=tmp_path / "book")


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_row_01_two_hundred_sigkills_lose_no_acknowledged_record(
    server: StandIn, real_server: LoopbackServer, program: Start, delivery: MakeDelivery, tmp_path: Path
) -> None:
    kill_often(204, server=server, real_server=real_server, program=program, delivery=delivery, book=tmp_path / "book")


def test_row_02_sigterm_runs_the_users_handler_and_loses_nothing(
    real_server: LoopbackServer, program: Start, delivery: MakeDelivery
) -> None:
    process = program("""
        import signal
        def leave(*_):
            print("handled", flush=True)
            sys.exit(3)
        signal.signal(signal.SIGTERM, leave)
        delivery = make()
        for n in range(50):
            delivery.put("counts", step(f"a{n}"))
        print("ready", flush=True)
        while True:  # signal.pause() would wait for ever for a signal that came just before it
            time.sleep(0.1)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == ("handled\n", 3)
    delivery().sync()
    assert sorted(stored_steps(real_server)) == sorted(f"a{n}" for n in range(50))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_row_02_a_signal_without_a_handler_loses_nothing(
    server: StandIn, program: Start, delivery: MakeDelivery, number: int
) -> None:
    process = program("""
        import signal
        before = {n: signal.getsignal(n) for n in signal.valid_signals()}
        delivery = make()
        for n in range(50):
            delivery.put("counts", step(f"a{n}"))
        assert before == {n: signal.getsignal(n) for n in signal.valid_signals()}, "X-Ray installed a signal handler"
        print("ready", flush=True)
        while True:
            time.sleep(60)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    delivery().sync()
    assert len(server.rows()) == 50


def test_row_03_os_exit_loses_nothing(server: StandIn, program: Start, delivery: MakeDelivery) -> None:
    finish(
        program("""
        delivery = make()
        for n in range(200):
            delivery.put("counts", step(f"a{n}"))
        os._exit(0)
    """)
    )
    delivery().sync()
    assert len(server.rows()) == 200


def test_row_04_eight_processes_killed_together_lose_nothing(
    server: StandIn, program: Start, delivery: MakeDelivery, tmp_path: Path
) -> None:
    killer = Killer(program, tmp_path / "book", seed=4)
    for _ in range(3):
        killer.round(writers=8, forks=False)
    assert killer.killed == 24
    delivery().sync()
    assert killer.safe() <= {row["name"] for row in server.rows().values()}


def exit_seconds(process: subprocess.Popen[str]) -> float:
    """How long the interpreter took to end after the program printed its time as its last act."""
    out, err = process.communicate(timeout=60)
    ended = time.monotonic()
    assert process.returncode == 0, err
    return ended - float(out.splitlines()[-1])


def quickest(start: Callable[[], float], *, limit_s: float) -> float:
    """The best of up to three tries: a busy machine can only make an exit slower."""
    best = start()
    for _ in range(2):
        if best <= limit_s:
            break
        best = min(best, start())
    return best


LIFE = """
    delivery = make()
    for n in range(100):
        delivery.put("counts", step(f"{os.getpid()}-{n}"))
    time.sleep(0.3)
    print(time.monotonic(), flush=True)
"""


def test_row_05_server_down_for_the_whole_life_of_a_process(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    server.stop()
    lives = 0

    def live() -> float:
        nonlocal lives
        lives += 1
        return exit_seconds(program(LIFE))

    assert quickest(live, limit_s=2.5) <= 2.5
    server.start()
    # Any other process delivers it, without being told to: here, one that captures something of its own.
    delivery().put("counts", b'{"v":1,"kind":"other"}')
    eventually(lambda: len(server.rows()) == 100 * lives)


def test_row_06_a_server_that_never_answers_is_not_in_the_way(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    server.otherwise = "hang"
    lives = 0

    def live() -> float:
        nonlocal lives
        lives += 1
        return exit_seconds(program(LIFE))

    assert quickest(live, limit_s=2.5) <= 2.5
    assert server.seen, "the server was asked, and was silent"
    server.otherwise = "ok"
    server.let_go.set()
    assert delivery().sync() == {"synced": 100 * lives, "failed": 0}


def test_row_06_open_steps_are_written_down_while_the_server_hangs(server: StandIn, delivery: MakeDelivery) -> None:
    ticks: list[float] = []
    server.otherwise = "hang"
    one = delivery(hooks={"on_tick": lambda: ticks.append(time.monotonic())}, snapshot_interval_s=0.05)
    one.put("counts", b'{"v":1,"kind":"step","name":"a"}')
    eventually(lambda: server.seen)
    before = len(ticks)
    eventually(lambda: len(ticks) >= before + 3)
    started = time.monotonic()
    for _ in range(1000):
        one.put("counts", b'{"v":1,"kind":"step","name":"b"}')
    assert time.monotonic() - started < 4.0, "the caller waited for the server"
    server.let_go.set()


def test_row_06_a_server_that_was_silent_for_the_whole_budget_gets_no_second_one(
    server: StandIn, delivery: MakeDelivery
) -> None:
    server.otherwise = "hang"
    one = delivery(timeout_s=60)
    one.put("counts", b'{"v":1,"kind":"step","name":"a"}')
    eventually(lambda: server.seen and time.monotonic() - server.seen[0].at_s > 1.5)
    started = time.monotonic()
    one.close(timeout_s=1.5)
    assert time.monotonic() - started < 1.4
    server.let_go.set()


def test_row_01_a_killed_open_step_keeps_what_it_had_decided_until_its_last_snapshot(
    server: StandIn, real_server: LoopbackServer, program: Start, delivery: MakeDelivery, spool_dir: Path
) -> None:
    import json
    import urllib.request

    server.stop()
    process = program("""
        from xray_core import XRay
        xray = XRay("killed", snapshot_interval_s=0.1)
        with xray.run() as run:
            with run.step("filter", step_type="filter") as step_:
                print(run.run_id, flush=True)
                for n in range(100):
                    step_.reject(f"item-{n}", "too_dear")
                time.sleep(60)
    """)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    eventually(lambda: any(b'"rejected":100' in path.read_bytes() for path in spool_dir.glob("*/counts-*.seg")))
    process.kill()
    process.wait()
    server.start()
    assert delivery().sync()["failed"] == 0
    with urllib.request.urlopen(f"{real_server.url}/runs/{run_id}", timeout=30) as response:
        [step] = json.load(response)["steps"]
    assert step["ledger"]["rejected"] == 100
    assert step["rejection_counts"] == {"too_dear": 100}
    with urllib.request.urlopen(f"{real_server.url}/runs/{run_id}/items/item-42", timeout=30) as response:
        assert json.load(response)["outcome"] == "rejected"
