"""Samples in PostgreSQL: the rows of blocks.py, written under the locks that the writer has on their runs, and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from psycopg import Connection, Cursor, sql

from xray_server.backends.postgres import partitions
from xray_server.backends.postgres.read import Reader
from xray_server.backends.postgres.text import given_id, given_text, kept_id
from xray_server.backends.relational.blocks import (
    SMALL_BYTES,
    Block,
    Kept,
    Key,
    block_of,
    taken_up,
    text_of_chunk,
    unpacked,
)
from xray_server.backends.relational.cursors import make_cursor
from xray_server.backends.relational.rows import gathered_samples
from xray_server.store import Page, SampledStep, StepFilter

_COPY: Final = "COPY sample_block (run, low, high, data) FROM STDIN (FORMAT BINARY)"
_SAMPLED: Final = "step.pk, step.at_us, run.id, step.id, step.attempt, step.pipeline, step.run, step.name"
_BLOCKS: Final = (
    "SELECT b.run, b.low, b.data FROM unnest(%s::bigint[], %s::bigint[]) AS k(run, step) "
    "JOIN sample_block b ON b.run = k.run AND b.low <= k.step AND b.high >= k.step"
)
_TYPES: Final = ("int8", "int8", "int8", "bytea")


def write(cursor: Cursor[Any], by_run: Mapping[int, Mapping[Key, Kept]], fresh: set[int]) -> None:
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
        lows, blocks = taken_up(new, stored.get(run, ()))
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


def samples(
    reader: Reader, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None
) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    run = reader.run_pk(project, run_id)
    statement = "SELECT pk, id, attempt FROM step WHERE run = %s"
    values: list[Any] = [run]
    if steps is not None:
        statement += " AND (id, attempt) IN (SELECT * FROM unnest(%s::bytea[], %s::int[]))"
        values += [[kept_id(step_id) for step_id, _ in steps], [attempt for _, attempt in steps]]
    wanted = {pk: (given_id(key), attempt) for pk, key, attempt in reader.rows(statement, values)}
    found = records(reader, run, min(wanted, default=0), max(wanted, default=-1))
    return gathered_samples((wanted[step], text) for (step, _, _), (_, text) in found if step in wanted)


def sampled_steps(reader: Reader, project: str, where: StepFilter, limit: int, cursor: str | None) -> Page[SampledStep]:
    statement, values = reader.steps_query(project, where, cursor, _SAMPLED)
    rows = reader.rows(f"{statement} LIMIT %s", [*values, limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    wanted = {(row[6], row[0]) for row in rows}
    # several of the steps may lie in one block
    blocks = dict.fromkeys(reader.rows(_BLOCKS, [list(column) for column in zip(*wanted)]) if wanted else ())
    samples = gathered_samples(
        ((run, step), text)
        for run, low, data in blocks
        for (step, _, _), (_, text) in unpacked(low, data)
        if (run, step) in wanted
    )
    found = [
        SampledStep(
            given_id(run_key), given_id(step_key), attempt, at_us, reader.word(pipeline), reader.word(name),
            samples.get((run, pk), ()),
        )
        for pk, at_us, run_key, step_key, attempt, pipeline, run, name in rows
    ]  # fmt: skip
    return Page(found, make_cursor(rows[-1][1], rows[-1][0]) if more else None)


def records(reader: Reader, run: int, first: int = 0, last: int = (1 << 63) - 1) -> Iterator[tuple[Key, Kept]]:
    """The records of samples in those blocks of a run that may hold one of these steps."""
    for low, data in reader.rows(
        "SELECT low, data FROM sample_block WHERE run = %s AND low <= %s AND high >= %s ORDER BY low",
        [run, last, first],
    ):
        yield from unpacked(low, data)


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
            [((step, part, given_text(chunk)), (rev, text_of_chunk(doc))) for _, step, part, chunk, rev, doc in rows]
        )
