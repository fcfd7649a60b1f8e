"""Runs with the figures of their steps, by the columns of the rows; of the documents only what no column has is read.

Tested by tests/server/backends/contract/test_groups.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.lists import list_runs
from xray_server.backends.clickhouse.parts import PART, StepName
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.run_figures import figures_of_row
from xray_server.records.schema import decode_json
from xray_server.store import MAX_PAGE_BYTES, Page, RunFigures, RunFilter, StepFigures
from xray_server.store.figures import figures_of, last_attempts, without_values

_AT_ONCE: Final = 500  # runs whose steps are read by one statement
_Placed = tuple[tuple[int, int, str, int], StepFigures]  # the order in which they started


def run_figures(
    cluster: Cluster, project: str, where: RunFilter, *, limit: int, cursor: str | None
) -> Page[RunFigures]:
    """Runs, newest first, each with the last attempts of its steps."""
    page = list_runs(cluster, project, where, limit=limit, cursor=cursor, max_bytes=MAX_PAGE_BYTES)
    of_shard: dict[int, list[str]] = {}
    for run in page.items:
        of_shard.setdefault(cluster.number_of(run.run_id), []).append(run.run_id)
    steps: dict[str, list[_Placed]] = {run.run_id: [] for run in page.items}
    for found in cluster.each(lambda shard: _steps(shard, project, of_shard.get(shard.number, ()))):
        for run_id, placed in found:
            steps[run_id].append(placed)
    return Page(
        [
            RunFigures(without_values(run), last_attempts([step for _, step in sorted(steps[run.run_id])]))
            for run in page.items
        ],
        page.next_cursor,
    )


def _steps(shard: Shard, project: str, runs: Sequence[str]) -> list[tuple[str, _Placed]]:
    """(run, place and figures) of all step attempts of these runs."""
    rows = [
        row for start in range(0, len(runs), _AT_ONCE) for row in _rows(shard, project, runs[start : start + _AT_ONCE])
    ]
    names: list[StepName] = [(project, *row[:3]) for row in rows if row[3] != PART or not row[-1]]
    merged = parts.stored_steps(shard, names)
    found = []
    for run_id, step_id, attempt, _, at_us, position, name, status, duration_us, *figures, doc in rows:
        key = (project, run_id, step_id, attempt)
        if key in merged:
            step = figures_of(parts.step_of(key, merged[key]))
        else:
            step = figures_of_row((step_id, attempt, name, status, at_us, duration_us), figures, decode_json(doc))
        found.append((run_id, ((step.at_us, position or 0, step_id, attempt), step)))
    return found


def _rows(shard: Shard, project: str, runs: Sequence[str]) -> Sequence[Any]:
    """Of each step attempt the row that knows most: of several parts their sum, which has no document."""
    return shard.rows(
        bind(
            "SELECT run_id, step_id, attempt, known, at_us, position, name, status, duration_us, input, accepted, rejected, "
            "not_selected, errored, selected, flags, doc FROM step WHERE project = ? AND run_id IN ? "
            "ORDER BY known DESC, ver DESC LIMIT 1 BY run_id, step_id, attempt",
            project,
            list(runs),
        )
    )
