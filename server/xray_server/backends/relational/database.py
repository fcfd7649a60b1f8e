"""What the questions of this folder need of a database: the seam between the SQL that is written once and each backend.

A statement marks its values with `?`, whatever the driver's spelling is. Knows no driver.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from xray_server.backends.relational import blocks
from xray_server.store import RunFilter, StepFilter

NOTHING: Final = -1  # a number that no row has: what is asked for by it is not found


class RunRow(NamedTuple):
    """The columns of a run that a list or an answer needs; `RUN_COLUMNS` selects them."""

    pk: int
    at_us: int
    key: Any  # its id as it is kept
    parts: int
    part: str | None  # the name of the only part
    doc: bytes | None
    steps: int
    flagged: int


class StepRow(NamedTuple):
    """The columns of a step attempt that an answer needs; `STEP_COLUMNS` selects them. Words are numbers."""

    pk: int
    at_us: int
    run: int
    run_key: Any
    key: Any
    attempt: int
    doc: bytes
    pipeline: int | None
    name: int | None
    step_type: int | None
    status: int
    position: int | None
    duration_us: int | None


class SampledRow(NamedTuple):
    """The columns of a step attempt that a search inside samples needs; `SAMPLED_COLUMNS` selects them."""

    pk: int
    at_us: int
    run: int
    run_key: Any
    key: Any
    attempt: int
    pipeline: int | None
    name: int | None


class Chunk(NamedTuple):
    """A chunk of verdicts of one step attempt: where its sets lie in `data`, which is read as it is sliced."""

    step: int
    step_id: str
    attempt: int
    part: str
    head: list[Any]
    data: Any


class DumpedRow(NamedTuple):
    """A run with all that its record needs; `part` is the number of the only part."""

    pk: int
    project: str
    key: Any
    received_us: int
    parts: int
    part: int | None
    doc: bytes | None


RUN_COLUMNS: Final = "run.pk, run.at_us, run.id, run.parts, part.text, run.doc, run.steps, run.flagged"
STEP_COLUMNS: Final = (
    "step.pk, step.at_us, step.run, run.id, step.id, step.attempt, step.doc, "
    "step.pipeline, step.name, step.type, step.status, step.position, step.duration_us"
)
SAMPLED_COLUMNS: Final = "step.pk, step.at_us, step.run, run.id, step.id, step.attempt, step.pipeline, step.name"


class Database(Protocol):
    """One connection on which questions are asked, by one thread at a time, and what its backend does its own way.

    Attributes:
        join: the word for a join whose order of tables is kept as written.
        same_step: what makes the row `later` another attempt of the row `step`.
    """

    join: str
    same_step: str

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement; its values are bound."""

    def number(self, table: str, text: str) -> int:
        """The number of a text in the dictionary `project`, `word` or `part`; `NOTHING` when it is not there."""

    def word(self, number: int | None) -> str | None:
        """The word of a number; None of None."""

    def parts(self, numbers: Collection[int]) -> Mapping[int, str]:
        """The names of parts."""

    def id_key(self, text: str) -> Any:
        """An id as it is kept."""

    def id_text(self, key: Any) -> str:
        """The id that `id_key` was given."""

    def id_ranges(self, prefix: str) -> list[tuple[Any, Any]]:
        """From (inclusive) and to (exclusive) of the kept ids that begin with this text."""

    def escape(self, text: str) -> str:
        """Text as it is kept."""

    def unescape(self, text: str) -> str:
        """The text that `escape` was given."""

    def id_test(self, column: str, key: Any) -> tuple[str, list[Any]]:
        """The test that a step's id is `key`, as its index wants it, and its values."""

    def runs_source(self, where: RunFilter) -> str:
        """The table of runs, and the index to walk."""

    def steps_source(self, where: StepFilter) -> str:
        """The table of steps, and the index to walk."""

    def steps_by_reason(self) -> tuple[str, Sequence[str]]:
        """The source `why` joined to `step` of a list by reason, and what must hold so that a step comes once."""

    def only_runs(self, pks: Sequence[int], *, by_tag: bool) -> tuple[str | None, str | None, Any]:
        """How a list is kept to a few runs.

        Args:
            pks: their numbers.
            by_tag: the list reads tags joined to runs; else the table of runs alone.

        Returns:
            what to read in place of the table of runs, or else a test; and its one value.
        """

    def contains_test(self, column: str) -> str:
        """The test that a text column contains a text, whatever the case."""

    def documents(self, steps: Sequence[StepRow]) -> Mapping[int, list[Any]]:
        """The documents of steps of any runs, by the step's number: (number of the part, its values) of each part."""

    def steps_named(self, run: int, steps: Sequence[tuple[str, int]]) -> list[Any]:
        """(number, id, attempt) of these step attempts, (id, attempt), of a run."""

    def chunks(self, run: int, step_id: str | None = None) -> Iterator[Chunk]:
        """The chunks of verdicts of a run, or of the attempts of one step."""

    def sample_blocks(self, run: int, first: int, last: int) -> list[Any]:
        """(low, data) of the blocks of samples of a run that may hold one of the steps from `first` to `last`."""

    def blocks_of_steps(self, steps: Sequence[SampledRow]) -> list[Any]:
        """(run, low, data) of the blocks that may hold samples of these steps, each once."""

    def dumped_runs(self, after: int, limit: int) -> list[DumpedRow]:
        """Runs of all projects in the order of their numbers."""

    def dumped_chunks(self, run: int) -> list[Any]:
        """(step, number of the part, name of the chunk, head, data) of all chunks of verdicts of a run."""


def sample_records(db: Database, run: int, first: int, last: int) -> Iterator[tuple[blocks.Key, blocks.Revisioned]]:
    """The records of samples in those blocks of a run that may hold one of these steps."""
    for low, data in db.sample_blocks(run, first, last):
        yield from blocks.unpacked(low, data)


def project_id(db: Database, project: str) -> int:
    """The number of a project."""
    return db.number("project", project)


def run_pk(db: Database, project: str, run_id: str) -> int:
    """The number of a run; `NOTHING` when there is no such run."""
    rows = db.rows("SELECT pk FROM run WHERE project = ? AND id = ?", [project_id(db, project), db.id_key(run_id)])
    return int(rows[0][0]) if rows else NOTHING


def run_pks(db: Database, project: str, run_ids: Sequence[str]) -> dict[int, str]:
    """Number -> id of those of these runs that are there."""
    keys = {db.id_key(run_id): run_id for run_id in run_ids}
    if not keys:
        return {}
    rows = db.rows(
        f"SELECT pk, id FROM run WHERE project = ? AND id IN ({', '.join('?' * len(keys))})",  # noqa: S608
        [project_id(db, project), *keys],
    )
    return {int(pk): db.id_text(key) for pk, key in rows}
