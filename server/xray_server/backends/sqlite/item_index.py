"""The segments of SQLite (relational/item_index.py): their keys are chunks. Building, merging, and what is not covered yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from xray_server.backends.relational.compactor import NO_PAUSE, Pace
from xray_server.backends.relational.item_index import (
    BITS_LARGE,
    BITS_SMALL,
    MAX_KEYS,
    MAX_LARGE,
    TAIL,
    build,
    last_key,
    pack_keys,
    unpack_keys,
)
from xray_server.backends.sqlite.lock import FileLock, transaction

_ALL: Final = (1 << 63) - 1  # no chunk has this key


def compact(
    db: sqlite3.Connection,
    lock: FileLock,
    *,
    pace: Pace = NO_PAUSE,
    tail_chunks: int = TAIL,
    max_keys: int = MAX_KEYS,
) -> int:
    """Move the tail into segments and small segments into large ones; the number of chunks moved.

    Reads and builds outside the transaction, so that the writer waits for an insert only. One caller at a time.
    """
    moved = 0
    while not pace.stop():
        keys = [key for (key,) in db.execute("SELECT chunk FROM item_tail ORDER BY chunk LIMIT ?", (max_keys,))]
        if len(keys) < tail_chunks:
            break
        _replace(db, lock, keys, [], BITS_SMALL if len(keys) < max_keys else BITS_LARGE, max_keys, pace)
        moved += len(keys)
    small = db.execute("SELECT pk, n, chunks FROM item_segment WHERE n < ? ORDER BY pk", (max_keys,)).fetchall()
    if sum(n for _, n, _ in small) >= max_keys:
        merged = sorted({key for _, _, chunks in small for key in unpack_keys(chunks)})
        pks = [pk for pk, _, _ in small]
        for start in range(0, len(merged), max_keys):
            group = merged[start : start + max_keys]
            last = start + max_keys >= len(merged)
            _replace(
                db,
                lock,
                group,
                pks if last else [],
                BITS_LARGE if len(group) == max_keys else BITS_SMALL,
                max_keys,
                pace,
            )
    return moved


def tail(db: sqlite3.Connection, *, below: int | None, limit: int) -> list[int]:
    """The newest chunks that no segment covers yet, of those below one (None: of all)."""
    statement = "SELECT chunk FROM item_tail WHERE chunk < ? ORDER BY chunk DESC LIMIT ?"
    return [key for (key,) in db.execute(statement, (_ALL if below is None else below, limit))]


def large(db: sqlite3.Connection) -> list[int]:
    """The newest of the chunks that no segment can cover."""
    return [key for (key,) in db.execute("SELECT chunk FROM item_large ORDER BY chunk DESC LIMIT ?", (MAX_LARGE,))]


def segments(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """The newest chunk of each segment, and its key; the newest segment last."""
    return db.execute("SELECT last, pk FROM item_segment ORDER BY last, pk").fetchall()


def _replace(
    db: sqlite3.Connection,
    lock: FileLock,
    keys: Sequence[int],
    old: Sequence[int],
    bits: int,
    max_keys: int,
    pace: Pace,
) -> None:
    """One segment over these chunks in place of their rows in the tail, or of the segments `old`."""
    chunks = list(_chunks(db, keys, pace))
    data, large = build(chunks, bits, pace.rest)
    packed = pack_keys([key for key, _ in chunks])
    with transaction(db, lock):
        if chunks:
            # a full group stays full though some of its chunks were pruned meanwhile: it must not be merged for ever
            n = max_keys if len(keys) == max_keys else len(chunks)
            db.execute(
                "INSERT INTO item_segment (n, chunks, data, last) VALUES (?, ?, ?, ?)",
                (n, packed, data, last_key(packed)),
            )
        db.executemany("INSERT OR IGNORE INTO item_large VALUES (?)", [(key,) for key in large])
        db.executemany("DELETE FROM item_tail WHERE chunk = ?", [(key,) for key in keys])
        db.executemany("DELETE FROM item_segment WHERE pk = ?", [(pk,) for pk in old])


def _chunks(db: sqlite3.Connection, keys: Sequence[int], pace: Pace) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    for key in keys:
        row = db.execute("SELECT head, data FROM verdict_chunk WHERE pk = ?", (key,)).fetchone()
        if row is not None:
            yield key, [row]
            pace.rest()
