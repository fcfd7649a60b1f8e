"""All that SQLite keeps of some runs, as wire records: what `xray export` writes. Reads only."""

from __future__ import annotations

from typing import Any

from xray_server.backends.relational.ids import id_text
from xray_server.backends.relational.rows import STATUS_NAMES
from xray_server.backends.relational.to_wire import Wire, wire_run, wire_samples, wire_step, wire_verdicts
from xray_server.backends.sqlite import samples as sqlite_samples
from xray_server.backends.sqlite.documents import documents
from xray_server.backends.sqlite.read import Reader
from xray_server.records import states
from xray_server.records.documents import unpack
from xray_server.store import DumpedRun


def dump(reader: Reader, after: int, limit: int) -> tuple[list[DumpedRun], int | None]:
    """Some runs in the order of their keys, and the key to go on after (None: no more)."""
    rows = reader.db.execute(
        "SELECT run.pk, project.name, run.id, run.received_us, run.parts, part.text, run.doc FROM run "
        "JOIN project ON project.id = run.project LEFT JOIN part ON part.id = run.part "
        "WHERE run.pk > ? ORDER BY run.pk LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    runs = [
        DumpedRun(project, id_text(key), received_us, _records(reader, pk, id_text(key), parts, part, doc))
        for pk, project, key, received_us, parts, part, doc in rows[:limit]
    ]
    return runs, rows[limit - 1][0] if len(rows) > limit else None


def _records(reader: Reader, run: int, run_id: str, count: int, part: str, doc: bytes) -> list[Wire]:
    db = reader.db
    records: list[Wire] = []
    if count == 1:
        records.append(wire_run(run_id, part, unpack(doc)))
    elif count > 1:
        for name, part_doc in db.execute(
            "SELECT part.text, p.doc FROM run_part p JOIN part ON part.id = p.part WHERE p.run = ? ORDER BY p.part",
            (run,),
        ):
            records.append(wire_run(run_id, name, unpack(part_doc)))
    keys: dict[int, dict[str, Any]] = {}
    steps = db.execute(
        "SELECT pk, id, attempt, at_us, doc, pipeline, name, type, status, position, duration_us FROM step "
        "WHERE run = ? ORDER BY pk",
        (run,),
    ).fetchall()
    docs = documents(db, [(step[0], run, step[4]) for step in steps])
    for pk, key, attempt, at_us, _, pipeline, name, kind, status, position, duration_us in steps:
        keys[pk] = {"run_id": run_id, "step_id": id_text(key), "attempt": attempt}
        words = [reader.word_text(word) for word in (pipeline, name, kind)]
        columns = (*words, STATUS_NAMES[status], position, at_us, duration_us)
        records += [
            wire_step(keys[pk], reader.part_text(each), states.full(values, columns)) for each, values in docs[pk]
        ]
    for pk, name, chunk, head, data in db.execute(
        "SELECT c.step, part.text, c.chunk, c.head, c.data FROM step JOIN verdict_chunk c ON c.step = step.pk "
        "JOIN part ON part.id = c.part WHERE step.run = ? ORDER BY c.pk",
        (run,),
    ):
        records.append(wire_verdicts(keys[pk], name, chunk, head, data))
    for (step, number, chunk), (rev, text) in sqlite_samples.records(reader, run):
        records.append(wire_samples(keys[step], reader.part_text(number), chunk, rev, text))
    return records
