"""Names that begin with a text, each counted: of runs, pipelines, tags, steps and reasons."""

from __future__ import annotations

from collections import Counter
from typing import Final

from xray_server.backends.clickhouse.cluster import Cluster
from xray_server.backends.clickhouse.lists import id_begins
from xray_server.backends.clickhouse.rows import RUN, STEP
from xray_server.backends.clickhouse.sql import SCAN, bind
from xray_server.store import MAX_COUNTED, NameCount

# The partitions of the lists follow from their keys, so none needs to be merged with another.
_NOW: Final = f"{SCAN}, do_not_merge_across_partitions_select_final = 1"


def names(cluster: Cluster, project: str, prefix: str, *, limit: int) -> list[NameCount]:
    """As `Store.names`."""
    of_project = bind("project = ?", project)
    runs = f"SELECT uniqExact(run_id) FROM run WHERE {of_project} AND ({id_begins(prefix)})"  # noqa: S608  # bound
    count = min(sum(n for rows in cluster.each(lambda shard: shard.rows(runs)) for (n,) in rows), MAX_COUNTED)
    found = [NameCount("runs", prefix, count)] if count else []
    pair = bind("startsWith(tag.2, ?)", prefix)
    key, colon, value = prefix.partition(":")
    if colon:
        pair += bind(" OR tag.1 = ? AND startsWith(tag.2, ?)", key, value)
    tags = " ARRAY JOIN CAST(tags, 'Array(Tuple(String, String))') AS tag"
    reasons = " ARRAY JOIN mapKeys(reasons) AS reason"
    for kind, of, joined, name, test in (
        ("tag", RUN, tags, "concat(tag.1, ':', tag.2)", pair),
        ("pipeline", RUN, "", "assumeNotNull(pipeline)", _begins("pipeline", prefix)),
        ("step", STEP, "", "assumeNotNull(name)", _begins("name", prefix)),
        ("reason", STEP, reasons, "reason", bind("startsWith(reason, ?)", prefix)),
    ):
        statement = (
            f"SELECT {name} AS of_name, count() FROM listed FINAL{joined} "  # noqa: S608  # bound
            f"WHERE {of_project} AND kind = {of} AND gone = 0 AND ({test}) GROUP BY of_name {_NOW}"
        )
        counts: Counter[str] = Counter()
        for rows in cluster.each(lambda shard, statement=statement: shard.rows(statement)):  # type: ignore[misc]
            counts.update(dict(rows))
        chosen = counts.most_common(limit) if kind == "tag" else sorted(counts.items())[:limit]
        found += [NameCount(kind, text, min(n, MAX_COUNTED)) for text, n in chosen]
    return found


def _begins(column: str, prefix: str) -> str:
    return bind(f"{column} IS NOT NULL AND startsWith({column}, ?)", prefix)
