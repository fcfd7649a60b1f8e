"""Writing into SQLite: records become rows, in one transaction, idempotently.

Records are folded in memory first (newest revision of each part), so that the many snapshots of one step in one transaction
cost one row. Owned by the writer thread; nothing here is called from another. Reads are in sqlite_read.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from xray_core.model import STATUS_RANK
from xray_server import blocks, states
from xray_server.records import ClientRecord, SamplesRecord, VerdictsRecord, pack, squeeze, unpack
from xray_server.rows import (
    SET_CODES,
    STATUS_NAMES,
    Parts,
    RunKey,
    StepKey,
    Sums,
    client_document,
    fold,
    id_key,
    merged,
    moved_us,
    step_document,
    step_figures,
    step_state,
    tag_text,
    verdict_documents,
)
from xray_server.sqlite_documents import Documents, documents
from xray_server.states import StepState
from xray_server.store import Batch

_MAX_CACHED: Final = 100_000


class _Dictionary:
    """Text -> small integer, one table; what is not cached is looked up or added."""

    def __init__(self, connection: sqlite3.Connection, table: str, column: str) -> None:
        self._connection = connection
        self._find = f"SELECT id FROM {table} WHERE {column} = ?"  # noqa: S608  # names are literals of this file
        self._name = f"SELECT {column} FROM {table} WHERE id = ?"  # noqa: S608
        self._add = f"INSERT INTO {table} ({column}) VALUES (?)"  # noqa: S608
        self._ids: dict[str, int] = {}

    def forget(self) -> None:
        self._ids.clear()

    def id(self, text: str) -> int:
        found = self._ids.get(text)
        if found is None:
            row = self._connection.execute(self._find, (text,)).fetchone()
            found = int(row[0]) if row else int(self._connection.execute(self._add, (text,)).lastrowid or 0)
            if len(self._ids) >= _MAX_CACHED:
                self._ids.clear()
            self._ids[text] = found
        return found

    def text(self, number: int) -> str:
        return str(self._connection.execute(self._name, (number,)).fetchone()[0])


class Writer:
    """Turns batches into rows. One thread, one connection (autocommit mode: transactions are opened here)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._projects = _Dictionary(connection, "project", "name")
        self._words = _Dictionary(connection, "word", "text")
        self._parts = _Dictionary(connection, "part", "text")
        self._runs: dict[RunKey, int] = {}
        self._data_version = -1
        self.watch: Callable[[Sequence[Batch]], list[bytes]] | None = None  # what is to be judged (alerts/watch.py)

    def write(self, batches: Sequence[Batch]) -> None:
        """Write all batches in one transaction. Raises whatever sqlite3 raises, with nothing written."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if version != self._data_version:  # another process changed the file, as `xray prune` does: trust no cache
                self._forget()
                self._data_version = version
            self._apply(batches)
            for note in self.watch(batches) if self.watch is not None else ():
                self._db.execute("INSERT INTO alert_note (doc) VALUES (?)", (note,))
            self._db.execute("COMMIT")
        except BaseException:  # whatever ends it, no transaction may stay open and hold the writer
            self._forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _forget(self) -> None:
        for dictionary in (self._projects, self._words, self._parts):
            dictionary.forget()
        self._runs.clear()

    def _apply(self, batches: Sequence[Batch]) -> None:
        folded = fold(batches, self._projects.id)
        for project, record, received_us in folded.clients:
            self._client(project, record, received_us)
        fresh: set[int] = set()
        pks: dict[RunKey, int] = {}
        for run_key, parts in folded.runs.items():
            pks[run_key] = self._run(run_key, parts, folded.received[run_key], fresh)
        step_pks = _StepRows(self._db, self._words, self._parts).write(folded.steps, pks, folded.received, fresh)
        self._verdicts(folded.verdicts, step_pks)
        self._samples(folded.samples, pks, step_pks, fresh)

    def _run(self, key: RunKey, parts: Parts, received_us: int, fresh: set[int]) -> int:
        project, run_id = key
        if not parts and key in self._runs:
            return self._runs[key]
        row = self._db.execute(
            "SELECT pk, parts, part, doc, at_us, received_us FROM run WHERE project = ? AND id = ?",
            (project, id_key(run_id)),
        ).fetchone()
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
        state = states.run_state([states.run_part(name, values) for name, values in now.items()])
        at_us = state["started_us"] if state["started_us"] is not None else first_received
        only_name = next(iter(now)) if len(now) == 1 else None
        columns = (
            None if state["pipeline"] is None else self._words.id(state["pipeline"]),
            STATUS_RANK[state["status"]],
            at_us,
            len(now),
            None if only_name is None else self._parts.id(only_name),
            pack(now[only_name] if only_name is not None else state) if now else None,
        )
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
        self._tags(project, pk, at_us, state["tags"] or {}, fresh)
        return self._remember(key, pk)

    def _remember(self, key: RunKey, pk: int) -> int:
        if len(self._runs) >= _MAX_CACHED:
            self._runs.clear()
        self._runs[key] = pk
        return pk

    def _tags(self, project: int, pk: int, at_us: int, tags: dict[str, Any], fresh: set[int]) -> None:
        if pk not in fresh:
            self._db.execute("DELETE FROM run_tag WHERE run = ?", (pk,))
        rows = [(project, self._words.id(key), tag_text(value), at_us, pk) for key, value in tags.items()]
        self._db.executemany(
            "INSERT OR IGNORE INTO run_tag (project, key, value, at_us, run) VALUES (?, ?, ?, ?, ?)", rows
        )

    def _verdicts(self, records: Sequence[tuple[StepKey, VerdictsRecord]], pks: dict[StepKey, int]) -> None:
        self._db.executemany(
            "INSERT INTO verdict_chunk (step, part, chunk, head, data) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (step, part, chunk) DO NOTHING",
            [(pks[key], self._parts.id(each.part), each.chunk, *verdict_documents(each)) for key, each in records],
        )

    def _samples(
        self,
        records: Sequence[tuple[StepKey, SamplesRecord]],
        runs: dict[RunKey, int],
        steps: dict[StepKey, int],
        fresh: set[int],
    ) -> None:
        by_run: dict[int, dict[blocks.Key, blocks.Kept]] = {}
        for key, each in records:
            place = (steps[key], self._parts.id(each.part), each.chunk)
            blocks.keep(by_run.setdefault(runs[key[:2]], {}), place, (each.rev, bytes(each.samples)))
        gone: list[tuple[int, int]] = []
        written: list[tuple[Any, ...]] = []
        for run, new in by_run.items():
            stored: list[tuple[int, bytes]] = []
            if run not in fresh:
                stored = self._db.execute(
                    "SELECT low, data FROM sample_block WHERE run = ? AND (low <= ? AND high >= ? OR length(data) < ?)",
                    (run, max(new)[0], min(new)[0], blocks.SMALL_BYTES),
                ).fetchall()
            lows, made = blocks.taken_up(new, stored)
            gone += [(run, low) for low in lows]
            written += [(run, block.low, block.high, block.data) for block in made]
        if gone:
            self._db.executemany("DELETE FROM sample_block WHERE run = ? AND low = ?", gone)
        if written:
            self._db.executemany("INSERT INTO sample_block (run, low, high, data) VALUES (?, ?, ?, ?)", written)

    def _client(self, project: int, record: ClientRecord, received_us: int) -> None:
        self._db.execute(
            "INSERT INTO client (project, part, rev, received_us, doc) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (project, part) DO UPDATE SET rev = excluded.rev, received_us = excluded.received_us, "
            "doc = excluded.doc WHERE excluded.rev > rev OR (excluded.rev = rev AND excluded.doc > doc)",
            (project, self._parts.id(record.part), record.rev, received_us, client_document(record)),
        )


class _StepRows:
    """The rows of the steps of one transaction: the steps themselves, their reasons, and the sums that both add to."""

    def __init__(self, connection: sqlite3.Connection, words: _Dictionary, parts: _Dictionary) -> None:
        self._db = connection
        self._words = words
        self._parts = parts
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._reasons: list[tuple[Any, ...]] = []
        self._documents = Documents()
        self._sums = Sums(words.id)

    def write(
        self, steps: dict[StepKey, Parts], runs: dict[RunKey, int], received: dict[RunKey, int], fresh: set[int]
    ) -> dict[StepKey, int]:
        pks: dict[StepKey, int] = {}
        if not steps:
            return pks
        next_pk = int(self._db.execute("SELECT coalesce(max(pk), 0) + 1 FROM step").fetchone()[0])
        for key, parts in steps.items():
            project, run_id, step_id, attempt = key
            run = runs[project, run_id]
            row = None
            if run not in fresh:
                row = self._db.execute(
                    "SELECT pk, at_us, doc, pipeline, name, type, status, position, duration_us FROM step "
                    "WHERE run = ? AND id = ? AND attempt = ?",
                    (run, id_key(step_id), attempt),
                ).fetchone()
            if row is None:
                pks[key] = next_pk
                self._insert(key, run, next_pk, parts, received[project, run_id])
                next_pk += 1
            else:
                pks[key] = int(row[0])
                if parts:
                    self._update(project, run, parts, row, received[project, run_id])
        self._flush()
        return pks

    def _insert(self, key: StepKey, run: int, pk: int, parts: Parts, received_us: int) -> None:
        project, _, step_id, attempt = key
        state = step_state(parts)
        at_us = received_us if state.values["started_us"] is None else state.values["started_us"]
        self._inserts.append((pk, run, id_key(step_id), attempt, project, *self._columns(state, at_us)))
        self._documents.add(run, pk, step_document(parts, state, self._parts.id))
        self._count(state, bool(parts), project, run, pk, at_us, 1)
        self._sums.new_step(run)

    def _update(self, project: int, run: int, parts: Parts, row: Sequence[Any], received_us: int) -> None:
        pk, old_at_us, doc, pipeline, name, kind, status, position, duration_us = row
        pipeline, name, kind = (None if word is None else self._words.text(word) for word in (pipeline, name, kind))
        columns = (pipeline, name, kind, STATUS_NAMES[status], position, old_at_us, duration_us)
        stored = documents(self._db, [(pk, run, doc)])[pk]
        known: Parts = {self._parts.text(part): states.full(values, columns) for part, values in stored}
        now, changed = merged(known, parts, states.step_part)
        if not changed:
            return
        before, after = step_state(known), step_state(now)
        at_us = moved_us(before, after, old_us=old_at_us, received_us=received_us)
        self._updates.append((*self._columns(after, at_us), squeeze(step_document(now, after, self._parts.id)), pk))
        self._db.executemany(
            "DELETE FROM step_reason WHERE project = ? AND reason = ? AND at_us = ? AND step = ? AND outcome = ?",
            [(project, self._words.id(why), old_at_us, pk, SET_CODES[outcome]) for outcome, why in before.reasons()],
        )
        self._count(before, bool(known), project, run, pk, old_at_us, -1)
        self._count(after, True, project, run, pk, at_us, 1)

    def _columns(self, state: StepState, at_us: int) -> tuple[Any, ...]:
        values, word = state.values, self._words.id
        return (
            None if values["pipeline"] is None else word(values["pipeline"]),
            None if values["name"] is None else word(values["name"]),
            None if values["step_type"] is None else word(values["step_type"]),
            STATUS_RANK[values["status"]],
            values["index"],
            at_us,
            values["duration_us"],
            *step_figures(state),
        )

    def _count(self, state: StepState, known: bool, project: int, run: int, pk: int, at_us: int, sign: int) -> None:
        """Add a state's figures to the sums, or take them away."""
        if not known:
            return
        self._sums.add(state, project=project, run=run, at_us=at_us, sign=sign)
        if sign > 0:
            self._reasons += [
                (project, self._words.id(reason), at_us, pk, SET_CODES[outcome], n)
                for (outcome, reason), n in state.reasons().items()
            ]

    def _flush(self) -> None:
        db = self._db
        if self._inserts:
            docs = self._documents.for_rows()
            db.executemany(
                "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row, docs[row[0]]) for row in self._inserts],
            )
            self._documents.write_blocks(db)
        if self._updates:
            db.executemany(
                "UPDATE step SET pipeline = ?, name = ?, type = ?, status = ?, position = ?, at_us = ?, duration_us = ?, "
                "input = ?, accepted = ?, rejected = ?, not_selected = ?, errored = ?, selected = ?, flags = ?, rate = ?, "
                "doc = ? WHERE pk = ?",
                self._updates,
            )
        db.executemany("INSERT OR REPLACE INTO step_reason VALUES (?, ?, ?, ?, ?, ?)", self._reasons)
        db.executemany(
            "UPDATE run SET steps = steps + ?, failed = failed + ?, flagged = flagged + ? WHERE pk = ?",
            [(*sums, run) for run, sums in self._sums.by_run.items() if any(sums)],
        )
        db.executemany(
            "INSERT INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (project, pipeline, name, hour) DO UPDATE SET steps = steps + excluded.steps, "
            "failed = failed + excluded.failed, input = input + excluded.input, accepted = accepted + excluded.accepted, "
            "rejected = rejected + excluded.rejected, not_selected = not_selected + excluded.not_selected, "
            "errored = errored + excluded.errored, selected = selected + excluded.selected, "
            "unaccounted = unaccounted + excluded.unaccounted, duration_us = duration_us + excluded.duration_us",
            [(*place, *sums) for place, sums in self._sums.hourly.items() if any(sums)],
        )
        db.executemany(
            "INSERT INTO rollup_reason VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (project, pipeline, name, hour, outcome, reason) DO UPDATE SET n = n + excluded.n",
            [(*place, n) for place, n in self._sums.by_reason.items() if n],
        )
