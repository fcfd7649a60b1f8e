"""Items in chunks of verdicts: whether a set holds one, and all sets of a run. Knows nothing of what a verdict means."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import msgspec

from xray_core import verdicts
from xray_core.journey import LookedUp
from xray_core.model import item_id_text
from xray_server.backends.relational.database import Chunk, Database, run_pk
from xray_server.backends.relational.rows import FP40, SET_NAMES
from xray_server.backends.relational.tasks import Counting
from xray_server.records.documents import unpack_values
from xray_server.store import Sighting, StoredSet


class Window:
    """A part of data that is read as it is sliced: what `verdicts.contains` needs of bytes."""

    def __init__(self, data: Any, offset: int, length: int) -> None:
        self._data, self._offset, self._length = data, offset, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._length)
        return bytes(self._data[self._offset + start : self._offset + stop])


@dataclass(slots=True)
class _SetsOfStep:
    """The sets of one outcome and reason at one step attempt, so far."""

    step_id: str
    attempt: int
    outcome: str
    reason: str | None
    n: int = 0
    n_fingerprints: int = 0
    ids: set[str] = field(default_factory=set)
    found: Literal["exact", "fingerprint"] | None = None
    position: int | None = None
    value: float | None = None
    limit: float | None = None


def look_up(db: Database, project: str, run_id: str, item_id: str) -> list[LookedUp]:
    """All sets of a run, and whether each holds the item."""
    return look_up_in(_counting(db, run_pk(db, project, run_id)), item_id)


def _counting(db: Database, run: int, step_id: str | None = None) -> Iterator[Chunk]:
    """The chunks of a run, or of one step, that count."""
    counting = Counting(db)
    return (chunk for chunk in db.chunks(run, step_id) if counting.named(run, chunk.step, chunk.part))


def look_up_in(chunks: Iterable[Chunk], item_id: str) -> list[LookedUp]:
    """All sets in the chunks of a run, and whether each holds the item: ids are compared, fingerprints are searched where
    they lie.
    """
    text = item_id_text(item_id)
    fingerprint = verdicts.fingerprint(text)
    found: dict[tuple[int, int, str | None], _SetsOfStep] = {}
    for step, step_id, attempt, _, head, data in chunks:
        for code, reason, n, form, offset, length, *declared in head:
            key = (step, code, reason)
            sets = found.get(key)
            if sets is None:
                sets = found[key] = _SetsOfStep(step_id, attempt, SET_NAMES[code], reason)
            sets.n += n
            if form == FP40:
                sets.n_fingerprints += n
                if sets.found is None and _has_fingerprint(data, offset, length, fingerprint):
                    sets.found = "fingerprint"
                    if declared:
                        place = bisect_left(verdicts.decode(bytes(data[offset : offset + length])), fingerprint)
                        sets.value, sets.limit = _declared_at(declared, data, place)
                continue
            ids = msgspec.json.decode(data[offset : offset + length])
            sets.ids.update(ids)
            if sets.found != "exact" and text in ids:
                sets.found, sets.position = "exact", ids.index(text)
                sets.value, sets.limit = _declared_at(declared, data, sets.position)
    return [
        LookedUp(
            s.step_id, s.attempt, s.outcome, s.reason, s.n, s.n_fingerprints, len(s.ids), s.found, s.position, s.value, s.limit
        )
        for s in found.values()
    ]  # fmt: skip


def _declared_at(place: Sequence[Any], data: Any, position: int) -> tuple[float | None, float | None]:
    """The declared value and the limit of one item of a set, by what its place in the head has behind its first six fields."""
    values, limit = unpack_values(place, data)
    if values is None:
        return None, None
    (value,) = struct.unpack_from("<d", values, 8 * position)
    return (None, None) if value != value else (value, limit)


def sets(db: Database, project: str, run_id: str, step_id: str | None) -> Iterator[StoredSet]:
    """All sets of one run, or of one step: verdicts and the item sets given."""
    return sets_of(_counting(db, run_pk(db, project, run_id), step_id))


def sets_of(chunks: Iterable[Chunk]) -> Iterator[StoredSet]:
    """All sets in these chunks."""
    for chunk in chunks:
        for code, reason, n, form, offset, length, *declared in chunk.head:
            blob = chunk.data[offset : offset + length]
            ids, fp40 = (None, blob) if form == FP40 else (msgspec.json.decode(blob), None)
            values, limit = unpack_values(declared, chunk.data)
            yield StoredSet(chunk.step_id, chunk.attempt, SET_NAMES[code], reason, n, ids, fp40, values, limit)


class Hit(NamedTuple):
    """A set of `n` items in a chunk that holds an item, exactly or by its fingerprint."""

    outcome: str
    reason: str | None
    exact: bool
    n: int


def hits(head: Sequence[Any], data: Any, text: str, fingerprint: int) -> list[Hit]:
    """The sets of one chunk that hold the item."""
    return [
        Hit(SET_NAMES[code], reason, form != FP40, n)
        for code, reason, n, form, offset, length, *_ in head
        if (
            _has_fingerprint(data, offset, length, fingerprint)
            if form == FP40
            else text in msgspec.json.decode(data[offset : offset + length])
        )
    ]


class Sightings:
    """Where an item was seen in a run: one for each step attempt, outcome and reason, an exact one where there is one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, str, str | None], Sighting] = {}

    def add(self, name: str | None, step_id: str, attempt: int, hit: Hit) -> None:
        """Add a set that holds the item."""
        same = (step_id, attempt, hit.outcome, hit.reason)
        known = self._found.get(same)
        if known is None or not known.exact:
            p_false = 0.0 if hit.exact else verdicts.false_positive_probability([hit.n])
            self._found[same] = Sighting(name or "", *same, hit.exact, p_false)

    def all(self) -> list[Sighting]:
        """In the order in which they were added."""
        return list(self._found.values())


def _has_fingerprint(data: Any, offset: int, length: int, fingerprint: int) -> bool:
    if type(data) is bytes:  # small: one copy costs less than a call for each look
        return verdicts.contains(data[offset : offset + length], fingerprint)
    return verdicts.contains(cast(bytes, Window(data, offset, length)), fingerprint)
