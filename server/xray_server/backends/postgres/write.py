"""Writing into PostgreSQL: records become rows, in one transaction, idempotently, beside other processes that write too.

What keeps them apart: a transaction first locks the runs that it speaks of, in the order of their ids; whatever belongs to a
run is written under that lock. New rows go in by COPY, in bulk. Sums, which all share, come last and sorted, so that nobody
holds one for longer than a commit. Owned by the writer thread. Reads are in read.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, Cursor

from xray_server.backends.postgres import erase, item_index, partitions, samples
from xray_server.backends.postgres.delete import deleted_among
from xray_server.backends.postgres.dictionary import Dictionary
from xray_server.backends.postgres.steps import StepRows
from xray_server.backends.postgres.text import escape_text, id_bytes
from xray_server.backends.relational import blocks
from xray_server.backends.relational.deleted import without
from xray_server.backends.relational.erase import erase_from_batch
from xray_server.backends.relational.merged import LastMerged
from xray_server.backends.relational.rows import (
    RUN_STARTED_US,
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
from xray_server.errors import DeletedRunsError, WriteRaceError
from xray_server.records import states
from xray_server.records.documents import pack, unpack
from xray_server.records.schema import ClientRecord, SamplesRecord, VerdictsRecord
from xray_server.store import Batch


class Writer:
    """Turns batches into rows. One thread, one connection (autocommit mode: transactions are opened here)."""

    def __init__(self, db: Connection[Any], make_partitions: Callable[[set[int]], None]) -> None:
        self._db = db
        self._partition_maker = make_partitions
        self._projects = Dictionary(db, "project")
        self._dictionary = Dictionary(db, "word")
        self._parts = Dictionary(db, "part")
        self._last = LastMerged()
        self._weeks: set[int] = set()
        self._erased = erase.ErasedItems()

    def write(self, batches: Sequence[Batch], notes: Sequence[bytes] = ()) -> None:
        """Write all batches but for what is of deleted runs, and notes of what alerts are to judge, in one transaction. Raises
        whatever psycopg raises, with nothing written.

        Raises:
            WriteRaceError: to be done again.
        """
        try:
            self._write(batches, notes)
        except DeletedRunsError as error:
            self.write(without(batches, error.runs, self._projects.id), notes)

    def _write(self, batches: Sequence[Batch], notes: Sequence[bytes]) -> None:
        self._projects.learn({batch.project for batch in batches})
        folded = fold(batches, self._projects.id)
        self._dictionary.learn(dictionary_strings(folded))
        self._parts.learn(part_names(folded))
        with self._db.transaction():
            self._apply(folded)
            for note in notes:
                self._db.execute("INSERT INTO alert_note (doc) VALUES (%s)", (note,))

    def forget_partitions(self) -> None:
        """Another process may have dropped some."""
        self._weeks.clear()

    def _apply(self, folded: Folded) -> None:
        with self._db.cursor(binary=True) as cursor:
            if gone := deleted_among(cursor, folded.runs):
                raise DeletedRunsError(gone)
            self._erased.refresh(cursor)
            if self._erased.items:
                erase_from_batch(folded, self._erased.items, lambda key: erase.place_of(cursor, key))
            runs = _RunRows(cursor, self._dictionary, self._parts, folded)
            runs.lock()
            steps = StepRows(cursor, self._dictionary, self._parts, self._last)
            pks = steps.fold(folded.steps, runs.pks, folded.received, runs.fresh)
            self._make_partitions({key[0] for key in pks.values()})
            runs.write(steps.sums.by_run)
            steps.write()
            self._verdicts(cursor, folded.verdicts, pks, steps.fresh)
            self._samples(cursor, folded.samples, pks, runs.fresh)
            steps.write_sums()
            self._clients(cursor, folded.clients)

    def _make_partitions(self, runs: set[int]) -> None:
        missing = {partitions.week_of(run) for run in runs} - self._weeks
        if missing:
            self._partition_maker(missing)
            self._weeks |= missing

    def _verdicts(
        self,
        cursor: Cursor[Any],
        records: Sequence[tuple[StepKey, VerdictsRecord]],
        pks: Mapping[StepKey, tuple[int, int]],
        fresh: set[int],
    ) -> None:
        verdicts: dict[tuple[Any, ...], VerdictsRecord] = {}
        for step_key, record in records:
            verdicts.setdefault((*pks[step_key], self._parts.id(record.part), escape_text(record.chunk)), record)
        for key in _known_chunks(cursor, verdicts, fresh):
            del verdicts[key]
        item_index.written(cursor, {key[0] for key in verdicts})
        if verdicts:
            with cursor.copy(
                "COPY verdict_chunk (run, step, part, chunk, head, data) FROM STDIN (FORMAT BINARY)"
            ) as copy:
                copy.set_types(["int8", "int8", "int4", "text", "bytea", "bytea"])
                for key, verdict in verdicts.items():
                    copy.write_row((*key, *verdict_documents(verdict)))

    def _samples(
        self,
        cursor: Cursor[Any],
        records: Sequence[tuple[StepKey, SamplesRecord]],
        pks: Mapping[StepKey, tuple[int, int]],
        fresh: set[int],
    ) -> None:
        by_run: dict[int, dict[blocks.Key, blocks.Revisioned]] = {}
        for step_key, each in records:
            run, step = pks[step_key]
            place = (step, self._parts.id(each.part), each.chunk)
            blocks.keep(by_run.setdefault(run, {}), place, (each.rev, bytes(each.samples)))
        samples.write(cursor, by_run, fresh)

    def _clients(self, cursor: Cursor[Any], clients: list[tuple[int, ClientRecord, int]]) -> None:
        rows = [
            (project, self._parts.id(record.part), record.rev, received_us, client_document(record))
            for project, record, received_us in clients
        ]
        if rows:
            cursor.executemany(
                "INSERT INTO client (project, part, rev, received_us, doc) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (project, part) DO UPDATE SET rev = excluded.rev, received_us = excluded.received_us, "
                "doc = excluded.doc WHERE excluded.rev > client.rev OR (excluded.rev = client.rev AND excluded.doc > client.doc)",
                sorted(rows),
            )


@dataclass(slots=True)
class _RunChanges:
    """What becomes of the runs of one transaction, as rows: each list is one statement's."""

    inserts: list[tuple[Any, ...]] = field(default_factory=list)
    updates: list[tuple[Any, ...]] = field(default_factory=list)
    counted: list[tuple[Any, ...]] = field(default_factory=list)  # only their counters change
    tags: list[tuple[Any, ...]] = field(default_factory=list)
    retagged: list[int] = field(default_factory=list)  # their old tags go
    parts: list[tuple[Any, ...]] = field(default_factory=list)
    surplus_parts: list[tuple[int, int]] = field(default_factory=list)


class _RunRows:
    """The runs of one transaction: locked first, written when their steps are counted."""

    def __init__(self, cursor: Cursor[Any], dictionary: Dictionary, parts: Dictionary, folded: Folded) -> None:
        self._cursor = cursor
        self._dictionary = dictionary
        self._parts = parts
        self._folded = folded
        self._known: dict[RunKey, tuple[Any, ...]] = {}
        self.pks: dict[RunKey, int] = {}
        self.fresh: set[int] = set()

    def lock(self) -> None:
        """Lock the runs that are known, and number those that are not."""
        keys = sorted((project, id_bytes(run_id), run_id) for project, run_id in self._folded.runs)
        if not keys:
            return
        names = {(project, kept): (project, run_id) for project, kept, run_id in keys}
        for row in self._cursor.execute(
            "SELECT r.project, r.id, r.pk, r.parts, r.part, r.doc, r.received_us FROM run r "
            "JOIN unnest(%s::int[], %s::bytea[]) AS k(project, id) ON r.project = k.project AND r.id = k.id "
            "ORDER BY r.project, r.id FOR UPDATE OF r",
            ([key[0] for key in keys], [key[1] for key in keys]),
        ).fetchall():
            run_key = names[row[0], row[1]]
            self._known[run_key] = row[2:]
            self.pks[run_key] = row[2]
        new = [(project, run_id) for project, _, run_id in keys if (project, run_id) not in self._known]
        if new:
            numbers = self._cursor.execute(
                "SELECT nextval('run_number') FROM generate_series(1, %s)", (len(new),)
            ).fetchall()
            for run_key, (number,) in zip(new, numbers):
                pk = partitions.run_key(self._day(run_key), number)
                self.pks[run_key] = pk
                self.fresh.add(pk)

    def _day(self, key: RunKey) -> int:
        started = [us for part in self._folded.runs[key].values() if (us := part[RUN_STARTED_US]) is not None]
        return partitions.day_of(min(started) if started else None, self._folded.received[key])

    def write(self, counts: Mapping[int, list[int]]) -> None:
        """Write the runs.

        Args:
            counts: what each run's counters of steps, failed and flagged steps gain.
        """
        self._execute(self._plan(counts))

    def _plan(self, counts: Mapping[int, list[int]]) -> _RunChanges:
        changes = _RunChanges()
        known_parts = self._known_parts()
        for key, incoming in self._folded.runs.items():
            pk = self.pks[key]
            received_us = self._folded.received[key]
            _, count, _, _, first_received_us = self._known.get(key, (pk, 0, None, None, received_us))
            known = known_parts.get(pk, {})
            sums = counts.get(pk, [0, 0, 0])
            now, changed = merged(known, incoming, states.run_part)
            if pk not in self.fresh and not changed:
                if any(sums):
                    changes.counted.append((*sums, pk))
                continue
            state = run_state(now)
            columns = run_columns(now, state, first_received_us, word=self._dictionary.id, part=self._parts.id)
            if pk in self.fresh:
                changes.inserts.append((key[0], id_bytes(key[1]), pk, received_us, *columns, *sums))
            else:
                changes.updates.append((*columns, *sums, pk))
                changes.retagged.append(pk)
            at_us = place_us(state, first_received_us)
            changes.tags += [
                (pk, at_us, key[0], self._dictionary.id(tag), escape_text(tag_text(value)))
                for tag, value in (state["tags"] or {}).items()
            ]
            if len(now) > 1:
                changes.parts += [
                    (pk, self._parts.id(name), pack(values))
                    for name, values in now.items()
                    if name in changed or count < 2
                ]
                changes.surplus_parts += [(pk, self._parts.id(name)) for name in known.keys() - now.keys()]
        return changes

    def _execute(self, changes: _RunChanges) -> None:
        self._insert(changes.inserts)
        execute = self._cursor.executemany
        if changes.updates:
            execute(
                "UPDATE run SET pipeline = %s, status = %s, at_us = %s, parts = %s, part = %s, doc = %s, "
                "steps = steps + %s, failed = failed + %s, flagged = flagged + %s WHERE pk = %s",
                changes.updates,
            )
        if changes.counted:
            execute(
                "UPDATE run SET steps = steps + %s, failed = failed + %s, flagged = flagged + %s WHERE pk = %s",
                changes.counted,
            )
        if changes.parts:
            execute(
                "INSERT INTO run_part (run, part, doc) VALUES (%s, %s, %s) "
                "ON CONFLICT (run, part) DO UPDATE SET doc = excluded.doc",
                changes.parts,
            )
        if changes.surplus_parts:
            execute("DELETE FROM run_part WHERE run = %s AND part = %s", changes.surplus_parts)
        if changes.retagged:
            self._cursor.execute("DELETE FROM run_tag WHERE run = ANY(%s)", (changes.retagged,))
        if changes.tags:
            with self._cursor.copy("COPY run_tag (run, at_us, project, key, value) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "int8", "int4", "int4", "text"])
                for row in changes.tags:
                    copy.write_row(row)

    def _known_parts(self) -> dict[int, Parts]:
        """The parts of the locked runs that records of this transaction add to."""
        parts: dict[int, Parts] = {}
        many = []
        for key, (pk, count, only, doc, _) in self._known.items():
            if not self._folded.runs[key]:
                continue
            if count == 1:
                parts[pk] = {self._parts.text(only): unpack(doc)}
            elif count > 1:
                many.append(pk)
        if many:
            for pk, part, doc in self._cursor.execute(
                "SELECT run, part, doc FROM run_part WHERE run = ANY(%s)", (many,)
            ).fetchall():
                parts.setdefault(pk, {})[self._parts.text(part)] = unpack(doc)
        return parts

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        rows.sort(key=lambda row: row[:2])  # by project and id, the order in which runs are locked
        self._cursor.execute(
            "INSERT INTO run (project, id, pk, received_us, pipeline, status, at_us, parts, part, doc, steps, failed, flagged) "
            "SELECT * FROM unnest(%s::int[], %s::bytea[], %s::bigint[], %s::bigint[], %s::int[], %s::smallint[], %s::bigint[], "
            "%s::int[], %s::int[], %s::bytea[], %s::int[], %s::int[], %s::int[]) ON CONFLICT (project, id) DO NOTHING",
            [list(column) for column in zip(*rows)],
        )
        if self._cursor.rowcount != len(rows):
            raise WriteRaceError


def _known_chunks(cursor: Cursor[Any], keys: Iterable[tuple[Any, ...]], fresh: set[int]) -> list[tuple[Any, ...]]:
    """Which of these chunks of verdicts are there; those of steps that are new cannot be."""
    old = [key for key in keys if key[1] not in fresh]
    if not old:
        return []
    return cursor.execute(
        "SELECT c.run, c.step, c.part, c.chunk "
        "FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::text[]) AS k(run, step, part, chunk) "
        "JOIN verdict_chunk c ON c.run = k.run AND c.step = k.step AND c.part = k.part AND c.chunk = k.chunk",
        [list(column) for column in zip(*old)],
    ).fetchall()
