"""Figures and names over many rows: steps added up by name, hourly sums, pipelines, clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xray_core.model import STATUS_RANK
from xray_server.backends.clickhouse.cluster import Cluster
from xray_server.backends.clickhouse.sql import SCAN, bind
from xray_server.records.documents import unpack
from xray_server.records.states import INPUT_UNKNOWN, OUTPUT_UNKNOWN, SUSPECT_FLAGS
from xray_server.store import StepGroup, StoredClient

_FAILED: Final = STATUS_RANK["failed"]


def step_groups(cluster: Cluster, project: str, run_ids: Sequence[str]) -> dict[str, list[StepGroup]]:
    """The steps of runs, the last attempt of each, added up by name, in the order in which each name first started."""
    of_shard: dict[int, list[str]] = {}
    for run_id in run_ids:
        of_shard.setdefault(cluster.number_of(run_id), []).append(run_id)
    found: dict[str, list[StepGroup]] = {run_id: [] for run_id in run_ids}
    for number, some in of_shard.items():
        for run_id, name, step_type, *figures in cluster.shards[number].rows(
            bind(
                "SELECT run_id, name, step_type, count(), countIf(status = ?), countIf(bitAnd(flags, ?) != 0), min(at_us), "
                "sum(coalesce(duration_us, 0)), sum(input), sum(accepted), sum(rejected), sum(not_selected), sum(errored), "
                "sum(selected), countIf(bitAnd(flags, ?) = 0), countIf(bitAnd(flags, ?) = 0) FROM ("
                "SELECT * FROM (SELECT * EXCEPT doc FROM step WHERE project = ? AND run_id IN ? "
                "ORDER BY known DESC, ver DESC LIMIT 1 BY run_id, step_id, attempt) ORDER BY attempt DESC LIMIT 1 BY run_id, step_id"
                ") GROUP BY run_id, name, step_type ORDER BY run_id, min(at_us), min(coalesce(position, 0))",
                _FAILED,
                SUSPECT_FLAGS,
                INPUT_UNKNOWN,
                OUTPUT_UNKNOWN,
                project,
                some,
            )
        ):
            found[run_id].append(StepGroup(name or "", step_type, *figures))
    return found


def pipelines(cluster: Cluster, project: str) -> list[str]:
    """The names of the pipelines that have runs, sorted."""
    statement = bind(
        f"SELECT DISTINCT pipeline FROM listed FINAL WHERE project = ? AND kind = 0 AND gone = 0 AND pipeline IS NOT NULL {SCAN}",  # noqa: S608
        project,
    )
    return sorted({name for of_shard in cluster.each(lambda shard: shard.rows(statement)) for (name,) in of_shard})


def clients(cluster: Cluster, project: str, limit: int) -> list[StoredClient]:
    """The client processes last heard of, newest first."""
    statement = bind(
        "SELECT received_us, part, doc FROM client FINAL WHERE project = ? ORDER BY received_us DESC LIMIT ?",
        project,
        limit,
    )
    rows: Sequence[Any] = [row for of_shard in cluster.each(lambda shard: shard.rows(statement)) for row in of_shard]
    found = []
    for received_us, part, doc in sorted(rows, key=lambda row: row[:2], reverse=True)[:limit]:
        host, pid, sdk, pipeline, counters = unpack(doc)
        found.append(StoredClient(part, host, pid, sdk, pipeline, counters, received_us))
    return found
