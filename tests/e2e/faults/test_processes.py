"""Rows 12 to 16 of the fault matrix: forks, pools, preforking servers, signal handlers, finalizers, the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import PROLOGUE, ROOT, eventually, finish, stored_steps
from tests.e2e.faults.stand_in import StandIn
from tests.missing import need_modules
from tests.server.conftest import LoopbackServer
from xray_core.delivery import Delivery

Start = Callable[..., subprocess.Popen[str]]
MakeDelivery = Callable[..., Delivery]


def test_row_12_a_fork_while_other_threads_capture_neither_hangs_nor_duplicates(
    server: StandIn, real_server: LoopbackServer, program: Start, delivery: MakeDelivery
) -> None:
    out = finish(
        program("""
        import threading
        delivery = make()
        stop, written = threading.Event(), []
        def capture(k):
            n = 0
            while not stop.is_set():
                name = f"parent-{k}-{n}"
                delivery.put("counts", step(name))
                written.append(name)
                n += 1
                time.sleep(0.0005)
        threads = [threading.Thread(target=capture, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(15):
            pid = os.fork()
            if pid == 0:
                for n in range(10):
                    delivery.put("counts", step(f"child-{os.getpid()}-{n}"))
                delivery.close()
                os._exit(0)
            children.append(pid)
            time.sleep(0.01)
        for pid in children:
            os.waitpid(pid, 0)
        stop.set()
        for thread in threads:
            thread.join()
        delivery.close(timeout_s=30)
        print(len(written) + 150)
    """)
    )
    delivery().sync()
    # On the wire at least once: a child that ends before it has read the answer leaves its last batch to be sent again.
    # What the parent had captured is the parent's alone to send.
    of_parent = [name for name in server.names() if name.startswith("parent-")]
    assert len(of_parent) == len(set(of_parent)), "a child sent what it had inherited"
    stored = stored_steps(real_server)
    assert len(stored) == len(set(stored)) == int(out), "in the store each is there once"


def test_row_13_a_child_that_outlives_its_parent_does_not_hold_its_records(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    server.stop()
    process = program("""
        delivery = make()
        for n in range(50):
            delivery.put("counts", step(f"parent-{n}"))
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
        print(pid, flush=True)
        time.sleep(60)
    """)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.start()
    adopter = delivery()
    eventually(lambda: adopter.sync() and len(server.rows()) == 50)  # the child lets go as soon as it first runs
    os.kill(child, 0)  # the child lives: nobody waited for its end


def test_row_13_a_child_that_captures_adopts_its_dead_parents_records(server: StandIn, program: Start) -> None:
    process = program("""
        import signal
        delivery = make(timeout_s=1)
        for n in range(50):
            delivery.put("counts", step(f"parent-{n}"))
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            delivery.put("counts", step(f"child-{time.time_ns()}"))
            time.sleep(0.1)
    """)
    process.wait()
    eventually(lambda: sum(name.startswith("parent") for name in {row["name"] for row in server.rows().values()}) == 50)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_row_14_workers_of_a_multiprocessing_pool_deliver(
    real_server: LoopbackServer, program: Start, tmp_path: Path, method: str
) -> None:
    module = tmp_path / "pool_tasks.py"
    module.write_text(
        PROLOGUE
        + "_delivery = None\n"
        + "def work(n):\n"
        + "    global _delivery\n"
        + "    _delivery = _delivery or make()\n"
        + "    _delivery.put('counts', step(f'task-{n}'))\n"
        + "    return os.getpid()\n"
    )
    out = finish(
        program(
            """
        import multiprocessing
        sys.path.insert(0, sys.argv[1])
        import pool_tasks
        if __name__ == "__main__":
            pool = multiprocessing.get_context(sys.argv[2]).Pool(2)
            pids = pool.map(pool_tasks.work, range(40), chunksize=1)
            pool.close()
            pool.join()
            print(len(set(pids)))
    """,
            str(tmp_path),
            method,
        )
    )
    assert int(out) >= 1
    # Nobody adopts: the workers delivered it themselves, before multiprocessing ended them by os._exit.
    assert sorted(stored_steps(real_server)) == sorted(f"task-{n}" for n in range(40))


def test_row_14_a_task_runner_that_forks_and_ends_by_os_exit(
    real_server: LoopbackServer, program: Start, delivery: MakeDelivery
) -> None:
    finish(
        program("""
        delivery = make()
        delivery.put("counts", step("supervisor"))
        for task in range(5):
            if os.fork() == 0:
                for n in range(10):
                    delivery.put("counts", step(f"task-{task}-{n}"))
                os._exit(0)
            os.wait()
    """)
    )
    delivery().sync()
    expected = ["supervisor", *(f"task-{task}-{n}" for task in range(5) for n in range(10))]
    assert sorted(stored_steps(real_server)) == sorted(expected)


GUNICORN_APP = """
delivery = make()
delivery.put("counts", step("preloaded"))

def app(environ, start_response):
    pid = str(os.getpid())
    delivery.put("counts", step(f"worker-{pid}-{time.time_ns()}"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [pid.encode()]
"""


@pytest.fixture
def gunicorn(server: StandIn, spool_dir: Path, tmp_path: Path) -> Iterator[str]:
    """A preforking server whose application makes its client before the fork."""
    need_modules("gunicorn")
    (tmp_path / "preforked.py").write_text(PROLOGUE + GUNICORN_APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", address, "preforked:app"],
        cwd=tmp_path,
        env={
            **os.environ,
            "XRAY_API_URL": server.url,
            "XRAY_SPOOL_DIR": str(spool_dir),
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield f"http://{address}/"
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_row_14_each_gunicorn_worker_delivers_while_it_lives(server: StandIn, gunicorn: str) -> None:
    pids: set[str] = set()
    asked = 0

    def ask() -> bool:
        nonlocal asked
        try:
            with urllib.request.urlopen(gunicorn, timeout=5) as response:
                pids.add(response.read().decode())
                asked += 1
        except OSError:
            return False
        return len(pids) == 2

    eventually(ask)
    eventually(lambda: len(server.rows()) == asked + 1)
    workers = {name.split("-")[1] for name in server.names() if name.startswith("worker")}
    assert workers == pids
    assert server.names().count("preloaded") == 1


def test_row_15_capture_in_signal_handlers_finalizers_and_log_handlers_never_deadlocks(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    out = finish(
        program("""
        import gc, logging, signal, threading
        delivery = make()
        counted = {"main": 0, "signal": 0, "del": 0, "log": 0}
        def capture(where):
            counted[where] += 1
            delivery.put("counts", step(f"{where}-{counted[where]}"))

        class Doomed:
            def __init__(self):
                self.me = self  # a cycle: the garbage collector decides when, perhaps inside append
            def __del__(self):
                capture("del")

        class Handler(logging.Handler):
            def emit(self, record):
                if threading.current_thread() is threading.main_thread():
                    capture("log")

        logging.getLogger().addHandler(Handler())
        logging.getLogger().setLevel(logging.DEBUG)
        signal.signal(signal.SIGALRM, lambda *_: capture("signal"))
        gc.set_threshold(50)
        import random
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            # One shot at a time: handlers that interrupt each other for ever exhaust the stack of any program.
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
            for _ in range(5):
                capture("main")
            Doomed()
            logging.getLogger("app").debug("x")
            time.sleep(0.0002)
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        assert all(counted.values()), counted
        delivery.close(timeout_s=30)
        print(sum(counted.values()), len(delivery.counters))
    """),
        timeout_s=40,
    )
    delivery().sync()
    names = server.names()
    assert len(set(names)) == int(out.split()[0])


def test_row_15_a_log_handler_that_captures_does_not_feed_on_our_own_traffic(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    finish(
        program("""
        import logging
        delivery = make()
        class Handler(logging.Handler):
            n = 0
            def emit(self, record):
                Handler.n += 1
                delivery.put("counts", step(f"log-{os.getpid()}-{Handler.n}-{record.name}"))
        logging.getLogger().addHandler(Handler())
        logging.getLogger().setLevel(logging.DEBUG)
        delivery.put("counts", step("only"))
        assert delivery.flush(20)
        before = Handler.n
        for _ in range(5):
            delivery.put("counts", step(f"more-{_}"))
            assert delivery.flush(20)
        print(Handler.n - before)
        assert Handler.n - before == 0, "sending made log records, which were captured and sent"
    """)
    )


def test_row_16_a_first_capture_at_interpreter_exit_is_kept(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    finish(
        program("""
        import atexit
        delivery = make()
        atexit.register(lambda: delivery.put("counts", step("at exit")))
        class Late:
            def __del__(self, delivery=delivery, step=step):
                delivery.put("counts", step("in the very end"))
        late = Late()
    """)
    )
    delivery().sync()
    assert sorted({row["name"] for row in server.rows().values()}) == ["at exit", "in the very end"]


def test_row_16_a_capture_after_xrays_own_exit_handler_is_kept(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    finish(
        program("""
        import atexit
        from xray_core.delivery import delivery as module
        atexit.unregister(module._close_all)
        atexit.register(lambda: delivery.put("counts", step("after everybody")))
        atexit.register(module._close_all)  # runs first
        delivery = make()
        delivery.put("counts", step("before"))
    """)
    )
    delivery().sync()
    assert sorted({row["name"] for row in server.rows().values()}) == ["after everybody", "before"]
