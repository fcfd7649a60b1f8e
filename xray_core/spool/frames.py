"""The bytes of a segment file: its header, and frames that can be found again after damage.

    header  b"XRAYSEG1" | u64 cursor          the cursor: 48 bits of offset, 16 bits that check them
    frame   b"\\xabXR\\x01" | u32 length | u32 crc32(payload) | payload

Little-endian. The frame mark cannot occur in JSON text (0x01 is escaped there), so a mark is a frame's beginning or
noise that the checksum rejects. Pure functions; knows nothing of files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

SEGMENT_MAGIC: Final = b"XRAYSEG1"
HEADER_BYTES: Final = 16
CURSOR_AT: Final = 8
MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024

_MARK: Final = b"\xabXR\x01"
_HEAD: Final = struct.Struct("<4sII")
_CURSOR: Final = struct.Struct("<Q")
FRAME_BYTES: Final = _HEAD.size
_OFFSET_MASK: Final = (1 << 48) - 1


def frame(payload: bytes) -> bytes:
    """A payload with its head: what one record is on disk."""
    return _HEAD.pack(_MARK, len(payload), zlib.crc32(payload)) + payload


def header() -> bytes:
    """The first bytes of a new segment, nothing of it acknowledged."""
    return SEGMENT_MAGIC + cursor_bytes(HEADER_BYTES)


def cursor_bytes(offset: int) -> bytes:
    """The cursor as it is written at CURSOR_AT; 8 aligned bytes, which no file system tears."""
    return _CURSOR.pack(_check(offset) << 48 | offset)


def read_cursor(head: bytes, *, size: int) -> int:
    """Where the unacknowledged frames begin; the first frame where the header is damaged (sending twice is harmless)."""
    if len(head) < HEADER_BYTES or head[:CURSOR_AT] != SEGMENT_MAGIC:
        return HEADER_BYTES
    (value,) = _CURSOR.unpack_from(head, CURSOR_AT)
    offset: int = value & _OFFSET_MASK
    if value >> 48 != _check(offset) or not HEADER_BYTES <= offset <= size:
        return HEADER_BYTES
    return offset


def scan(buffer: bytes) -> Iterator[tuple[int, bytes | None]]:
    """The frames in a buffer that begins at a frame, as (end offset in the buffer, payload).

    A region that is not a frame comes out once, as (offset where it ends, None); reading goes on at the next intact
    frame behind it. Never raises, whatever the bytes.
    """
    at, size, damaged = 0, len(buffer), False
    while at < size:
        if at + FRAME_BYTES <= size:
            mark, length, checksum = _HEAD.unpack_from(buffer, at)
            end = at + FRAME_BYTES + length
            if mark == _MARK and length <= MAX_PAYLOAD_BYTES and end <= size:
                payload = buffer[at + FRAME_BYTES : end]
                if zlib.crc32(payload) == checksum:
                    if damaged:
                        yield at, None
                        damaged = False
                    yield end, payload
                    at = end
                    continue
        damaged = True
        at = buffer.find(_MARK, at + 1)
        if at < 0:
            break
    if damaged:
        yield size, None


def _check(offset: int) -> int:
    return zlib.crc32(offset.to_bytes(6, "little")) & 0xFFFF
