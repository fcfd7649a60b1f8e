"""Figures and names over many rows: steps added up by name, hourly sums, pipelines, clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from xray_core.model import STATUS_RANK
from xray_server.backends.relational.database import Database, project_id, run_pks
from xray_server.backends.relational.rows import HOUR_US
from xray_server.records.documents import unpack
from xray_server.records.states import INPUT_UNKNOWN, OUTPUT_UNKNOWN, SUSPECT_FLAGS
from xray_server.store import StepGroup, StoredClient, TrendPoint

_FAILED: Final = STATUS_RANK["failed"]


def step_groups(db: Database, project: str, run_ids: Sequence[str]) -> dict[str, list[StepGroup]]:
    """The steps of runs, the last attempt of each, added up by name, in the order in which each name first started."""
    numbers = run_pks(db, project, run_ids)
    found: dict[str, list[StepGroup]] = {run_id: [] for run_id in run_ids}
    if not numbers:
        return found
    sums = ", ".join(
        f"CAST(coalesce(sum({column}), 0) AS bigint)"
        for column in ("duration_us", "input", "accepted", "rejected", "not_selected", "errored", "selected")
    )
    rows = db.rows(
        "SELECT step.run, step.name, step.type, count(*), "  # noqa: S608  # constants
        f"sum(CASE WHEN status = {_FAILED} THEN 1 ELSE 0 END), "
        f"sum(CASE WHEN flags & {SUSPECT_FLAGS} <> 0 THEN 1 ELSE 0 END), min(at_us), {sums}, "
        f"sum(CASE WHEN flags & {INPUT_UNKNOWN} = 0 THEN 1 ELSE 0 END), "
        f"sum(CASE WHEN flags & {OUTPUT_UNKNOWN} = 0 THEN 1 ELSE 0 END) FROM step "
        f"WHERE step.run IN ({', '.join('?' * len(numbers))}) AND NOT EXISTS (SELECT 1 FROM step later WHERE {db.same_step} "
        "AND later.attempt > step.attempt) "
        "GROUP BY step.run, step.name, step.type ORDER BY step.run, min(at_us), min(coalesce(position, 0))",
        list(numbers),
    )
    for run, name, step_type, *figures in rows:
        found[numbers[run]].append(StepGroup(db.word(name) or "", db.word(step_type), *figures))
    return found


def trend(
    db: Database, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
) -> list[TrendPoint]:
    """Hourly sums per pipeline and step name, oldest first."""
    tests = ["r.project = ?", "r.hour >= ?", "r.hour < ?"]
    values: list[Any] = [project_id(db, project), since_us // HOUR_US, -(-until_us // HOUR_US)]
    for column, word in (("pipeline", pipeline), ("name", name)):
        if word is not None:
            tests.append(f"r.{column} = ?")
            values.append(db.number("word", word))
    where = " AND ".join(tests)
    reasons: dict[tuple[int, int, int], dict[str, int]] = {}
    for hour, pipeline_id, name_id, reason, n in db.rows(
        f"SELECT r.hour, r.pipeline, r.name, r.reason, r.n FROM rollup_reason r WHERE {where} AND r.n > 0",  # noqa: S608
        values,
    ):
        mix, word = reasons.setdefault((hour, pipeline_id, name_id), {}), db.word(reason) or ""
        mix[word] = mix.get(word, 0) + n  # several outcomes may have one reason
    points = []
    for hour, pipeline_id, name_id, *figures in db.rows(
        "SELECT r.hour, r.pipeline, r.name, r.steps, r.failed, r.input, r.accepted, r.rejected, r.not_selected, "  # noqa: S608
        f"r.errored, r.selected, r.unaccounted, r.duration_us FROM rollup r WHERE {where} AND r.steps > 0",
        values,
    ):
        names = (db.word(pipeline_id) or "" if pipeline_id else "", db.word(name_id) or "")
        mix = reasons.get((hour, pipeline_id, name_id), {})
        points.append(TrendPoint._make((hour * HOUR_US, *names, *figures, mix)))
    return sorted(points, key=lambda point: (point.at_us, point.pipeline, point.name))


def pipelines(db: Database, project: str) -> list[str]:
    """The names of the pipelines that have runs, sorted."""
    number = project_id(db, project)
    # a loose walk over the index: one seek a pipeline, however many runs each has
    rows = db.rows(
        "WITH RECURSIVE seen(id) AS ("
        " SELECT (SELECT min(pipeline) FROM run WHERE project = ?)"
        " UNION ALL SELECT (SELECT min(pipeline) FROM run WHERE project = ? AND pipeline > seen.id) FROM seen"
        " WHERE seen.id IS NOT NULL) "
        "SELECT word.text FROM seen JOIN word ON word.id = seen.id",
        [number, number],
    )
    return sorted(db.unescape(text) for (text,) in rows)


def clients(db: Database, project: str, limit: int) -> list[StoredClient]:
    """The client processes last heard of, newest first."""
    rows = db.rows(
        "SELECT part.text, client.doc, client.received_us FROM client JOIN part ON part.id = client.part "
        "WHERE client.project = ? ORDER BY client.received_us DESC LIMIT ?",
        [project_id(db, project), limit],
    )
    found = []
    for part, doc, received_us in rows:
        host, pid, sdk, pipeline, counters = unpack(doc)
        found.append(StoredClient(db.unescape(part), host, pid, sdk, pipeline, counters, received_us))
    return found
