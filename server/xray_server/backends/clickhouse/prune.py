"""Removing what is too old, node by node, a week of runs at a time: a partition as a whole where all of it is too old.

What lists say of runs that are gone is passed over (`lists.py`), so a list's partition goes when its own week is over. What is kept longest goes by whole weeks, up to one too late:
mutations are for what is kept shorter than something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.hours import touch
from xray_server.backends.clickhouse.rows import SAMPLE
from xray_server.backends.clickhouse.sql import bind
from xray_server.store import Prune, StoreUnavailableError

WEEK_US: Final = 604_800_000_000
_TABLES: Final = {"details": (), "verdicts": ("evidence", "item"), "ledgers": ("evidence", "item", "state")}
_NAMES_AT_ONCE: Final = 2_000


def prune(cluster: Cluster, order: Prune, cursor: str | None) -> tuple[int, str | None]:
    """One step: what is too old of one week on one node. A node that does not answer is passed over: its turn comes again.

    Returns:
        rows removed, and where to go on (None: done).
    """
    nodes = [node for shard in cluster.shards for node in shard.each_node()]
    number, _, after = (cursor or "0.-1").partition(".")
    following = f"{int(number) + 1}.-1" if int(number) + 1 < len(nodes) else None
    try:
        return _on_node(nodes[int(number)], order, int(number), int(after), following)
    except StoreUnavailableError:
        if len(nodes) == 1:
            raise
        return 0, following


def _on_node(shard: Shard, order: Prune, number: int, after: int, following: str | None) -> tuple[int, str | None]:
    week = _next_week(shard, order, after)
    if week is not None:
        return _of_week(shard, order, week), f"{number}.{week}"
    return _lists(shard, order) if order.kind == "ledgers" and order.nobody_keeps_longer else 0, following


def _expired(order: Prune) -> str:
    """The test that a run is too old and one of those that are meant."""
    test = bind("at_us < ? AND at_us >= ?", order.before_us, order.from_us)
    if order.pipeline is not None:
        test += bind(
            " AND ifNull(pipeline = ?, 0)", order.pipeline
        )  # of one that is not known: not, rather than unknown
    elif order.but:
        test += bind(" AND coalesce(pipeline, '') NOT IN ?", list(order.but))
    return f"({test})"


def _outlives(order: Prune) -> str:
    """The test that a run keeps its week from being dropped as a whole."""
    # where nobody keeps longer, what is older than this is too old whosesoever it is, and whenever that was seen to
    return bind("at_us >= ?", order.before_us) if order.nobody_keeps_longer else f"NOT {_expired(order)}"


def _next_week(shard: Shard, order: Prune, after: int) -> int | None:
    rows = shard.rows(
        f"SELECT min(week) FROM listed FINAL WHERE kind = 0 AND gone = 0 AND {_expired(order)} AND week > {after} HAVING count() > 0"  # noqa: S608
    )
    return int(rows[0][0]) if rows else None


def _of_week(shard: Shard, order: Prune, week: int) -> int:
    """Remove what is too old of a week; how many rows."""
    removed = 0
    others = _others(shard, order, week)
    # while a week lasts, a younger run may come into it between the look and the drop: its runs are named
    if not others and (week + 1) * WEEK_US <= order.before_us:
        if order.kind == "details":
            removed = _clear_samples(shard, week)
        for table in _TABLES[order.kind]:
            removed += _drop(shard, table, week)
        if order.kind != "ledgers":
            return removed
    elif others and order.nobody_keeps_longer:
        return 0
    names = [
        (project, run_id)
        for project, run_id in shard.rows(
            f"SELECT project, run_id FROM listed FINAL WHERE kind = 0 AND gone = 0 AND week = {week} AND {_expired(order)}"  # noqa: S608
        )
    ]
    for start in range(0, len(names), _NAMES_AT_ONCE):
        removed += _runs(shard, order, week, names[start : start + _NAMES_AT_ONCE])
    return removed


def _others(shard: Shard, order: Prune, week: int) -> bool:
    """Whether some runs outlive their week; also those with rows in it that are listed under another, since processes that knew
    of other starts began them.
    """
    younger = f"SELECT 1 FROM listed FINAL WHERE kind = 0 AND gone = 0 AND {_outlives(order)}"  # noqa: S608
    begun = f"SELECT project, run_id FROM state WHERE kind = 0 AND week = {week}"  # noqa: S608
    tests = f"week = {week}", f"week != {week} AND (project, run_id) IN ({begun})"
    return any(shard.rows(f"{younger} AND {test} LIMIT 1") for test in tests)


def _runs(shard: Shard, order: Prune, week: int, names: Sequence[tuple[str, str]]) -> int:
    removed = 0
    these = bind("(project, run_id) IN ?", names)
    begun = (
        f"SELECT DISTINCT week FROM state WHERE {these} UNION DISTINCT SELECT DISTINCT week FROM evidence WHERE {these}"  # noqa: S608
    )
    weeks = {week, *(each for (each,) in shard.rows(begun))}  # two, where two processes began a run
    tests = [("evidence", f"{these} AND kind = {SAMPLE}")] if order.kind == "details" else []
    for table, test in tests + [(table, these) for table in _TABLES[order.kind]]:
        for each in sorted(weeks):
            ((rows,),) = shard.rows(f"SELECT count() FROM {table} WHERE week = {each} AND {test}")  # noqa: S608
            if rows:  # deleting rewrites what a part says of its rows, even where there are none
                shard.nodes[0].command(f"DELETE FROM {table} IN PARTITION {each} WHERE {test}")  # noqa: S608
                removed += int(rows)
    if order.kind == "ledgers":
        # their hours are to be added up again, without them
        touch(shard.nodes[0].command, these)
        shard.nodes[0].command(f"DELETE FROM listed WHERE {these}")  # noqa: S608
    return removed


def _lists(shard: Shard, order: Prune) -> int:
    """Drop the days of lists and sums that lie wholly before the limit, and the client processes not heard of since."""
    unheard = bind("received_us < ?", order.before_us)
    ((removed,),) = shard.rows(f"SELECT count() FROM client WHERE {unheard}")  # noqa: S608
    if removed:
        shard.nodes[0].command(f"DELETE FROM client WHERE {unheard}")  # noqa: S608
    for table in ("listed", "hourly", "hourly_deleted"):
        for (partition,) in shard.rows(
            bind(
                "SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase() AND table = ? AND active",
                table,
            )
        ):
            if (int(partition) + 1) * WEEK_US <= order.before_us:
                removed += _drop(shard, table, int(partition))
    return int(removed)


def _clear_samples(shard: Shard, week: int) -> int:
    """Remove the texts of a week's samples, which rewrites their column and nothing else; how many there were."""
    ((rows,),) = shard.rows(f"SELECT count() FROM sample WHERE week = {week}")  # noqa: S608
    if rows:
        shard.nodes[0].command(
            f"ALTER TABLE evidence CLEAR COLUMN text IN PARTITION ID '{week}' SETTINGS mutations_sync = 2"
        )
    return int(rows)


def _drop(shard: Shard, table: str, partition: int) -> int:
    """Drop a partition; how many rows were in it."""
    ((rows,),) = shard.rows(
        bind(
            "SELECT sum(rows) FROM system.parts WHERE database = currentDatabase() AND table = ? AND active AND partition_id = ?",
            table,
            str(partition),
        )
    )
    if rows:
        shard.nodes[0].command(f"ALTER TABLE {table} DROP PARTITION ID '{partition}'")
    return int(rows or 0)
