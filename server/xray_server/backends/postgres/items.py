"""Looking for one item across runs in PostgreSQL: the runs that segments suspect are looked into, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from xray_core import verdicts
from xray_core.model import item_id_text
from xray_server.backends.postgres.item_index import Suspects
from xray_server.backends.postgres.read import PostgresDatabase
from xray_server.backends.postgres.text import id_of_bytes
from xray_server.backends.relational.items import Hit, Sightings, hits
from xray_server.backends.relational.tasks import Counting
from xray_server.records.documents import unpack
from xray_server.store import ItemRun, Sighting

_RUNS_A_LOOK: Final = 64
_FEWEST: Final = 8
_OF_RUNS: Final = "SELECT run.pk, run.id, run.pipeline, run.at_us FROM run WHERE run.pk = ANY(?) AND run.project = ?"


def look_up_across(
    db: PostgresDatabase, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    """The runs that hold an item, newest first: those that segments suspect are looked into, until enough are found.

    Args:
        before: go on below this run, as the call before returned it.

    Returns:
        the runs, and the run to go on from, or None at the end.
    """
    text = item_id_text(item_id)
    with db.one_state():  # a run moves from the tail into a segment, and segments into others, at any time
        return _across(db, db.number("project", project), text, pipeline, limit, before)


def _across(
    db: PostgresDatabase, project_id: int, text: str, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    fingerprint = verdicts.fingerprint(text)
    counting = Counting(db)
    runs: list[ItemRun] = []
    suspects = (run for run in Suspects(db, fingerprint).newest_first() if before is None or run < before)
    # nearly all that are suspected hold it, and what is read beyond a page is read for nothing
    while some := list(islice(suspects, min(_RUNS_A_LOOK, max(_FEWEST, limit + 1 - len(runs))))):
        about = {row[0]: row[1:] for row in db.rows(_OF_RUNS, [some, project_id])}
        chunks = db.chunks_of_runs(list(about)) if about else []
        holding = {
            chunk[0]
            for chunk in chunks
            if _hits(db, chunk, text, fingerprint) and counting.numbered(chunk[0], chunk[1], chunk[2])
        }
        for run in sorted(holding, reverse=True):
            run_key, pipeline_number, at_us = about[run]
            name = db.word(pipeline_number)
            if pipeline is not None and name != pipeline:
                continue
            if len(runs) == limit:
                return runs, run + 1
            runs.append(ItemRun(id_of_bytes(run_key), name, at_us, _sightings(db, run, text, fingerprint, counting)))
    return runs, None


def _hits(db: PostgresDatabase, chunk: Sequence[Any], text: str, fingerprint: int) -> list[Hit]:
    """The sets of one chunk (run, step, part, chunk, head, size, data) that hold the item."""
    run, step, part, name, head, size_bytes, data = chunk
    return hits(unpack(head), db.chunk_data((run, step, part, name), size_bytes, data), text, fingerprint)


def _sightings(db: PostgresDatabase, run: int, text: str, fingerprint: int, counting: Counting) -> list[Sighting]:
    """The sets of one run that hold the item, one for each step attempt, outcome and reason, in the order of the steps."""
    sightings = Sightings()
    steps = {row[0]: row[1:] for row in db.rows("SELECT pk, id, attempt, name FROM step WHERE run = ?", [run])}
    for chunk in db.run_chunks(run):
        step_key, attempt, name = steps[chunk[0]]
        held = _hits(db, (run, *chunk), text, fingerprint)
        for hit in held if held and counting.numbered(run, chunk[0], chunk[1]) else ():
            sightings.add(db.word(name), id_of_bytes(step_key), attempt, hit)
    return sightings.all()
