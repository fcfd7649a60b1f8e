"""Replicas that missed writes catch up: the rows of the runs they missed are copied from one that holds all.

Only where X-Ray writes to several replicas itself; Replicated tables copy by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from xray_core import verdicts
from xray_core.safety import log, swallow
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.delete import OF_RUNS, deleted_among
from xray_server.backends.clickhouse.erase import erased_items, remove_older
from xray_server.backends.clickhouse.hours import touch
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.clickhouse.parts import RunName
from xray_server.backends.clickhouse.sql import bind
from xray_server.records.erasure import ErasedItem
from xray_server.store import MAX_PAGE_BYTES, StoreUnavailableError

RUNS_AT_ONCE: Final = 500
_WHOLE: Final = ("deleted_run", "deleted_item", "hourly_deleted", "client")  # small, and of no run


def catch_up(shard: Shard, stop: Callable[[], bool] = lambda: False) -> int:
    """Copy what replicas missed to those that answer again; how many runs."""
    copied = 0
    behind = shard.behind(look=True)
    for target in shard.nodes:
        if target.name not in behind:
            continue
        for source in shard.nodes:
            if source is not target and source.name not in behind:
                copied += _from_one(source, target, stop)
    if copied:
        shard.behind(look=True)
    return copied


def _from_one(source: Node, target: Node, stop: Callable[[], bool]) -> int:
    copied = 0
    while not stop():
        rows = source.rows(
            bind(
                "SELECT DISTINCT project, run_id, writer, number FROM missed WHERE node = ? ORDER BY project, run_id LIMIT ?",
                target.name,
                RUNS_AT_ONCE,
            )
        )
        if not rows:
            break
        for table in _WHOLE:
            target.paste(table, source.copied(f"SELECT * FROM {table}"))  # noqa: S608
        names = list(dict.fromkeys(row[:2] for row in rows))
        if of_runs := [name for name in names if name[1]]:
            _copy_runs(source, target, of_runs)
        # the notes that were read: what was missed once more meanwhile has one of its own
        done = bind("node = ? AND (project, run_id, writer, number) IN ?", target.name, rows)
        source.command(f"DELETE FROM missed WHERE {done}")  # noqa: S608
        copied += len(names)
    if copied:
        log.warning("X-Ray: ClickHouse %s has caught up with %d runs that it missed.", target.name, copied)
    return copied


def _copy_runs(source: Node, target: Node, names: Sequence[RunName]) -> None:
    """Copy the rows of these runs. Only what was deleted is deleted: a writer may add to the others meanwhile."""
    gone = _without_deleted(source, target, names)
    left = [name for name in names if name not in gone]
    if not left:
        return
    these = bind("(project, run_id) IN ?", left)
    source_alone, projects = Shard(0, [source]), sorted({project for project, _ in left})
    erased: dict[str, list[ErasedItem]] | None = None
    while (now := erased_items(source_alone, projects)) != erased:  # again, where one was deleted while this was copied
        erased = now
        for project, items in erased.items():
            fingerprints = [item.hash64 & verdicts.MASK for item in items]
            target.command(
                f"DELETE FROM item WHERE {these}" + bind(" AND project = ? AND fp IN ?", project, fingerprints)  # noqa: S608
            )
        for some in in_bounds(source, left):
            of_some = bind("(project, run_id) IN ?", some)
            for table in OF_RUNS:
                target.paste(table, source.copied(f"SELECT * FROM {table} WHERE {of_some}"))  # noqa: S608
        if erased:
            remove_older(target, left)
    _without_deleted(source, target, left)  # a run that was deleted meanwhile was copied to where it had gone from
    touch(target.command, these)


def _without_deleted(source: Node, target: Node, names: Sequence[RunName]) -> set[RunName]:
    """Delete those of these runs from the target that were deleted; which they are."""
    gone = deleted_among(Shard(0, [source]), names)
    if gone:
        touch(target.command, bind("(project, run_id) IN ?", list(gone)))
        for table in OF_RUNS:
            target.command(bind(f"DELETE FROM {table} WHERE (project, run_id) IN ?", list(gone)))  # noqa: S608
    return gone


def in_bounds(source: Node, names: Sequence[RunName], max_bytes: int = MAX_PAGE_BYTES) -> Iterator[list[RunName]]:
    """These runs, as many at once as are no larger together: what is copied goes through this process's memory."""
    sizes = {
        (project, run_id): size
        for project, run_id, size in source.rows(
            bind(
                "SELECT project, run_id, sum(length(head) + length(data) + length(text)) FROM evidence "
                "WHERE (project, run_id) IN ? GROUP BY project, run_id",
                list(names),
            )
        )
    }
    some: list[RunName] = []
    together = 0
    for name in names:
        size = sizes.get(name, 0)
        if some and together + size > max_bytes:
            yield some
            some, together = [], 0
        some.append(name)
        together += size
    if some:
        yield some


class ReplicaKeeper:
    """Lets replicas catch up, in the background."""

    def __init__(self, cluster: Cluster, *, every_s: float = 2.0) -> None:
        self._shards = [shard for shard in cluster.shards if shard.by_itself]
        self._every_s = every_s
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if self._shards:
            self._thread = threading.Thread(target=self._run, name="xray-replicas", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self._every_s):
            for shard in self._shards:
                try:
                    catch_up(shard, self._closed.is_set)
                except StoreUnavailableError:
                    pass  # still away: the next round tries again
                except Exception as error:  # noqa: BLE001  # a mistake here must not end the thread
                    swallow("replicas catching up", error)

    def close(self) -> None:
        """Finish what is under way and stop."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(30)
