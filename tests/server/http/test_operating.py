"""What an operator watches and what holds strangers off: metrics, readiness, logs, rates, slow clients, headers.

Tests access/rates.py, http/health.py, logs.py, metrics.py, middleware.py, operate_routes.py, process/connections.py and
serve.py.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from xray_server.access.rates import BURST_S, Rates
from xray_server.app import create_app
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.http import logs
from xray_server.process.connections import PunctualProtocol
from xray_server.store import Batch, Store, StoreHealth, StoreUnavailableError

from tests.server.conftest import LoopbackServer, ServerProcess
from tests.server.make_keys import Keys, create_keys

LINE = json.dumps({"v": 1, "kind": "run", "part": "a", "rev": 1, "run_id": "r", "pipeline": "p"})


def figures(http: httpx.Client, **headers: str) -> dict[tuple[str, ...], float]:
    answer = http.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_requests_by_declared_route_and_what_was_written(http: httpx.Client) -> None:
    http.post("/ingest", content=f"{LINE}\nnonsense")
    http.get("/runs/some-id-of-a-user")
    http.get("/no-such-path-of-a-stranger")
    found = figures(http)
    assert found["xray_http_requests_total", "POST", "/ingest", "200"] == 1
    assert found["xray_http_requests_total", "GET", "/runs/{run_id:id}", "404"] == 1
    assert found["xray_http_requests_total", "GET", "none", "404"] == 1
    assert found["xray_ingest_records_total",] == 1
    assert found["xray_ingest_commits_total",] == 1
    assert found["xray_store_up",] == 1
    assert found["xray_store_runs",] == 1
    assert "some-id" not in str(found)
    assert "stranger" not in str(found)


class AwayStore(SQLiteStore):
    away = False

    def health(self) -> StoreHealth:
        if self.away:
            raise StoreUnavailableError("away")
        return super().health()

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        if self.away:
            raise StoreUnavailableError("away")
        return super().write(batches)


def test_while_the_store_is_away_the_server_is_live_and_not_ready(tmp_path: Path) -> None:
    store = AwayStore(tmp_path / "xray.db")
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/ready").json() == {"ready": True}
        store.away = True
        assert http.get("/ready").status_code == 503
        assert http.get("/ready").headers["retry-after"]
        health = http.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["error"]) == (
            200,
            "store unavailable",
            "away",
        )
        assert set(health.json()) == {"status", "error", "version", "uptime_s", "ingest", "senders"}
        assert figures(http)["xray_store_up",] == 0
        store.away = False
        assert http.get("/ready").status_code == 200
    server.stop()
    store.close()


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_served(store: Store) -> None:
    keys = create_keys(store)
    server = LoopbackServer(store, rate_per_key_s=1.0)
    with httpx.Client(base_url=server.url) as http:
        answers = [http.get("/runs", headers=keys.headers("read")) for _ in range(int(BURST_S) + 10)]
        assert [answer.status_code for answer in answers[: int(BURST_S)]] == [200] * int(BURST_S)
        slowed = next(answer for answer in answers if answer.status_code == 429)
        assert int(slowed.headers["retry-after"]) >= 1
        assert "too often" in slowed.json()["error"]
        assert http.get("/runs", headers=keys.headers("read", "rival")).status_code == 200
        assert figures(http, **keys.headers("metrics"))["xray_access_refused_total", "rate"] >= 1
    server.stop()


def test_a_bucket_fills_with_time_and_not_beyond_its_burst() -> None:
    now = [0.0]
    rates = Rates(2.0, clock=lambda: now[0])
    assert [rates.take("k") for _ in range(10)] == [0.0] * 10
    assert rates.take("k") == pytest.approx(0.5)
    assert rates.take("other") == 0.0
    now[0] = 0.5
    assert rates.take("k") == 0.0
    assert rates.take("k") > 0
    now[0] = 1e6
    assert [rates.take("k") for _ in range(11)].count(0.0) == 10
    assert all(Rates(0).take("k") == 0 for _ in range(1000))


class Impatient(PunctualProtocol):
    header_timeout_s = 0.3
    body_timeout_s = 3.0


@pytest.fixture
def impatient(store: Store) -> Iterator[int]:
    from tests.server.conftest import listening_on_a_thread

    with listening_on_a_thread(
        uvicorn.Config(create_app(store), log_level="error", access_log=False, http=Impatient)
    ) as port:
        yield port


def test_headers_that_dribble_in_are_cut_off_and_a_slow_body_is_not(impatient: int) -> None:
    def received(start: bytes, dribble: bytes = b"", *, n: int = 0) -> bytes:
        with socket.create_connection(("127.0.0.1", impatient), timeout=20) as client:
            client.sendall(start)
            try:
                for _ in range(n):
                    time.sleep(0.1)  # how slowly this client sends is what is tested
                    client.sendall(dribble)
                return client.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                return b"closed"

    body = f"POST /ingest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(LINE) + 10}\r\n\r\n".encode()
    with ThreadPoolExecutor() as threads:
        silent = threads.submit(received, b"")
        dribbling = threads.submit(received, b"GET /health HTTP/1.1\r\n", b"X: y\r\n", n=40)
        again = threads.submit(received, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he", b"", n=0)
        slow_body = threads.submit(received, body + LINE.encode(), b"\n", n=10)
        assert silent.result().startswith((b"HTTP/1.1 408", b"closed"))
        assert dribbling.result().startswith((b"HTTP/1.1 408", b"closed"))
        assert again.result().startswith(b"HTTP/1.1 200")
        assert slow_body.result().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("request_line", ["POST /ui/sign-in", "GET /health"])
def test_a_body_that_never_ends_does_not_hold_its_connection_whether_it_is_read_or_not(
    impatient: int, request_line: str
) -> None:
    with socket.create_connection(("127.0.0.1", impatient), timeout=20) as client:
        client.sendall(f"{request_line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode())
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(60):
                time.sleep(0.1)  # how slowly this client sends is what is tested
                client.sendall(b"a")
            pytest.fail("it is still open")
    with socket.create_connection(("127.0.0.1", impatient), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_every_answer_has_the_security_headers_and_none_allows_another_origin(store: Store) -> None:
    keys: Keys = create_keys(store)
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url) as http:
        origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"}
        for method, path in [("GET", "/runs"), ("GET", "/ui"), ("GET", "/static/xray.css"), ("OPTIONS", "/runs"), ("GET", "/none"),
                             ("GET", "/health"), ("POST", "/ingest")]:  # fmt: skip
            for headers in (origin, {**origin, **keys.headers("admin")}):
                answer = http.request(method, path, headers=headers)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["x-frame-options"] == "DENY"
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                assert not [name for name in answer.headers if name.startswith("access-control-")]
                assert answer.headers["x-request-id"]
                if not path.startswith("/static/"):
                    assert answer.headers["cache-control"] == "no-store"
    server.stop()


def test_a_request_has_the_id_its_proxy_gave_it_unless_that_is_no_id(http: httpx.Client) -> None:
    assert http.get("/health", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 65, "<script>", "a\tb"):
        assert http.get("/health", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad


@pytest.fixture
def formatted() -> Iterator[Callable[[str], io.StringIO]]:
    """The process's log in a format, for this test."""
    root = logging.getLogger()
    before, xray_level = (root.handlers[:], root.level), logging.getLogger("xray").level

    def start(kind: str) -> io.StringIO:
        stream = io.StringIO()
        logs.configure("info", "json" if kind == "json" else "text", stream)
        return stream

    yield start
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger("xray").setLevel(xray_level)


@pytest.mark.parametrize("kind", ["json", "text"])
def test_an_error_is_logged_with_its_type_and_place_and_not_with_what_it_quotes(
    formatted: Callable[[str], io.StringIO], kind: str
) -> None:
    stream = formatted(kind)
    try:
        int("payload-of-a-user")
    except ValueError as error:
        logging.getLogger("xray").warning("%s failed: %s", "here", error)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    told = stream.getvalue()
    assert "payload" not in told
    assert told.count("ValueError") >= 2
    assert "test_operating.py" in told
    if kind == "json":
        assert all(json.loads(line)["level"] in ("warning", "error") for line in told.splitlines())


def test_a_line_a_request_says_who_what_and_how_long_and_no_ids_of_users(
    http: httpx.Client, formatted: Callable[[str], io.StringIO]
) -> None:
    stream = formatted("json")
    http.get("/runs/id-of-a-user?other=text-of-a-user", headers={"X-Request-Id": "abc"})
    deadline = time.monotonic() + 10
    while "abc" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    line = next(json.loads(text) for text in stream.getvalue().splitlines() if "abc" in text)
    assert line["request_id"] == "abc"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/runs/{run_id:id}", 422)
    assert line["duration_ms"] >= 0
    assert "of-a-user" not in stream.getvalue()


def test_an_orderly_end_answers_the_request_it_is_in_and_loses_nothing(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """SIGTERM while a body is still arriving: the request is answered 2xx, the run is there, the exit code is 0."""
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = f"POST /ingest HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(LINE)}\r\n\r\n"
        client.sendall(head.encode() + LINE[:10].encode())
        assert httpx.get(f"{server.url}/health").status_code == 200
        server.process.terminate()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # until it listens no more
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
                time.sleep(0.02)
            except OSError:
                break
        client.sendall(LINE[10:].encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.process.wait(20) == 0
    connection = sqlite3.connect(tmp_path / "xray.db")
    assert connection.execute("SELECT count(*) FROM run").fetchone() == (1,)
    connection.close()
