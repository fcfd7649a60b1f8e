"""Segments: an index over many chunks of verdicts, by which an item is found across runs without opening each of them.

A segment covers up to 4,096 chunks. It holds, for every item of every set in them, 8 bits of the item's fingerprint and the
number of the chunk, in buckets chosen by the fingerprint's top bits: 3 bytes an item and a table of offsets. A hit is a
suspicion only; the chunk itself decides, so the index can be wrong about nothing but time: what it suspects in vain costs
one look. Chunks written since the last segment are the tail, and are looked into one by one; so are those with sets beyond
16,384 items, which would make the store half as large again.

    data: u8 1, u8 bits, (2**bits + 1) x u32 offsets into the entries, n x (u8 check, u16 chunk number); little-endian

Owns building, merging and lookup of suspects. Knows nothing of what a verdict means.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from xray_core import verdicts
from xray_server.records import unpack
from xray_server.rows import FP40
from xray_server.sqlite_lock import FileLock, transaction

MAX_CHUNKS: Final = 4_096
TAIL_CHUNKS: Final = 64  # a segment is made when so many wait: looking into one chunk takes about 40 us
LARGE_SET: Final = 16_384
MAX_LARGE: Final = 2_000  # looked into by one question, the newest first
_BITS_SMALL, _BITS_LARGE = 12, 16
_HEAD: Final = 2
_ENTRY: Final = 3


def build(chunks: Sequence[tuple[int, bytes, bytes]], bits: int) -> tuple[bytes, list[int]]:
    """The segment over (key, head, data) of some chunks, and the keys of those that hold a set too large for it."""
    buckets: list[bytearray] = [bytearray() for _ in range(1 << bits)]
    shift = verdicts.BITS - bits
    large = []
    for number, (key, head, data) in enumerate(chunks):
        seen: set[int] = set()
        for _, _, n, form, offset, length in unpack(head):
            if n > LARGE_SET:
                large.append(key)
                continue
            blob = data[offset : offset + length]
            if form == FP40:
                seen.update(verdicts.decode(blob))
            else:
                seen.update(map(verdicts.fingerprint, msgspec.json.decode(blob)))
        low, high = number & 0xFF, number >> 8
        for fingerprint in seen:
            buckets[fingerprint >> shift] += bytes((fingerprint >> shift - 8 & 0xFF, low, high))
    offsets = array("I", accumulate((len(bucket) // _ENTRY for bucket in buckets), initial=0))
    if sys.byteorder == "big":  # pragma: no cover
        offsets.byteswap()
    return bytes((1, bits)) + offsets.tobytes() + b"".join(buckets), sorted(set(large))


def suspects(data: Any, chunks: Any, fingerprint: int) -> list[int]:
    """The keys of the chunks that may hold the item. `data` and `chunks` are bytes, or blobs that read what is asked."""
    bits = data[1]
    shift = verdicts.BITS - bits
    place = _HEAD + 4 * (fingerprint >> shift)
    start, end = struct.unpack("<II", bytes(data[place : place + 8]))
    base = _HEAD + 4 * ((1 << bits) + 1)
    entries = bytes(data[base + _ENTRY * start : base + _ENTRY * end])
    check = fingerprint >> shift - 8 & 0xFF
    numbers = [entries[at + 1] | entries[at + 2] << 8 for at in range(0, len(entries), _ENTRY) if entries[at] == check]
    if len(numbers) > 64:
        keys = struct.unpack(f"<{len(chunks) // 8}Q", bytes(chunks[0 : len(chunks)]))
        return [keys[number] for number in numbers]
    return [struct.unpack("<Q", bytes(chunks[8 * number : 8 * number + 8]))[0] for number in numbers]


def last_chunk(chunks: bytes) -> int:
    """The newest of a segment's chunks."""
    return int(struct.unpack("<Q", chunks[-8:])[0])


def compact(
    db: sqlite3.Connection,
    lock: FileLock,
    *,
    stop: Callable[[], bool] = lambda: False,
    tail_chunks: int = TAIL_CHUNKS,
    max_chunks: int = MAX_CHUNKS,
) -> int:
    """Move the tail into segments and small segments into large ones; the number of chunks moved.

    Reads and builds outside the transaction, so that the writer waits for an insert only. One caller at a time.
    """
    moved = 0
    while not stop():
        keys = [key for (key,) in db.execute("SELECT chunk FROM item_tail ORDER BY chunk LIMIT ?", (max_chunks,))]
        if len(keys) < tail_chunks:
            break
        _replace(db, lock, keys, [], _BITS_SMALL if len(keys) < max_chunks else _BITS_LARGE, max_chunks)
        moved += len(keys)
    small = db.execute("SELECT pk, n, chunks FROM item_segment WHERE n < ? ORDER BY pk", (max_chunks,)).fetchall()
    if sum(n for _, n, _ in small) >= max_chunks:
        merged = sorted({key for _, _, chunks in small for key in _keys(chunks)})
        pks = [pk for pk, _, _ in small]
        for start in range(0, len(merged), max_chunks):
            group = merged[start : start + max_chunks]
            last = start + max_chunks >= len(merged)
            _replace(
                db,
                lock,
                group,
                pks if last else [],
                _BITS_LARGE if len(group) == max_chunks else _BITS_SMALL,
                max_chunks,
            )
    return moved


def tail(db: sqlite3.Connection) -> list[int]:
    """Chunks to look into one by one: those that no segment covers, and the newest of those that none can."""
    return [
        key
        for (key,) in db.execute(
            "SELECT chunk FROM item_tail UNION SELECT chunk FROM (SELECT chunk FROM item_large ORDER BY chunk DESC LIMIT ?)",
            (MAX_LARGE,),
        )
    ]


def segments(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """The newest chunk of each segment, and its key; the newest segment last."""
    return db.execute("SELECT last, pk FROM item_segment ORDER BY last, pk").fetchall()


def _replace(
    db: sqlite3.Connection, lock: FileLock, keys: Sequence[int], old: Sequence[int], bits: int, max_chunks: int
) -> None:
    """One segment over these chunks in place of their rows in the tail, or of the segments `old`."""
    chunks = list(_chunks(db, keys))
    data, large = build(chunks, bits)
    packed = struct.pack(f"<{len(chunks)}Q", *(key for key, _, _ in chunks))
    with transaction(db, lock):
        if chunks:
            # a full group stays full though some of its chunks were pruned meanwhile: it must not be merged for ever
            n = max_chunks if len(keys) == max_chunks else len(chunks)
            db.execute(
                "INSERT INTO item_segment (n, chunks, data, last) VALUES (?, ?, ?, ?)",
                (n, packed, data, last_chunk(packed)),
            )
        db.executemany("INSERT OR IGNORE INTO item_large VALUES (?)", [(key,) for key in large])
        db.executemany("DELETE FROM item_tail WHERE chunk = ?", [(key,) for key in keys])
        db.executemany("DELETE FROM item_segment WHERE pk = ?", [(pk,) for pk in old])


def _chunks(db: sqlite3.Connection, keys: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
    for key in keys:
        row = db.execute("SELECT pk, head, data FROM verdict_chunk WHERE pk = ?", (key,)).fetchone()
        if row is not None:
            yield row


def _keys(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(packed) // 8}Q", packed)
