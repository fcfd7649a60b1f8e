"""The bytes of a segment file: its header, and frames that can be found again after damage.

    header  b"XRAYSEG1" | u64 cursor          the cursor: 48 bits of offset, 16 bits that check them
    frame   b"\\xabXR\\x01" | u32 length | u32 low half of xxh3_64(payload) | payload

Little-endian. The frame mark cannot occur in JSON text (0x01 is escaped there), so a mark is a frame's beginning or
noise that the checksum rejects. Pure functions; knows nothing of files.
"""

from __future__ import annotations

import struct
import sys
from typing import Final
from zlib import crc32

from xxhash import xxh3_64_intdigest as xxh3

SEGMENT_MAGIC: Final = b"XRAYSEG1"
HEADER_BYTES: Final = 16
CURSOR_AT: Final = 8
MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024

MARK: Final = b"\xabXR\x01"
_HEAD: Final = struct.Struct("<4sII")
pack_head: Final = _HEAD.pack
_unpack_head: Final = _HEAD.unpack_from
_CURSOR: Final = struct.Struct("<Q")
FRAME_BYTES: Final = _HEAD.size
LOW_HALF: Final = 0xFFFFFFFF
_OFFSET_MASK: Final = (1 << 48) - 1


def frame(payload: bytes) -> bytes:
    """A payload with its head: what one record is on disk."""
    return pack_head(MARK, len(payload), xxh3(payload) & LOW_HALF) + payload


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


def scan(
    buffer: bytes, *, base: int = 0, max_bytes: int = sys.maxsize, max_records: int = sys.maxsize
) -> list[tuple[int, bytes | None]]:
    """The frames in a buffer that begins at a frame, as (offset where it ends, payload): one, then up to the limits.

    A region that is not a frame comes out once, as (offset where it ends, None); reading goes on at the next intact
    frame behind it. Offsets count from `base`. Never raises, whatever the bytes.
    """
    found: list[tuple[int, bytes | None]] = []
    at, size, last = 0, len(buffer) - FRAME_BYTES, min(len(buffer), max_bytes)
    damaged = False
    while at <= size:
        mark, length, checksum = _unpack_head(buffer, at)
        start = at + FRAME_BYTES
        end = start + length
        payload = buffer[start:end]
        if mark == MARK and len(payload) == length <= MAX_PAYLOAD_BYTES and xxh3(payload) & LOW_HALF == checksum:
            if damaged:
                found.append((base + at, None))
                damaged = False
            if found and (end > last or len(found) >= max_records):
                return found
            found.append((base + end, payload))
            at = end
            continue
        damaged = True
        at = buffer.find(MARK, at + 1)
        if at < 0:
            at = len(buffer)
    if damaged or at < len(buffer):
        found.append((base + len(buffer), None))
    return found


def _check(offset: int) -> int:
    return crc32(offset.to_bytes(6, "little")) & 0xFFFF
