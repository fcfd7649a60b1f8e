"""Reading from SQLite: one named function a question, each on an index that is named in the statement.

The planner guesses from statistics that it does not have; a wrong guess was measured at 12.8 s. So every list says which
index it walks (`_steps_walk`), and tests assert the plans. Knows nothing of how rows are written but their layout.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from xray_core import verdicts
from xray_core.model import STATUS_RANK, item_id_text
from xray_server.backends.relational.cursors import make_cursor, parse_cursor
from xray_server.backends.relational.ids import id_key, id_prefix_range, id_text
from xray_server.backends.relational.rows import FEW_RUNS, FP40, HIGH_RATE, HOUR_US, SET_NAMES, SLOW_US, STATUS_NAMES
from xray_server.backends.sqlite.documents import documents
from xray_server.backends.sqlite.steps import OF_STEP
from xray_server.records import states
from xray_server.records.documents import unpack
from xray_server.store import (
    Page,
    RunFilter,
    StepFilter,
    StepGroup,
    StoredClient,
    StoredRun,
    StoredSet,
    StoredStep,
    StoredVerdict,
    TrendPoint,
)

_MAX_TEXTS: Final = 10_000
_NOTHING: Final = -1  # a dictionary id that nothing has
_READ_WHOLE_BYTES: Final = 65_536  # a blob below this is read at once: opening it apart costs more


class Reader:
    """Answers on one connection. Used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._texts: dict[int, str] = {}  # words are never changed, nor their numbers used again

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for questions that have files of their own."""
        return self._db

    def project_id(self, project: str) -> int:
        """The key of a project; one that nothing has when it is not known."""
        return self._id("project", "name", project)

    # -- runs ------------------------------------------------------------------------------------------------------

    def runs(self, project: str, where: RunFilter, limit: int, cursor: str | None) -> Page[StoredRun]:
        sql, values = self.runs_query(project, where, cursor)
        rows = self._db.execute(f"{sql} LIMIT ?", (*values, limit + 1)).fetchall()
        more = len(rows) > limit
        items = [self._stored_run(row) for row in rows[:limit]]
        return Page(items, make_cursor(rows[limit - 1][1], rows[limit - 1][0]) if more else None)

    def runs_query(self, project: str, where: RunFilter, cursor: str | None) -> tuple[str, list[Any]]:
        """The statement that lists runs, without its limit."""
        tests = ["run.project = ?"]
        values: list[Any] = [self._id("project", "name", project)]
        index, source = "run_at", ""
        if where.status is not None:
            index = "run_status_at"
            tests.append("run.status = ?")
            values.append(STATUS_RANK.get(where.status, _NOTHING))
        if where.pipeline is not None:
            index = "run_pipeline_at"
            tests.append("run.pipeline = ?")
            values.append(self._word(where.pipeline))
        if where.tag is not None:
            key, given, value = where.tag.partition(":")
            if given:
                source = "run_tag tag CROSS JOIN run ON run.pk = tag.run"
                tests[0] = "tag.project = ?"
                tests.append("tag.key = ? AND tag.value = ?")
                values += [self._word(key), value]
            else:
                tests.append("EXISTS (SELECT 1 FROM run_tag t WHERE t.run = run.pk AND t.key = ?)")
                values.append(self._word(key))
        at, pk = ("tag.at_us", "tag.run") if source else ("run.at_us", "run.pk")
        for bound, test in ((where.since_us, f"{at} >= ?"), (where.until_us, f"{at} < ?")):
            if bound is not None:
                tests.append(test)
                values.append(bound)
        if where.q:
            few = self._few_runs_with(values[0], where.q)
            if few is None:
                tests.append(
                    "(" + " OR ".join(f"run.pk IN ({each})" for each, _ in _runs_with(values[0], where.q)) + ")"
                )
                values += [value for _, given in _runs_with(values[0], where.q) for value in given]
            elif source:
                tests.append("run.pk IN (SELECT value FROM json_each(?))")
                values.append(few)
            else:
                source = "json_each(?) found CROSS JOIN run ON run.pk = found.value"
                values.insert(0, few)
        if cursor is not None:
            tests.append(f"({at}, {pk}) < (?, ?)")
            values += parse_cursor(cursor)
        sql = (
            "SELECT run.pk, run.at_us, run.id, run.parts, part.text, run.doc, run.steps, run.flagged "  # noqa: S608
            f"FROM {source or f'run INDEXED BY {index}'} LEFT JOIN part ON part.id = run.part "
            f"WHERE {' AND '.join(tests)} ORDER BY {at} DESC, {pk} DESC"
        )
        return sql, values

    def _few_runs_with(self, project_id: int, text: str) -> str | None:
        """The numbers of the runs that have a text, as a JSON list; None where they are many.

        Few are looked up, many are met soon on the way through the newest: looking for few on that way reads every run.
        """
        found: set[int] = set()
        for statement, values in _runs_with(project_id, text):
            rows = self._db.execute(f"{statement} LIMIT ?", (*values, FEW_RUNS + 1)).fetchall()
            if len(rows) > FEW_RUNS:
                return None
            found.update(pk for (pk,) in rows)
        return json.dumps(sorted(found))

    def run(self, project: str, run_id: str) -> StoredRun | None:
        row = self._db.execute(
            "SELECT run.pk, run.at_us, run.id, run.parts, part.text, run.doc, run.steps, run.flagged "
            "FROM run LEFT JOIN part ON part.id = run.part WHERE run.project = ? AND run.id = ?",
            (self._id("project", "name", project), id_key(run_id)),
        ).fetchone()
        return None if row is None else self._stored_run(row)

    def _stored_run(self, row: Any) -> StoredRun:
        _, at_us, key, parts, part, doc, steps, flagged = row
        if parts == 0:
            state = states.run_state([])
        elif parts == 1:
            state = states.run_state([states.run_part(part, unpack(doc))])
        else:
            state = unpack(doc)
        return StoredRun(id_text(key), at_us, state, steps, flagged, known=parts > 0)

    # -- steps -----------------------------------------------------------------------------------------------------

    _STEP: Final = (
        "step.pk, step.at_us, step.run, run.id, step.id, step.attempt, step.doc, "
        "step.pipeline, step.name, step.type, step.status, step.position, step.duration_us"
    )

    def steps(self, project: str, where: StepFilter, limit: int, cursor: str | None) -> Page[StoredStep]:
        sql, values = self.steps_query(project, where, cursor)
        rows = self._db.execute(f"{sql} LIMIT ?", (*values, limit + 1)).fetchall()
        more = len(rows) > limit
        return Page(
            self._stored_steps(rows[:limit]),
            make_cursor(rows[limit - 1][1], rows[limit - 1][0]) if more else None,
        )

    def steps_query(
        self, project: str, where: StepFilter, cursor: str | None, columns: str | None = None
    ) -> tuple[str, list[Any]]:
        """The statement that lists steps across runs, without its limit; all of what a StoredStep needs unless told."""
        project_id = self._id("project", "name", project)
        at, pk = "step.at_us", "step.pk"
        if where.reason is not None:
            source = "step_reason why CROSS JOIN step ON step.pk = why.step"
            tests = ["why.project = ? AND why.reason = ?"]
            values: list[Any] = [project_id, self._word(where.reason)]
            # one reason may stand under two outcomes of one step: only the first of its rows speaks for it
            tests.append(
                "NOT EXISTS (SELECT 1 FROM step_reason w WHERE w.project = why.project AND w.reason = why.reason "
                "AND w.at_us = why.at_us AND w.step = why.step AND w.outcome < why.outcome)"
            )
            at, pk = "why.at_us", "why.step"
        else:
            source = f"step INDEXED BY {_steps_index(where)}"
            tests, values = ["step.project = ?"], [project_id]
        for column, word in (("type", where.step_type), ("name", where.name), ("pipeline", where.pipeline)):
            if word is not None:
                tests.append(f"step.{column} = ?")
                values.append(self._word(word))
        if where.status is not None:
            # written out, since a partial index is only used for a constant
            tests.append(f"step.status = {STATUS_RANK.get(where.status, _NOTHING)}")
        if where.rejection_rate_gt is not None:
            tests.append("step.rate > ?")
            values.append(where.rejection_rate_gt)
            if where.rejection_rate_gt >= HIGH_RATE:
                tests.append(f"step.rate >= {HIGH_RATE}")
        if where.duration_us_gt is not None:
            tests.append("step.duration_us > ?")
            values.append(where.duration_us_gt)
            if where.duration_us_gt >= SLOW_US:
                tests.append(f"step.duration_us >= {SLOW_US}")
        for bound, test in (
            (where.rejection_rate_lt, "step.rate < ?"),
            (where.since_us, f"{at} >= ?"),
            (where.until_us, f"{at} < ?"),
        ):
            if bound is not None:
                tests.append(test)
                values.append(bound)
        if cursor is not None:
            tests.append(f"({at}, {pk}) < (?, ?)")
            values += parse_cursor(cursor)
        sql = (
            f"SELECT {columns or self._STEP} FROM {source} CROSS JOIN run ON run.pk = step.run "  # noqa: S608  # values are bound
            f"WHERE {' AND '.join(tests)} ORDER BY {at} DESC, {pk} DESC"
        )
        return sql, values

    def run_steps(
        self, project: str, run_id: str, limit: int, cursor: str | None, name: str | None
    ) -> Page[StoredStep]:
        run = self.run_pk(project, run_id)
        after: list[Any] = parse_cursor(cursor, parts=3) if cursor is not None else [-1, 0, 0]
        order = "step.at_us, coalesce(step.position, 0), step.pk"
        named, words = ("", []) if name is None else (" AND step.name = ?", [self._word(name)])
        rows = self._db.execute(
            f"SELECT {self._STEP}, coalesce(step.position, 0) FROM step JOIN run ON run.pk = step.run "  # noqa: S608
            f"WHERE step.run = ?{named} AND ({order}) > (?, ?, ?) ORDER BY {order} LIMIT ?",
            (run, *words, *after, limit + 1),
        ).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(
            self._stored_steps(rows[:limit]),
            None if last is None else make_cursor(last[1], last[13], last[0]),
        )

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        rows = self._db.execute(
            f"SELECT {self._STEP} FROM step JOIN run ON run.pk = step.run "  # noqa: S608
            f"WHERE {OF_STEP} ORDER BY step.attempt",
            (self.run_pk(project, run_id), id_key(step_id)),
        ).fetchall()
        return self._stored_steps(rows)

    def step_groups(self, project: str, run_id: str) -> list[StepGroup]:
        rows = self._db.execute(
            "SELECT coalesce(word.text, ''), type.text, count(*), sum(status = 3), sum(flags & 5 <> 0), min(at_us), "
            "coalesce(sum(duration_us), 0), sum(input), sum(accepted), sum(rejected), sum(not_selected), sum(errored), "
            "sum(selected), sum(flags & 16 = 0), sum(flags & 32 = 0), min(coalesce(position, 0)) AS first "
            "FROM step LEFT JOIN word ON word.id = step.name LEFT JOIN word type ON type.id = step.type "
            "WHERE step.run = ? AND NOT EXISTS (SELECT 1 FROM step later WHERE later.run = step.run "
            "AND substr(later.id, -4) = substr(step.id, -4) AND later.id = step.id AND later.attempt > step.attempt) "
            "GROUP BY step.name, step.type ORDER BY min(at_us), first",
            (self.run_pk(project, run_id),),
        ).fetchall()
        return [StepGroup(*row[:15]) for row in rows]

    def _stored_steps(self, rows: Sequence[Any]) -> list[StoredStep]:
        docs = documents(self._db, [(row[0], row[2], row[6]) for row in rows])
        parts = self._parts({part for doc in docs.values() for part, _ in doc})
        return [self._stored_step(row, docs[row[0]], parts) for row in rows]

    def _stored_step(self, row: Any, doc: Any, part_texts: Mapping[int, str]) -> StoredStep:
        _, at_us, _, run_key, step_key, attempt, _, pipeline, name, kind, status, position, duration_us = row[:13]
        words = [None if word is None else self._text(word) for word in (pipeline, name, kind)]
        columns = (*words, STATUS_NAMES[status], position, at_us, duration_us)
        parts = [states.step_part(part_texts[part], states.full(values, columns)) for part, values in doc]
        state = states.step_state(parts)
        run_id, step_id = id_text(run_key), id_text(step_key)
        state.values.update(run_id=run_id, step_id=step_id, attempt=attempt)
        return StoredStep(run_id, step_id, attempt, at_us, state.values, state.ledger, state.rejection_rate)

    # -- items -----------------------------------------------------------------------------------------------------

    def item_verdicts(self, project: str, run_id: str, item_id: str) -> list[StoredVerdict]:
        text = item_id_text(item_id)
        wanted = verdicts.fingerprint(text)
        found: dict[tuple[Any, ...], StoredVerdict] = {}
        for pk, size, step_key, attempt, head in self._db.execute(
            "SELECT c.pk, length(c.data), step.id, step.attempt, c.head FROM step "
            "JOIN verdict_chunk c ON c.step = step.pk WHERE step.run = ? ORDER BY step.at_us, step.pk, c.pk",
            (self.run_pk(project, run_id),),
        ).fetchall():
            data = self.verdict_data(pk, size)
            for code, reason, n, form, offset, length in unpack(head):
                position = None
                if form == FP40:
                    if not verdicts.contains(cast(bytes, BlobWindow(data, offset, length)), wanted):
                        continue
                else:
                    ids = msgspec.json.decode(data[offset : offset + length])
                    if text not in ids:
                        continue
                    position = ids.index(text)
                exact = form != FP40
                verdict = StoredVerdict(
                    id_text(step_key), attempt, SET_NAMES[code], reason, exact,
                    0.0 if exact else verdicts.false_positive_probability([n]), position,
                )  # fmt: skip
                same = (verdict.step_id, attempt, code, reason)
                if same not in found or (exact and not found[same].exact):
                    found[same] = verdict
        return list(found.values())

    def sets(self, project: str, run_id: str, step_id: str | None) -> Iterator[StoredSet]:
        which = "step.run = ?1" if step_id is None else OF_STEP
        keys = [self.run_pk(project, run_id)] + ([] if step_id is None else [id_key(step_id)])
        for pk, step_key, attempt, head in self._db.execute(
            "SELECT c.pk, step.id, step.attempt, c.head FROM step JOIN verdict_chunk c ON c.step = step.pk "  # noqa: S608
            f"WHERE {which} ORDER BY step.at_us, step.pk, c.pk",
            keys,
        ).fetchall():
            data = self._db.execute("SELECT data FROM verdict_chunk WHERE pk = ?", (pk,)).fetchone()[0]
            for code, reason, n, form, offset, length in unpack(head):
                blob = data[offset : offset + length]
                ids = None if form == FP40 else msgspec.json.decode(blob)
                yield StoredSet(
                    id_text(step_key), attempt, SET_NAMES[code], reason, n, ids, blob if form == FP40 else None
                )

    def verdict_data(self, pk: int, size: int) -> Any:
        """A chunk's data: whole when small, else a window that reads only the bytes asked for."""
        if size >= _READ_WHOLE_BYTES and hasattr(self._db, "blobopen"):  # Python 3.11
            return self._db.blobopen("verdict_chunk", "data", pk, readonly=True)
        return self._db.execute("SELECT data FROM verdict_chunk WHERE pk = ?", (pk,)).fetchone()[0]

    # -- the rest --------------------------------------------------------------------------------------------------

    def clients(self, project: str, limit: int) -> list[StoredClient]:
        rows = self._db.execute(
            "SELECT part.text, client.doc, client.received_us FROM client JOIN part ON part.id = client.part "
            "WHERE client.project = ? ORDER BY client.received_us DESC LIMIT ?",
            (self._id("project", "name", project), limit),
        ).fetchall()
        clients = []
        for part, doc, received_us in rows:
            host, pid, sdk, pipeline, counters = unpack(doc)
            clients.append(StoredClient(part, host, pid, sdk, pipeline, counters, received_us))
        return clients

    def pipelines(self, project: str) -> list[str]:
        # a loose walk over the index: one seek a pipeline, however many runs each has
        rows = self._db.execute(
            "WITH RECURSIVE seen(id) AS ("
            " SELECT (SELECT min(pipeline) FROM run WHERE project = :project)"
            " UNION ALL SELECT (SELECT min(pipeline) FROM run WHERE project = :project AND pipeline > seen.id) FROM seen"
            " WHERE seen.id IS NOT NULL) "
            "SELECT word.text FROM seen JOIN word ON word.id = seen.id ORDER BY word.text",
            {"project": self._id("project", "name", project)},
        ).fetchall()
        return [text for (text,) in rows]

    def trend(
        self, project: str, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        tests = ["r.project = ?", "r.hour >= ?", "r.hour < ?"]
        values: list[Any] = [self._id("project", "name", project), since_us // HOUR_US, -(-until_us // HOUR_US)]
        for column, word in (("pipeline", pipeline), ("name", name)):
            if word is not None:
                tests.append(f"r.{column} = ?")
                values.append(self._word(word))
        where = " AND ".join(tests)
        reasons: dict[tuple[int, int, int], dict[str, int]] = {}
        for hour, pipeline_id, name_id, reason, n in self._db.execute(
            f"SELECT r.hour, r.pipeline, r.name, r.reason, r.n FROM rollup_reason r WHERE {where} AND r.n > 0",  # noqa: S608
            values,
        ):
            mix, word = reasons.setdefault((hour, pipeline_id, name_id), {}), self._text(reason)
            mix[word] = mix.get(word, 0) + n  # several outcomes may have one reason
        points = []
        for hour, pipeline_id, name_id, *figures in self._db.execute(
            "SELECT r.hour, r.pipeline, r.name, r.steps, r.failed, r.input, r.accepted, r.rejected, r.not_selected, "  # noqa: S608
            f"r.errored, r.selected, r.unaccounted, r.duration_us FROM rollup r WHERE {where} AND r.steps > 0",
            values,
        ):
            names = (self._text(pipeline_id) if pipeline_id else "", self._text(name_id))
            mix = reasons.get((hour, pipeline_id, name_id), {})
            points.append(TrendPoint._make((hour * HOUR_US, *names, *figures, mix)))
        return sorted(points, key=lambda point: (point.at_us, point.pipeline, point.name))

    def figures(self) -> tuple[int, int | None, int]:
        """An estimate of the number of runs (the highest key), the newest start, and the size of the database in bytes."""
        runs = self._db.execute("SELECT coalesce(max(pk), 0) FROM run").fetchone()[0]
        newest = self._db.execute("SELECT max(received_us) FROM (SELECT received_us FROM run ORDER BY pk DESC LIMIT 1)")
        pages, page_bytes = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(runs), newest.fetchone()[0], int(pages * page_bytes)

    def _id(self, table: str, column: str, text: str) -> int:
        row = self._db.execute(f"SELECT id FROM {table} WHERE {column} = ?", (text,)).fetchone()  # noqa: S608
        return int(row[0]) if row else _NOTHING

    def _word(self, text: str) -> int:
        return self._id("word", "text", text)

    def word(self, number: int | None) -> str | None:
        return None if number is None else self._text(number)

    def _text(self, word: int) -> str:
        text = self._texts.get(word)
        if text is None:
            if len(self._texts) >= _MAX_TEXTS:
                self._texts.clear()
            text = self._texts[word] = str(
                self._db.execute("SELECT text FROM word WHERE id = ?", (word,)).fetchone()[0]
            )
        return text

    def word_text(self, number: int | None) -> str | None:
        return None if number is None else self._text(number)

    def part_text(self, number: int) -> str:
        return self._parts([number])[number]

    def _parts(self, numbers: Collection[int]) -> dict[int, str]:
        """The names of parts. Not kept from one question to the next: a number may name another part after a purge."""
        rows = self._db.execute(
            "SELECT id, text FROM part WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(numbers)),)
        )
        return dict(rows.fetchall())

    def run_pk(self, project: str, run_id: str) -> int:
        row = self._db.execute(
            "SELECT pk FROM run WHERE project = ? AND id = ?", (self._id("project", "name", project), id_key(run_id))
        ).fetchone()
        return int(row[0]) if row else _NOTHING


class BlobWindow:
    """A part of a blob that is read as it is sliced: what `verdicts.contains` needs of bytes."""

    def __init__(self, blob: Any, offset: int, length: int) -> None:
        self._blob, self._offset, self._length = blob, offset, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._length)
        return bytes(self._blob[self._offset + start : self._offset + stop])


def _runs_with(project_id: int, text: str) -> list[tuple[str, list[Any]]]:
    """What selects the runs that have a text: at the beginning of their id or of a tag's value, or in their pipeline's name."""
    return [
        ("SELECT pk FROM run WHERE project = ? AND id >= ? AND id < ?", [project_id, *id_prefix_range(text)]),
        (
            "SELECT run FROM run_tag WHERE project = ? AND value >= ? AND value < ?",
            [project_id, text, text + "\U0010ffff"],
        ),
        (
            "SELECT pk FROM run WHERE project = ? AND pipeline IN (SELECT id FROM word WHERE instr(lower(text), lower(?)) > 0)",
            [project_id, text],
        ),
    ]


def _steps_index(where: StepFilter) -> str:
    """The index that leaves least to filter: the rare things first."""
    if where.rejection_rate_gt is not None and where.rejection_rate_gt >= HIGH_RATE:
        return "step_high_rate_at"
    if where.status == "failed":
        return "step_failed_at"
    if where.duration_us_gt is not None and where.duration_us_gt >= SLOW_US:
        return "step_slow_at"
    if where.name is not None:
        return "step_name_at"
    if where.pipeline is not None:
        return "step_pipeline_at"
    return "step_at" if where.step_type is None else "step_type_at"
