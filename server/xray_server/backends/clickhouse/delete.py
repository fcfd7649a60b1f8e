"""Deleting runs from one shard for good: what still arrives of them is not kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from xray_server.backends.clickhouse.cluster import Group, Shard
from xray_server.backends.clickhouse.hours import keep_sums, touch
from xray_server.backends.clickhouse.parts import RunName
from xray_server.backends.clickhouse.sql import bind
from xray_server.store.questions import digest_of

OF_RUNS: Final = ("evidence", "item", "listed", "state")  # the runs last: they say what is left


def delete_run(shard: Shard, project: str, run_id: str, at_us: int) -> bool:
    """Delete a run with all that hangs on it; False when there is no such run."""
    there = bool(shard.rows(bind("SELECT 1 FROM run WHERE project = ? AND run_id = ? LIMIT 1", project, run_id)))
    # who was not answered asks again, and of the replicas that X-Ray keeps alike one may have missed it
    if not there and not (shard.by_itself and deleted_among(shard, [(project, run_id)])):
        return False
    # first: whoever writes after this sees it, and whoever wrote before is found by what follows
    group = shard.group()
    digest = digest_of(run_id).hex()
    group.insert("deleted_run", [(project, digest, at_us)])
    keep_sums(group, project, run_id, digest, at_us)
    forget_runs(group, [(project, run_id)])
    group.close([(project, run_id)])
    return there


def forget_runs(group: Group, names: Collection[RunName]) -> None:
    """Remove all rows of these runs and wait until their parts are rewritten without."""
    these = bind("(project, run_id) IN ?", list(names))
    touch(group.command, these)  # sums that were made with them hold no more
    for table in OF_RUNS:
        group.command(f"ALTER TABLE {table} DELETE WHERE {these} SETTINGS mutations_sync = 2")


def deleted_among(shard: Shard, names: Sequence[RunName]) -> set[RunName]:
    """Those of these runs that were deleted."""
    if not names:
        return set()
    digests = {(project, digest_of(run_id).hex()): (project, run_id) for project, run_id in names}
    rows = shard.rows(bind("SELECT project, digest FROM deleted_run WHERE (project, digest) IN ?", list(digests)))
    return {digests[project, digest] for project, digest in rows}
