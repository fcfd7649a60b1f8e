"""Samples in PostgreSQL: rows of blocks (`xray_server.backends.relational.blocks`), written under the writer's locks on runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from psycopg import Connection, Cursor, sql

from xray_server.backends.postgres import partitions
from xray_server.backends.postgres.text import unescape_text
from xray_server.backends.relational.blocks import (
    SMALL_BYTES,
    Block,
    Key,
    Revisioned,
    block_of,
    rewrite_blocks,
    text_of_chunk,
)

_COPY: Final = "COPY sample_block (run, low, high, data) FROM STDIN (FORMAT BINARY)"
_TYPES: Final = ("int8", "int8", "int8", "bytea")


def write(cursor: Cursor[Any], by_run: Mapping[int, Mapping[Key, Revisioned]], fresh: set[int]) -> None:
    """Write new records of samples among those that are there; of `fresh` runs there are none."""
    old = [(run, max(new)[0], min(new)[0]) for run, new in by_run.items() if run not in fresh]
    stored: dict[int, list[tuple[int, bytes]]] = {}
    if old:
        for run, low, data in cursor.execute(
            "SELECT b.run, b.low, b.data FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS k(run, last, first) "
            "JOIN sample_block b ON b.run = k.run "
            "WHERE b.low <= k.last AND b.high >= k.first OR length(b.data) < %s",
            [*map(list, zip(*old)), SMALL_BYTES],
        ):
            stored.setdefault(run, []).append((low, data))
    gone: list[tuple[int, int]] = []
    written: list[tuple[int, Block]] = []
    for run, new in by_run.items():
        lows, blocks = rewrite_blocks(new, stored.get(run, ()))
        gone += [(run, low) for low in lows]
        written += [(run, block) for block in blocks]
    if gone:
        cursor.execute(
            "DELETE FROM sample_block b USING unnest(%s::bigint[], %s::bigint[]) AS k(run, low) "
            "WHERE b.run = k.run AND b.low = k.low",
            [list(column) for column in zip(*gone)],
        )
    _copy(cursor, written)


def _copy(cursor: Cursor[Any], blocks: Sequence[tuple[int, Block]]) -> None:
    if blocks:
        with cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for run, block in blocks:
                copy.write_row((run, block.low, block.high, block.data))


def move_chunks(db: Connection[Any]) -> None:
    """Move what was kept a row a chunk (until schema 3) into blocks of a step each; in the transaction of the migration."""
    partitions.make(db, partitions.existing(db)["step"])
    with db.cursor("chunks", binary=True) as chunks, db.cursor(binary=True) as cursor:
        chunks.execute("SELECT run, step, part, chunk, rev, doc FROM sample_chunk ORDER BY run, step, part, chunk")
        for run, steps in groupby(chunks, lambda row: row[0]):
            _copy(cursor, [(run, block) for block in _blocks(steps)])
    db.execute(sql.SQL("DROP TABLE sample_chunk"))


def _blocks(chunks: Iterator[tuple[Any, ...]]) -> Iterator[Block]:
    for _, rows in groupby(chunks, lambda row: row[1]):
        yield block_of(
            [((step, part, unescape_text(chunk)), (rev, text_of_chunk(doc))) for _, step, part, chunk, rev, doc in rows]
        )
