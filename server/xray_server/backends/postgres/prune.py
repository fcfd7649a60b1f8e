"""Removing what is too old from PostgreSQL: whole weeks are dropped; what must go sooner than its week, row by row.

A week is dropped when nobody keeps any of it, so what is kept longest lives up to a week beyond its age. Partitions are
detached concurrently: nobody's reading or writing waits.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection, sql

from xray_core.plurals import plural
from xray_server.backends.postgres import item_index, partitions
from xray_server.backends.postgres.read import PostgresDatabase
from xray_server.backends.postgres.text import escape_text
from xray_server.backends.relational.rows import HOUR_US
from xray_server.store import Prune

_RUNS_A_STEP: Final = 200
_TABLES: Final = {
    "details": ("sample_block",),
    "verdicts": ("sample_block", "verdict_chunk"),
    "ledgers": ("sample_block", "verdict_chunk", "step_reason", "step"),
}
_LOCK: Final = 0x5072756E


def prune(db: Connection[Any], order: Prune, cursor: str | None, limit: int) -> tuple[int, str | None]:
    """One step; rows removed (a dropped table counts as one), and where to go on (None: done). One process at a time."""
    taken = db.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", (_LOCK,)).fetchone()
    if taken is None or not taken[0]:
        return 0, None  # another process is at it
    try:
        removed, more = _step(db, order, cursor, limit)
        if more is None and order.kind == "ledgers":
            item_index.drop_pruned(db)
        return removed, more
    finally:
        if not db.closed:
            db.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", (_LOCK,))


def _step(db: Connection[Any], order: Prune, cursor: str | None, limit: int) -> tuple[int, str | None]:
    if not order.nobody_keeps_longer:
        return _rows(db, order, cursor, limit)
    dropped = _drop_weeks(db, order)
    if order.kind != "ledgers":
        return dropped, None
    removed, more = _runs_without_week(db, order, limit)
    return dropped + removed, more


def _first_kept(order: Prune) -> int:
    """The first week of which something is to be kept."""
    return order.before_us // partitions.DAY_US // partitions.DAYS_A_PARTITION


def _drop_weeks(db: Connection[Any], order: Prune) -> int:
    dropped = 0
    known = partitions.existing(db)
    for table in _TABLES[order.kind]:
        for week in known[table]:
            if week >= _first_kept(order):
                break
            partitions.drop(db, table, week)
            dropped += 1
    return dropped


def _runs_without_week(db: Connection[Any], order: Prune, limit: int) -> tuple[int, str | None]:
    """Remove the runs whose steps went with their week, the sums of those hours, and who was not heard of since."""
    last = partitions.week_bounds(_first_kept(order))[0]
    with db.transaction():
        runs = [
            pk
            for (pk,) in db.execute(
                "SELECT pk FROM run WHERE pk < %s ORDER BY pk LIMIT %s FOR UPDATE SKIP LOCKED", (last, limit)
            ).fetchall()
        ]
        removed = _forget_runs(db, runs)
        more = bool(runs)
        if not runs:
            clients = _clients(db, order, limit)
            more = clients >= limit
            removed += clients + _sums(
                db, order, min(order.before_us, (last >> partitions.KEY_BITS) * partitions.DAY_US)
            )
    return removed, "again" if more else None


def _rows(db: Connection[Any], order: Prune, cursor: str | None, limit: int) -> tuple[int, str | None]:
    project, at_us, pk = (int(number) for number in (cursor or f"0.{order.from_us}.0").split("."))
    scope, names = "", [escape_text(name) for name in order.but]
    if order.pipeline is not None:
        scope = "AND pipeline = (SELECT id FROM word WHERE text = ANY(%(names)s))"
        names = [escape_text(order.pipeline)]
    elif names:
        scope = "AND coalesce(pipeline, 0) NOT IN (SELECT id FROM word WHERE text = ANY(%(names)s))"
    values = {"project": project, "before": order.before_us, "at": at_us, "pk": pk, "names": names, "n": _RUNS_A_STEP}
    with db.transaction():
        runs = db.execute(
            f"SELECT project, at_us, pk FROM run WHERE project = %(project)s AND at_us < %(before)s "  # noqa: S608
            f"AND (at_us, pk) > (%(at)s, %(pk)s) {scope} ORDER BY at_us, pk LIMIT %(n)s",
            values,
        ).fetchall()
        pks = sorted(run[2] for run in runs)
        # the lock in the order in which writers take it: nothing is written under a run while it goes
        db.execute("SELECT 1 FROM run WHERE pk = ANY(%s) ORDER BY project, id FOR UPDATE", (pks,))
        removed = 0
        for table in _TABLES[order.kind] if pks else ():
            if removed < limit:
                removed += db.execute(
                    sql.SQL(
                        "DELETE FROM {table} t USING (SELECT tableoid AS of, ctid AS row FROM {table} WHERE run = ANY(%s) LIMIT %s) "
                        "AS old WHERE t.tableoid = old.of AND t.ctid = old.row AND t.run = ANY(%s)"
                    ).format(table=sql.Identifier(table)),
                    (pks, limit - removed, pks),
                ).rowcount
        finished = removed < limit
        if order.kind == "ledgers" and finished:
            removed += _forget_runs(db, pks) if pks else _sums(db, order, order.before_us)
    if runs:
        return removed, ".".join(map(str, runs[-1])) if finished else f"{project}.{at_us}.{pk}"
    following = db.execute("SELECT min(id) FROM project WHERE id > %s", (project,)).fetchone()
    return removed, None if following is None or following[0] is None else f"{following[0]}.{order.from_us}.0"


def forget_run(db: Connection[Any], run: int) -> None:
    """Remove a run with all that hangs on it, within the transaction that is open; hourly sums keep what it added."""
    for table in _TABLES["ledgers"]:
        db.execute(sql.SQL("DELETE FROM {} WHERE run = %s").format(sql.Identifier(table)), (run,))
    for table in ("item_tail", "item_large"):
        db.execute(sql.SQL("DELETE FROM {} WHERE run = %s").format(sql.Identifier(table)), (run,))
    _forget_runs(db, [run])


def _forget_runs(db: Connection[Any], runs: list[int]) -> int:
    for table in ("run_tag", "run_part"):
        db.execute(sql.SQL("DELETE FROM {} WHERE run = ANY(%s)").format(sql.Identifier(table)), (runs,))
    return db.execute("DELETE FROM run WHERE pk = ANY(%s)", (runs,)).rowcount


def _sums(db: Connection[Any], order: Prune, before_us: int) -> int:
    scope, names = "", [escape_text(name) for name in order.but]
    if order.pipeline is not None:
        scope = "AND pipeline = (SELECT id FROM word WHERE text = ANY(%s))"
        names = [escape_text(order.pipeline)]
    elif names:
        scope = "AND pipeline NOT IN (SELECT id FROM word WHERE text = ANY(%s))"
    values: tuple[Any, ...] = (before_us // HOUR_US, names) if scope else (before_us // HOUR_US,)
    return sum(
        db.execute(f"DELETE FROM {table} WHERE hour < %s {scope}", values).rowcount  # noqa: S608
        for table in ("rollup", "rollup_reason")
    )


def _clients(db: Connection[Any], order: Prune, limit: int) -> int:
    """Forget the client processes, at most `limit`, that nobody heard of since before anything that is kept."""
    return db.execute(
        "DELETE FROM client WHERE (project, part) IN "
        "(SELECT project, part FROM client WHERE received_us < %s LIMIT %s FOR UPDATE SKIP LOCKED)",
        (order.before_us, limit),
    ).rowcount


def check(db: PostgresDatabase) -> list[str]:
    """What does not hang together. PostgreSQL checks its pages itself as it reads them (`initdb --data-checksums`)."""
    problems = []
    for table in ("step", "run_tag", "run_part", "sample_block"):
        ((lost,),) = db.rows(
            f"SELECT count(*) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.pk = t.run)"  # noqa: S608
        )
        if lost:
            problems.append(f"{plural(lost, 'row')} of {table} {'belongs' if lost == 1 else 'belong'} to no run")
    for table in ("verdict_chunk", "step_reason"):
        ((lost,),) = db.rows(
            f"SELECT count(*) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM step WHERE step.run = t.run AND step.pk = t.step)"  # noqa: S608
        )
        if lost:
            problems.append(f"{plural(lost, 'row')} of {table} {'belongs' if lost == 1 else 'belong'} to no step")
    return problems
