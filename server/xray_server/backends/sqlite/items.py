"""Looking for one item across runs in SQLite: the chunks of verdicts that segments suspect are looked into, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

from xray_core import verdicts
from xray_core.model import item_id_text
from xray_server.backends.relational.ids import id_text
from xray_server.backends.relational.item_index import suspects
from xray_server.backends.relational.items import Hit, Sightings, hits
from xray_server.backends.relational.tasks import Counting
from xray_server.backends.sqlite import item_index
from xray_server.backends.sqlite.read import SQLiteDatabase
from xray_server.records.documents import unpack
from xray_server.store import ItemRun, Sighting


def look_up_across(
    db: SQLiteDatabase, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    """The runs that hold an item, those whose verdicts came last first.

    Args:
        before: go on below this key of a chunk, as the call before returned it.

    Returns:
        the runs, and the key to go on from, or None at the end.
    """
    text = item_id_text(item_id)
    fingerprint = verdicts.fingerprint(text)
    return _across(db, db.number("project", project), text, fingerprint, pipeline, limit, before)


def _across(
    db: SQLiteDatabase, project: int, text: str, fingerprint: int, pipeline: str | None, limit: int, before: int | None
) -> tuple[list[ItemRun], int | None]:
    chunks = _Suspects(db, fingerprint)
    counting = Counting(db)
    runs: list[ItemRun] = []
    seen: set[int] = set()
    for key in chunks.newest_first():
        if before is not None and key >= before:
            continue
        if not _hits(db, key, text, fingerprint):  # most suspects are the tail's: looked into before asking whose it is
            continue
        row = db.connection.execute(_WHOSE, (key,)).fetchone()
        if row is None or row[1] != project or row[0] in seen or (pipeline is not None and row[4] != pipeline):
            continue
        run, _, run_key, at_us, name, step, part = row
        if not counting.named(run, step, part):
            continue
        seen.add(run)
        counted = [pk for pk, step, part in db.connection.execute(_OF_RUN, (run,)) if counting.named(run, step, part)]
        of_run = chunks.among(counted)
        if before is not None and any(_hits(db, pk, text, fingerprint) for pk in of_run if pk >= before):
            continue  # it was on a page before
        if len(runs) == limit:
            return runs, key + 1
        runs.append(ItemRun(id_text(run_key), name, at_us, _sightings(db, of_run, text, fingerprint)))
    return runs, None


_WHOSE: Final = (
    "SELECT run.pk, run.project, run.id, run.at_us, word.text, c.step, part.text FROM verdict_chunk c "
    "JOIN step ON step.pk = c.step JOIN part ON part.id = c.part JOIN run ON run.pk = step.run LEFT JOIN word ON word.id = run.pipeline WHERE c.pk = ?"
)
_OF_RUN: Final = (
    "SELECT c.pk, c.step, part.text FROM step JOIN verdict_chunk c ON c.step = step.pk "
    "CROSS JOIN part ON part.id = c.part WHERE step.run = ? "
    "ORDER BY step.at_us, step.position, c.pk"
)
_CHUNK: Final = "SELECT length(data), head FROM verdict_chunk WHERE pk = ?"
_STEP: Final = (
    "SELECT step.id, step.attempt, word.text FROM verdict_chunk c JOIN step ON step.pk = c.step "
    "LEFT JOIN word ON word.id = step.name WHERE c.pk = ?"
)


class _Suspects:
    """The chunks that may hold an item, from the newest back, and no further than is asked for: of ten million steps, the
    hundreds of segments take longer to look into than a page of runs takes to find.
    """

    def __init__(self, db: SQLiteDatabase, fingerprint: int) -> None:
        self._db, self._fingerprint = db.connection, fingerprint
        self._segments = item_index.segments(self._db)
        self._found = set(item_index.tail(self._db))
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
        for key in suspects(data, chunks, self._fingerprint):
            if key not in self._found:
                self._found.add(key)
                heappush(self._waiting, -key)


def _sightings(db: SQLiteDatabase, keys: Sequence[int], text: str, fingerprint: int) -> list[Sighting]:
    """The sets of these chunks that hold the item, one for each step attempt, outcome and reason."""
    sightings = Sightings()
    for key in keys:
        held = _hits(db, key, text, fingerprint)
        if held:
            ((step_key, attempt, name),) = db.rows(_STEP, (key,))
            for hit in held:
                sightings.add(name, id_text(step_key), attempt, hit)
    return sightings.all()


def _hits(db: SQLiteDatabase, key: int, text: str, fingerprint: int) -> list[Hit]:
    """The sets of one chunk that hold the item; none of a chunk that is gone."""
    rows = db.rows(_CHUNK, (key,))
    if not rows:
        return []
    size_bytes, head = rows[0]
    return hits(unpack(head), db.chunk_data(key, size_bytes), text, fingerprint)
