"""Memory and time under requests that are made to cost much, and under a flood of honest ones.

Tests bounds.py.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from xray_server.errors import TooLargeError
from xray_server.otlp import receive
from xray_server.otlp.bounds import check_messages
from xray_server.otlp.spans import MAX_BYTES

from tests.server.conftest import ServerProcess
from tests.server.otlp import spans

ROOM = MAX_BYTES - 100


def message(field: int, payload: bytes) -> bytes:
    size, length = b"", len(payload)
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([field << 3 | 2]) + size + payload


def in_a_span(payload: bytes) -> bytes:
    return message(1, message(2, message(2, payload)))


BOMBS = {
    "attributes": in_a_span(b"\x4a\x00" * (ROOM // 2)),
    "events": in_a_span(b"\x5a\x00" * (ROOM // 2)),
    "spans": message(1, message(2, b"\x12\x00" * (ROOM // 2))),
    "values of a list": in_a_span(message(9, message(2, message(5, b"\x0a\x00" * (ROOM // 2))))),
    "resources": b"\x0a\x00" * (ROOM // 2),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_body_of_many_tiny_messages_is_refused_before_any_is_made(kind: str) -> None:
    began = time.process_time()
    with pytest.raises(TooLargeError, match="send smaller batches"):
        receive.decode(BOMBS[kind], receive.PROTOBUF)
    assert time.process_time() - began < 10  # it takes one second; made in full, up to a minute


def test_what_is_no_protobuf_is_left_to_the_decoder() -> None:
    for body in (b"\xff" * 2_000_000, b"\x0a\xff\xff\xff\x7f" * 400_000, b"\x0b" * 2_000_000):
        check_messages(body)


def test_an_honest_request_is_counted_as_it_is_and_taken() -> None:
    text = "x" * 2_000
    made = [spans.span(n + 1, "s", parent=99_999, **{f"key {i}": text for i in range(3)}) for n in range(500)]
    body = spans.protobuf(spans.request(*made))
    assert len(body) > 2_000_000
    assert len(receive.decode(body, receive.PROTOBUF).records) == 2 * 500


def memory_peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_a_flood_of_bombs_and_of_honest_requests_keeps_the_server_within_bounds(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server("--rate-per-key", "0")
    before = memory_peak_mib(server.process.pid)
    headers = {"content-type": receive.PROTOBUF, "content-encoding": "gzip"}
    bombs = [gzip.compress(body) for body in BOMBS.values()] * 4
    honest = [
        gzip.compress(spans.protobuf(spans.request(*[
            spans.retriever(n + 1, "search", [f"d{k}" for k in range(10)], parent=99_999, trace=number + 1, at_ms=n)
            for n in range(512)])), 1)
        for number in range(40)
    ]  # fmt: skip

    def send(body: bytes) -> int:
        with httpx.Client(base_url=server.url, timeout=300) as http:
            return http.post("/v1/traces", content=body, headers=headers).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(send, [body for pair in zip(honest, bombs * 2) for body in pair]))
    assert set(statuses) <= {200, 413, 429}
    assert statuses.count(200) >= len(honest) // 2
    assert memory_peak_mib(server.process.pid) - before < 700
    with httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.get("/ready").status_code == 200
