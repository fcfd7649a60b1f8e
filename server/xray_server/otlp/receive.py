"""A request of OTLP from its bytes to its records, and the answer in its own encoding. Knows no HTTP but a media type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xray_core.safety import swallow
from xray_server.errors import EncodingError, TooLargeError
from xray_server.otlp import nested
from xray_server.otlp.echo import echo_records, is_echo
from xray_server.otlp.evidence import Evidence, evidence_of
from xray_server.otlp.records import records_of
from xray_server.otlp.spans import MAX_BYTES, Received, Span, read_json, read_protobuf
from xray_server.records.schema import Record, encode_json
from xray_server.store import Store

PROTOBUF, JSON = "application/x-protobuf", "application/json"


@dataclass(slots=True)
class Decoded:
    """A request's records.

    Attributes:
        owners: the span of each record, by its place in the request.
        retrievers: trace id -> of its spans in this request: how many became steps, and whether retrievers nest in it.
    """

    records: list[Record] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    retrievers: dict[str, tuple[int, bool]] = field(default_factory=dict)
    rejected: int = 0
    why: str = ""


def decode(body: bytes, media_type: str, trace_url: str | None = None) -> Decoded:
    """The records of a request's body.

    Raises:
        EncodingError: not such a request. TooLargeError. ConfigurationError: the extra is not installed.
    """
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"the body is larger than {MAX_BYTES} bytes when unpacked; send smaller batches")
    if media_type == JSON:
        received = read_json(body)
    elif media_type == PROTOBUF:
        received = read_protobuf(body)
    else:
        raise EncodingError(f"Content-Type: expected {PROTOBUF} or {JSON}")
    return _translated(received, trace_url)


def _translated(received: Received, trace_url: str | None) -> Decoded:
    decoded = Decoded(rejected=received.rejected, why=received.why)
    steps: Counter[str] = Counter()
    retrievers: dict[str, list[Span]] = {}
    for place, span in enumerate(received.spans):
        try:
            echo = is_echo(span)
            evidence = None if echo else evidence_of(span)
            records = echo_records(span) if echo else records_of(span, evidence, trace_url)
        except Exception as error:  # noqa: BLE001  # attributes are whatever an application sent: one span, not the batch
            swallow("otlp span", error)
            decoded.rejected += 1
            decoded.why = decoded.why or f"the span {span.name[:100]!r} could not be read"
            continue
        decoded.records += records
        decoded.owners += [place] * len(records)
        steps[span.trace_id] += not echo and (span.parent_id is not None or evidence is not None)
        if _is_retriever(evidence):
            retrievers.setdefault(span.trace_id, []).append(span)
    for trace_id, spans in retrievers.items():
        ids = {span.span_id for span in spans}
        decoded.retrievers[trace_id] = (steps[trace_id], any(span.parent_id in ids for span in spans))
    return decoded


def _is_retriever(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.came_in is None and evidence.complete


def nested_records(store: Store, project: str, decoded: Decoded) -> list[Record]:
    """What follows from the spans of this request and those stored before it, once they are committed."""
    records: list[Record] = []
    for trace_id, (steps, nests) in decoded.retrievers.items():
        if not nests:
            run = store.run(project, trace_id)
            if run is None or run.step_count <= steps:
                continue  # all of the trace is in this request, and no retriever in it is around another
        records += nested.records_of_trace(store, project, trace_id)
    return records


def answer(media_type: str, rejected: int, why: str) -> bytes:
    """The answer to a request that was taken, wholly or in part."""
    if media_type == JSON:
        partial: dict[str, Any] = {"rejectedSpans": str(rejected), "errorMessage": why}
        return encode_json({"partialSuccess": partial} if rejected else {})
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    encoded: bytes = response.SerializeToString()
    return encoded


def failure(message: str) -> bytes:
    """The protobuf answer to a request that was not taken: google.rpc.Status, of which clients read the message (field 2)."""
    text = message.encode()[:8_000]
    size = bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 0x7F | 0x80, len(text) >> 7])
    return b"\x12" + size + text


def refused_spans(decoded: Decoded, refused: Sequence[int]) -> int:
    """How many spans the store refused, given the places of the records that it did."""
    return len({decoded.owners[place] for place in refused})
