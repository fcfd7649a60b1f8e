"""Looking for one item across runs in SQLite: the chunks of verdicts that segments suspect are looked into, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from xray_server.store import ItemRun


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
    done: set[int] = set()  # chunks of runs that were looked into
    for key in chunks.newest_first():
        if key in done or (before is not None and key >= before):
            continue
        if not _hits(db, key, text, fingerprint):  # most suspects are the tail's: looked into before asking whose it is
            continue
        row = db.connection.execute(_WHOSE, (key,)).fetchone()
        if row is None or row[1] != project or (pipeline is not None and row[4] != pipeline):
            continue
        run, _, run_key, at_us, name, step, part = row
        if not counting.named(run, step, part):
            continue
        of_run = db.rows(_OF_RUN, (run,))
        done.update(row[0] for row in of_run)
        held = _held(db, chunks, [row for row in of_run if counting.named(run, *row[1:3])], text, fingerprint)
        if before is not None and any(row[0] >= before for row, _ in held):
            continue  # it was on a page before
        if len(runs) == limit:
            return runs, key + 1
        sightings = Sightings()
        for (_, _, _, step_key, attempt, step_name), hits_of_chunk in held:
            for hit in hits_of_chunk:
                sightings.add(step_name, id_text(step_key), attempt, hit)
        runs.append(ItemRun(id_text(run_key), name, at_us, sightings.all()))
    return runs, None


_WHOSE: Final = (
    "SELECT run.pk, run.project, run.id, run.at_us, word.text, c.step, part.text FROM verdict_chunk c "
    "JOIN step ON step.pk = c.step JOIN part ON part.id = c.part JOIN run ON run.pk = step.run LEFT JOIN word ON word.id = run.pipeline WHERE c.pk = ?"
)
_OF_RUN: Final = (
    "SELECT c.pk, c.step, part.text, step.id, step.attempt, word.text FROM step JOIN verdict_chunk c ON c.step = step.pk "
    "CROSS JOIN part ON part.id = c.part LEFT JOIN word ON word.id = step.name WHERE step.run = ? "
    "ORDER BY step.at_us, step.position, c.pk"
)
_TAIL_A_LOOK: Final = 500
_CHUNK: Final = "SELECT length(data), head FROM verdict_chunk WHERE pk = ?"


class _Suspects:
    """The chunks that may hold an item, from the newest back, and no further than is asked for: of ten million steps, the
    hundreds of segments take longer to look into than a page of runs takes to find, and so does a tail of thousands.
    """

    def __init__(self, db: SQLiteDatabase, fingerprint: int) -> None:
        self._db, self._fingerprint = db.connection, fingerprint
        self._segments = item_index.segments(self._db)
        self._found = set(item_index.large(self._db))
        self._waiting = [-key for key in self._found]
        heapify(self._waiting)
        self._tail_from: int | None = None  # all of the tail from this chunk on is known
        self._look_into_tail()

    def newest_first(self) -> Iterator[int]:
        while True:
            if self._waiting and -self._waiting[0] >= self._known_from:
                yield -heappop(self._waiting)
            elif self._known_from:
                self._look_further()
            else:
                return

    def among(self, keys: Sequence[int]) -> set[int]:
        """Those of these chunks that are suspected."""
        while self._known_from > min(keys):
            self._look_further()
        return self._found.intersection(keys)

    @property
    def _known_from(self) -> int:
        """All chunks from this one on are known; 0: all."""
        return max(self._tail_from or 0, self._segments[-1][0] + 1 if self._segments else 0)

    def _look_further(self) -> None:
        if self._tail_from and (not self._segments or self._segments[-1][0] < self._tail_from):
            self._look_into_tail()
        else:
            self._look_into_segment()

    def _look_into_tail(self) -> None:
        keys = item_index.tail(self._db, below=self._tail_from, limit=_TAIL_A_LOOK)
        self._add(keys)
        self._tail_from = keys[-1] if len(keys) == _TAIL_A_LOOK else None

    def _look_into_segment(self) -> None:
        _, pk = self._segments.pop()
        if hasattr(self._db, "blobopen"):  # Python 3.11: reads what is asked for, not a segment of megabytes
            with (
                self._db.blobopen("item_segment", "data", pk, readonly=True) as data,
                self._db.blobopen("item_segment", "chunks", pk, readonly=True) as chunks,
            ):
                self._add(suspects(data, chunks, self._fingerprint))
        else:
            data, chunks = self._db.execute("SELECT data, chunks FROM item_segment WHERE pk = ?", (pk,)).fetchone()
            self._add(suspects(data, chunks, self._fingerprint))

    def _add(self, keys: Iterable[int]) -> None:
        for key in keys:
            if key not in self._found:
                self._found.add(key)
                heappush(self._waiting, -key)


def _held(
    db: SQLiteDatabase, suspected: _Suspects, of_run: Sequence[Any], text: str, fingerprint: int
) -> list[tuple[Any, list[Hit]]]:
    """Of the chunks of a run those that hold the item, each with its sets that do."""
    keys = suspected.among([row[0] for row in of_run])
    found = ((row, _hits(db, row[0], text, fingerprint)) for row in of_run if row[0] in keys)
    return [(row, held) for row, held in found if held]


def _hits(db: SQLiteDatabase, key: int, text: str, fingerprint: int) -> list[Hit]:
    """The sets of one chunk that hold the item; none of a chunk that is gone."""
    rows = db.rows(_CHUNK, (key,))
    if not rows:
        return []
    size_bytes, head = rows[0]
    return hits(unpack(head), db.chunk_data(key, size_bytes), text, fingerprint)
