"""`POST /ingest`: a body of NDJSON becomes checked records, line by line, within limits that no client can move.

Owns decompression, limits and the text of refusals. Knows no SQL; of HTTP only that a body has bytes and an encoding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from xray_core.bounds import MAX_DEPTH as MAX_DEPTH
from xray_core.bounds import MAX_ID_CHARS, MAX_WORD_CHARS
from xray_core.bounds import MAX_LINE_BYTES as MAX_LINE_BYTES
from xray_server.errors import EncodingError, TooLargeError
from xray_server.records.schema import Record, RunRecord, decode_record

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_DECOMPRESSED_BYTES: Final = 32 * 1024 * 1024
MAX_LINES: Final = 100_000  # of one request, each an object in memory; the SDK sends 5,000
REFUSED: Final = "refused: "
MAX_NOTES: Final = 64  # of one body, and of one run
_decode_any: Final = msgspec.json.Decoder().decode
_PIECE_BYTES: Final = 1024 * 1024
MAX_REFUSALS: Final = 1_000  # beyond these the rest is refused with one short text: an answer has a bound too
_BRACKETS_ONLY: Final = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(slots=True)
class Decoded:
    """A body's records, the line of each, the lines refused (0-based, with why), and what their runs will say of that."""

    records: list[Record] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    notes: list[RunRecord] = field(default_factory=list)

    def refuse(self, line: int, why: str, text: bytes = b"") -> None:
        """Say why a line is refused; where it names its run, the run says so too."""
        if len(self.refused) >= MAX_REFUSALS:
            why = "refused; too many refusals to say why"
        self.refused.append((line, why))
        note = refusal_note(text, why) if text and len(self.notes) < MAX_NOTES else None
        if note is not None:
            self.notes.append(note)


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


def decode_request(body: bytes) -> Decoded:
    """The records of a request's body.

    Raises:
        TooLargeError: it has too many lines.
    """
    if body.count(b"\n") >= MAX_LINES:
        raise TooLargeError(f"the body has more than {MAX_LINES} lines; send it in pieces")
    return decode(body)


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
            decoded.refuse(number, refusal(error), line)
            continue
        except RecursionError:
            decoded.refuse(number, f"line: nested deeper than {MAX_DEPTH}", line)
            continue
        if too_deep(line):
            decoded.refuse(number, f"line: nested deeper than {MAX_DEPTH}", line)
            continue
        decoded.records.append(record)
        decoded.lines.append(number)
    return decoded


def refusal_note(line: bytes, why: str) -> RunRecord | None:
    """A part of the run that a refused line names: "refused: step filter: counts.accepted: Expected int, got str".

    None where the line does not name one. A run has few such parts however much is refused of it, and sending a line again
    changes nothing.
    """
    try:
        fields = _decode_any(line)
        run_id, pipeline = fields["run_id"], fields.get("pipeline")
        name = fields.get("name") or fields.get("step_id")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(run_id, str) or not 0 < len(run_id) <= MAX_ID_CHARS:
        return None
    where = f"step {name[:80]}: " if isinstance(name, str) else ""
    text = f"{REFUSED}{where}{why}"[:300]
    return RunRecord(
        v=1,
        run_id=run_id,
        part=f"{REFUSED}{zlib.crc32(text.encode()) % MAX_NOTES}",
        pipeline=pipeline if isinstance(pipeline, str) and len(pipeline) <= MAX_WORD_CHARS else None,
        dropped={text: 1},
    )


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
