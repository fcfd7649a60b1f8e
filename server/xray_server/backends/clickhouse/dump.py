"""All that is kept of some runs, as wire records: what `xray export` writes. Goes by shard, week and run id. Reads only."""

from __future__ import annotations

from typing import Any

from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.places import make_place, parse_place
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.to_wire import Wire, wire_run, wire_samples, wire_step, wire_verdicts
from xray_server.store import DumpedRun, Page


def dump(cluster: Cluster, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
    """Some runs of all projects, each with all its records."""
    number, week, project, run_id = parse_place(cursor, "iiss") if cursor is not None else (0, 0, "", "")
    for shard in cluster.shards[number:]:
        if shard.number != number:
            week, project, run_id = 0, "", ""
        rows = shard.rows(
            bind(
                "SELECT DISTINCT week, project, run_id FROM run WHERE week >= ? AND (week, project, run_id) > ? "
                "ORDER BY week, project, run_id LIMIT ?",
                week,
                (week, project, run_id),
                limit + 1,
            )
        )
        if rows:
            more = len(rows) > limit or shard.number + 1 < len(cluster.shards)
            last = rows[min(limit, len(rows)) - 1]
            runs = _runs(shard, [tuple(row) for row in rows[:limit]])
            return Page(runs, make_place(shard.number, *last) if more else None)
    return Page([])


def _runs(shard: Shard, rows: list[tuple[int, str, str]]) -> list[DumpedRun]:
    stored = parts.stored_runs(shard, [row[1:] for row in rows])
    found = []
    for week, project, run_id in rows:
        run = stored.get((project, run_id))
        # of one that two processes began on two days, only the first is gone by
        if run is not None and run.week == week:
            found.append(DumpedRun(project, run_id, run.received_us, _records(shard, project, run_id, run)))
    return found


def _records(shard: Shard, project: str, run_id: str, run: parts.Stored) -> list[Wire]:
    records = [wire_run(run_id, part, values) for part, values in sorted(run.parts.items())]
    for (_, _, step_id, attempt), step in sorted(parts.steps_of_run(shard, project, run_id).items()):
        key = {"run_id": run_id, "step_id": step_id, "attempt": attempt}
        for part, values in sorted(step.parts.items()):
            records.append(wire_step(key, part, values))
    of_run = bind("project = ? AND run_id = ?", project, run_id)
    for step_id, attempt, part, chunk, head, data in _newest(shard, "verdict", "head, data", of_run):
        key = {"run_id": run_id, "step_id": step_id, "attempt": attempt}
        records.append(wire_verdicts(key, part, chunk, head, data))
    for step_id, attempt, part, chunk, rev, text in _newest(shard, "sample", "rev, text", of_run):
        key = {"run_id": run_id, "step_id": step_id, "attempt": attempt}
        records.append(wire_samples(key, part, chunk, rev, text))
    return records


def _newest(shard: Shard, table: str, columns: str, test: str) -> Any:
    """(step id, attempt, part, chunk, ...) of each chunk of a table."""
    return shard.rows(
        f"SELECT step_id, attempt, part, chunk, {columns} FROM {table} WHERE {test} "  # noqa: S608  # bound
        "ORDER BY ver DESC LIMIT 1 BY project, run_id, step_id, attempt, part, chunk"
    )
