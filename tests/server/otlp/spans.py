"""Requests of OTLP for tests: recorded ones, and spans made by hand."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

RECORDED = Path(__file__).parent / "recorded"
Json = dict[str, Any]
T0_NS = 1_790_000_000_000_000_000


def recorded(name: str) -> Json:
    body: Json = json.loads((RECORDED / f"{name}.json").read_text())
    return body


def pieces(body: Json) -> list[Json]:
    """The same spans, each in a request of its own."""
    found = []
    for of_resource in body["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                scope = {**of_scope, "spans": [span]}
                found.append({"resourceSpans": [{**of_resource, "scopeSpans": [scope]}]})
    return found


def trace_id_of(body: Json) -> str:
    return str(body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"])


def protobuf(body: Json) -> bytes:
    """A JSON request as protobuf."""
    told = copy.deepcopy(body)
    import base64

    for of_resource in told["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if span.get(name):
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    request = ParseDict(told, ExportTraceServiceRequest())
    encoded: bytes = request.SerializeToString()
    return encoded


def send(http: httpx.Client, body: Json, *, encoding: str = "json", zipped: bool = False) -> httpx.Response:
    content = json.dumps(body).encode() if encoding == "json" else protobuf(body)
    headers = {"content-type": "application/json" if encoding == "json" else "application/x-protobuf"}
    if zipped:
        content = gzip.compress(content)
        headers["content-encoding"] = "gzip"
    answer = http.post("/v1/traces", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def value(given: Any) -> Json:
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(each) for each in given]}}
    return {"stringValue": given if isinstance(given, str) else json.dumps(given)}


def span(
    span_id: int,
    name: str,
    *,
    parent: int | None = None,
    trace: int = 1,
    at_ms: int = 0,
    more: Json | None = None,
    **attributes: Any,
) -> Json:
    """A span; `__` in the name of an attribute stands for a dot."""
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{span_id:016x}",
        **({} if parent is None else {"parentSpanId": f"{parent:016x}"}),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(T0_NS + at_ms * 1_000_000),
        "endTimeUnixNano": str(T0_NS + (at_ms + 1) * 1_000_000),
        "attributes": [{"key": key.replace("__", "."), "value": value(each)} for key, each in attributes.items()],
        **(more or {}),
    }  # fmt: skip


def request(*spans: Json, service: str | None = "shop") -> Json:
    attributes = [] if service is None else [{"key": "service.name", "value": {"stringValue": service}}]
    return {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}]}


def retriever(span_id: int, name: str, ids: Sequence[str], *, scores: list[float] | None = None, **more: Any) -> Json:
    """A RETRIEVER span of OpenInference that gave these documents."""
    documents: Json = {}
    for place, item in enumerate(ids):
        documents[f"retrieval.documents.{place}.document.id"] = item
        if scores is not None:
            documents[f"retrieval.documents.{place}.document.score"] = scores[place]
    return span(span_id, name, **more, **{"openinference.span.kind": "RETRIEVER"}, **documents)
