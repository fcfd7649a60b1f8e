"""A real HTTP server on loopback that takes records as the X-Ray server does, and misbehaves on demand."""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """One request as it arrived."""

    at_s: float
    path: str
    headers: dict[str, str]
    records: list[dict[str, Any]]


@dataclass
class StandIn:
    """What the server does, and what it got. `plan` is used up one entry per request, then `otherwise` holds.

    An entry is "ok", "hang", "reset" (nothing committed), "commit_then_break", or (status, headers).
    """

    plan: deque[Any] = field(default_factory=deque)
    otherwise: Any = "ok"
    refuse: Callable[[dict[str, Any]], str | None] = lambda record: None
    max_body_bytes: int | None = None
    too_large: Any = (413, {})
    flaky: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    committed: list[dict[str, Any]] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    behind: str | None = None  # a real X-Ray server that commits, behind the faults of this one
    port: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.let_go = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> StandIn:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                stand_in.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                pass  # clients that were killed

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self.let_go.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        if self.max_body_bytes is not None and length > self.max_body_bytes:
            handler.close_connection = True
            self._act(handler, self.too_large, [], b"")
            return
        body = handler.rfile.read(length)
        records = [json.loads(line) for line in gzip.decompress(body).splitlines()]
        with self.lock:
            seen = Seen(time.monotonic(), handler.path, dict(handler.headers), records)
            self.seen.append(seen)
            action = self.plan.popleft() if self.plan else self.otherwise
            if self.flaky and self.dice.random() < self.flaky:
                action = self.dice.choice(["reset", "commit_then_break", (503, {})])
        self._act(handler, action, records, body)

    def _act(self, handler: BaseHTTPRequestHandler, action: Any, records: list[dict[str, Any]], body: bytes) -> None:
        if action == "hang":
            self.let_go.wait(60)
            handler.close_connection = True
        elif action == "reset":
            self._reset(handler)
        elif action == "commit_then_break":
            self._commit(records, body)
            self._reset(handler)
        elif action == "ok":
            refused = self._commit(records, body)
            answer = {"accepted": len(records) - len(refused), "refused": refused}
            self._reply(handler, 200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
        else:
            status, headers = action
            self._reply(handler, status, headers, b"{}")

    def _commit(self, records: list[dict[str, Any]], body: bytes) -> list[dict[str, Any]]:
        refused = []
        if self.behind is not None:
            headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
            request = urllib.request.Request(f"{self.behind}/ingest", data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=30) as response:
                refused = json.load(response)["refused"]
        with self.lock:
            for line, record in enumerate(records):
                error = self.refuse(record)
                if error is None:
                    self.committed.append(record)
                else:
                    refused.append({"line": line, "error": error})
        return refused

    def _reply(self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _reset(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    # -- what arrived ----------------------------------------------------------------------------------------------

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        with self.lock:
            return [record for record in self.committed if record.get("kind") == kind]

    def names(self) -> list[str]:
        """The names of the step records, in order of arrival, one per arrival."""
        return [record["name"] for record in self.of_kind("step")]

    def rows(self) -> dict[tuple[str, str, int, str], dict[str, Any]]:
        """Step records as the real server keeps them: one per key, the highest revision."""
        rows: dict[tuple[str, str, int, str], dict[str, Any]] = {}
        for record in self.of_kind("step"):
            key = (record["run_id"], record["step_id"], record["attempt"], record["part"])
            if key not in rows or rows[key]["rev"] <= record["rev"]:
                rows[key] = record
        return rows
