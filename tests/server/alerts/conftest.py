"""A real receiver of webhooks on loopback, and records of finished steps."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from xray_server.alerts.apprise_target import installed
from xray_server.alerts.service import AlertSettings
from xray_server.store import Store

from tests.live import health_of
from tests.missing import MISSING
from tests.server.conftest import LoopbackServer

SECRET = "a secret of the tests"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/" + "Q" * 24
needs_apprise = pytest.mark.skipif(not installed(), reason=f"{MISSING}apprise: pip install 'xray-pipelines[alerts]'")


class Receiver:
    """Keeps what it is sent; answers 204, or what `answers` says for the next requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                receiver.requests.append((dict(self.headers), body))
                receiver.paths.append(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def told(self) -> list[tuple[str, str]]:
        """(kind, run id) of every message."""
        return [(body["kind"], body["run_id"]) for body in self.bodies]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def eventually(true: Callable[[], Any], what: str, *, within_s: float = 30) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def step(
    run_id: str, *, rejected: int = 0, accepted: int = 0, pipeline: str = "shop", name: str = "filter", ago_s: float = 0,
    status: str = "completed", reasons: dict[str, int] | None = None, attempt: int = 0, rev: int = 1, step_id: str | None = None,
    lost: int = 0, duration_ms: int = 5,
) -> dict[str, Any]:  # fmt: skip
    """The record of a finished step."""
    started_us = int((time.time() - ago_s) * 1e6)
    return {
        "v": 1, "kind": "step", "run_id": run_id, "step_id": step_id or f"{run_id}.{name}", "attempt": attempt, "part": "a", "rev": rev,
        "pipeline": pipeline, "name": name, "step_type": "filter", "status": status, "started_us": started_us,
        "ended_us": started_us + duration_ms * 1000, "duration_us": duration_ms * 1000,
        "counts": {"accepted": accepted, "rejected": rejected}, "input_count": accepted + rejected + lost,
        "reasons": {"rejected": reasons if reasons is not None else {"too_dear": rejected}},
    }  # fmt: skip


def run(run_id: str, *, pipeline: str = "shop", status: str = "completed", ago_s: float = 0) -> dict[str, Any]:
    started_us = int((time.time() - ago_s) * 1e6)
    return {
        "v": 1, "kind": "run", "run_id": run_id, "part": "a", "rev": 1, "pipeline": pipeline, "status": status,
        "started_us": started_us, "ended_us": started_us + 1000, "duration_us": 1000,
        "error": {"type": "ValueError", "message": "no price"} if status == "failed" else None,
    }  # fmt: skip


def ingest(http: httpx.Client, *records: dict[str, Any]) -> None:
    answer = http.post("/ingest", content="\n".join(map(json.dumps, records)))
    assert answer.status_code == 200
    assert answer.json()["refused"] == []


def alerts_health(http: httpx.Client) -> dict[str, Any]:
    """What /health says of alerts."""
    said: dict[str, Any] = health_of(http)["alerts"]
    return said


def judged(http: httpx.Client) -> None:
    """Wait until nothing waits to be judged or sent."""
    eventually(lambda: alerts_health(http).get("waiting_notes") == 0, "alerts were not judged")


RULE: dict[str, Any] = {"name": "too many", "metric": "rejection_rate", "above": 0.9, "secret": SECRET, "cooldown_s": 0}


def add_rule(http: httpx.Client, **fields: Any) -> str:
    answer = http.post("/alerts/rules", json={**RULE, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["rule_id"])


@pytest.fixture
def allowed(store: Store) -> Iterator[httpx.Client]:
    """A server that may deliver to loopback."""
    settings = AlertSettings(public_url="https://xray.example", allow_private=True, first_retry_s=0.02)
    server = LoopbackServer(store, alert_settings=settings)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
    server.stop()
