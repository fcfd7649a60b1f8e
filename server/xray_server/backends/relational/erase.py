"""Deleting one item from all runs that hold it: which rows of a run are written anew, whatever the store.

A run is done in a transaction of its own, under the lock that writers take. An item is entered among the deleted first, so that
what arrives meanwhile, or later, of a run from before is written without it. Knows no driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_server.backends.relational import blocks
from xray_server.backends.relational.rows import FP40, RUN_STARTED_US, SET_NAMES, Folded, Parts, RunKey
from xray_server.records.documents import pack, unpack
from xray_server.records.erasure import MASKED, Changed, ErasedItem, Erasure, erased_chunk
from xray_server.records.schema import VerdictSet, VerdictsRecord, decode_json, encode_json

ErasedByProject = Mapping[int, Sequence[ErasedItem]]
_NOTHING: Final[Sequence[ErasedItem]] = ()


class RunRows(Protocol):
    """The rows of one run, read and written within one transaction. Keys are the backend's own."""

    def chunks(self) -> Iterator[tuple[Any, int, int, bytes, bytes]]:
        """(key, step, part, head, data) of every chunk of verdicts."""

    def write_chunk(self, key: Any, head: bytes, data: bytes) -> None:
        """Replace a chunk."""

    def sample_blocks(self) -> Sequence[tuple[int, bytes]]:
        """(low, data) of every block of samples."""

    def write_sample_block(self, low: int, data: bytes) -> None:
        """Replace a block of samples."""

    def step_blocks(self) -> Sequence[tuple[Any, int, bytes]]:
        """(key, low, data) of every block of documents of steps; none where each step has its own."""

    def write_step_block(self, key: Any, data: bytes) -> None:
        """Replace a block of documents."""

    def steps(self) -> Sequence[tuple[int, bytes]]:
        """(step, document) of every step attempt that has a document of its own."""

    def write_step(self, step: int, document: bytes) -> None:
        """Replace a document of a step attempt."""

    def run_documents(self) -> Sequence[tuple[Any, bytes]]:
        """(key, document) of the run and of its parts."""

    def write_run_document(self, key: Any, document: bytes) -> None:
        """Replace a document of the run or of a part of it."""

    def tags(self) -> Sequence[tuple[Any, str]]:
        """(key, value) of the run's tags."""

    def write_tag(self, key: Any, value: str) -> None:
        """Replace the value of a tag."""


def hash_key(item_id: str) -> bytes:
    """The hash of an item's id, as it is kept among the deleted; of one that was masked its fingerprint."""
    text = item_id_text(item_id)
    number = verdicts.fingerprint(text) if text.startswith(MASKED) else verdicts.hash64(text)
    return number.to_bytes(8, "big")


def erased_item(key: bytes, at_us: int) -> ErasedItem:
    """A row of the deleted items."""
    return ErasedItem(int.from_bytes(key, "big"), at_us)


def erase_from_run(rows: RunRows, erasure: Erasure) -> bool:
    """Write anew what a run holds of an item; False where it holds none, as a set that was suspected by a fingerprint."""
    changed: dict[tuple[int, int], Changed] = {}
    for key, step, part, head, data in rows.chunks():
        new_head, new_data, times = erased_chunk(erasure, unpack(head), data, fp40=FP40)
        if times:
            rows.write_chunk(key, pack(new_head), new_data)
            named = Counter({(SET_NAMES[code], reason): n for (code, reason), n in times.items()})  # type: ignore[index]
            changed.setdefault((step, part), Counter()).update(named)
    sampled = _erase_samples(rows, erasure)
    if not changed and not sampled:
        return False

    def step_document(step: int, document: Any) -> Any:
        return [[part, erasure.step(values, changed.get((step, part)))] for part, values in document]

    for key, low, data in rows.step_blocks():
        records = [
            ((step, part, chunk), (rev, encode_json(step_document(step, decode_json(text)))))
            for (step, part, chunk), (rev, text) in blocks.unpacked(low, data)
        ]
        rows.write_step_block(key, blocks.block_of(records).data)
    for step, document in rows.steps():
        rows.write_step(step, pack(step_document(step, unpack(document))))
    for key, document in rows.run_documents():
        values = unpack(document)
        rows.write_run_document(key, pack(erasure.state(values) if isinstance(values, dict) else erasure.run(values)))
    for key, value in rows.tags():
        place = erasure.place(value)
        if place is not None:
            rows.write_tag(key, place)
    return True


def _erase_samples(rows: RunRows, erasure: Erasure) -> bool:
    found = False
    for low, data in rows.sample_blocks():
        records, changed = [], False
        for key, (rev, text) in blocks.unpacked(low, data):
            without = erasure.samples(text)
            changed = changed or without is not None
            records.append((key, (rev, text if without is None else without)))
        if changed:
            rows.write_sample_block(low, blocks.block_of(records).data)
            found = True
    return found


def erase_from_batch(folded: Folded, erased: ErasedByProject, place_of: Callable[[RunKey], int | None]) -> None:
    """Take deleted items out of what is about to be written, of runs from before they were deleted.

    Args:
        place_of: when a stored run started; None where it is not known, and then it is taken for one from before.
    """
    erasures: dict[RunKey, Erasure] = {}
    for key, parts in folded.runs.items():
        if erased.get(key[0], _NOTHING):
            started_us = _started_us(parts)
            started_us = place_of(key) if started_us is None else started_us
            of_run = [each for each in erased[key[0]] if started_us is None or started_us < each.at_us]
            if of_run:
                erasures[key] = Erasure(of_run)
                folded.runs[key] = {name: erasures[key].run(values) for name, values in parts.items()}
    if not erasures:
        return
    for step, parts in folded.steps.items():
        erasure = erasures.get(step[:2])
        if erasure:
            folded.steps[step] = {name: erasure.step(values) for name, values in parts.items()}
    folded.verdicts[:] = [(step, _verdicts(record, erasures.get(step[:2]))) for step, record in folded.verdicts]
    for step, record in folded.samples:
        erasure = erasures.get(step[:2])
        without = erasure.samples(bytes(record.samples)) if erasure else None
        if without is not None:
            record.samples = type(record.samples)(without)


def _started_us(parts: Parts) -> int | None:
    return min((us for values in parts.values() if (us := values[RUN_STARTED_US]) is not None), default=None)


def _verdicts(record: VerdictsRecord, erasure: Erasure | None) -> VerdictsRecord:
    if erasure is None:
        return record
    sets = []
    for each in record.sets:
        ids, blob, values = each.ids, each.fp40, each.values
        if ids is not None:
            ids, values, _ = erasure.ids(ids, values)
        if blob is not None:
            blob, values, _ = erasure.fp40(blob, values)
        sets.append(VerdictSet(each.outcome, each.n, each.reason, ids, blob, values, each.limit))
    return VerdictsRecord(record.v, record.run_id, record.step_id, sets, record.attempt, record.part, record.chunk)
