"""Row 35: gevent and eventlet replace threads, locks and sockets before X-Ray is imported, after, or in between.

Tests xray_core/native.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults.conftest import ROOT, eventually
from tests.e2e.faults.stand_in import StandIn
from tests.missing import need_modules

pytestmark = pytest.mark.filterwarnings("ignore")

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn, joinall, sleep",
    "eventlet": (
        "import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep\n"
        "joinall = lambda them: [each.wait() for each in them]"
    ),
}
IMPORT = "from xray_core import XRay, carry, current_step"
MAKE = "xray = XRay('green')"
EARLY = "with xray.run() as run, run.step('early') as step: step.reject('e', 'no')"
FORK = "import os, sys\nif child := os.fork(): sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
ORDERS = {
    "before": ("{patch}", IMPORT, MAKE),
    "between": (IMPORT, "{patch}", MAKE),
    "after": (IMPORT, MAKE, "{patch}"),
    "in a forked child": (IMPORT, MAKE, EARLY, FORK, "{patch}"),
}
WORK = """
import time
def work(n):
    with xray.run() as run, run.step(f"step-{n}") as step:
        for i in range(20):
            step.reject(f"i{i}", "no")
            sleep(0)
began = time.monotonic()
joinall([spawn(work, n) for n in range(10)])
took_s = time.monotonic() - began
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        sleep(0.01)
spawn(tick)
assert xray.flush(20), xray.counters
sleep(0.5)
assert ticks > 10, "X-Ray's threads keep the pipeline's from running"
xray.close()
print(took_s)
"""


def _environ(server: StandIn, spool_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    return {**kept, "XRAY_API_URL": server.url, "XRAY_SPOOL_DIR": str(spool_dir), "PYTHONWARNINGS": "ignore", **more}


# Each library where it is hardest; every order of each in test-stack.
HARDEST = {("gevent", "after"), ("gevent", "in a forked child"), ("eventlet", "after")}


@pytest.mark.parametrize(
    ("library", "when"),
    [
        pytest.param(library, when, marks=[] if (library, when) in HARDEST else pytest.mark.stack)
        for library in PATCH
        for when in ORDERS
    ],
)
def test_row_35_the_pipeline_goes_on_and_all_is_delivered_whenever_threads_are_replaced(
    server: StandIn, spool_dir: Path, library: str, when: str
) -> None:
    need_modules(library)
    lines = [line.format(patch=PATCH[library]) for line in ORDERS[when]]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines) + WORK],
        env=_environ(server, spool_dir), cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in server.rows().values() if row["kind"] == "step"}
    assert names >= {f"step-{n}" for n in range(10)}
    assert float(done.stdout) < 5, "the work of a moment took long: something blocked the one thread that all share"


APP = """
from xray_core import XRay
xray = XRay("web")
n = 0

def app(environ, start_response):
    global n
    n += 1
    with xray.run() as run, run.step(f"request-{n}") as step:
        step.reject("a", "no")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@contextmanager
def _gunicorn(server: StandIn, directory: Path, arguments: list[str]) -> Iterator[str]:
    (directory / "green_app.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (directory / "gunicorn.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-w", "1", "-b", address, *arguments, "green_app:app"],
            cwd=directory, env=_environ(server, directory / "spool", PYTHONPATH=f"{ROOT}:{directory}"),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://{address}/"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.read() == b"ok")
    except OSError:
        return False


def _serves_and_delivers(server: StandIn, directory: Path, arguments: list[str]) -> None:
    with _gunicorn(server, directory, arguments) as url:
        eventually(lambda: _answers(url))
        for _ in range(20):
            assert _answers(url), "a later request was not answered"
        eventually(lambda: {f"request-{n}" for n in range(1, 22)} <= _names(server))


def _names(server: StandIn) -> set[Any]:
    return {row["name"] for row in server.rows().values() if row["kind"] == "step"}


def test_row_35_a_preloaded_gevent_worker_of_gunicorn_answers_and_delivers(server: StandIn, tmp_path: Path) -> None:
    need_modules("gevent", "gunicorn")
    _serves_and_delivers(server, tmp_path, ["-k", "gevent", "--preload"])


@pytest.mark.stack
@pytest.mark.parametrize(
    "arguments", [["-k", "gevent"], ["-k", "gthread", "--threads", "4", "--preload"]], ids=" ".join
)
def test_row_35_other_workers_of_gunicorn_answer_and_deliver(
    server: StandIn, tmp_path: Path, arguments: list[str]
) -> None:
    need_modules("gevent", "gunicorn")
    _serves_and_delivers(server, tmp_path, arguments)
