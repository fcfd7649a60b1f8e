"""A real store in a temporary file, and a real server on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from xray_server.app import create_app
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.process.serve import listen
from xray_server.store import Store

from tests.server import clickhouse, postgresql


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SQLiteStore(tmp_path / "xray.db")
    yield opened
    opened.close()


@contextmanager
def listening_on_a_thread(config: uvicorn.Config) -> Iterator[int]:
    """Serve as configured on a free port, until the end of the block."""
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.005)
        yield sock.getsockname()[1]
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


class LoopbackServer:
    """A server on a thread of this process, on a free port."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.app = create_app(store, **options)
        self._socket = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="error", access_log=False, lifespan="on"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the server did not stop"


@pytest.fixture
def server(store: Store) -> Iterator[LoopbackServer]:
    running = LoopbackServer(store)
    yield running
    running.stop()


@pytest.fixture
def http(server: LoopbackServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@dataclass
class ServerProcess:
    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start `xray serve` as a process on a free port; it is gone at the end of the test."""
    started: list[ServerProcess] = []

    def start(*arguments: str, cwd: Path = tmp_path, environ: Mapping[str, str] | None = None) -> ServerProcess:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "xray_server", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, env={**kept, **(environ or {})},
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stdout.read()
        server = ServerProcess(process, found[0])
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server; see postgresql.py."""
    with postgresql.running() as url:
        yield url


@pytest.fixture(scope="session")
def clickhouse_url() -> Iterator[str]:
    """A real ClickHouse server; see clickhouse.py."""
    with clickhouse.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/xray.db"
        return
    with postgresql.schema(request.getfixturevalue("postgres_url")) as url:
        yield url
