"""What a cluster says of itself: whether its parts are sound, how many there are, how far replicas lag."""

from __future__ import annotations

from typing import Any

from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.sql import bind
from xray_server.store import StoreHealth, StoreUnavailableError

_PARTS = (
    "SELECT sum(bytes_on_disk), count(), maxIf(toUInt32OrZero(partition_id), table = 'state') "
    "FROM system.parts WHERE database = currentDatabase() AND active"
)
_FULLEST = (
    "SELECT max(n) FROM (SELECT count() AS n FROM system.parts WHERE database = currentDatabase() AND active "
    "GROUP BY table, partition_id)"
)


def health(cluster: Cluster) -> StoreHealth:
    """Figures over all shards; one that does not answer is named under `unavailable`."""
    runs, newest_us, away = 0, None, []
    details: dict[str, Any] = {"bytes": 0, "free_bytes": None, "parts": 0, "parts_in_fullest_partition": 0}
    details["replicas_behind"] = sum(len(shard.behind()) for shard in cluster.shards)
    for shard in cluster.shards:
        try:
            of_shard, newest = _of_shard(shard, details)
        except StoreUnavailableError:
            away.append(shard.name)
            continue
        runs += of_shard
        newest_us = newest if newest_us is None else max(newest_us, newest or 0)
    if len(away) == len(cluster.shards):
        raise StoreUnavailableError(f"ClickHouse does not answer: {', '.join(away)}")
    details["shards_away"] = len(away)
    if away:
        details["unavailable"] = away
    return StoreHealth("clickhouse", cluster.address.location, runs, newest_us, details)


def _of_shard(shard: Shard, details: dict[str, Any]) -> tuple[int, int | None]:
    ((size_bytes, count, newest_week),) = shard.rows(_PARTS)
    ((runs,),) = shard.rows("SELECT count() FROM listed FINAL WHERE kind = 0 AND gone = 0")
    ((free_bytes,),) = shard.rows("SELECT min(free_space) FROM system.disks")
    ((fullest,),) = shard.rows(_FULLEST)
    ((newest_us, found),) = shard.rows(bind("SELECT max(received_us), count() FROM run WHERE week = ?", newest_week))
    details["bytes"] += int(size_bytes)
    details["parts"] += int(count)
    details["parts_in_fullest_partition"] = max(details["parts_in_fullest_partition"], int(fullest))
    free = details["free_bytes"]
    details["free_bytes"] = int(free_bytes) if free is None else min(free, int(free_bytes))
    lag = shard.rows("SELECT max(absolute_delay), count() FROM system.replicas WHERE database = currentDatabase()")
    if lag and lag[0][1]:
        details["replica_lag_s"] = max(details.get("replica_lag_s", 0), int(lag[0][0]))
    return int(runs), int(newest_us) if found else None


def check(cluster: Cluster) -> list[str]:
    """What is wrong with the tables of all nodes, in ClickHouse's words. Reads all of them."""
    problems = []
    for shard in cluster.shards:
        for node in shard.nodes:
            tables = node.rows(
                "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
            )
            for (table,) in tables:
                for part, passed, *message in node.lines(f"CHECK TABLE {table}"):
                    if passed != "1":
                        problems.append(f"{node.name}, table {table}, part {part}: {' '.join(message)}")
    return problems
