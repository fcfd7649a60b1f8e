"""OTLP in beside `POST /ingest`: spans a second of retrieving steps, over HTTP into SQLite.

The same steps, each with ten documents: as spans in protobuf and in JSON, and as the records that they become. Batches of 512, as an
SDK sends them, one after the other. What counts is the ratio.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from xray_server.otlp import receive

from tests.live import Live
from tests.server.otlp import spans

BATCH, BATCHES, ROUNDS, DOCUMENTS = 512, 8, 5, 10


def main() -> None:
    bodies = [_request(number) for number in range(BATCHES)]
    protobuf = [gzip.compress(spans.protobuf(body), 1) for body in bodies]
    as_json = [gzip.compress(json.dumps(body).encode(), 1) for body in bodies]
    records = [receive.decode(json.dumps(body).encode(), receive.JSON).records for body in bodies]
    lines = [gzip.compress(b"\n".join(map(msgspec.json.encode, each)), 1) for each in records]
    ways = {
        "POST /ingest": ("/ingest", "application/x-ndjson", lines),
        "OTLP protobuf": ("/v1/traces", receive.PROTOBUF, protobuf),
        "OTLP JSON": ("/v1/traces", receive.JSON, as_json),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            taken[name].append(_seconds(*way))
    ours = statistics.median(taken["POST /ingest"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:14} {BATCH * BATCHES / middle:8,.0f} spans/s, {ours / middle:.2f} of POST /ingest")


def _request(number: int) -> spans.Json:
    made = [
        spans.retriever(
            place + 1, f"search {place % 7}", [f"doc-{number}-{place}-{n}" for n in range(DOCUMENTS)],
            scores=[1.0 / (n + 1) for n in range(DOCUMENTS)], parent=99_999, trace=number * 100 + place // 16 + 1, at_ms=place,
        )
        for place in range(BATCH)
    ]  # fmt: skip
    return spans.request(*made)


def _seconds(path: str, media_type: str, bodies: Sequence[bytes]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        live = Live(Path(directory))
        headers = {"content-type": media_type, "content-encoding": "gzip"}
        began = time.perf_counter()
        for body in bodies:
            answer = live.http.post(path, content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            assert not answer.json().get("refused") if path == "/ingest" else True
        took = time.perf_counter() - began
        live.stop()
    return took
