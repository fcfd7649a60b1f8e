"""The spans of an OTLP/HTTP request (https://opentelemetry.io/docs/specs/otlp/), from protobuf or JSON, checked one by one.

Owns both encodings and their bounds. Knows nothing of runs, items or HTTP. The JSON encoding is read directly: it differs
from protobuf's own JSON in its ids (hex, not base64), so that protobuf's reader cannot be used.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from xray_core.errors import ConfigurationError
from xray_server.errors import EncodingError, TooLargeError
from xray_server.otlp.bounds import check_messages
from xray_server.records.schema import MAX_TIME_US

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

MAX_BYTES: Final = 16 * 1024 * 1024  # of a request, unpacked: small messages take some thirty times that when decoded
MAX_SPANS: Final = 20_000  # a collector sends 8,192 at once, an SDK 512
_MAX_JSON_OBJECTS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_ATTRIBUTES: Final = 100_000  # of one span: 10,000 documents with ten fields each
_MAX_EVENTS: Final = 1_000  # of one span: an SDK keeps 128
_KINDS: Final = ("", "internal", "server", "client", "producer", "consumer")
_REMOTE_KNOWN: Final = 0x100
_REMOTE: Final = 0x200  # SpanFlags: whether the parent is known to be in another process, and is


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a span."""

    name: str
    at_us: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A span that was checked.

    Attributes:
        trace_id, span_id, parent_id: lower-case hex; no parent: None.
        remote_parent: the parent is known to be in another process.
        start_us, end_us: microseconds since the epoch; end_us None while it is not known.
        kind: "internal", "server", "client", "producer", "consumer" or "".
        dropped: attributes that the application's SDK left out, for its own limits.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start_us: int
    end_us: int | None
    kind: str = ""
    failed: bool = False
    status_text: str = ""
    remote_parent: bool = False
    dropped: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""


@dataclass(slots=True)
class Received:
    """The spans of a request; `rejected` of them were none, `why` says what was wrong with the first."""

    spans: list[Span] = field(default_factory=list)
    rejected: int = 0
    why: str = ""

    def take(self, make: Any, *given: Any) -> None:
        """Add a span. Raises TooLargeError beyond the bound."""
        if len(self.spans) + self.rejected >= MAX_SPANS:
            raise TooLargeError(f"more than {MAX_SPANS} spans in one request; send smaller batches")
        try:
            self.spans.append(make(*given))
        except (ValueError, TypeError, OverflowError) as error:
            self.rejected += 1
            self.why = self.why or str(error)[:500]


def read_protobuf(body: bytes) -> Received:
    """The spans of a protobuf request.

    Raises:
        EncodingError: not one. TooLargeError. ConfigurationError: the extra is not installed.
    """
    try:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError:
        raise ConfigurationError("OTLP needs its extra: pip install 'xray-pipelines[otlp]'") from None
    check_messages(body)
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise EncodingError(f"the body is not an ExportTraceServiceRequest: {error}") from None
    received = Received()
    for of_resource in request.resource_spans:
        resource = _proto_attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                received.take(_from_proto, span, resource, of_scope.scope.name)
    return received


def _from_proto(span: ProtoSpan, resource: Mapping[str, Any], scope: str) -> Span:
    return _checked(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        kind=span.kind,
        status=span.status.code,
        status_text=span.status.message,
        flags=span.flags,
        dropped=max(span.dropped_attributes_count, len(span.attributes) - _MAX_ATTRIBUTES),
        attributes=_proto_attributes(span.attributes),
        events=[
            Event(event.name, event.time_unix_nano // 1000, _proto_attributes(event.attributes))
            for event in islice(span.events, _MAX_EVENTS)
        ],
        resource=resource,
        scope=scope,
    )


def _proto_attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _proto_value(pair.value, 0) for pair in islice(pairs, _MAX_ATTRIBUTES)}


def _proto_value(value: AnyValue, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > _MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_proto_value(each, depth + 1) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _proto_value(each.value, depth + 1) for each in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind, None)


class _KeyValue(Struct, gc=False):
    key: str = ""
    value: Any = None


class _Status(Struct):
    code: Any = 0
    message: str | None = ""


class _JsonEvent(Struct, rename="camel"):
    name: str = ""
    time_unix_nano: Any = 0
    attributes: list[_KeyValue] | None = None


class _JsonSpan(Struct, rename="camel"):
    trace_id: Any = ""
    span_id: Any = ""
    parent_span_id: Any = ""
    name: Any = ""
    kind: Any = 0
    flags: Any = 0
    start_time_unix_nano: Any = 0
    end_time_unix_nano: Any = 0
    dropped_attributes_count: Any = 0
    attributes: list[_KeyValue] | None = None
    events: list[_JsonEvent] | None = None
    status: _Status | None = None


class _Scope(Struct):
    name: str | None = ""


class _ScopeSpans(Struct):
    scope: _Scope | None = None
    spans: list[_JsonSpan] | None = None


class _Resource(Struct):
    attributes: list[_KeyValue] | None = None


class _ResourceSpans(Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


_decode_json: Final = msgspec.json.Decoder(_Request).decode


def read_json(body: bytes) -> Received:
    """The spans of a JSON request.

    Raises:
        EncodingError: not one; says where. TooLargeError.
    """
    if body.count(b"{") + body.count(b"[") > _MAX_JSON_OBJECTS:
        raise TooLargeError(f"more than {_MAX_JSON_OBJECTS} objects and lists in one request; send smaller batches")
    try:
        request = _decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EncodingError(f"the body is not OTLP/JSON: {error}") from None
    except RecursionError:
        raise EncodingError("the body is nested too deep") from None
    received = Received()
    for of_resource in request.resource_spans or ():
        resource = _json_attributes(of_resource.resource.attributes if of_resource.resource else None)
        for of_scope in of_resource.scope_spans or ():
            scope = (of_scope.scope.name if of_scope.scope else "") or ""
            for span in of_scope.spans or ():
                received.take(_from_json, span, resource, scope)
    return received


def _from_json(span: _JsonSpan, resource: Mapping[str, Any], scope: str) -> Span:
    status = span.status or _Status()
    return _checked(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        name=span.name,
        start_ns=_integer(span.start_time_unix_nano),
        end_ns=_integer(span.end_time_unix_nano),
        kind=_enumerated(span.kind, "SPAN_KIND_", _KINDS),
        status=_enumerated(status.code, "STATUS_CODE_", ("unset", "ok", "error")),
        status_text=status.message or "",
        flags=_integer(span.flags),
        dropped=max(_integer(span.dropped_attributes_count), len(span.attributes or ()) - _MAX_ATTRIBUTES),
        attributes=_json_attributes(span.attributes),
        events=[
            Event(event.name, _integer(event.time_unix_nano) // 1000, _json_attributes(event.attributes))
            for event in islice(span.events or (), _MAX_EVENTS)
        ],
        resource=resource,
        scope=scope,
    )


def _json_attributes(pairs: Iterable[_KeyValue] | None) -> dict[str, Any]:
    return {pair.key: _json_value(pair.value, 0) for pair in islice(pairs or (), _MAX_ATTRIBUTES)}


def _json_value(value: Any, depth: int) -> Any:
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return None
    for kind, inner in value.items():
        if kind in ("stringValue", "boolValue", "bytesValue"):
            return inner if isinstance(inner, (str, bool)) else None
        if kind == "intValue":
            return _integer(inner) if isinstance(inner, (str, int)) and _is_number(inner) else None
        if kind == "doubleValue":
            return float(inner) if isinstance(inner, (str, int, float)) and _is_number(inner) else None
        if kind in ("arrayValue", "kvlistValue") and isinstance(inner, dict):
            values = inner.get("values")
            values = values if isinstance(values, list) else []
            if kind == "arrayValue":
                return [_json_value(each, depth + 1) for each in values]
            pairs = [each for each in values if isinstance(each, dict) and isinstance(each.get("key"), str)]
            return {each["key"]: _json_value(each.get("value"), depth + 1) for each in pairs}
    return None


def _is_number(value: str | float) -> bool:
    try:
        float(value)
    except (ValueError, OverflowError):
        return False
    return True


def _integer(value: Any) -> int:
    """64-bit numbers are written as text in JSON; many senders write numbers all the same."""
    if value is None or value == "":
        return 0
    if isinstance(value, float) or (isinstance(value, str) and len(value) > 40):
        raise ValueError(f"expected a whole number, got {str(value)[:40]}")
    return int(value)


def _enumerated(value: Any, prefix: str, names: Sequence[str]) -> int:
    """The number of an enum's value, which some senders name."""
    if isinstance(value, str) and not value.isdigit():
        name = value.removeprefix(prefix).lower()
        return names.index(name) if name in names else 0
    return _integer(value)


def _checked(
    *,
    trace_id: Any,
    span_id: Any,
    parent_id: Any,
    name: Any,
    start_ns: int,
    end_ns: int,
    kind: int,
    status: int,
    status_text: str,
    flags: int,
    dropped: int,
    attributes: Mapping[str, Any],
    events: Sequence[Event],
    resource: Mapping[str, Any],
    scope: str,
) -> Span:
    start_us, end_us = start_ns // 1000, end_ns // 1000
    if not 0 < start_us <= MAX_TIME_US or not 0 <= end_us <= MAX_TIME_US:
        raise ValueError("startTimeUnixNano: expected nanoseconds since 1970")
    if not isinstance(name, str):
        raise ValueError("name: expected a text")  # every refusal of a span is a ValueError
    return Span(
        trace_id=_id(trace_id, 16, "traceId"),
        span_id=_id(span_id, 8, "spanId"),
        parent_id=_id(parent_id, 8, "parentSpanId") if parent_id else None,
        name=name,
        start_us=start_us,
        end_us=max(start_us, end_us) if end_us else None,
        kind=_KINDS[kind] if 0 <= kind < len(_KINDS) else "",
        failed=status == 2,
        status_text=status_text,
        remote_parent=bool(flags & _REMOTE_KNOWN) and bool(flags & _REMOTE),
        dropped=max(0, dropped),
        attributes=attributes,
        events=events,
        resource=resource,
        scope=scope,
    )


def _id(text: Any, size: int, name: str) -> str:
    try:
        raw = binascii.unhexlify(text) if isinstance(text, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != size or not any(raw):
        raise ValueError(f"{name}: expected {2 * size} hex digits that are not all zero")
    return raw.hex()
