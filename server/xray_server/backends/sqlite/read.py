"""Reading from SQLite: what `xray_server.backends.relational` needs of it, each question on an index named in the statement.

The planner guesses from statistics that it does not have; a wrong guess was measured at 12.8 s. So every list says which
index it walks (`steps_source`), and tests assert the plans. Knows nothing of how rows are written but their layout.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from xray_server.backends.relational.database import NOTHING, Chunk, DumpedRow, SampledRow, StepRow
from xray_server.backends.relational.ids import id_key, id_prefix_ranges, id_text
from xray_server.backends.relational.rows import HIGH_RATE, SLOW_US
from xray_server.backends.sqlite.documents import documents
from xray_server.backends.sqlite.steps import OF_STEP
from xray_server.records.documents import unpack
from xray_server.store import RunFilter, StepFilter

_MAX_TEXTS: Final = 10_000
_READ_WHOLE_BYTES: Final = 65_536  # a blob below this is read at once: opening it apart costs more
_TEXT_COLUMN: Final = {"project": "name", "word": "text", "part": "text"}


class SQLiteDatabase:
    """One connection (`xray_server.backends.relational.database.Database`). Used by one thread at a time."""

    join: str = "CROSS JOIN"
    same_step: str = "later.run = step.run AND substr(later.id, -4) = substr(step.id, -4) AND later.id = step.id"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._texts: dict[int, str] = {}  # words are never changed, nor their numbers used again

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """All rows of a statement; its values are bound."""
        return self.connection.execute(statement, values).fetchall()

    # -- dictionaries and ids --------------------------------------------------------------------------------------

    def number(self, table: str, text: str) -> int:
        """The number of a text in a dictionary; `NOTHING` when it is not there."""
        rows = self.rows(f"SELECT id FROM {table} WHERE {_TEXT_COLUMN[table]} = ?", (text,))  # noqa: S608
        return int(rows[0][0]) if rows else NOTHING

    def word(self, number: int | None) -> str | None:
        """The word of a number; None of None."""
        if number is None:
            return None
        text = self._texts.get(number)
        if text is None:
            if len(self._texts) >= _MAX_TEXTS:
                self._texts.clear()
            text = self._texts[number] = str(self.rows("SELECT text FROM word WHERE id = ?", (number,))[0][0])
        return text

    def parts(self, numbers: Collection[int]) -> Mapping[int, str]:
        """The names of parts. Not kept from one question to the next: every process has parts of its own."""
        return dict(
            self.rows(
                "SELECT id, text FROM part WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(numbers)),)
            )
        )

    def id_key(self, text: str) -> bytes | str:
        """An id as it is kept."""
        return id_key(text)

    def id_text(self, key: bytes | str) -> str:
        """The id that `id_key` was given."""
        return id_text(key)

    def id_ranges(self, prefix: str) -> list[tuple[Any, Any]]:
        """From (inclusive) and to (exclusive) of the kept ids that begin with this text."""
        return id_prefix_ranges(prefix)

    def escape(self, text: str) -> str:
        """Text as it is kept: as it is."""
        return text

    def unescape(self, text: str) -> str:
        """The text that `escape` was given."""
        return text

    def id_test(self, column: str, key: Any) -> tuple[str, list[Any]]:
        """The test that a step's id is `key`; its first half is the one that has an index (0008_step_id.sql)."""
        return f"substr({column}, -4) = substr(?, -4) AND {column} = ?", [key, key]

    # -- lists -----------------------------------------------------------------------------------------------------

    def runs_source(self, where: RunFilter) -> str:
        """The table of runs, and the index to walk."""
        if where.pipeline is not None:
            return "run INDEXED BY run_pipeline_at"
        return "run INDEXED BY run_at" if where.status is None else "run INDEXED BY run_status_at"

    def steps_source(self, where: StepFilter) -> str:
        """The table of steps, and the index that leaves least to filter: the rare things first."""
        return f"step INDEXED BY {_steps_index(where)}"

    def steps_by_reason(self) -> tuple[str, Sequence[str]]:
        """Steps by reason. One reason may stand under two outcomes of one step: only the first of its rows speaks for it."""
        return "step_reason why CROSS JOIN step ON step.pk = why.step", (
            "NOT EXISTS (SELECT 1 FROM step_reason w WHERE w.project = why.project AND w.reason = why.reason "
            "AND w.at_us = why.at_us AND w.step = why.step AND w.outcome < why.outcome)",
        )

    def only_runs(self, pks: Sequence[int], *, by_tag: bool) -> tuple[str | None, str | None, Any]:
        """A list by tag tests the numbers; any other begins with them, for it would walk all runs to find them."""
        if by_tag:
            return None, "run.pk IN (SELECT value FROM json_each(?))", json.dumps(pks)
        return "json_each(?) found CROSS JOIN run ON run.pk = found.value", None, json.dumps(pks)

    def contains_test(self, column: str) -> str:
        """The test that a text column contains a text, whatever the case."""
        return f"instr(lower({column}), lower(?)) > 0"

    # -- documents, verdicts, samples ------------------------------------------------------------------------------

    def documents(self, steps: Sequence[StepRow]) -> Mapping[int, list[Any]]:
        """The documents of steps, from their rows or from the blocks of their runs."""
        return documents(self.connection, [(step.pk, step.run, step.doc) for step in steps])

    def steps_named(self, run: int, steps: Sequence[tuple[str, int]]) -> list[Any]:
        """(number, id, attempt) of these step attempts of a run."""
        return [
            row
            for step_id, attempt in steps
            for row in self.rows(
                f"SELECT pk, id, attempt FROM step WHERE {OF_STEP} AND attempt = :attempt",  # noqa: S608
                {"run": run, "id": id_key(step_id), "attempt": attempt},
            )
        ]

    def chunks(self, run: int, step_id: str | None = None) -> Iterator[Chunk]:
        """The chunks of verdicts of a run, or of the attempts of one step, in the order in which steps were written."""
        test, values = ("", []) if step_id is None else self.id_test("step.id", id_key(step_id))
        for pk, size, step, key, attempt, part, head in self.rows(
            "SELECT c.pk, length(c.data), step.pk, step.id, step.attempt, part.text, c.head FROM step "  # noqa: S608
            "JOIN verdict_chunk c ON c.step = step.pk CROSS JOIN part ON part.id = c.part "
            f"WHERE step.run = ?{' AND ' if test else ''}{test} "
            "ORDER BY step.pk, c.pk",  # the order of writing, in which they lie: sorting by time takes half as long again
            [run, *values],
        ):
            yield Chunk(step, id_text(key), attempt, part, unpack(head), self.chunk_data(pk, size))

    def chunk_data(self, pk: int, size_bytes: int) -> Any:
        """A chunk's data: whole when small, else a blob that reads only the bytes asked for."""
        if size_bytes >= _READ_WHOLE_BYTES and hasattr(self.connection, "blobopen"):  # Python 3.11
            return self.connection.blobopen("verdict_chunk", "data", pk, readonly=True)
        return self.connection.execute("SELECT data FROM verdict_chunk WHERE pk = ?", (pk,)).fetchone()[0]

    def sample_blocks(self, run: int, first: int, last: int) -> list[Any]:
        """(low, data) of the blocks of samples of a run that may hold one of the steps from `first` to `last`."""
        return self.rows(
            "SELECT low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ? ORDER BY low",
            (run, last, first),
        )

    def blocks_of_steps(self, steps: Sequence[SampledRow]) -> list[Any]:
        """(run, low, data) of the blocks that may hold samples of these steps, each once: several steps may lie in one."""
        blocks: dict[int, Any] = {}
        for step in steps:
            for pk, low, data in self.connection.execute(
                "SELECT pk, low, data FROM sample_block WHERE run = ? AND low <= ? AND high >= ?",
                (step.run, step.pk, step.pk),
            ):
                blocks[pk] = step.run, low, data
        return list(blocks.values())

    # -- the rest --------------------------------------------------------------------------------------------------

    def dumped_runs(self, after: int, limit: int) -> list[DumpedRow]:
        """Runs of all projects in the order of their numbers."""
        rows = self.rows(
            "SELECT run.pk, project.name, run.id, run.received_us, run.parts, run.part, run.doc FROM run "
            "JOIN project ON project.id = run.project WHERE run.pk > ? ORDER BY run.pk LIMIT ?",
            (after, limit),
        )
        return [DumpedRow._make(row) for row in rows]

    def dumped_chunks(self, run: int) -> list[Any]:
        """(step, number of the part, name of the chunk, head, data) of all chunks of verdicts of a run."""
        return self.rows(
            "SELECT c.step, c.part, c.chunk, c.head, c.data FROM step JOIN verdict_chunk c ON c.step = step.pk "
            "WHERE step.run = ? ORDER BY c.pk",
            (run,),
        )

    def figures(self) -> tuple[int, int | None, int]:
        """An estimate of the number of runs (the highest key), the newest start, and the size of the database in bytes."""
        ((runs,),) = self.rows("SELECT coalesce(max(pk), 0) FROM run")
        ((newest_us,),) = self.rows(
            "SELECT max(received_us) FROM (SELECT received_us FROM run ORDER BY pk DESC LIMIT 1)"
        )
        pages, page_bytes = (self.rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
        return int(runs), newest_us, int(pages * page_bytes)


def _steps_index(where: StepFilter) -> str:
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
