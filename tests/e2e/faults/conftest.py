"""What the fault tests share: a misbehaving server, a spool of their own, and programs that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.e2e.faults.stand_in import StandIn
from tests.server.conftest import LoopbackServer
from xray_core import settings as settings_module
from xray_core.delivery import Delivery
from xray_core.settings import Settings
from xray_core.transport.http import HttpTransport

ROOT = Path(__file__).parents[3]
RUN_ID = "00000000-0000-7000-8000-000000000001"

# What every child program begins with: a Delivery as a client makes it, and records with names.
PROLOGUE = """
import os, sys, time
from xray_core import settings as _settings, wire
from xray_core.delivery import Delivery
from xray_core.transport.http import HttpTransport

def make(**arguments):
    chosen = _settings.load(arguments)
    return Delivery(chosen, HttpTransport(chosen.api_url, api_key=chosen.api_key))

def step(name, rev=1, part=None, **more):
    return wire.to_payload({
        "v": 1, "kind": "step", "run_id": "00000000-0000-7000-8000-000000000001", "step_id": name, "attempt": 1,
        "part": part or str(os.getpid()), "rev": rev, "pipeline": "faults", "name": name, "status": "completed",
        "started_us": 1, "ended_us": 2, **more})
"""


def step_payload(name: str, **more: Any) -> bytes:
    namespace: dict[str, Any] = {}
    exec(PROLOGUE, namespace)  # the same record that the child programs write
    payload: bytes = namespace["step"](name, **more)
    return payload


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in = StandIn().start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def real_server(server: StandIn, tmp_path: Path) -> Iterator[LoopbackServer]:
    """The X-Ray server over SQLite, behind `server`, which goes on misbehaving."""
    store = SQLiteStore(tmp_path / "xray.db")
    running = LoopbackServer(store)
    server.behind = running.url
    yield running
    running.stop()
    store.close()


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def settings(server: StandIn, spool_dir: Path) -> Callable[..., Settings]:
    def make(**arguments: Any) -> Settings:
        given = {"api_url": server.url, "spool_dir": spool_dir, "timeout_s": 5.0, **arguments}
        return settings_module.load(given, environ={})

    return make


@pytest.fixture
def delivery(settings: Callable[..., Settings]) -> Iterator[Callable[..., Delivery]]:
    """Makes deliveries to the server, and closes them."""
    made: list[Delivery] = []

    def make(*, hooks: dict[str, Any] | None = None, **arguments: Any) -> Delivery:
        chosen = settings(**arguments)
        made.append(Delivery(chosen, HttpTransport(chosen.api_url, api_key=chosen.api_key), **(hooks or {})))
        return made[-1]

    yield make
    for one in made:
        one.close(timeout_s=0.5)


@pytest.fixture
def program(server: StandIn, spool_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts child programs that write to this test's spool and server; kills the groups of those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(source), *arguments],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("XRAY_")},
                "XRAY_API_URL": server.url,
                "XRAY_SPOOL_DIR": str(spool_dir),
                "PYTHONWARNINGS": "ignore",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def finish(process: subprocess.Popen[str], *, timeout_s: float = 60.0) -> str:
    """Wait for a child program; its standard output. Fails with its standard error when it failed."""
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return out


def stored_steps(server: LoopbackServer) -> list[str]:
    """The names of all steps of the faults' one run, as the server answers them."""
    names: list[str] = []
    cursor = ""
    while True:
        with urllib.request.urlopen(f"{server.url}/runs/{RUN_ID}?limit=500{cursor}", timeout=60) as response:
            page = json.load(response)
        names += [step["name"] for step in page["steps"]]
        if not page.get("next_cursor"):
            return names
        cursor = "&cursor=" + urllib.parse.quote(page["next_cursor"])


def eventually(condition: Callable[[], Any], *, within_s: float = 30.0) -> Any:
    """Poll until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"did not come true within {within_s} s"
        time.sleep(0.02)
