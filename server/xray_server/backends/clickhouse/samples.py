"""Samples: those of one run, and those of the steps of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.lists import list_steps
from xray_server.backends.clickhouse.parts import StepName
from xray_server.backends.clickhouse.places import make_place
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.rows import gathered_samples
from xray_server.store import MAX_PAGE_BYTES, Page, SampledStep, StepFilter


def samples(
    shard: Shard, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None
) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """The samples of some step attempts (None: all) of one run, by (step id, attempt)."""
    if steps is not None and not steps:
        return {}
    test = bind("project = ? AND run_id = ?", project, run_id)
    if steps is not None:
        test += bind(" AND (step_id, attempt) IN ?", list(steps))
    found = gathered_samples(((step, attempt), text) for _, step, attempt, _, text in _texts(shard, project, test))
    return {key: of for key, of in found.items() if of}


def sampled_steps(
    cluster: Cluster, project: str, where: StepFilter, *, limit: int, cursor: str | None
) -> Page[SampledStep]:
    """Step attempts across runs with their samples, newest first."""
    found: dict[Any, Any] = {}

    def ask(shard: Shard, names: Sequence[StepName]) -> None:
        test = bind("project = ? AND (run_id, step_id, attempt) IN ?", project, [name[1:] for name in names])
        texts = _texts(shard, project, test)
        found.update(gathered_samples(((run, step, attempt), text) for run, step, attempt, _, text in texts))

    page = list_steps(cluster, project, where, limit=limit, cursor=cursor, max_bytes=MAX_PAGE_BYTES, beside=ask)
    items = [
        SampledStep(
            step.run_id, step.step_id, step.attempt, step.at_us, step.state["pipeline"], step.state["name"],
            found.get((step.run_id, *step.key), ()), make_place(step.at_us, step.run_id, *step.key),
        )
        for step in page.items
    ]  # fmt: skip
    return Page(items, page.next_cursor)


def _texts(shard: Shard, project: str, test: str) -> Sequence[Any]:
    """(run id, step id, attempt, part, text) of the newest record of each chunk that counts."""
    rows = shard.rows(
        f"SELECT run_id, step_id, attempt, part, text FROM sample WHERE {test} "  # noqa: S608  # bound
        "ORDER BY ver DESC LIMIT 1 BY project, run_id, step_id, attempt, part, chunk"
    )
    return parts.counting(shard, project, rows)
