"""A real server on a thread of this process and the real SDK talking to it: what tests of answers stand on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from xray_server.app import create_app
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.process.serve import listen

from xray_core import XRay


def health_of(http: httpx.Client, **asked: Any) -> dict[str, Any]:
    """What /health says once the store answered within the 100 ms that it waits for it: a busy machine may take longer."""
    deadline = time.monotonic() + 20
    while True:
        said: dict[str, Any] = http.get("/health", **asked).json()
        if said["status"] != "store unavailable":
            return said
        assert time.monotonic() < deadline, said
        time.sleep(0.02)  # the store's answer is under way on a thread of the server: asked again until it is there


class Live:
    """One server, its store, and a client to ask it with.

    Attributes:
        url: where it listens, on loopback.
        store: what it keeps.
        http: a client whose paths are relative to `url`.
    """

    def __init__(self, directory: Path) -> None:
        self.store = SQLiteStore(directory / "xray.db")
        self._directory = directory
        self._spools = 0
        socket = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self.app = create_app(self.store)
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="error", access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [socket]}, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.005)
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @contextmanager
    def xray(self, pipeline: str, **settings: Any) -> Iterator[XRay]:
        """An SDK client of this server; everything it captured is committed when the block ends."""
        self._spools += 1
        spool = self._directory / f"spool-{self._spools}"
        client = XRay(pipeline, api_url=self.url, spool_dir=spool, **settings)
        try:
            yield client
            assert client.flush(30), "the server did not confirm in time"
        finally:
            client.close(5)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer to a GET; anything but 200 fails."""
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def why(self, run_id: str, item_id: str) -> Any:
        return self.get(f"/runs/{run_id}/items/{item_id}")

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the server did not stop"
        self.store.close()
