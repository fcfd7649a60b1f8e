"""Sends runs to an MLflow server as OpenTelemetry traces: a span a step, its samples as the span's events.

Run by `tests.benchmarks.peers` with the interpreter of MLflow's own environment: imports nothing of X-Ray.
Arguments: the server's address, a file of NDJSON records, runs a request. Prints steps and seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import chain
from pathlib import Path
from typing import Any

import requests  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


def attribute(key: str, value: object) -> KeyValue:
    text = value if isinstance(value, str) else json.dumps(value)
    return KeyValue(key=key, value=AnyValue(string_value=text))


def id_of(text: str, size: int) -> bytes:
    return bytes.fromhex(text.replace("-", ""))[-size:]


def body_of(records: list[dict[str, Any]]) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    of_step: dict[str, Any] = {}
    for record in records:
        trace_id = id_of(record["run_id"], 16)
        if record["kind"] == "run":
            span = spans.add(trace_id=trace_id, span_id=id_of(record["run_id"], 8), name=record["pipeline"])
            span.attributes.append(attribute("input", record["input"]))
        elif record["kind"] == "step":
            span = spans.add(trace_id=trace_id, span_id=id_of(record["step_id"], 8), name=record["name"])
            span.parent_span_id = id_of(record["run_id"], 8)
            for key in ("step_type", "counts", "reasons", "input_count", "output_count", "metadata"):
                span.attributes.append(attribute(key, record[key]))
            of_step[record["step_id"]] = span
        elif record["kind"] == "samples":
            for sample in record["samples"]:
                event = of_step[record["step_id"]].events.add(name=sample["outcome"])
                event.time_unix_nano = sample["at_us"] * 1000
                event.attributes.extend(
                    attribute(key, sample[key]) for key in ("item_id", "reason", "weight", "details")
                )
            continue
        else:  # verdicts: it has no place for them
            continue
        span.start_time_unix_nano = record["started_us"] * 1000
        span.end_time_unix_nano = record["ended_us"] * 1000
    return bytes(request.SerializeToString())


def main(address: str, path: str, runs_a_body: int) -> None:
    runs: list[list[dict[str, Any]]] = []
    for line in Path(path).read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "run":
            runs.append([])
        runs[-1].append(record)
    waiting = [body_of(list(chain(*runs[at : at + runs_a_body]))) for at in range(0, len(runs), runs_a_body)]
    lock, failures = threading.Lock(), []

    def send() -> None:
        with requests.Session() as session:
            while True:
                with lock:
                    if not waiting:
                        return
                    body = waiting.pop()
                answer = session.post(
                    f"{address}/v1/traces",
                    data=body,
                    headers={"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"},
                    timeout=300,
                )
                if answer.status_code != 200:
                    failures.append(f"{answer.status_code}: {answer.text[:300]}")
                    return

    threads = [threading.Thread(target=send) for _ in range(4)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise SystemExit(failures[0])
    print(json.dumps({"steps": sum(record["kind"] == "step" for run in runs for record in run), "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
