"""How many messages a protobuf request holds, counted before it is decoded: two bytes on the wire become some 250 in memory.

Walks the wire format (https://protobuf.dev/programming-guides/encoding/) along the messages of OTLP alone, without making any.
"""

from __future__ import annotations

from typing import Final

from xray_server.errors import TooLargeError

MAX_MESSAGES: Final = 500_000  # 8,192 spans with 30 attributes each: two messages an attribute
SMALL_BYTES: Final = 1024 * 1024  # what is not larger is not counted: it cannot become more than some 130 MB

# message -> field number -> the message in it
_KEY_VALUE: Final[dict[int, str]] = {2: "any"}
_FIELDS: Final[dict[str, dict[int, str]]] = {
    "request": {1: "resource_spans"},
    "resource_spans": {1: "resource", 2: "scope_spans"},
    "resource": {1: "key_value"},
    "scope_spans": {1: "scope", 2: "span"},
    "scope": {3: "key_value"},
    "span": {9: "key_value", 11: "event", 13: "link", 15: "status"},
    "event": {3: "key_value"},
    "link": {4: "key_value"},
    "key_value": _KEY_VALUE,
    "any": {5: "array", 6: "list"},
    "array": {1: "any"},
    "list": {1: "key_value"},
    "status": {},
}
_VARINT: Final = 0
_I64: Final = 1
_LEN: Final = 2
_I32: Final = 5


def check_messages(body: bytes) -> None:
    """Refuse a request with too many messages. One that is cut off or no protobuf is left to the decoder.

    Raises:
        TooLargeError: it has more than `MAX_MESSAGES`.
    """
    if len(body) <= SMALL_BYTES:
        return
    messages = 0
    waiting = [(0, len(body), "request")]
    while waiting:
        at, end, kind = waiting.pop()
        fields = _FIELDS[kind]
        while at < end:
            tag, at = _varint(body, at, end)
            wire = tag & 7
            if wire == _VARINT:
                _, at = _varint(body, at, end)
            elif wire == _LEN:
                size, at = _varint(body, at, end)
                inner = fields.get(tag >> 3)
                if inner is not None:
                    messages += 1
                    if messages > MAX_MESSAGES:
                        raise TooLargeError(
                            f"more than {MAX_MESSAGES} attributes, events and links in one request; send smaller batches"
                        )
                    if size and at + size <= end:
                        waiting.append((at, at + size, inner))
                at += size
            elif wire in (_I64, _I32):
                at += 8 if wire == _I64 else 4
            else:
                return  # no protobuf


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and the place after it; of one that is cut off, the end."""
    value = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 63:
            return value, at
        shift += 7
    return value, end
