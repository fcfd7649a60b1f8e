"""`POST /ingest`: a body of NDJSON becomes checked records, line by line, within limits that no client can move.

Owns decompression, limits and the text of refusals. Knows no SQL; of HTTP only that a body has bytes and an encoding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from xray_server.errors import EncodingError, TooLargeError
from xray_server.records.schema import Record, decode_record

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_DECOMPRESSED_BYTES: Final = 32 * 1024 * 1024
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
_PIECE_BYTES: Final = 1024 * 1024
MAX_REFUSALS: Final = 1_000  # beyond these the rest is refused with one short text: an answer has a bound too
_BRACKETS_ONLY: Final = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(slots=True)
class Decoded:
    """A body's records, the line of each, and the lines refused (0-based, with why)."""

    records: list[Record] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line: int, why: str) -> None:
        """Refuse a line (counted from 0); beyond `MAX_REFUSALS` without the reason."""
        self.refused.append(
            (line, why if len(self.refused) < MAX_REFUSALS else "refused; too many refusals to say why")
        )


def decompress(body: bytes, *, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """The content of a gzip'd body, of one or several members.

    Raises:
        TooLargeError: it is over the limit; no more than the limit was ever in memory.
        EncodingError: not gzip, or cut off.
    """
    pieces: list[bytes] = []
    room = max_bytes
    rest = body
    while rest:
        unzip = zlib.decompressobj(wbits=31)
        while not unzip.eof:
            try:
                piece = unzip.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise EncodingError(f"the body is not gzip: {error}") from None
            room -= len(piece)
            if room < 0:
                raise TooLargeError(f"the body decompresses to more than {max_bytes} bytes")
            pieces.append(piece)
            rest = unzip.unconsumed_tail
            if not piece and not unzip.eof:
                raise EncodingError("the gzip'd body is cut off")
        rest = unzip.unused_data.lstrip(b"\0")  # gzip allows padding with zeros
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode(body: bytes) -> Decoded:
    """The records of a body of NDJSON. Never raises: what is wrong with a line is said of that line."""
    decoded = Decoded()
    for number, line in enumerate(body.split(b"\n")):
        if not line or line.isspace():
            continue
        if len(line) > MAX_LINE_BYTES:
            decoded.refuse(number, f"line: longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            record = decode_record(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            decoded.refuse(number, refusal(error))
            continue
        except RecursionError:
            decoded.refuse(number, f"line: nested deeper than {MAX_DEPTH}")
            continue
        if too_deep(line):
            decoded.refuse(number, f"line: nested deeper than {MAX_DEPTH}")
            continue
        decoded.records.append(record)
        decoded.lines.append(number)
    return decoded


def refusal(error: Exception) -> str:
    """What was wrong with a line, its field first, as in `counts.accepted: Expected int, got str`."""
    if not isinstance(error, msgspec.ValidationError):
        return f"line: not JSON ({error})"
    message, _, path = str(error).partition(" - at ")
    if path.startswith("`key` in "):
        path = path.removeprefix("`key` in ")
        message += " as a key"
    name = path.strip("`").removeprefix("$").lstrip(".")
    return f"{name}: {message.replace('`', '')}" if name else message.replace("`", "")


def too_deep(text: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether a JSON text nests deeper than the limit. Cheap for what is ordinary: it looks at the brackets alone."""
    brackets = text.translate(None, _BRACKETS_ONLY)
    if len(brackets) <= 2 * limit:
        return False
    for _ in range(limit):
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not shorter:
            return False
        if shorter == brackets:
            break
        brackets = shorter
    # brackets inside strings need not pair up: only now is it worth looking at the values
    return _depth(msgspec.json.decode(text)) > limit


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        children = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        if isinstance(each, (dict, list)):
            deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in children if isinstance(child, (dict, list)))
    return deepest
