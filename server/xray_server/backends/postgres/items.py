"""Looking for one item in PostgreSQL's chunks of verdicts: in one run, or across runs.

Owns the walk over chunks. Knows nothing of what a verdict means (xray_core.journey does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal, cast

import msgspec

from xray_core import verdicts
from xray_core.journey import LookedUp
from xray_core.model import item_id_text
from xray_server.backends.postgres.item_index import Suspects
from xray_server.backends.postgres.read import Pieces, Reader, Window
from xray_server.backends.postgres.text import given_id
from xray_server.backends.relational.rows import FP40, SET_NAMES
from xray_server.records.documents import unpack
from xray_server.store import ItemRun, Sighting


@dataclass(slots=True)
class _Sets:
    """The chunks of one outcome and reason at one step attempt, so far."""

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int = 0
    n_fingerprints: int = 0
    ids: set[str] = field(default_factory=set)
    found: Literal["exact", "fingerprint"] | None = None
    position: int | None = None


def look_up(reader: Reader, project: str, run_id: str, item_id: str) -> list[LookedUp]:
    """All sets of a run, and whether each holds the item: ids are compared, fingerprints are searched where they lie."""
    text = item_id_text(item_id)
    wanted = verdicts.fingerprint(text)
    found: dict[tuple[int, int, str | None], _Sets] = {}
    for step, step_id, attempt, head, data in reader.chunks(project, run_id):
        for code, reason, n, form, offset, length in head:
            key = (step, code, reason)
            sets = found.get(key)
            if sets is None:
                sets = found[key] = _Sets(step_id, attempt, SET_NAMES[code], reason)
            sets.n += n
            if form == FP40:
                sets.n_fingerprints += n
                if sets.found is None and verdicts.contains(cast(bytes, Window(data, offset, length)), wanted):
                    sets.found = "fingerprint"
                continue
            ids = msgspec.json.decode(data[offset : offset + length])
            sets.ids.update(ids)
            if sets.found != "exact" and text in ids:
                sets.found, sets.position = "exact", ids.index(text)
    return [
        LookedUp(s.step_id, s.attempt, s.outcome, s.reason, s.n, s.n_fingerprints, len(s.ids), s.found, s.position)
        for s in found.values()
    ]


_RUNS_A_LOOK: Final = 64
_CHUNKS: Final = (
    "SELECT run, step, part, chunk, head, length(data), CASE WHEN length(data) < 65536 THEN data END FROM verdict_chunk "
    "WHERE run = ANY(%s)"
)
_OF_RUNS: Final = "SELECT run.pk, run.id, run.pipeline, run.at_us FROM run WHERE run.pk = ANY(%s) AND run.project = %s"


def look_up_across(
    reader: Reader, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    """The runs that hold an item, newest first: those that segments suspect are looked into, until enough are found.

    Args:
        before: go on below this run, as the call before returned it.

    Returns:
        the runs, and the run to go on from, or None at the end.
    """
    text = item_id_text(item_id)
    with reader.one_state():  # a run moves from the tail into a segment, and segments into others, at any time
        return _across(reader, reader.number("project", project), text, pipeline, limit, before)


def _across(
    reader: Reader, project_id: int, text: str, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    wanted = verdicts.fingerprint(text)
    runs: list[ItemRun] = []
    suspects = (run for run in Suspects(reader, wanted).newest_first() if before is None or run < before)
    while some := list(islice(suspects, _RUNS_A_LOOK)):
        about = {row[0]: row[1:] for row in reader.rows(_OF_RUNS, [some, project_id])}
        chunks = reader.rows(_CHUNKS, [list(about)]) if about else []
        for run in sorted({chunk[0] for chunk in chunks if any(_hits(reader, chunk, text, wanted))}, reverse=True):
            run_key, pipeline_number, at_us = about[run]
            name = reader.word(pipeline_number)
            if pipeline is not None and name != pipeline:
                continue
            if len(runs) == limit:
                return runs, run + 1
            runs.append(ItemRun(given_id(run_key), name, at_us, _sightings(reader, run, text, wanted)))
    return runs, None


def _hits(reader: Reader, chunk: Sequence[Any], text: str, wanted: int) -> Iterator[tuple[str, str | None, bool, int]]:
    """(outcome, reason, exact, n) of the sets of one chunk that hold the item."""
    run, step, part, name, head, size, data = chunk
    if data is None:
        data = Pieces(reader, (run, step, part, name), size)
    for code, reason, n, form, offset, length in unpack(head):
        if form == FP40:
            held = verdicts.contains(cast(bytes, Window(data, offset, length)), wanted)
        else:
            held = text in msgspec.json.decode(data[offset : offset + length])
        if held:
            yield SET_NAMES[code], reason, form != FP40, n


def _sightings(reader: Reader, run: int, text: str, wanted: int) -> list[Sighting]:
    """The sets of one run that hold the item, one for each step attempt, outcome and reason, in the order of the steps."""
    found: dict[tuple[str, int, str, str | None], Sighting] = {}
    steps = {row[0]: row[1:] for row in reader.rows(_STEPS, [run])}
    for chunk in reader.run_chunks(run):
        step_key, attempt, name = steps[chunk[0]]
        for outcome, reason, exact, n in _hits(reader, (run, *chunk), text, wanted):
            same = (given_id(step_key), attempt, outcome, reason)
            if same not in found or not found[same].exact:
                p_false = 0.0 if exact else verdicts.false_positive_probability([n])
                found[same] = Sighting(reader.word(name) or "", same[0], attempt, outcome, reason, exact, p_false)
    return list(found.values())


_STEPS: Final = "SELECT pk, id, attempt, name FROM step WHERE run = %s"
