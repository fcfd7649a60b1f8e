"""The segments of PostgreSQL (relational/item_index.py): their keys are runs. Building, merging, and looking for what they suspect.

A run that is written to goes to the tail, or counts up there; it leaves the tail only if nothing was written to it while its
segment was built. So a chunk is in a segment or its run is in the tail, whoever commits first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

from psycopg import Connection, Cursor

from xray_server.backends.postgres.read import PostgresDatabase
from xray_server.backends.relational.compactor import NO_PAUSE, Pace
from xray_server.backends.relational.item_index import (
    BITS_LARGE,
    BITS_SMALL,
    MAX_KEYS,
    MAX_LARGE,
    TAIL,
    bucket_place,
    build,
    last_key,
    numbers_in,
    offsets_place,
    pack_keys,
    unpack_keys,
)

_LOCK: Final = 0x5365676D
_LARGE_CHUNK: Final = 1 << 20  # bytes; a chunk of more is looked into by itself


def written(cursor: Cursor[Any], runs: Collection[int]) -> None:
    """Chunks of these runs were written, in this transaction. In order, so that two processes wait and do not deadlock."""
    if runs:
        cursor.execute(
            "INSERT INTO item_tail (run, seen) SELECT unnest(%s::bigint[]), 1 "
            "ON CONFLICT (run) DO UPDATE SET seen = item_tail.seen + 1",
            (sorted(runs),),
        )


def compact(
    db: Connection[Any],
    *,
    pace: Pace = NO_PAUSE,
    tail: int = TAIL,
    max_keys: int = MAX_KEYS,
) -> int:
    """Move the tail into segments and small segments into large ones; the number of runs moved. One process at a time."""
    taken = db.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", (_LOCK,)).fetchone()
    if taken is None or not taken[0]:
        return 0  # another process is at it
    try:
        return _compact(db, pace, tail, max_keys)
    finally:
        if not db.closed:
            db.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", (_LOCK,))


def _compact(db: Connection[Any], pace: Pace, tail: int, max_keys: int) -> int:
    moved = 0
    while not pace.stop():
        waiting = db.execute("SELECT run, seen FROM item_tail ORDER BY run LIMIT %s", (max_keys,)).fetchall()
        if len(waiting) < tail:
            break
        _replace(db, [run for run, _ in waiting], waiting, [], max_keys, pace)
        moved += len(waiting)
    small = db.execute("SELECT pk, n, keys FROM item_segment WHERE n < %s ORDER BY pk", (max_keys,)).fetchall()
    if sum(n for _, n, _ in small) >= max_keys and not pace.stop():
        runs = sorted({run for _, _, keys in small for run in unpack_keys(keys)})
        for start in range(0, len(runs), max_keys):
            last = start + max_keys >= len(runs)
            _replace(db, runs[start : start + max_keys], [], [pk for pk, _, _ in small] if last else [], max_keys, pace)
    return moved


def _replace(
    db: Connection[Any],
    runs: Sequence[int],
    waiting: Sequence[tuple[int, int]],
    old: Sequence[int],
    max_keys: int,
    pace: Pace,
) -> None:
    """One segment over these runs in place of their rows in the tail, or of the segments `old`."""
    held: dict[int, list[tuple[bytes, bytes]]] = {}
    large: set[int] = set()
    for run, head, data in db.execute(
        "SELECT run, head, CASE WHEN length(data) < %s THEN data END FROM verdict_chunk WHERE run = ANY(%s)",
        (_LARGE_CHUNK, list(runs)),
        binary=True,
    ):
        if data is None:
            large.add(run)
        else:
            held.setdefault(run, []).append((head, data))
        pace.rest()
    bits = BITS_LARGE if len(runs) == max_keys else BITS_SMALL
    chunks = sorted(held.items())
    data, also_large = build(chunks, bits, pace.rest)
    keys = pack_keys([run for run, _ in chunks])
    with db.transaction():
        if chunks:
            # a full group stays full though some of its runs were pruned meanwhile: it must not be merged for ever
            n = max_keys if len(runs) == max_keys else len(chunks)
            db.execute(
                "INSERT INTO item_segment (last, n, bits, keys, data) VALUES (%s, %s, %s, %s, %s)",
                (last_key(keys), n, bits, keys, data),
            )
        db.execute(
            "INSERT INTO item_large SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING",
            (sorted(large.union(also_large)),),
        )
        if waiting:
            db.execute(
                "DELETE FROM item_tail t USING unnest(%s::bigint[], %s::bigint[]) AS k(run, seen) "
                "WHERE t.run = k.run AND t.seen = k.seen",
                [list(column) for column in zip(*waiting)],
            )
        db.execute("DELETE FROM item_segment WHERE pk = ANY(%s)", (list(old),))


def drop_pruned(db: Connection[Any]) -> None:
    """Remove what the index has of runs that are gone."""
    first = "(SELECT coalesce(min(pk), 9223372036854775807) FROM run)"
    for table in ("item_tail", "item_large"):
        db.execute(f"DELETE FROM {table} WHERE run < {first}")  # noqa: S608  # literals
    db.execute(f"DELETE FROM item_segment WHERE last < {first}")  # noqa: S608


class Suspects:
    """The runs that may hold an item, from the greatest key back, and no further than is asked for."""

    def __init__(self, db: PostgresDatabase, fingerprint: int, *, max_large: int = MAX_LARGE) -> None:
        self._db, self._fingerprint = db, fingerprint
        rows = db.rows(
            "SELECT run FROM item_tail UNION SELECT run FROM (SELECT run FROM item_large ORDER BY run DESC LIMIT %s) AS large",
            [max_large],
        )
        self._found = {run for (run,) in rows}
        self._waiting = [-run for run in self._found]
        heapify(self._waiting)
        self._segments = db.rows("SELECT last, pk, bits FROM item_segment ORDER BY last, pk")
        self._step = 8  # segments to look into together; doubled each time, since each time takes three questions

    def newest_first(self) -> Iterator[int]:
        """The runs, the greatest key first."""
        while self._waiting or self._segments:
            if self._segments and (not self._waiting or -self._waiting[0] <= self._segments[-1][0]):
                self._look_further()
            else:
                yield -heappop(self._waiting)

    def _look_further(self) -> None:
        rows = self._db.rows
        looked, self._segments = self._segments[-self._step :], self._segments[: -self._step]
        self._step *= 2
        places = [(pk, offsets_place(bits, self._fingerprint)) for _, pk, bits in looked]
        bits_of = {pk: bits for _, pk, bits in looked}
        offsets = rows(_SLICES.format(column="data"), [*map(list, zip(*((pk, at, 8) for pk, at in places)))])
        buckets = [(pk, *bucket_place(bits_of[pk], found)) for pk, _, found in offsets]
        filled = [(pk, start, end - start) for pk, start, end in buckets if end > start]
        numbers: list[tuple[int, int, int]] = []
        if filled:
            for pk, _, bucket in rows(_SLICES.format(column="data"), [*map(list, zip(*filled))]):
                numbers += [(pk, 8 * n, 8) for n in numbers_in(bucket, bits_of[pk], self._fingerprint)]
        if numbers:
            for _, _, key in rows(_SLICES.format(column="keys"), [*map(list, zip(*numbers))]):
                run = unpack_keys(key)[0]
                if run not in self._found:
                    self._found.add(run)
                    heappush(self._waiting, -run)


_SLICES: Final = (
    "SELECT k.pk, k.place, substring(s.{column} FROM k.place + 1 FOR k.length) "
    "FROM unnest(%s::bigint[], %s::int[], %s::int[]) AS k(pk, place, length) JOIN item_segment s ON s.pk = k.pk"
)
