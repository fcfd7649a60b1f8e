"""All that PostgreSQL keeps of some runs, as wire records: what `xray export` writes. Reads only."""

from __future__ import annotations

from typing import Any

from xray_server.backends.postgres import samples as postgres_samples
from xray_server.backends.postgres.read import Reader
from xray_server.backends.postgres.text import given_id, given_text
from xray_server.backends.relational.rows import STATUS_NAMES
from xray_server.backends.relational.to_wire import Wire, wire_run, wire_samples, wire_step, wire_verdicts
from xray_server.records import states
from xray_server.records.documents import unpack
from xray_server.store import DumpedRun


def dump(reader: Reader, after: int, limit: int) -> tuple[list[DumpedRun], int | None]:
    """Some runs in the order of their keys, and the key to go on after (None: no more)."""
    rows = reader.rows(
        "SELECT run.pk, project.text, run.id, run.received_us, run.parts, run.part, run.doc FROM run "
        "JOIN project ON project.id = run.project WHERE run.pk > %s ORDER BY run.pk LIMIT %s",
        [after, limit + 1],
    )
    runs = [
        DumpedRun(
            given_text(project), given_id(key), received_us, _records(reader, pk, given_id(key), parts, part, doc)
        )
        for pk, project, key, received_us, parts, part, doc in rows[:limit]
    ]
    return runs, rows[limit - 1][0] if len(rows) > limit else None


def _records(reader: Reader, run: int, run_id: str, count: int, part: int, doc: bytes) -> list[Wire]:
    records: list[Wire] = []
    if count == 1:
        records.append(wire_run(run_id, reader.part(part), unpack(doc)))
    elif count > 1:
        for name, part_doc in reader.rows("SELECT part, doc FROM run_part WHERE run = %s ORDER BY part", [run]):
            records.append(wire_run(run_id, reader.part(name), unpack(part_doc)))
    keys: dict[int, dict[str, Any]] = {}
    for pk, key, attempt, at_us, step_doc, pipeline, name, kind, status, position, duration_us in reader.rows(
        "SELECT pk, id, attempt, at_us, doc, pipeline, name, type, status, position, duration_us FROM step "
        "WHERE run = %s ORDER BY pk",
        [run],
    ):
        keys[pk] = {"run_id": run_id, "step_id": given_id(key), "attempt": attempt}
        words = [reader.word(word) for word in (pipeline, name, kind)]
        columns = (*words, STATUS_NAMES[status], position, at_us, duration_us)
        records += [
            wire_step(keys[pk], reader.part(each), states.full(values, columns)) for each, values in unpack(step_doc)
        ]
    for pk, name, chunk, head, data in reader.rows(
        "SELECT step, part, chunk, head, data FROM verdict_chunk WHERE run = %s ORDER BY step, part, chunk", [run]
    ):
        records.append(wire_verdicts(keys[pk], reader.part(name), given_text(chunk), head, data))
    for (step, part, chunk), (rev, text) in postgres_samples.records(reader, run):
        records.append(wire_samples(keys[step], reader.part(part), chunk, rev, text))
    return records
