"""PostgreSQL partitions: which week a run belongs to, and making that week's tables before they are written to.

A run's key begins with the day on which it started or was first heard of, whatever its id looks like (a UUIDv7, a UUIDv5 of
an adapter, any string), so a week of keys is a week of runs and retention drops whole tables. Owns partition names and bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from psycopg import Connection, sql

DAY_US: Final = 86_400_000_000
KEY_BITS: Final = 40  # of the number below the day: 10**12 runs
DAYS_A_PARTITION: Final = 7  # every list looks into every partition: a year of days would be 365 looks, of weeks 52
MAX_AGE_DAYS: Final = 730  # a clock that is years behind must not open a partition a week; older runs share the oldest
PARTITIONED: Final = ("step", "step_reason", "verdict_chunk", "sample_block")
_LOCK: Final = 0x50617274  # with a hash of the schema: several may share one database


def day_of(started_us: int | None, received_us: int) -> int:
    """The day under which a run is kept: that of its start, where that is believable."""
    today = received_us // DAY_US
    day = today if started_us is None else started_us // DAY_US
    return max(0, today - MAX_AGE_DAYS, min(day, today + 1))


def run_key(day: int, number: int) -> int:
    """The key of the run with this number whose partition is by this day."""
    return (day << KEY_BITS) + number


def week_of(key: int) -> int:
    """The partition of a run's key."""
    return (key >> KEY_BITS) // DAYS_A_PARTITION


def week_bounds(week: int) -> tuple[int, int]:
    """First key of a week, and of the next."""
    return (week * DAYS_A_PARTITION) << KEY_BITS, ((week + 1) * DAYS_A_PARTITION) << KEY_BITS


def partition_name(table: str, week: int) -> str:
    """The name of a table's partition for a week."""
    return f"{table}_w{week:05d}"


def existing(db: Connection[Any]) -> dict[str, list[int]]:
    """The weeks that each partitioned table has, oldest first."""
    rows = db.execute(
        "SELECT p.relname, c.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent "
        "JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = p.relnamespace "
        "WHERE n.nspname = current_schema() AND p.relkind = 'p'"
    ).fetchall()
    found: dict[str, list[int]] = {table: [] for table in PARTITIONED}
    for table, name in rows:
        if table in found:
            found[table].append(int(name.rsplit("_w", 1)[1]))
    return {table: sorted(weeks) for table, weeks in found.items()}


def drop(db: Connection[Any], table: str, week: int) -> None:
    """Drop a week of a table. In autocommit mode: detaching concurrently, nobody's reading or writing waits.

    Killed in between, it leaves a detachment that is pending, which is finished here, or a table that is detached, which
    `make` removes when that week is written to again.
    """
    name = partition_name(table, week)
    pending = db.execute(
        "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)",
        (sql.Identifier(name).as_string(db),),
    ).fetchone()
    how = sql.SQL("FINALIZE" if pending is not None and pending[0] else "CONCURRENTLY")
    db.execute(
        sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}").format(sql.Identifier(table), sql.Identifier(name), how)
    )
    db.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def make(db: Connection[Any], weeks: Iterable[int]) -> None:
    """Make what these weeks lack. In a transaction of its own, under a lock that all processes share; blocks.

    A table is made apart and attached, which lets others go on reading and writing; PARTITION OF would stop them.
    """
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", (_LOCK,))
        known = existing(db)
        for week in sorted(weeks):
            low, high = week_bounds(week)
            for table in PARTITIONED:
                if week in known[table]:
                    continue
                name = sql.Identifier(partition_name(table, week))
                parent = sql.Identifier(table)
                db.execute(
                    sql.SQL(
                        "DROP TABLE IF EXISTS {name};"  # detached, and its dropping was interrupted
                        "CREATE TABLE {name} (LIKE {parent} INCLUDING ALL);"
                        "ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})"
                    ).format(name=name, parent=parent, low=sql.Literal(low), high=sql.Literal(high))
                )
