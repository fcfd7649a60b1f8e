"""Segments: an index over many chunks of verdicts, by which an item is found across runs without opening each of them.

A segment holds, for every item of every set in its chunks, 8 bits of the item's fingerprint and the number of the key under
which the chunk goes (in SQLite the chunk's own, in PostgreSQL its run's), in buckets chosen by the fingerprint's top bits:
3 bytes an item and a table of offsets. A hit is a suspicion only; the chunk itself decides, so the index can be wrong about
nothing but time: what it suspects in vain costs one look. What was written since the last segment is the tail, and is looked
into one by one; so are sets beyond 16,384 items, which would make the store half as large again.

    data: u8 1, u8 bits, (2**bits + 1) x u32 offsets into the entries, n x (u8 check, u16 number of the key)
    keys: u64 each, ascending; all little-endian

Owns the format. Knows no SQL, and nothing of what a verdict means.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from xray_core import verdicts
from xray_server.backends.relational.rows import FP40
from xray_server.records.documents import unpack

MAX_KEYS: Final = 4_096
TAIL: Final = 64  # a segment is made when so many chunks wait: looking into one takes about 40 us
LARGE_SET: Final = 16_384
MAX_LARGE: Final = 2_000  # keys with a large set that are looked into by one question, the newest first
BITS_SMALL: Final = 12
BITS_LARGE: Final = 16
_HEAD: Final = 2
_ENTRY: Final = 3
_AT_ONCE: Final = 8_192  # buckets that are measured without a rest


def build(
    chunks: Sequence[tuple[int, Sequence[tuple[bytes, bytes]]]], bits: int, rest: Callable[[], None] = lambda: None
) -> tuple[bytes, list[int]]:
    """The segment over some keys' chunks (head, data), and the keys that have a set too large for it.

    Args:
        rest: called after every chunk (turns.py).
    """
    buckets: list[bytearray] = [bytearray() for _ in range(1 << bits)]
    shift = verdicts.BITS - bits
    large = []
    for number, (key, held) in enumerate(chunks):
        seen: set[int] = set()
        for head, data in held:
            for _, _, n, form, offset, length, *_ in unpack(head):
                if n > LARGE_SET:
                    large.append(key)
                    continue
                blob = data[offset : offset + length]
                if form == FP40:
                    seen.update(verdicts.decode(blob))
                else:
                    seen.update(map(verdicts.fingerprint, msgspec.json.decode(blob)))
            rest()
        low, high = number & 0xFF, number >> 8
        for fingerprint in seen:
            buckets[fingerprint >> shift] += bytes((fingerprint >> shift - 8 & 0xFF, low, high))
    sizes = array("I")
    for start in range(0, len(buckets), _AT_ONCE):
        sizes.extend(len(bucket) // _ENTRY for bucket in buckets[start : start + _AT_ONCE])
        rest()
    offsets = array("I", accumulate(sizes, initial=0))
    rest()
    if sys.byteorder == "big":  # pragma: no cover
        offsets.byteswap()
    return bytes((1, bits)) + offsets.tobytes() + b"".join(buckets), sorted(set(large))


def pack_keys(keys: Sequence[int]) -> bytes:
    """Keys as a segment holds them: 8 bytes each, little-endian."""
    return struct.pack(f"<{len(keys)}Q", *keys)


def unpack_keys(packed: bytes) -> tuple[int, ...]:
    """The keys that `pack_keys` was given."""
    return struct.unpack(f"<{len(packed) // 8}Q", packed)


def last_key(packed: bytes) -> int:
    """The greatest of a segment's keys."""
    return unpack_keys(packed[-8:])[0]


def offsets_place(bits: int, fingerprint: int) -> int:
    """Where 8 bytes of `data` say between which entries the item's bucket lies."""
    return _HEAD + 4 * (fingerprint >> verdicts.BITS - bits)


def bucket_place(bits: int, offsets: bytes) -> tuple[int, int]:
    """Where in `data` a bucket begins and ends, from the 8 bytes at `offsets_place`."""
    start, end = struct.unpack("<II", offsets)
    base = _HEAD + 4 * ((1 << bits) + 1)
    return base + _ENTRY * start, base + _ENTRY * end


def numbers_in(bucket: bytes, bits: int, fingerprint: int) -> list[int]:
    """The numbers of the keys that may hold the item."""
    check = fingerprint >> verdicts.BITS - bits - 8 & 0xFF
    return [bucket[at + 1] | bucket[at + 2] << 8 for at in range(0, len(bucket), _ENTRY) if bucket[at] == check]


def suspects(data: Any, keys: Any, fingerprint: int) -> list[int]:
    """The keys that may hold the item. `data` and `keys` are bytes, or blobs that read what is asked for."""
    bits = data[1]
    place = offsets_place(bits, fingerprint)
    start, end = bucket_place(bits, bytes(data[place : place + 8]))
    numbers = numbers_in(bytes(data[start:end]), bits, fingerprint)
    if len(numbers) > 64:
        everyone = unpack_keys(bytes(keys[0 : len(keys)]))
        return [everyone[number] for number in numbers]
    return [unpack_keys(bytes(keys[8 * number : 8 * number + 8]))[0] for number in numbers]
