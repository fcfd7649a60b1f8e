"""Removing what is too old from SQLite, a small transaction at a time, on a connection of its own.

Walks runs in the order in which they started. A writer that finds the file changed by another connection trusts no cache
(write.py), so nothing is written under a run that is gone.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from xray_server.backends.relational.rows import HOUR_US, STATUS_NAMES, step_state
from xray_server.backends.sqlite.documents import documents
from xray_server.records import states
from xray_server.store import Prune

_RUNS_A_STEP: Final = 200
_FREE_PAGES: Final = 256  # given back to the file system in one transaction
_FREE_WITHIN_S: Final = 0.1  # of one step; the next goes on
_FREEING: Final = "free"  # the cursor of the last steps, which only give pages back


def prune(db: sqlite3.Connection, order: Prune, cursor: str | None, limit: int) -> tuple[int, str | None]:
    """One step; rows removed, and where to go on (None: done)."""
    if cursor == _FREEING:
        return 0, _FREEING if free_pages(db) else None
    start = f"0.{order.from_us}.0"
    project, at_us, pk = (int(number) for number in (cursor or start).split("."))
    db.execute("BEGIN IMMEDIATE")
    try:
        runs = _expired(db, order, project, at_us, pk)
        removed = _details_of(db, order, [run[2] for run in runs], limit) if runs else 0
        finished = removed < limit
        if finished and order.kind == "ledgers" and runs:
            removed += _ledgers_of(db, [run[2] for run in runs], limit)
            finished = removed < limit
        if not runs and order.kind == "ledgers":
            clients = _clients(db, order, project, limit)
            finished = clients < limit
            removed += clients + _sums(db, order, project)
        db.execute("COMMIT")
    except BaseException:  # whatever ends it, no transaction may stay open and hold the writer
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if not finished:
        return removed, f"{project}.{at_us}.{pk}"
    if runs:
        return removed, ".".join(map(str, runs[-1]))
    following = db.execute("SELECT min(id) FROM project WHERE id > ?", (project,)).fetchone()[0]
    if following is not None:
        return removed, f"{following}.{order.from_us}.0"
    if order.kind != "details":
        _forget_chunks(db)
    return removed, _FREEING


def free_pages(db: sqlite3.Connection, *, within_s: float = _FREE_WITHIN_S) -> bool:
    """Give free pages back to the file system, some at a time, for so long; whether there is more to give.

    `executescript` runs the pragma to its end; `execute` steps it once a row, and it has none, on CPython before 3.12.
    """
    ends_s = time.monotonic() + within_s
    left = _free(db)
    while left:
        db.executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")
        before, left = left, _free(db)
        if left >= before:
            return False  # a file made without auto_vacuum keeps its size, and uses it again
        if time.monotonic() >= ends_s:
            break
    return left > 0


def _free(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0])


def _expired(db: sqlite3.Connection, order: Prune, project: int, at_us: int, pk: int) -> list[tuple[int, int, int]]:
    """Some runs that are too old: (project, at_us, pk)."""
    values: list[Any] = [project, order.before_us, at_us, pk]
    if order.pipeline is not None:
        index, scope = "run_pipeline_at", "AND pipeline = (SELECT id FROM word WHERE text = ?)"
        values.append(order.pipeline)
    else:
        marks = ", ".join("?" for _ in order.but)
        index = "run_at"
        scope = f"AND coalesce(pipeline, 0) NOT IN (SELECT id FROM word WHERE text IN ({marks}))" if order.but else ""  # noqa: S608
        values += order.but
    return db.execute(
        f"SELECT project, at_us, pk FROM run INDEXED BY {index} "  # noqa: S608  # names are literals of this file
        f"WHERE project = ? AND at_us < ? AND (at_us, pk) > (?, ?) {scope} ORDER BY at_us, pk LIMIT {_RUNS_A_STEP}",
        values,
    ).fetchall()


def _details_of(db: sqlite3.Connection, order: Prune, runs: list[int], limit: int) -> int:
    """Remove the samples of these runs, and their verdicts too unless only details are to go; at most `limit` rows."""
    marks = ", ".join("?" for _ in runs)
    removed = db.execute(
        f"DELETE FROM sample_block WHERE (run, low) IN (SELECT run, low FROM sample_block WHERE run IN ({marks}) LIMIT ?)",  # noqa: S608
        (*runs, limit),
    ).rowcount
    if order.kind != "details" and removed < limit:
        removed += db.execute(
            "DELETE FROM verdict_chunk WHERE pk IN (SELECT c.pk FROM step CROSS JOIN verdict_chunk c ON c.step = step.pk "  # noqa: S608
            f"WHERE step.run IN ({marks}) LIMIT ?)",
            (*runs, limit - removed),
        ).rowcount
    return removed


def _ledgers_of(db: sqlite3.Connection, runs: list[int], limit: int) -> int:
    """Remove the steps of these runs, whose chunks are gone, at most `limit`; then the runs that have none left."""
    removed = 0
    for run in runs:
        steps = db.execute(
            "SELECT pk, project, at_us, doc, pipeline, name, type, status, position, duration_us FROM step "
            "WHERE run = ? LIMIT ?",
            (run, limit - removed),
        ).fetchall()
        docs = documents(db, [(row[0], run, row[3]) for row in steps])
        for row in steps:
            _forget_reasons(db, docs[row[0]], *row)
        db.executemany("DELETE FROM step WHERE pk = ?", [(row[0],) for row in steps])
        removed += len(steps)
        if removed >= limit:
            break
        for table in ("run_tag", "run_part", "step_block"):
            db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))  # noqa: S608
        db.execute("DELETE FROM run WHERE pk = ?", (run,))
        removed += 1
    return removed


def forget_run(db: sqlite3.Connection, run: int) -> None:
    """Remove a run with all that hangs on it, within the transaction that is open; hourly sums keep what it added."""
    db.execute("DELETE FROM sample_block WHERE run = ?", (run,))
    for table in ("item_tail", "item_large"):
        db.execute(
            f"DELETE FROM {table} WHERE chunk IN "  # noqa: S608
            "(SELECT c.pk FROM step CROSS JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ?)",
            (run,),
        )
    db.execute("DELETE FROM verdict_chunk WHERE step IN (SELECT pk FROM step WHERE run = ?)", (run,))
    (steps,) = db.execute("SELECT count(*) FROM step WHERE run = ?", (run,)).fetchone()
    _ledgers_of(db, [run], steps + 2)


def _forget_reasons(
    db: sqlite3.Connection, stored: Any, pk: int, project: int, at_us: int, _: bytes, *columns: Any
) -> None:
    # a step's reasons lie under their words: its own document says which
    pipeline, name, kind, status, position, duration_us = columns
    known = (pipeline, name, kind, STATUS_NAMES[status], position, at_us, duration_us)
    state = step_state({str(part): states.restore_columns(values, known) for part, values in stored})
    db.executemany(
        "DELETE FROM step_reason WHERE project = ? AND reason = (SELECT id FROM word WHERE text = ?) AND at_us = ? AND step = ?",
        [(project, reason, at_us, pk) for reason in {reason for _, reason in state.reasons()}],
    )


def _sums(db: sqlite3.Connection, order: Prune, project: int) -> int:
    """Remove the hourly sums of what is gone: a late copy of a record must not count in an hour that nobody can check."""
    scope, values = "", (project, order.before_us // HOUR_US)
    marks = ", ".join("?" for _ in order.but)
    names: tuple[str, ...] = order.but
    if order.pipeline is not None:
        scope, names = "AND pipeline = (SELECT id FROM word WHERE text = ?)", (order.pipeline,)
    elif order.but:
        scope = f"AND pipeline NOT IN (SELECT id FROM word WHERE text IN ({marks}))"  # noqa: S608
    return sum(
        db.execute(f"DELETE FROM {table} WHERE project = ? AND hour < ? {scope}", (*values, *names)).rowcount  # noqa: S608
        for table in ("rollup", "rollup_reason")
    )


def _clients(db: sqlite3.Connection, order: Prune, project: int, limit: int) -> int:
    """Forget the client processes, at most `limit`, that nobody heard of since before anything that is kept."""
    if not order.nobody_keeps_longer:
        return 0
    return db.execute(
        "DELETE FROM client WHERE project = ? AND part IN "
        "(SELECT part FROM client WHERE project = ? AND received_us < ? LIMIT ?)",
        (project, project, order.before_us, limit),
    ).rowcount


def _forget_chunks(db: sqlite3.Connection) -> None:
    """What the index of items (sqlite_segments.py) says of chunks that are gone."""
    first = db.execute("SELECT coalesce(min(pk), 1 << 62) FROM verdict_chunk").fetchone()[0]
    for table in ("item_tail", "item_large"):
        db.execute(f"DELETE FROM {table} WHERE chunk < ?", (first,))  # noqa: S608
    db.execute("DELETE FROM item_segment WHERE last < ?", (first,))
