"""OTLP/HTTP as the protocol has it: encodings, ids, partial success, statuses, keys, and whatever else a sender may send.

Tests http/otlp_routes.py, otlp/receive.py and spans.py.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from xray_server.store import Store

from tests.server.conftest import LoopbackServer
from tests.server.make_keys import PROJECTS, create_keys
from tests.server.otlp import spans

JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}


def test_the_usual_environment_variables_are_all_that_an_exporter_needs(
    server: LoopbackServer, http: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = create_keys(store)
    key, reader = keys.texts["ingest", PROJECTS[0]], keys.headers("read")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer%20{key}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    provider = TracerProvider(resource=Resource.create({"service.name": "search"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    with provider.get_tracer("app").start_as_current_span("GET /search") as root:
        root.set_attribute("session.id", "s-1")
    provider.shutdown()
    runs = http.get("/runs", headers=reader).json()["runs"]
    assert [(run["pipeline"], run["status"], run["tags"]) for run in runs] == [
        ("search", "completed", {"session.id": "s-1"})
    ]


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
@pytest.mark.parametrize("zipped", [False, True])
def test_each_encoding_is_answered_in_kind(http: httpx.Client, encoding: str, zipped: bool) -> None:
    body = spans.request(spans.span(1, "root"), spans.span(2, "child", parent=1))
    answer = spans.send(http, body, encoding=encoding, zipped=zipped)
    if encoding == "json":
        assert answer.json() == {}
    else:
        assert answer.headers["content-type"] == "application/x-protobuf"
        assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    assert [step["name"] for step in http.get(f"/runs/{1:032x}").json()["steps"]] == ["child"]


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_spans_that_are_none_are_counted_and_the_others_are_kept(http: httpx.Client, encoding: str) -> None:
    bad = [spans.span(0, "no id", parent=1), spans.span(3, "no time", parent=1, more={"startTimeUnixNano": "0"})]
    answer = spans.send(http, spans.request(*bad, spans.span(2, "good", parent=1)), encoding=encoding)
    if encoding == "json":
        partial = answer.json()["partialSuccess"]
        rejected, why = int(partial["rejectedSpans"]), partial["errorMessage"]
    else:
        told = ExportTraceServiceResponse.FromString(answer.content).partial_success
        rejected, why = told.rejected_spans, told.error_message
    assert rejected == 2
    assert "spanId" in why
    assert [step["name"] for step in http.get(f"/runs/{1:032x}").json()["steps"]] == ["good"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"resourceSpans": 1}', JSON, 400),
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"not gzip", {**JSON, "content-encoding": "gzip"}, 400),
        (b"{}", {**JSON, "content-encoding": "br"}, 415),
        (gzip.compress(b" " * 17_000_000), {**JSON, "content-encoding": "gzip"}, 413),
        (json.dumps(spans.request(*[spans.span(1, "s")] * 20_001)).encode(), JSON, 413),
        (b'{"resourceSpans":[' + b"{}," * 1_000_001 + b"{}]}", JSON, 413),
    ],
    ids=[
        "cut off",
        "list",
        "wrong type",
        "no protobuf",
        "no media type",
        "no gzip",
        "brotli",
        "unpacks too large",
        "too many spans",
        "too many objects",
    ],
)
def test_what_is_no_request_is_refused_in_its_own_encoding(
    http: httpx.Client, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = http.post("/v1/traces", content=content, headers=headers)
    assert answer.status_code == status
    if headers == PROTOBUF:
        assert answer.headers["content-type"] == "application/x-protobuf"
        assert answer.content[:1] == b"\x12"  # google.rpc.Status: field 2, the message
        assert b"ExportTraceServiceRequest" in answer.content
    else:
        assert answer.json()["error"]


def test_spans_need_a_key_that_may_write_and_go_to_its_project(http: httpx.Client, store: Store) -> None:
    keys = create_keys(store)
    body = spans.request(spans.span(1, "root"))
    asked = [None, keys.headers("read"), keys.headers("ingest")]
    assert [http.post("/v1/traces", json=body, headers=each).status_code for each in asked] == [401, 403, 200]
    found = [http.get("/runs", headers=keys.headers("read", project)).json()["runs"] for project in PROJECTS]
    assert [len(runs) for runs in found] == [1, 0]


def test_an_app_without_a_service_name_is_named_by_its_root_span(http: httpx.Client) -> None:
    spans.send(http, spans.request(spans.span(2, "child", parent=1), service="unknown_service:python"))
    spans.send(http, spans.request(spans.span(1, "answer a question"), service="unknown_service:python"))
    assert http.get(f"/runs/{1:032x}").json()["pipeline"] == "answer a question"


def test_errors_parameters_and_values_of_spans_are_kept(http: httpx.Client) -> None:
    raised = {"name": "exception", "timeUnixNano": "1", "attributes": [
        {"key": "exception.type", "value": {"stringValue": "ValueError"}},
        {"key": "exception.message", "value": {"stringValue": "no such model"}}]}  # fmt: skip
    failed = {"status": {"code": "STATUS_CODE_ERROR"}, "events": [raised]}
    told = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m-1",
        "llm.token_count.total": 12,
        "input.value": "hello",
    }
    spans.send(http, spans.request(spans.span(2, "ask", parent=1, more=failed, **told)))
    step = http.get(f"/runs/{1:032x}").json()["steps"][0]
    assert (step["status"], step["step_type"], step["input"]) == ("failed", "llm", "hello")
    assert (step["error"]["type"], step["error"]["message"]) == ("ValueError", "no such model")
    assert step["metadata"]["llm.model_name"] == "m-1"  # a parameter: a change of it explains a change
    assert step["metadata"]["result.llm.token_count.total"] == 12  # a result: it explains nothing


def test_a_trace_links_to_the_users_tracing_tool(store: Store) -> None:
    server = LoopbackServer(store, trace_url="https://traces.example/trace/{trace_id}?span={span_id}")
    try:
        with httpx.Client(base_url=server.url) as http:
            spans.send(http, spans.request(spans.span(1, "root"), spans.span(2, "child", parent=1, at_ms=1)))
            run = http.get(f"/runs/{1:032x}").json()
    finally:
        server.stop()
    assert run["origin"]["url"] == f"https://traces.example/trace/{1:032x}?span={1:016x}"
    assert run["steps"][0]["origin"]["url"].endswith(f"?span={2:016x}")


# What a sender may send -------------------------------------------------------------------------------------------------

_texts = st.text(max_size=20)
_values: Any = st.recursive(
    st.one_of(
        st.fixed_dictionaries({"stringValue": _texts | st.sampled_from(["[]", "[{}]", '{"documents":[{"id":1}]}', "[" * 200])}),
        st.fixed_dictionaries({"intValue": st.integers() | st.integers().map(str) | _texts}),
        st.fixed_dictionaries({"doubleValue": st.floats() | st.sampled_from(["NaN", "Infinity", "x"])}),
        st.fixed_dictionaries({"boolValue": st.booleans() | st.none()}),
        st.none() | st.integers() | _texts,
        st.dictionaries(_texts, st.integers(), max_size=2),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"arrayValue": st.fixed_dictionaries({"values": st.lists(inner, max_size=3)})}),
        st.fixed_dictionaries({"kvlistValue": st.fixed_dictionaries({"values": st.lists(
            st.fixed_dictionaries({"key": _texts, "value": inner}), max_size=3)})}),
    ),
    max_leaves=5,
)  # fmt: skip
_keys = _texts | st.sampled_from([
    "openinference.span.kind", "gen_ai.operation.name", "retrieval.documents.0.document.id", "session.id",
    "retrieval.documents.1.document.score", "reranker.input_documents.0.document.content", "input.value", "output.value",
    "reranker.output_documents.0.document.id", "gen_ai.task.output", "gen_ai.retrieval.documents", "exception.type",
    "retrieval.documents.99999.document.id", "retrieval.documents.0.document.metadata", "xray.run.id", "xray.step.id",
    "xray.items.input", "xray.reason",
])  # fmt: skip
_kinds = st.sampled_from(["RETRIEVER", "RERANKER", "CHAIN", "retrieval", "vector_db_retrieve", "task"])
_attributes = st.lists(st.fixed_dictionaries({"key": _keys, "value": _values}), max_size=6)
_spans = st.fixed_dictionaries(
    {
        "traceId": st.sampled_from([f"{1:032x}", f"{2:032x}", "", "zz", 7, None]),
        "spanId": st.sampled_from([f"{1:016x}", f"{2:016x}", "00", None]),
        "name": _texts | st.none() | st.integers(),
        "startTimeUnixNano": st.sampled_from([str(spans.T0_NS), spans.T0_NS, "x", -1, 1.5, 2**70, None]),
        "attributes": _attributes,
    },
    optional={
        "parentSpanId": st.sampled_from([f"{1:016x}", f"{3:016x}", "", 5]),
        "endTimeUnixNano": st.sampled_from([str(spans.T0_NS + 5), "0", 2**80]),
        "kind": st.integers() | _texts,
        "flags": st.integers() | _texts,
        "droppedAttributesCount": st.integers(),
        "status": st.none() | st.fixed_dictionaries({"code": st.integers() | _texts, "message": _texts | st.none()}),
        "events": st.lists(st.fixed_dictionaries({"name": _texts, "attributes": _attributes}), max_size=2),
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_spans, max_size=4), _kinds)
def test_no_json_makes_the_server_fail(http: httpx.Client, made: list[Any], kind: str) -> None:
    for each in made:
        each["attributes"].append({"key": "openinference.span.kind", "value": {"stringValue": kind}})
    content = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}).encode()
    answer = http.post("/v1/traces", content=content, headers=JSON)
    assert answer.status_code in (200, 400), answer.text
    for run_id in (f"{1:032x}", f"{2:032x}"):
        assert http.get(f"/runs/{run_id}").status_code in (200, 404)
        assert http.get(f"/runs/{run_id}/items/1").status_code in (200, 404)


def test_no_protobuf_makes_the_server_fail(http: httpx.Client) -> None:
    chance = random.Random(os.environ.get("XRAY_TEST_SEED", "7"))
    whole = [spans.protobuf(spans.recorded(name)) for name in ("openinference-haystack", "genai-langchain")]
    for _ in range(200):
        body = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        body = body[: chance.randrange(1, len(body))] if chance.random() < 0.3 else body
        answer = http.post("/v1/traces", content=bytes(body), headers=PROTOBUF)
        assert answer.status_code in (200, 400), answer.content
