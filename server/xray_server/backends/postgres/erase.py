"""Deleting one item from PostgreSQL: run by run, in small transactions that writers wait for (relational/erase.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from psycopg import Connection, Cursor

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_server.backends.postgres.delete import LOCK
from xray_server.backends.postgres.item_index import Suspects
from xray_server.backends.postgres.read import DictionaryCache, PostgresDatabase
from xray_server.backends.postgres.text import escape_text, id_bytes, unescape_text
from xray_server.backends.relational.erase import ErasedByProject, erase_from_run, erased_item, hash_key
from xray_server.backends.relational.items import hits
from xray_server.backends.relational.rows import RunKey
from xray_server.records.documents import unpack
from xray_server.records.erasure import Erasure

_RUNS_A_LOOK: Final = 64
_ALL: Final = 1 << 40
_ENTER: Final = (
    "INSERT INTO deleted_item (project, hash, at_us) VALUES (%s, %s, %s) "
    "ON CONFLICT (project, hash) DO UPDATE SET at_us = excluded.at_us"
)


def delete_item(db: Connection[Any], dictionary: DictionaryCache, project: str, item_id: str, at_us: int) -> int:
    """Delete an item from all runs of a project; how many held it. Nothing is remembered of an item that none held."""
    row = db.execute("SELECT id FROM project WHERE text = %s", (escape_text(project),)).fetchone()
    if row is None:
        return 0
    (number,) = row
    text = item_id_text(item_id)
    key = hash_key(text)
    with db.transaction():
        # what is being written is committed first, and found; what comes after sees the entry
        db.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", (LOCK,))
        before = db.execute("SELECT at_us FROM deleted_item WHERE project = %s AND hash = %s", (number, key)).fetchone()
        db.execute(_ENTER, (number, key, at_us))
    erasure = Erasure([erased_item(key, at_us)], text)
    erased = 0
    for run in _runs_that_hold(PostgresDatabase(db, dictionary), number, text):
        with db.transaction():
            if db.execute("SELECT 1 FROM run WHERE pk = %s FOR UPDATE", (run,)).fetchone() is not None:
                erased += erase_from_run(_Rows(db, run), erasure)
    if not erased:
        with db.transaction():
            if before is None:
                db.execute("DELETE FROM deleted_item WHERE project = %s AND hash = %s", (number, key))
            else:
                db.execute(_ENTER, (number, key, *before))
    return erased


@dataclass(slots=True)
class ErasedItems:
    """The deleted items of every project, as the writer last read them."""

    items: ErasedByProject = field(default_factory=dict)
    _version: Any = (0, None)

    def refresh(self, cursor: Cursor[Any]) -> None:
        """Read them again where they changed. Within the writer's transaction, under the lock that deleting takes alone."""
        version = cursor.execute("SELECT count(*), max(at_us) FROM deleted_item").fetchone()
        if version == self._version:
            return
        found: dict[int, list[Any]] = {}
        for project, key, at_us in cursor.execute("SELECT project, hash, at_us FROM deleted_item").fetchall():
            found.setdefault(project, []).append(erased_item(bytes(key), at_us))
        self.items, self._version = found, version


def place_of(cursor: Cursor[Any], key: RunKey) -> int | None:
    """When a stored run started, or was first heard of; None: it is not stored."""
    project, run_id = key
    row = cursor.execute("SELECT at_us FROM run WHERE project = %s AND id = %s", (project, id_bytes(run_id))).fetchone()
    return None if row is None else int(row[0])


def _runs_that_hold(db: PostgresDatabase, project: int, text: str) -> list[int]:
    """The runs of a project of which a chunk holds the item."""
    fingerprint = verdicts.fingerprint(text)
    runs: list[int] = []
    with db.one_state():
        suspects = Suspects(db, fingerprint, max_large=_ALL).newest_first()
        while some := list(islice(suspects, _RUNS_A_LOOK)):
            own = [pk for (pk,) in db.rows("SELECT pk FROM run WHERE pk = ANY(?) AND project = ?", [some, project])]
            holding = set()
            for run, step, part, name, head, size_bytes, data in db.chunks_of_runs(own) if own else []:
                whole = db.chunk_data((run, step, part, name), size_bytes, data)
                if run not in holding and hits(unpack(head), whole, text, fingerprint):
                    holding.add(run)
            runs += sorted(holding, reverse=True)
    return runs


class _Rows:
    """The rows of one run (`xray_server.backends.relational.erase.RunRows`)."""

    def __init__(self, db: Connection[Any], run: int) -> None:
        self._db, self._run = db, run

    def _all(self, statement: str) -> list[Any]:
        return self._db.execute(statement.encode(), (self._run,), binary=True).fetchall()

    def chunks(self) -> Iterator[tuple[Any, int, int, bytes, bytes]]:
        for key in self._all("SELECT step, part, chunk FROM verdict_chunk WHERE run = %s"):
            row = self._db.execute(
                "SELECT head, data FROM verdict_chunk WHERE run = %s AND step = %s AND part = %s AND chunk = %s",
                (self._run, *key),
                binary=True,
            ).fetchone()
            assert row is not None  # the run is locked
            yield key, key[0], key[1], *row

    def write_chunk(self, key: Any, head: bytes, data: bytes) -> None:
        self._db.execute(
            "UPDATE verdict_chunk SET head = %s, data = %s WHERE run = %s AND step = %s AND part = %s AND chunk = %s",
            (head, data, self._run, *key),
        )

    def sample_blocks(self) -> Sequence[tuple[int, bytes]]:
        return self._all("SELECT low, data FROM sample_block WHERE run = %s")

    def write_sample_block(self, low: int, data: bytes) -> None:
        self._db.execute("UPDATE sample_block SET data = %s WHERE run = %s AND low = %s", (data, self._run, low))

    def step_blocks(self) -> Sequence[tuple[Any, int, bytes]]:
        return ()

    def write_step_block(self, key: Any, data: bytes) -> None:
        """There are none."""

    def steps(self) -> Sequence[tuple[int, bytes]]:
        return self._all("SELECT pk, doc FROM step WHERE run = %s")

    def write_step(self, step: int, document: bytes) -> None:
        self._db.execute("UPDATE step SET doc = %s WHERE run = %s AND pk = %s", (document, self._run, step))

    def run_documents(self) -> Sequence[tuple[Any, bytes]]:
        of_run = self._all("SELECT NULL::int, doc FROM run WHERE pk = %s AND doc IS NOT NULL")
        return [*of_run, *self._all("SELECT part, doc FROM run_part WHERE run = %s")]

    def write_run_document(self, key: Any, document: bytes) -> None:
        if key is None:
            self._db.execute("UPDATE run SET doc = %s WHERE pk = %s", (document, self._run))
        else:
            self._db.execute("UPDATE run_part SET doc = %s WHERE run = %s AND part = %s", (document, self._run, key))

    def tags(self) -> Sequence[tuple[Any, str]]:
        return [
            (key, unescape_text(value)) for key, value in self._all("SELECT key, value FROM run_tag WHERE run = %s")
        ]

    def write_tag(self, key: Any, value: str) -> None:
        self._db.execute(
            "UPDATE run_tag SET value = %s WHERE run = %s AND key = %s", (escape_text(value), self._run, key)
        )
