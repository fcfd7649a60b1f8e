"""Looking for one item across runs in PostgreSQL: the runs that segments suspect are looked into, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

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
_STEPS: Final = "SELECT pk, id, attempt, name FROM step WHERE run = ANY(?) ORDER BY run, at_us, position, pk"
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
        held = _held(db, list(about), text, fingerprint, counting)
        steps = _steps(db, list(held))
        for run in sorted(held, reverse=True):
            run_key, pipeline_number, at_us = about[run]
            name = db.word(pipeline_number)
            if pipeline is not None and name != pipeline:
                continue
            if len(runs) == limit:
                return runs, run + 1
            runs.append(ItemRun(id_of_bytes(run_key), name, at_us, _sightings(db, held[run], steps)))
    return runs, None


_Place = tuple[int, int, str]  # the step, the part and the name of a chunk


def _held(
    db: PostgresDatabase, runs: Sequence[int], text: str, fingerprint: int, counting: Counting
) -> dict[int, dict[_Place, list[Hit]]]:
    """Of each run that holds the item, the chunks that do, each with its sets that do."""
    found: dict[int, dict[_Place, list[Hit]]] = {}
    for run, step, part, name, head, size_bytes, data in db.chunks_of_runs(runs) if runs else ():
        held = hits(unpack(head), db.chunk_data((run, step, part, name), size_bytes, data), text, fingerprint)
        if held and counting.numbered(run, step, part):
            found.setdefault(run, {})[step, part, name] = held
    return found


def _steps(db: PostgresDatabase, runs: Sequence[int]) -> dict[int, tuple[int, bytes, int, int | None]]:
    """Of each step of these runs its place in the order of the steps, its id, attempt and the number of its name."""
    rows = db.rows(_STEPS, [list(runs)]) if runs else []
    return {pk: (place, *about) for place, (pk, *about) in enumerate(rows)}


def _sightings(
    db: PostgresDatabase, held: Mapping[_Place, list[Hit]], steps: Mapping[int, tuple[int, bytes, int, int | None]]
) -> list[Sighting]:
    """The sets of one run that hold the item, one for each step attempt, outcome and reason, in the order of the steps."""
    sightings = Sightings()
    for step, part, chunk in sorted(held, key=lambda at: (steps[at[0]][0], at[1:])):
        _, key, attempt, name = steps[step]
        for hit in held[step, part, chunk]:
            sightings.add(db.word(name), id_of_bytes(key), attempt, hit)
    return sightings.all()
