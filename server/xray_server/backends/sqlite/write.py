"""Writing into SQLite: records become rows, in one transaction, idempotently.

Records are folded in memory first (newest revision of each part), so that the many snapshots of one step in one transaction
cost one row. Owned by the writer thread; nothing here is called from another. Reads are in read.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_server.backends.relational import blocks
from xray_server.backends.relational.deleted import without
from xray_server.backends.relational.erase import ErasedByProject, erase_from_batch
from xray_server.backends.relational.ids import id_key
from xray_server.backends.relational.merged import LastMerged
from xray_server.backends.relational.rows import (
    Folded,
    Parts,
    RunKey,
    StepKey,
    client_document,
    dictionary_strings,
    fold,
    merged,
    part_names,
    place_us,
    run_columns,
    run_state,
    tag_text,
    verdict_documents,
)
from xray_server.backends.sqlite import erase
from xray_server.backends.sqlite.delete import deleted_among
from xray_server.backends.sqlite.dictionary import Dictionary
from xray_server.backends.sqlite.documents import plan_documents
from xray_server.backends.sqlite.lock import FileLock, transaction
from xray_server.backends.sqlite.samples import write as write_samples
from xray_server.backends.sqlite.steps import NewStep, StepRows, new_step
from xray_server.errors import DeletedItemsError, DeletedRunsError
from xray_server.records import states
from xray_server.records.documents import pack, unpack
from xray_server.records.schema import ClientRecord, SamplesRecord
from xray_server.store import Batch

_MAX_CACHED: Final = 100_000


@dataclass(slots=True)
class _NewRun:
    """What is made of a run's records before the transaction, on the belief that nothing of the run is stored."""

    steps: list[NewStep]
    docs: tuple[list[bytes], list[blocks.Block]]
    samples: list[blocks.Block]


class Writer:
    """Turns batches into rows. One thread, one connection (autocommit mode: transactions are opened here).

    What can be made of records before the transaction is made before it: while one process has the file to itself, the
    others work.
    """

    def __init__(self, connection: sqlite3.Connection, lock: FileLock) -> None:
        self._db = connection
        self._lock = lock
        self._projects = Dictionary(connection, "project", "name")
        self._dictionary = Dictionary(connection, "word", "text")
        self._parts = Dictionary(connection, "part", "text")
        self._last = LastMerged()
        self._runs: dict[RunKey, int] = {}
        self._data_version = -1
        self._erased: ErasedByProject = {}
        self._erased_version: Any = (0, None)
        self.watch: Callable[[Sequence[Batch]], list[bytes]] | None = None  # what is to be judged (alerts/watch.py)

    def write(self, batches: Sequence[Batch]) -> None:
        """Write all batches in one transaction, but for what is of deleted runs. Raises whatever sqlite3 raises, with nothing
        written.
        """
        try:
            self._write(batches)
        except DeletedRunsError as error:
            self.write(without(batches, error.runs, self._projects.id))
        except DeletedItemsError:
            self._erased_version = erase.version(self._db)
            self._erased = erase.erased_items(self._db)
            self.write(batches)

    def _write(self, batches: Sequence[Batch]) -> None:
        try:
            self._learn(self._projects, {batch.project for batch in batches})
            folded = fold(batches, self._projects.id)
            if self._erased:
                erase_from_batch(folded, self._erased, self._place_of)
            self._learn(self._dictionary, dictionary_strings(folded))
            self._learn(self._parts, part_names(folded))
            new = self._prepare(folded)
            verdicts = [
                (key, (self._parts.id(each.part), each.chunk, *verdict_documents(each)))
                for key, each in folded.verdicts
            ]
            notes = self.watch(batches) if self.watch is not None else ()
            with transaction(self._db, self._lock):
                version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
                if version != self._data_version:  # another process changed the file, as `xray prune` does
                    self._runs.clear()
                    if self._erased_version != erase.version(self._db):
                        raise DeletedItemsError
                    self._data_version = version
                if gone := deleted_among(self._db, folded.runs):
                    raise DeletedRunsError(gone)
                self._apply(folded, new, verdicts)
                for note in notes:
                    self._db.execute("INSERT INTO alert_note (doc) VALUES (?)", (note,))
        except BaseException:  # whatever ended it, what was remembered of it may have been rolled back
            for dictionary in (self._projects, self._dictionary, self._parts):
                dictionary.forget()
            self._runs.clear()
            raise

    def _learn(self, dictionary: Dictionary, texts: Iterable[str]) -> None:
        """Add what is not there, in a transaction of its own: a word too many is harmless."""
        new = [text for text in texts if not dictionary.knows(text)]
        if new:
            with transaction(self._db, self._lock):
                for text in sorted(new):
                    dictionary.id(text)

    def _prepare(self, folded: Folded) -> dict[RunKey, _NewRun]:
        new: dict[RunKey, _NewRun] = {}
        places: dict[StepKey, int] = {}
        for run_key in folded.runs:
            if run_key not in self._runs and self._stored(run_key) is None:
                new[run_key] = _NewRun([], ([], []), [])
        for key, parts in folded.steps.items():
            run = new.get(key[:2])
            if run is not None:
                places[key] = len(run.steps)
                run.steps.append(new_step(key, parts, folded.received[key[:2]], self._dictionary, self._parts))
        samples = self._newest_samples([each for each in folded.samples if each[0] in places], places)
        for run_key, run in new.items():
            run.docs = plan_documents([step.text for step in run.steps])
            run.samples = blocks.packed(samples.get(run_key, {}))
        return new

    def _stored(self, key: RunKey) -> Any:
        project, run_id = key
        return self._db.execute(
            "SELECT pk, parts, part, doc, at_us, received_us FROM run WHERE project = ? AND id = ?",
            (project, id_key(run_id)),
        ).fetchone()

    def _place_of(self, key: RunKey) -> int | None:
        """When a stored run started, or was first heard of."""
        row = self._stored(key)
        return None if row is None else int(row[4])

    def _apply(
        self, folded: Folded, new: Mapping[RunKey, _NewRun], verdicts: Sequence[tuple[StepKey, tuple[Any, ...]]]
    ) -> None:
        for project, record, received_us in folded.clients:
            self._client(project, record, received_us)
        fresh: set[int] = set()
        runs: dict[RunKey, int] = {}
        for run_key, parts in folded.runs.items():
            runs[run_key] = self._run(run_key, parts, folded.received[run_key], fresh)
        rows = StepRows(self._db, self._dictionary, self._parts, self._last)
        of_run: dict[RunKey, dict[StepKey, Parts]] = {}
        for key, parts in folded.steps.items():
            of_run.setdefault(key[:2], {})[key] = parts
        pks: dict[StepKey, int] = {}
        done: set[RunKey] = set()
        sample_rows: list[tuple[Any, ...]] = []
        for run_key, steps in of_run.items():
            run, made = runs[run_key], new.get(run_key)
            if made is not None and run in fresh:
                first = rows.insert(run, made.steps, made.docs)
                pks.update((key, first + place) for place, key in enumerate(steps))
                sample_rows += [(run, first + each.low, first + each.high, each.data) for each in made.samples]
                done.add(run_key)
            else:
                pks.update(rows.merge(run, steps, folded.received[run_key]))
        rows.write()
        self._verdicts([(pks[key], *row) for key, row in verdicts])
        old = self._newest_samples([each for each in folded.samples if each[0][:2] not in done], pks)
        write_samples(self._db, {runs[run_key]: records for run_key, records in old.items()}, sample_rows)

    def _newest_samples(
        self, records: Sequence[tuple[StepKey, SamplesRecord]], numbers: Mapping[StepKey, int]
    ) -> dict[RunKey, dict[blocks.Key, blocks.Revisioned]]:
        """Of each run the newest records of samples, by the numbers of their steps."""
        newest: dict[RunKey, dict[blocks.Key, blocks.Revisioned]] = {}
        for key, each in records:
            place = (numbers[key], self._parts.id(each.part), each.chunk)
            blocks.keep(newest.setdefault(key[:2], {}), place, (each.rev, bytes(each.samples)))
        return newest

    def _run(self, key: RunKey, parts: Parts, received_us: int, fresh: set[int]) -> int:
        project, run_id = key
        if not parts and key in self._runs:
            return self._runs[key]
        row = self._stored(key)
        if row is None:
            row = (None, 0, None, None, received_us, received_us)
        elif not parts:
            return self._remember(key, int(row[0]))
        pk, count, only, doc, _, first_received = row
        known: Parts = {}
        if count == 1:
            known[self._parts.text(only)] = unpack(doc)
        elif count > 1:
            for name, part_doc in self._db.execute(
                "SELECT part.text, run_part.doc FROM run_part JOIN part ON part.id = run_part.part WHERE run = ?", (pk,)
            ):
                known[name] = unpack(part_doc)
        now, changed = merged(known, parts, states.run_part)
        if pk is not None and not changed:
            return self._remember(key, int(pk))
        state = run_state(now)
        columns = run_columns(now, state, first_received, word=self._dictionary.id, part=self._parts.id)
        if pk is None:
            pk = self._db.execute(
                "INSERT INTO run (pipeline, status, at_us, parts, part, doc, project, id, received_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*columns, project, id_key(run_id), received_us),
            ).lastrowid
            fresh.add(int(pk or 0))
        else:
            self._db.execute(
                "UPDATE run SET pipeline = ?, status = ?, at_us = ?, parts = ?, part = ?, doc = ? WHERE pk = ?",
                (*columns, pk),
            )
        pk = int(pk or 0)
        if len(now) > 1:
            self._db.executemany(
                "INSERT INTO run_part (run, part, doc) VALUES (?, ?, ?) "
                "ON CONFLICT (run, part) DO UPDATE SET doc = excluded.doc",
                [(pk, self._parts.id(n), pack(v)) for n, v in now.items() if n in changed or count < 2],
            )
            for name in known.keys() - now.keys():
                self._db.execute("DELETE FROM run_part WHERE run = ? AND part = ?", (pk, self._parts.id(name)))
        self._tags(project, pk, place_us(state, first_received), state["tags"] or {}, fresh)
        return self._remember(key, pk)

    def _remember(self, key: RunKey, pk: int) -> int:
        if len(self._runs) >= _MAX_CACHED:
            self._runs.clear()
        self._runs[key] = pk
        return pk

    def _tags(self, project: int, pk: int, at_us: int, tags: dict[str, Any], fresh: set[int]) -> None:
        if pk not in fresh:
            self._db.execute("DELETE FROM run_tag WHERE run = ?", (pk,))
        rows = [(project, self._dictionary.id(key), tag_text(value), at_us, pk) for key, value in tags.items()]
        self._db.executemany(
            "INSERT OR IGNORE INTO run_tag (project, key, value, at_us, run) VALUES (?, ?, ?, ?, ?)", rows
        )

    def _verdicts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._db.executemany(
                "INSERT INTO verdict_chunk (step, part, chunk, head, data) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (step, part, chunk) DO NOTHING",
                rows,
            )

    def _client(self, project: int, record: ClientRecord, received_us: int) -> None:
        self._db.execute(
            "INSERT INTO client (project, part, rev, received_us, doc) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (project, part) DO UPDATE SET rev = excluded.rev, received_us = excluded.received_us, "
            "doc = excluded.doc WHERE excluded.rev > rev OR (excluded.rev = rev AND excluded.doc > doc)",
            (project, self._parts.id(record.part), record.rev, received_us, client_document(record)),
        )
