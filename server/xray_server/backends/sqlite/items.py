"""Looking for one item in SQLite's chunks of verdicts: in one run, or in all of them by their segments.

Owns the walk over chunks. Knows nothing of what a verdict means (xray_core.journey does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Final, Literal, cast

import msgspec

from xray_core import verdicts
from xray_core.journey import LookedUp
from xray_core.model import item_id_text
from xray_server.backends.relational import item_index as segments
from xray_server.backends.relational.ids import id_text
from xray_server.backends.relational.rows import FP40, SET_NAMES
from xray_server.backends.sqlite import item_index as sqlite_segments
from xray_server.backends.sqlite.read import BlobWindow, Reader
from xray_server.records.documents import unpack
from xray_server.store import ItemRun, Sighting

_CHUNKS: Final = (
    "SELECT c.pk, length(c.data), step.pk, step.id, step.attempt, c.head FROM step "
    "JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ? ORDER BY step.pk, c.pk"
)


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
    for pk, size, step, step_key, attempt, head in reader.db.execute(
        _CHUNKS, (reader.run_pk(project, run_id),)
    ).fetchall():
        data = None
        for code, reason, n, form, offset, length in unpack(head):
            key = (step, code, reason)
            sets = found.get(key)
            if sets is None:
                sets = found[key] = _Sets(id_text(step_key), attempt, SET_NAMES[code], reason)
            sets.n += n
            if data is None:
                data = reader.verdict_data(pk, size)
            if form == FP40:
                sets.n_fingerprints += n
                blob = cast(bytes, BlobWindow(data, offset, length))
                if sets.found is None and verdicts.contains(blob, wanted):
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


def look_up_across(
    reader: Reader, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    """The runs that hold an item, those whose verdicts came last first.

    Args:
        before: go on below this key of a chunk, as the call before returned it.

    Returns:
        the runs, and the key to go on from, or None at the end.
    """
    text = item_id_text(item_id)
    wanted = verdicts.fingerprint(text)
    return _across(reader, reader.project_id(project), text, wanted, pipeline, limit, before)


def _across(
    reader: Reader, project: int, text: str, wanted: int, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    suspects = _Suspects(reader, wanted)
    runs: list[ItemRun] = []
    told: set[int] = set()
    for key in suspects.newest_first():
        if before is not None and key >= before:
            continue
        if not _sightings(
            reader, [key], text, wanted
        ):  # most suspects are the tail's: it decides before it is asked whose it is
            continue
        row = reader.db.execute(_WHOSE, (key,)).fetchone()
        if row is None or row[1] != project or row[0] in told or (pipeline is not None and row[4] != pipeline):
            continue
        run, _, run_key, at_us, name = row
        told.add(run)
        of_run = suspects.among([pk for (pk,) in reader.db.execute(_OF_RUN, (run,))])
        if before is not None and _sightings(reader, [pk for pk in of_run if pk >= before], text, wanted):
            continue  # it was on a page before
        if len(runs) == limit:
            return runs, key + 1
        runs.append(ItemRun(id_text(run_key), name, at_us, _sightings(reader, of_run, text, wanted)))
    return runs, None


_WHOSE: Final = (
    "SELECT run.pk, run.project, run.id, run.at_us, word.text FROM verdict_chunk c JOIN step ON step.pk = c.step "
    "JOIN run ON run.pk = step.run LEFT JOIN word ON word.id = run.pipeline WHERE c.pk = ?"
)
_OF_RUN: Final = (
    "SELECT c.pk FROM step JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ? "
    "ORDER BY step.at_us, step.position, c.pk"
)
_CHUNK: Final = (
    "SELECT length(c.data), step.id, step.attempt, c.head, word.text FROM verdict_chunk c "
    "JOIN step ON step.pk = c.step LEFT JOIN word ON word.id = step.name WHERE c.pk = ?"
)


class _Suspects:
    """The chunks that may hold an item, from the newest back, and no further than is asked for: of ten million steps, the
    hundreds of segments take longer to look into than a page of runs takes to find."""

    def __init__(self, reader: Reader, wanted: int) -> None:
        self._db, self._wanted = reader.db, wanted
        self._segments = sqlite_segments.segments(self._db)
        self._found = set(sqlite_segments.tail(self._db))
        self._waiting = [-key for key in self._found]
        heapify(self._waiting)

    @property
    def _known_from(self) -> int:
        """All chunks from this one on are known."""
        return self._segments[-1][0] + 1 if self._segments else 0

    def newest_first(self) -> Iterator[int]:
        while self._waiting or self._segments:
            if not self._waiting or -self._waiting[0] < self._known_from:
                self._look_further()
            else:
                yield -heappop(self._waiting)

    def among(self, keys: Sequence[int]) -> list[int]:
        """Those of these chunks that are suspected."""
        while self._known_from > min(keys):
            self._look_further()
        return [key for key in keys if key in self._found]

    def _look_further(self) -> None:
        _, pk = self._segments.pop()
        if hasattr(self._db, "blobopen"):  # Python 3.11: reads what is asked for, not a segment of megabytes
            with (
                self._db.blobopen("item_segment", "data", pk, readonly=True) as data,
                self._db.blobopen("item_segment", "chunks", pk, readonly=True) as chunks,
            ):
                self._add(data, chunks)
        else:
            self._add(*self._db.execute("SELECT data, chunks FROM item_segment WHERE pk = ?", (pk,)).fetchone())

    def _add(self, data: Any, chunks: Any) -> None:
        for key in segments.suspects(data, chunks, self._wanted):
            if key not in self._found:
                self._found.add(key)
                heappush(self._waiting, -key)


def _sightings(reader: Reader, keys: Sequence[int], text: str, wanted: int) -> list[Sighting]:
    """The sets of these chunks that hold the item, one for each step attempt, outcome and reason."""
    found: dict[tuple[str, int, str, str | None], Sighting] = {}
    for key in keys:
        row = reader.db.execute(_CHUNK, (key,)).fetchone()
        if row is None:
            continue
        size, step_key, attempt, head, name = row
        data = reader.verdict_data(key, size)
        for code, reason, n, form, offset, length in unpack(head):
            exact = form != FP40
            if exact:
                held = text in msgspec.json.decode(data[offset : offset + length])
            else:
                held = verdicts.contains(cast(bytes, BlobWindow(data, offset, length)), wanted)
            same = (id_text(step_key), attempt, SET_NAMES[code], reason)
            if held and (same not in found or not found[same].exact):
                p_false = 0.0 if exact else verdicts.false_positive_probability([n])
                found[same] = Sighting(name or "", same[0], attempt, same[2], reason, exact, p_false)
    return list(found.values())
