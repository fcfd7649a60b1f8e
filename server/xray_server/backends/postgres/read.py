"""Reading from PostgreSQL: what `xray_server.backends.relational` needs of it, each question answered along an index.

The connections allow neither hash joins nor sequential scans (store.py): like SQLite's statements, which name their index,
these must not change their plan with the statistics of the day. Knows nothing of how rows are written but their layout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from psycopg import Connection

from xray_server.backends.postgres.text import escape_text, id_bytes, id_bytes_ranges, id_of_bytes, unescape_text
from xray_server.backends.relational.database import NOTHING, Chunk, DumpedRow, SampledRow, StepRow
from xray_server.records.documents import unpack
from xray_server.store import RunFilter, StepFilter

_MAX_TEXTS: Final = 10_000
_READ_WHOLE_BYTES: Final = 65_536  # data below this is read at once
_PIECE_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True)
class DictionaryCache:
    """What is known of the dictionaries, by table; their rows are never changed nor deleted. Shared between threads."""

    texts: dict[str, dict[int, str]] = field(default_factory=dict)
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)


def with_placeholders(statement: str) -> str:
    """A statement with its values marked as psycopg wants it."""
    return statement.replace("?", "%s")


class PostgresDatabase:
    """One connection (`xray_server.backends.relational.database.Database`). Used by one thread at a time.

    Args:
        dictionary: what is known of the dictionaries, shared by all connections of a process.
    """

    join: str = "JOIN"
    same_step: str = "later.run = step.run AND later.id = step.id"

    def __init__(self, db: Connection[Any], dictionary: DictionaryCache) -> None:
        self._db = db
        self._texts = dictionary.texts
        self._numbers = dictionary.numbers

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement whose text is this package's own; its values are bound."""
        return self._db.execute(cast(Any, with_placeholders(statement)), values or None, binary=True).fetchall()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """One state of the database for several questions."""
        with self._db.transaction():
            self._db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    # -- dictionaries and ids --------------------------------------------------------------------------------------

    def number(self, table: str, text: str) -> int:
        """The number of a text in a dictionary; `NOTHING` when it is not there."""
        known = self._numbers.setdefault(table, {})
        number = known.get(text)
        if number is None:
            rows = self.rows(f"SELECT id FROM {table} WHERE text = ?", [escape_text(text)])  # noqa: S608
            if not rows:
                return NOTHING  # it may come: only what is there stays as it is
            if len(known) >= _MAX_TEXTS:
                known.clear()
            number = known[text] = int(rows[0][0])
        return number

    def word(self, number: int | None) -> str | None:
        """The word of a number; None of None."""
        return None if number is None else self._text("word", number)

    def parts(self, numbers: Collection[int]) -> Mapping[int, str]:
        """The names of parts."""
        return {number: self._text("part", number) for number in numbers}

    def _text(self, table: str, number: int) -> str:
        known = self._texts.setdefault(table, {})
        text = known.get(number)
        if text is None:
            if len(known) >= _MAX_TEXTS:
                known.clear()
            rows = self.rows(f"SELECT text FROM {table} WHERE id = ?", [number])  # noqa: S608
            text = known[number] = unescape_text(rows[0][0])
        return text

    def id_key(self, text: str) -> bytes:
        """An id as it is kept."""
        return id_bytes(text)

    def id_text(self, key: bytes) -> str:
        """The id that `id_key` was given."""
        return id_of_bytes(key)

    def id_ranges(self, prefix: str) -> list[tuple[bytes, bytes]]:
        """From (inclusive) and to (exclusive) of the kept ids that begin with this text."""
        return id_bytes_ranges(prefix)

    def escape(self, text: str) -> str:
        """Text as it is kept."""
        return escape_text(text)

    def unescape(self, text: str) -> str:
        """The text that `escape` was given."""
        return unescape_text(text)

    def id_test(self, column: str, key: Any) -> tuple[str, list[Any]]:
        """The test that a step's id is `key`, and its values."""
        return f"{column} = ?", [key]

    # -- lists -----------------------------------------------------------------------------------------------------

    def runs_source(self, where: RunFilter) -> str:
        """The table of runs: the planner finds the index."""
        return "run"

    def steps_source(self, where: StepFilter) -> str:
        """The table of steps: the planner finds the index."""
        return "step"

    def steps_by_reason(self) -> tuple[str, Sequence[str]]:
        """Steps by reason: a reason has one row a step."""
        return "step_reason why JOIN step ON step.run = why.run AND step.pk = why.step", ()

    def only_runs(self, pks: Sequence[int], *, by_tag: bool) -> tuple[str | None, str | None, Any]:
        """A test of the numbers."""
        return None, "run.pk = ANY(?::bigint[])", list(pks)

    def contains_test(self, column: str) -> str:
        """The test that a text column contains a text, whatever the case."""
        return f"position(lower(?) IN lower({column})) > 0"

    # -- documents, verdicts, samples ------------------------------------------------------------------------------

    def documents(self, steps: Sequence[StepRow]) -> Mapping[int, list[Any]]:
        """The documents of steps, from their rows."""
        return {step.pk: unpack(step.doc) for step in steps}

    def steps_named(self, run: int, steps: Sequence[tuple[str, int]]) -> list[Any]:
        """(number, id, attempt) of these step attempts of a run."""
        return self.rows(
            "SELECT pk, id, attempt FROM step "
            "WHERE run = ? AND (id, attempt) IN (SELECT * FROM unnest(?::bytea[], ?::int[]))",
            [run, [id_bytes(step_id) for step_id, _ in steps], [attempt for _, attempt in steps]],
        )

    def chunks(self, run: int, step_id: str | None = None) -> Iterator[Chunk]:
        """The chunks of verdicts of a run, or of the attempts of one step, in the order of the steps."""
        test, values = ("", []) if step_id is None else (" AND id = ?", [id_bytes(step_id)])
        steps = {
            pk: (id_of_bytes(key), attempt)
            for pk, key, attempt in self.rows(f"SELECT pk, id, attempt FROM step WHERE run = ?{test}", [run, *values])  # noqa: S608
        }
        for step, part, chunk, head, size_bytes, data in self.run_chunks(run, None if step_id is None else list(steps)):
            whole = self.chunk_data((run, step, part, chunk), size_bytes, data)
            yield Chunk(step, *steps[step], self._text("part", part), unpack(head), whole)

    def run_chunks(self, run: int, steps: Sequence[int] | None = None) -> list[Any]:
        """(step, part, chunk, head, size, data or None when large) of a run, or of some of its steps, in their order."""
        test, numbers = ("", []) if steps is None else (" AND c.step = ANY(?)", [list(steps)])
        return self.rows(
            "SELECT c.step, c.part, c.chunk, c.head, length(c.data), "  # noqa: S608
            f"CASE WHEN length(c.data) < {_READ_WHOLE_BYTES} THEN c.data END "
            "FROM step JOIN verdict_chunk c ON c.run = step.run AND c.step = step.pk "
            f"WHERE step.run = ? AND c.run = ?{test} ORDER BY step.at_us, step.position, step.pk, c.part, c.chunk",
            [run, run, *numbers],
        )

    def chunks_of_runs(self, runs: Sequence[int]) -> list[Any]:
        """(run, step, part, chunk, head, size, data or None when large) of all chunks of these runs, in any order."""
        return self.rows(
            "SELECT run, step, part, chunk, head, length(data), "  # noqa: S608
            f"CASE WHEN length(data) < {_READ_WHOLE_BYTES} THEN data END FROM verdict_chunk WHERE run = ANY(?)",
            [list(runs)],
        )

    def chunk_data(self, key: tuple[int, int, int, str], size_bytes: int, data: bytes | None) -> Any:
        """A chunk's data: as it was read with its row, or pieces that are fetched as they are sliced."""
        return data if data is not None else Pieces(self, key, size_bytes)

    def sample_blocks(self, run: int, first: int, last: int) -> list[Any]:
        """(low, data) of the blocks of samples of a run that may hold one of the steps from `first` to `last`."""
        return self.rows(
            "SELECT low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY low",
            [run, last, first],
        )

    def blocks_of_steps(self, steps: Sequence[SampledRow]) -> list[Any]:
        """(run, low, data) of the blocks that may hold samples of these steps, each once: several steps may lie in one."""
        rows = self.rows(
            "SELECT b.run, b.low, b.data FROM unnest(?::bigint[], ?::bigint[]) AS k(run, step) "
            "JOIN sample_block b ON b.run = k.run AND b.low <= k.step AND b.high >= k.step",
            [[step.run for step in steps], [step.pk for step in steps]],
        )
        return list(dict.fromkeys(rows))

    # -- the rest --------------------------------------------------------------------------------------------------

    def dumped_runs(self, after: int, limit: int) -> list[DumpedRow]:
        """Runs of all projects in the order of their numbers."""
        rows = self.rows(
            "SELECT run.pk, project.text, run.id, run.received_us, run.parts, run.part, run.doc FROM run "
            "JOIN project ON project.id = run.project WHERE run.pk > ? ORDER BY run.pk LIMIT ?",
            [after, limit],
        )
        return [DumpedRow._make((pk, unescape_text(project), *rest)) for pk, project, *rest in rows]

    def dumped_chunks(self, run: int) -> list[Any]:
        """(step, number of the part, name of the chunk, head, data) of all chunks of verdicts of a run."""
        rows = self.rows(
            "SELECT step, part, chunk, head, data FROM verdict_chunk WHERE run = ? ORDER BY step, part, chunk", [run]
        )
        return [(step, part, unescape_text(chunk), head, data) for step, part, chunk, head, data in rows]

    def figures(self) -> tuple[int, int | None]:
        """An estimate of the number of runs, and when the newest came."""
        runs = self.rows("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM run_number")[0][0]
        newest = self.rows("SELECT received_us FROM run ORDER BY pk DESC LIMIT 1")
        return int(runs), newest[0][0] if newest else None

    def size_bytes(self) -> int:
        """Of the whole database. Looks at every file."""
        return int(self.rows("SELECT pg_database_size(current_database())")[0][0])


class Pieces:
    """A large chunk's data, fetched piece by piece as it is sliced; what was fetched is kept while one question lasts."""

    def __init__(self, db: PostgresDatabase, key: tuple[int, int, int, str], size_bytes: int) -> None:
        self._db, self._key, self._size_bytes = db, key, size_bytes
        self._pieces: dict[int, bytes] = {}

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size_bytes)
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
        rows = self._db.rows(
            "SELECT substring(data FROM ? FOR ?) FROM verdict_chunk WHERE run = ? AND step = ? AND part = ? AND chunk = ?",
            [offset + 1, length, *self._key],
        )
        return bytes(rows[0][0])
