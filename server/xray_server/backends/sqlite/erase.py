"""Deleting one item from SQLite: run by run, in small transactions, on a connection of its own (relational/erase.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_server.backends.relational.erase import ErasedByProject, erase_from_run, erased_item, hash_key
from xray_server.backends.relational.item_index import suspects
from xray_server.backends.relational.items import hits
from xray_server.backends.sqlite import prune
from xray_server.backends.sqlite.lock import FileLock, transaction
from xray_server.records.documents import unpack
from xray_server.records.erasure import Erasure


def delete_item(db: sqlite3.Connection, lock: FileLock, project: str, item_id: str, at_us: int) -> int:
    """Delete an item from all runs of a project; how many held it. Nothing is remembered of an item that none held."""
    row = db.execute("SELECT id FROM project WHERE name = ?", (project,)).fetchone()
    if row is None:
        return 0
    (number,) = row
    text = item_id_text(item_id)
    key = hash_key(text)
    with transaction(db, lock):
        before = db.execute("SELECT at_us FROM deleted_item WHERE project = ? AND hash = ?", (number, key)).fetchone()
        db.execute("INSERT OR REPLACE INTO deleted_item VALUES (?, ?, ?)", (number, key, at_us))
    erasure = Erasure([erased_item(key, at_us)], text)
    erased = 0
    for run in _runs_that_may_hold(db, number, text):
        with transaction(db, lock):
            erased += erase_from_run(_Rows(db, run), erasure)
    if not erased:
        with transaction(db, lock):
            if before is None:
                db.execute("DELETE FROM deleted_item WHERE project = ? AND hash = ?", (number, key))
            else:
                db.execute("INSERT OR REPLACE INTO deleted_item VALUES (?, ?, ?)", (number, key, *before))
    prune.free_pages(db)
    return erased


def version(db: sqlite3.Connection) -> Any:
    """What tells whether the deleted items are still those that were read."""
    return db.execute("SELECT count(*), max(at_us) FROM deleted_item").fetchone()


def erased_items(db: sqlite3.Connection) -> ErasedByProject:
    """The deleted items of every project."""
    found: dict[int, list[Any]] = {}
    for project, key, at_us in db.execute("SELECT project, hash, at_us FROM deleted_item").fetchall():
        found.setdefault(project, []).append(erased_item(key, at_us))
    return found


def _runs_that_may_hold(db: sqlite3.Connection, project: int, text: str) -> list[int]:
    """The runs of a project of which a chunk holds the item: those that an index suspects, and those that it does not cover."""
    fingerprint = verdicts.fingerprint(text)
    chunks = {key for (key,) in db.execute("SELECT chunk FROM item_tail UNION SELECT chunk FROM item_large")}
    for data, keys in db.execute("SELECT data, chunks FROM item_segment"):
        chunks.update(suspects(data, keys, fingerprint))
    runs: dict[int, None] = {}
    for key in sorted(chunks):
        row = db.execute(
            "SELECT step.run, c.head, c.data FROM verdict_chunk c JOIN step ON step.pk = c.step "
            "WHERE c.pk = ? AND step.project = ?",
            (key, project),
        ).fetchone()
        if row is not None and row[0] not in runs and hits(unpack(row[1]), row[2], text, fingerprint):
            runs[row[0]] = None
    return list(runs)


class _Rows:
    """The rows of one run (`xray_server.backends.relational.erase.RunRows`)."""

    def __init__(self, db: sqlite3.Connection, run: int) -> None:
        self._db, self._run = db, run

    def chunks(self) -> Iterator[tuple[Any, int, int, bytes, bytes]]:
        keys = self._db.execute(
            "SELECT c.pk FROM step CROSS JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ?", (self._run,)
        ).fetchall()
        for (key,) in keys:
            yield (
                key,
                *self._db.execute("SELECT step, part, head, data FROM verdict_chunk WHERE pk = ?", (key,)).fetchone(),
            )

    def write_chunk(self, key: Any, head: bytes, data: bytes) -> None:
        self._db.execute("UPDATE verdict_chunk SET head = ?, data = ? WHERE pk = ?", (head, data, key))

    def sample_blocks(self) -> Sequence[tuple[int, bytes]]:
        return self._db.execute("SELECT low, data FROM sample_block WHERE run = ?", (self._run,)).fetchall()

    def write_sample_block(self, low: int, data: bytes) -> None:
        self._db.execute("UPDATE sample_block SET data = ? WHERE run = ? AND low = ?", (data, self._run, low))

    def step_blocks(self) -> Sequence[tuple[Any, int, bytes]]:
        return self._db.execute("SELECT pk, low, data FROM step_block WHERE run = ?", (self._run,)).fetchall()

    def write_step_block(self, key: Any, data: bytes) -> None:
        self._db.execute("UPDATE step_block SET data = ? WHERE pk = ?", (data, key))

    def steps(self) -> Sequence[tuple[int, bytes]]:
        return self._db.execute("SELECT pk, doc FROM step WHERE run = ? AND length(doc) > 0", (self._run,)).fetchall()

    def write_step(self, step: int, document: bytes) -> None:
        self._db.execute("UPDATE step SET doc = ? WHERE pk = ?", (document, step))

    def run_documents(self) -> Sequence[tuple[Any, bytes]]:
        (doc,) = self._db.execute("SELECT doc FROM run WHERE pk = ?", (self._run,)).fetchone()
        parts = self._db.execute("SELECT part, doc FROM run_part WHERE run = ?", (self._run,)).fetchall()
        return [*([] if doc is None else [(None, doc)]), *parts]

    def write_run_document(self, key: Any, document: bytes) -> None:
        if key is None:
            self._db.execute("UPDATE run SET doc = ? WHERE pk = ?", (document, self._run))
        else:
            self._db.execute("UPDATE run_part SET doc = ? WHERE run = ? AND part = ?", (document, self._run, key))

    def tags(self) -> Sequence[tuple[Any, str]]:
        return self._db.execute("SELECT key, value FROM run_tag WHERE run = ?", (self._run,)).fetchall()

    def write_tag(self, key: Any, value: str) -> None:
        self._db.execute("UPDATE run_tag SET value = ? WHERE run = ? AND key = ?", (value, self._run, key))
