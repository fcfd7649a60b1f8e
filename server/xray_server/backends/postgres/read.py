"""Reading from PostgreSQL: one named function a question, each answered from an index in the order in which it lies there.

The connections allow neither hash joins nor sequential scans (postgres.py): like SQLite's statements, which name their index,
these must not change their plan with the statistics of the day. Knows nothing of how rows are written but their layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
from psycopg import Connection

from xray_core import verdicts
from xray_core.model import STATUS_RANK, item_id_text
from xray_server.backends.postgres import keys as postgres_keys
from xray_server.backends.postgres.text import given_id, given_text, kept_id, kept_id_range, kept_text
from xray_server.backends.relational.cursors import make_cursor, parse_cursor
from xray_server.backends.relational.rows import FEW_RUNS, FP40, HIGH_RATE, HOUR_US, SET_NAMES, SLOW_US, STATUS_NAMES
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
from xray_server.store.keys import Key

_NOTHING: Final = -1  # a number that nothing has
_MAX_TEXTS: Final = 10_000
_READ_WHOLE_BYTES: Final = 65_536  # data below this is read at once
_PIECE_BYTES: Final = 8_192
_RUN: Final = "run.pk, run.at_us, run.id, run.parts, part.text, run.doc, run.steps, run.flagged"
_STEP: Final = (
    "step.pk, step.at_us, run.id, step.id, step.attempt, step.doc, "
    "step.pipeline, step.name, step.type, step.status, step.position, step.duration_us"
)


@dataclass(frozen=True, slots=True)
class Words:
    """What is known of the dictionaries, by table; their rows are never changed nor deleted. Shared between threads."""

    texts: dict[str, dict[int, str]] = field(default_factory=dict)
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)


class Reader:
    """Answers on one connection. `words` are those already known, shared by all readers of a process."""

    def __init__(self, db: Connection[Any], words: Words) -> None:
        self._db = db
        self._texts = words.texts
        self._numbers = words.numbers

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """All rows of a statement whose text is this package's own; its values are bound."""
        return self._db.execute(cast(Any, statement), values or None, binary=True).fetchall()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """One state of the database for several questions."""
        with self._db.transaction():
            self._db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    # -- runs ------------------------------------------------------------------------------------------------------

    def runs(self, project: str, where: RunFilter, limit: int, cursor: str | None) -> Page[StoredRun]:
        sql, values = self.runs_query(project, where, cursor)
        rows = self.rows(f"{sql} LIMIT %s", [*values, limit + 1])
        items = [self._stored_run(row) for row in rows[:limit]]
        return Page(items, make_cursor(rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None)

    def runs_query(self, project: str, where: RunFilter, cursor: str | None) -> tuple[str, list[Any]]:
        """The statement that lists runs, without its limit."""
        project_id = self.number("project", project)
        tests, source = ["run.project = %s"], "run"
        values: list[Any] = [project_id]
        if where.status is not None:
            tests.append("run.status = %s")
            values.append(STATUS_RANK.get(where.status, _NOTHING))
        if where.pipeline is not None:
            tests.append("run.pipeline = %s")
            values.append(self.number("word", where.pipeline))
        at, pk = "run.at_us", "run.pk"
        if where.tag is not None:
            key, given, value = where.tag.partition(":")
            if given:
                source = "run_tag tag JOIN run ON run.pk = tag.run"
                tests[0] = "tag.project = %s"
                tests.append("tag.key = %s AND tag.value = %s")
                values += [self.number("word", key), kept_text(value)]
                at, pk = "tag.at_us", "tag.run"
            else:
                tests.append("EXISTS (SELECT 1 FROM run_tag t WHERE t.run = run.pk AND t.key = %s)")
                values.append(self.number("word", key))
        for bound, test in ((where.since_us, f"{at} >= %s"), (where.until_us, f"{at} < %s")):
            if bound is not None:
                tests.append(test)
                values.append(bound)
        if where.q:
            few = self._few_runs_with(project_id, where.q)
            if few is None:
                tests.append(
                    "(" + " OR ".join(f"run.pk IN ({each})" for each, _ in _runs_with(project_id, where.q)) + ")"
                )
                values += [value for _, given in _runs_with(project_id, where.q) for value in given]
            else:
                tests.append("run.pk = ANY(%s::bigint[])")
                values.append(few)
        if cursor is not None:
            tests.append(f"({at}, {pk}) < (%s, %s)")
            values += parse_cursor(cursor)
        sql = (
            f"SELECT {_RUN} FROM {source} LEFT JOIN part ON part.id = run.part "  # noqa: S608  # values are bound
            f"WHERE {' AND '.join(tests)} ORDER BY {at} DESC, {pk} DESC"
        )
        return sql, values

    def _few_runs_with(self, project_id: int, text: str) -> list[int] | None:
        """The numbers of the runs that have a text; None where they are many.

        Few are looked up, many are met soon on the way through the newest: looking for few on that way reads every run.
        """
        found: set[int] = set()
        for statement, values in _runs_with(project_id, text):
            rows = self.rows(f"{statement} LIMIT %s", [*values, FEW_RUNS + 1])
            if len(rows) > FEW_RUNS:
                return None
            found.update(pk for (pk,) in rows)
        return sorted(found)

    def run(self, project: str, run_id: str) -> StoredRun | None:
        rows = self.rows(
            f"SELECT {_RUN} FROM run LEFT JOIN part ON part.id = run.part WHERE run.project = %s AND run.id = %s",  # noqa: S608
            [self.number("project", project), kept_id(run_id)],
        )
        return self._stored_run(rows[0]) if rows else None

    def keys(self) -> list[Key]:
        return postgres_keys.all_keys(self._db)

    def _stored_run(self, row: Any) -> StoredRun:
        _, at_us, key, parts, part, doc, steps, flagged = row
        if parts == 0:
            state = states.run_state([])
        elif parts == 1:
            state = states.run_state([states.run_part(given_text(part), unpack(doc))])
        else:
            state = unpack(doc)
        return StoredRun(given_id(key), at_us, state, steps, flagged, known=parts > 0)

    # -- steps -----------------------------------------------------------------------------------------------------

    def steps(self, project: str, where: StepFilter, limit: int, cursor: str | None) -> Page[StoredStep]:
        sql, values = self.steps_query(project, where, cursor)
        rows = self.rows(f"{sql} LIMIT %s", [*values, limit + 1])
        items = [self.stored_step(row) for row in rows[:limit]]
        return Page(items, make_cursor(rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None)

    def steps_query(
        self, project: str, where: StepFilter, cursor: str | None, columns: str = _STEP
    ) -> tuple[str, list[Any]]:
        """The statement that lists these columns of steps across runs, without its limit."""
        project_id = self.number("project", project)
        at, pk, source = "step.at_us", "step.pk", "step"
        tests = ["step.project = %s"]
        values: list[Any] = [project_id]
        if where.reason is not None:
            at, pk = "why.at_us", "why.step"
            source = "step_reason why JOIN step ON step.run = why.run AND step.pk = why.step"
            tests, values = ["why.project = %s AND why.reason = %s"], [project_id, self.number("word", where.reason)]
        for column, word in (("type", where.step_type), ("name", where.name), ("pipeline", where.pipeline)):
            if word is not None:
                tests.append(f"step.{column} = %s")
                values.append(self.number("word", word))
        if where.status is not None:
            tests.append(f"step.status = {STATUS_RANK.get(where.status, _NOTHING)}")
        if where.rejection_rate_gt is not None:
            tests.append("step.rate > %s::float8")
            values.append(where.rejection_rate_gt)
            if where.rejection_rate_gt >= HIGH_RATE:
                tests.append(f"step.rate >= {HIGH_RATE}")
        if where.duration_us_gt is not None:
            tests.append("step.duration_us > %s")
            values.append(where.duration_us_gt)
            if where.duration_us_gt >= SLOW_US:
                tests.append(f"step.duration_us >= {SLOW_US}")
        for bound, test in (
            (where.rejection_rate_lt, "step.rate < %s::float8"),
            (where.since_us, f"{at} >= %s"),
            (where.until_us, f"{at} < %s"),
        ):
            if bound is not None:
                tests.append(test)
                values.append(bound)
        if cursor is not None:
            tests.append(f"({at}, {pk}) < (%s, %s)")
            values += parse_cursor(cursor)
        sql = (
            f"SELECT {columns} FROM {source} JOIN run ON run.pk = step.run "  # noqa: S608  # values are bound
            f"WHERE {' AND '.join(tests)} ORDER BY {at} DESC, {pk} DESC"
        )
        return sql, values

    def run_steps(
        self, project: str, run_id: str, limit: int, cursor: str | None, name: str | None
    ) -> Page[StoredStep]:
        after = parse_cursor(cursor, parts=3) if cursor is not None else [-1, 0, 0]
        order = "step.at_us, coalesce(step.position, 0), step.pk"
        named, words = ("", []) if name is None else (" AND step.name = %s", [self.number("word", name)])
        rows = self.rows(
            f"SELECT {_STEP}, coalesce(step.position, 0) FROM step JOIN run ON run.pk = step.run "  # noqa: S608
            f"WHERE step.run = %s{named} AND ({order}) > (%s, %s, %s) ORDER BY {order} LIMIT %s",
            [self.run_pk(project, run_id), *words, *after, limit + 1],
        )
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(
            [self.stored_step(row) for row in rows[:limit]],
            None if last is None else make_cursor(last[1], last[12], last[0]),
        )

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        rows = self.rows(
            f"SELECT {_STEP} FROM step JOIN run ON run.pk = step.run "  # noqa: S608
            "WHERE step.run = %s AND step.id = %s ORDER BY step.attempt",
            [self.run_pk(project, run_id), kept_id(step_id)],
        )
        return [self.stored_step(row) for row in rows]

    def step_groups(self, project: str, run_id: str) -> list[StepGroup]:
        rows = self.rows(
            "SELECT step.name, step.type, count(*), count(*) FILTER (WHERE status = 3), "
            "count(*) FILTER (WHERE flags & 5 <> 0), min(at_us), coalesce(sum(duration_us), 0)::bigint, "
            "sum(input)::bigint, sum(accepted)::bigint, sum(rejected)::bigint, sum(not_selected)::bigint, "
            "sum(errored)::bigint, sum(selected)::bigint, count(*) FILTER (WHERE flags & 16 = 0), "
            "count(*) FILTER (WHERE flags & 32 = 0) FROM step "
            "WHERE step.run = %(run)s AND NOT EXISTS (SELECT 1 FROM step later WHERE later.run = %(run)s AND "
            "later.id = step.id AND later.attempt > step.attempt) "
            "GROUP BY step.name, step.type ORDER BY min(at_us), min(coalesce(position, 0))",
            {"run": self.run_pk(project, run_id)},
        )
        return [StepGroup(self.word(name) or "", self.word(kind), *figures) for name, kind, *figures in rows]

    def stored_step(self, row: Any) -> StoredStep:
        """A row of `_STEP`'s columns."""
        _, at_us, run_key, step_key, attempt, doc, pipeline, name, kind, status, position, duration_us = row[:12]
        words = [self.word(number) for number in (pipeline, name, kind)]
        columns = (*words, STATUS_NAMES[status], position, at_us, duration_us)
        parts = [states.step_part(self.part(part), states.full(values, columns)) for part, values in unpack(doc)]
        state = states.step_state(parts)
        run_id, step_id = given_id(run_key), given_id(step_key)
        state.values.update(run_id=run_id, step_id=step_id, attempt=attempt)
        return StoredStep(run_id, step_id, attempt, at_us, state.values, state.ledger, state.rejection_rate)

    # -- items -----------------------------------------------------------------------------------------------------

    def chunks(self, project: str, run_id: str, step_id: str | None = None) -> Iterator[tuple[Any, ...]]:
        """(step number, step id, attempt, head, data) of a run's chunks, or of a step's; `data` is read as it is sliced."""
        run = self.run_pk(project, run_id)
        statement, values = "SELECT pk, id, attempt FROM step WHERE run = %s", list[Any]([run])
        if step_id is not None:
            statement, values = f"{statement} AND id = %s", [run, kept_id(step_id)]
        steps = {pk: (given_id(key), attempt) for pk, key, attempt in self.rows(statement, values)}
        for step, part, chunk, head, size, data in self.run_chunks(run, None if step_id is None else list(steps)):
            key, attempt = steps[step]
            whole = data if data is not None else Pieces(self, (run, step, part, chunk), size)
            yield step, key, attempt, unpack(head), whole

    def run_chunks(self, run: int, steps: Sequence[int] | None = None) -> list[Any]:
        """(step number, part, chunk, head, size, data or None when large) of a run, or of some of its steps, in their order."""
        some, numbers = ("", []) if steps is None else (" AND c.step = ANY(%s)", [list(steps)])
        return self.rows(
            "SELECT c.step, c.part, c.chunk, c.head, length(c.data), "  # noqa: S608
            f"CASE WHEN length(c.data) < {_READ_WHOLE_BYTES} THEN c.data END "
            "FROM step JOIN verdict_chunk c ON c.run = step.run AND c.step = step.pk "
            f"WHERE step.run = %s AND c.run = %s{some} ORDER BY step.at_us, step.position, step.pk, c.part, c.chunk",
            [run, run, *numbers],
        )

    def item_verdicts(self, project: str, run_id: str, item_id: str) -> list[StoredVerdict]:
        text = item_id_text(item_id)
        wanted = verdicts.fingerprint(text)
        found: dict[tuple[Any, ...], StoredVerdict] = {}
        for _, step_id, attempt, head, data in self.chunks(project, run_id):
            for code, reason, n, form, offset, length in head:
                position = None
                if form == FP40:
                    if not verdicts.contains(cast(bytes, Window(data, offset, length)), wanted):
                        continue
                else:
                    ids = msgspec.json.decode(data[offset : offset + length])
                    if text not in ids:
                        continue
                    position = ids.index(text)
                exact = form != FP40
                verdict = StoredVerdict(
                    step_id, attempt, SET_NAMES[code], reason, exact,
                    0.0 if exact else verdicts.false_positive_probability([n]), position,
                )  # fmt: skip
                same = (step_id, attempt, code, reason)
                if same not in found or (exact and not found[same].exact):
                    found[same] = verdict
        return list(found.values())

    def sets(self, project: str, run_id: str, step_id: str | None) -> Iterator[StoredSet]:
        for _, key, attempt, head, data in self.chunks(project, run_id, step_id):
            for code, reason, n, form, offset, length in head:
                blob = data[offset : offset + length]
                ids = None if form == FP40 else msgspec.json.decode(blob)
                yield StoredSet(key, attempt, SET_NAMES[code], reason, n, ids, blob if form == FP40 else None)

    # -- the rest --------------------------------------------------------------------------------------------------

    def clients(self, project: str, limit: int) -> list[StoredClient]:
        clients = []
        for part, doc, received_us in self.rows(
            "SELECT part.text, client.doc, client.received_us FROM client JOIN part ON part.id = client.part "
            "WHERE client.project = %s ORDER BY client.received_us DESC LIMIT %s",
            [self.number("project", project), limit],
        ):
            host, pid, sdk, pipeline, counters = unpack(doc)
            clients.append(StoredClient(given_text(part), host, pid, sdk, pipeline, counters, received_us))
        return clients

    def pipelines(self, project: str) -> list[str]:
        # a loose walk over the index: one look a pipeline, however many runs each has
        rows = self.rows(
            "WITH RECURSIVE seen(id) AS ("
            " SELECT (SELECT min(pipeline) FROM run WHERE project = %(project)s)"
            " UNION ALL SELECT (SELECT min(pipeline) FROM run WHERE project = %(project)s AND pipeline > seen.id) FROM seen"
            " WHERE seen.id IS NOT NULL) "
            "SELECT word.text FROM seen JOIN word ON word.id = seen.id",
            {"project": self.number("project", project)},
        )
        return sorted(given_text(text) for (text,) in rows)

    def trend(
        self, project: str, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        tests = ["r.project = %s", "r.hour >= %s", "r.hour < %s"]
        values: list[Any] = [self.number("project", project), since_us // HOUR_US, -(-until_us // HOUR_US)]
        for column, word in (("pipeline", pipeline), ("name", name)):
            if word is not None:
                tests.append(f"r.{column} = %s")
                values.append(self.number("word", word))
        where = " AND ".join(tests)
        reasons: dict[tuple[int, int, int], dict[str, int]] = {}
        points: list[TrendPoint] = []
        for hour, pipeline_id, name_id, reason, n in self.rows(
            "SELECT r.hour, r.pipeline, r.name, r.reason, sum(r.n)::bigint FROM rollup_reason r "  # noqa: S608
            f"WHERE {where} GROUP BY 1, 2, 3, 4 HAVING sum(r.n) > 0",
            values,
        ):
            reasons.setdefault((hour, pipeline_id, name_id), {})[self.word(reason) or ""] = n
        rows = self.rows(
            "SELECT r.hour, r.pipeline, r.name, r.steps, r.failed, r.input, r.accepted, r.rejected, r.not_selected, "  # noqa: S608
            f"r.errored, r.selected, r.unaccounted, r.duration_us FROM rollup r WHERE {where} AND r.steps > 0",
            values,
        )
        for hour, pipeline_id, name_id, *figures in rows:
            names = (self.word(pipeline_id) or "" if pipeline_id else "", self.word(name_id) or "")
            figures.append(reasons.get((hour, pipeline_id, name_id), {}))
            points.append(TrendPoint(hour * HOUR_US, *names, *figures))
        return sorted(points, key=lambda point: (point.at_us, point.pipeline, point.name))

    def figures(self) -> tuple[int, int | None]:
        """An estimate of the number of runs, and when the newest came."""
        runs = self.rows("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM run_number")[0][0]
        newest = self.rows("SELECT received_us FROM run ORDER BY pk DESC LIMIT 1")
        return int(runs), newest[0][0] if newest else None

    def size_bytes(self) -> int:
        """Of the whole database. Looks at every file."""
        return int(self.rows("SELECT pg_database_size(current_database())")[0][0])

    def number(self, table: str, text: str) -> int:
        """The number of a text in a dictionary, or one that nothing has."""
        known = self._numbers.setdefault(table, {})
        number = known.get(text)
        if number is None:
            rows = self.rows(f"SELECT id FROM {table} WHERE text = %s", [kept_text(text)])  # noqa: S608
            if not rows:
                return _NOTHING  # it may come: only what is there stays as it is
            if len(known) >= _MAX_TEXTS:
                known.clear()
            number = known[text] = int(rows[0][0])
        return number

    def word(self, number: int | None) -> str | None:
        return None if number is None else self._text("word", number)

    def part(self, number: int) -> str:
        return self._text("part", number)

    def _text(self, table: str, number: int) -> str:
        known = self._texts.setdefault(table, {})
        text = known.get(number)
        if text is None:
            if len(known) >= _MAX_TEXTS:
                known.clear()
            rows = self.rows(f"SELECT text FROM {table} WHERE id = %s", [number])  # noqa: S608
            text = known[number] = given_text(rows[0][0])
        return text

    def run_pk(self, project: str, run_id: str) -> int:
        rows = self.rows(
            "SELECT pk FROM run WHERE project = %s AND id = %s", [self.number("project", project), kept_id(run_id)]
        )
        return int(rows[0][0]) if rows else _NOTHING


class Pieces:
    """A large chunk's data, fetched piece by piece as it is sliced; what was fetched is kept while one question lasts."""

    def __init__(self, reader: Reader, key: tuple[Any, ...], size: int) -> None:
        self._reader, self._key, self._size = reader, key, size
        self._pieces: dict[int, bytes] = {}

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
        if stop <= start:
            return b""
        first, last = start // _PIECE_BYTES, (stop - 1) // _PIECE_BYTES
        if last - first > 16:
            return self._fetch(start, stop - start)
        for piece in range(first, last + 1):
            if piece not in self._pieces:
                self._pieces[piece] = self._fetch(piece * _PIECE_BYTES, _PIECE_BYTES)
        joined = b"".join(self._pieces[piece] for piece in range(first, last + 1))
        return joined[start - first * _PIECE_BYTES : stop - first * _PIECE_BYTES]

    def _fetch(self, offset: int, length: int) -> bytes:
        rows = self._reader.rows(
            "SELECT substring(data FROM %s FOR %s) FROM verdict_chunk WHERE run = %s AND step = %s AND part = %s AND chunk = %s",
            [offset + 1, length, *self._key],
        )
        return bytes(rows[0][0])


class Window:
    """A part of a chunk's data, from 0: what `verdicts.contains` needs of bytes."""

    def __init__(self, data: Any, offset: int, length: int) -> None:
        self._data, self._offset, self._length = data, offset, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._length)
        return bytes(self._data[self._offset + start : self._offset + stop])


def _runs_with(project_id: int, text: str) -> list[tuple[str, list[Any]]]:
    """What selects the runs that have a text: at the beginning of their id or of a tag's value, or in their pipeline's name."""
    kept = kept_text(text)
    return [
        ("SELECT pk FROM run WHERE project = %s AND id >= %s AND id < %s", [project_id, *kept_id_range(text)]),
        (
            "SELECT run FROM run_tag WHERE project = %s AND value >= %s AND value < %s",
            [project_id, kept, kept + "\U0010ffff"],
        ),
        (
            "SELECT pk FROM run WHERE project = %s AND pipeline IN "
            "(SELECT id FROM word WHERE position(lower(%s) IN lower(text)) > 0)",
            [project_id, kept],
        ),
    ]
