"""What is stored of runs and step attempts: the newest revision of each part, read by identity, and the state they merge into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from xray_core import tasks
from xray_server.backends.clickhouse.cluster import Shard
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.rows import Parts, place_us, run_state, step_state
from xray_server.records.documents import RUN_FIELDS, STEP_FIELDS
from xray_server.records.schema import decode_json
from xray_server.records.states import SUSPECT_FLAGS, step_part
from xray_server.store import StoredRun, StoredStep

RunName: TypeAlias = tuple[str, str]  # project, run id
StepName: TypeAlias = tuple[str, str, str, int]  # project, run id, step id, attempt
HEARD, PART, SUM = 0, 1, 2  # of a row: heard of, a part, the sum of several parts
R = TypeVar("R", bound=Sequence[Any])
MAX_VER: Final = (1 << 64) - 1
_FEW: Final = 1_000


@dataclass(slots=True)
class Stored:
    """What is stored of one run or step attempt.

    Attributes:
        parts: those that count.
        vers: of every part that was ever written.
        received_us: when it was first heard of.
        heard_us: when it was, as each row says: those that were written at the same time may differ.
        week: of the partition in which its run lies.
    """

    received_us: int
    week: int
    parts: Parts = field(default_factory=dict)
    vers: dict[str, int] = field(default_factory=dict)
    heard_us: set[int] = field(default_factory=set)

    @property
    def ver(self) -> int:
        """Grows with every part and every revision: of two rows about it, the one that knows more has the greater."""
        return sum(self.vers.values()) + len(self.vers)

    def add(self, known: int, part: str, ver: int, received_us: int, doc: bytes, fields: int) -> None:
        """Take in a row; those of one part newest first, the others are passed over."""
        self.received_us = min(self.received_us, received_us)
        self.heard_us.add(received_us)
        if known == PART and part not in self.vers:
            self.vers[part] = ver
            if doc:
                self.parts[part] = decode_json(doc)
                # a document that is older than a field of it ends before
                self.parts[part] += [None] * (fields - len(self.parts[part]))


def stored_runs(shard: Shard, names: Sequence[RunName]) -> dict[RunName, Stored]:
    """What is stored of these runs, of those that are there."""
    found: dict[RunName, Stored] = {}
    if names:
        for project, run_id, week, known, part, ver, received_us, doc in shard.rows(
            bind(
                "SELECT project, run_id, week, known, part, ver, received_us, doc FROM run WHERE (project, run_id) IN ? "
                "ORDER BY ver DESC LIMIT 1 BY project, run_id, known, part",
                names,
            )
        ):
            of = found.setdefault((project, run_id), Stored(received_us, week))
            of.add(known, part, ver, received_us, doc, len(RUN_FIELDS))
    return found


def stored_steps(shard: Shard, names: Sequence[StepName]) -> dict[StepName, Stored]:
    """What is stored of these step attempts, of those that are there."""
    return _steps(shard, bind("(project, run_id, step_id, attempt) IN ?", names)) if names else {}


def steps_of_run(shard: Shard, project: str, run_id: str, step_id: str | None = None) -> dict[StepName, Stored]:
    """All that is stored of the steps of a run, or of the attempts of one step."""
    test = bind("project = ? AND run_id = ?", project, run_id)
    return _steps(shard, test if step_id is None else test + bind(" AND step_id = ?", step_id))


def few_steps_of_run(shard: Shard, project: str, run_id: str) -> dict[StepName, Stored] | None:
    """As `steps_of_run`, in one statement; None where they have more than a thousand parts."""
    rows = shard.rows(_of_steps(bind("project = ? AND run_id = ?", project, run_id)) + f" LIMIT {_FEW + 1}")
    return _stored(rows) if len(rows) <= _FEW else None


def _steps(shard: Shard, test: str) -> dict[StepName, Stored]:
    return _stored(shard.rows(_of_steps(test)))


def _of_steps(test: str) -> str:
    return (
        "SELECT project, run_id, step_id, attempt, week, known, part, ver, received_us, doc FROM step "  # noqa: S608  # bound
        f"WHERE {test} ORDER BY ver DESC LIMIT 1 BY project, run_id, step_id, attempt, known, part"
    )


def _stored(rows: Sequence[Any]) -> dict[StepName, Stored]:
    found: dict[StepName, Stored] = {}
    for project, run_id, step_id, attempt, week, known, part, ver, received_us, doc in rows:
        of = found.setdefault((project, run_id, step_id, attempt), Stored(received_us, week))
        of.add(known, part, ver, received_us, doc, len(STEP_FIELDS))
    return found


def counting(shard: Shard, project: str, rows: Sequence[R]) -> Sequence[R]:
    """Of rows about parts, (run id, step id, attempt, part, ...), those that count (`xray_core.tasks`)."""
    asked = {(project, row[0], row[1], row[2]) for row in rows if tasks.is_of_task(row[3])}
    if not asked:
        return rows
    counted = {
        name[1:]: {each["part"] for each in tasks.counting(step_part(*part) for part in stored.parts.items())}
        for name, stored in stored_steps(shard, list(asked)).items()
    }
    return [row for row in rows if tasks.may_count(row[3], counted.get((row[0], row[1], row[2]), ()))]


def run_of(run_id: str, stored: Stored, figures: tuple[int, int]) -> StoredRun:
    """A run as merged from its parts; `figures` are its steps, and those with a flag."""
    state = run_state(stored.parts)
    return StoredRun(run_id, place_us(state, stored.received_us), state, *figures, known=bool(stored.parts))


def step_of(name: StepName, stored: Stored) -> StoredStep:
    """A step attempt as merged from its parts."""
    _, run_id, step_id, attempt = name
    state = step_state(stored.parts)
    at_us = place_us(state.values, stored.received_us)
    state.values.update(run_id=run_id, step_id=step_id, attempt=attempt)
    return StoredStep(run_id, step_id, attempt, at_us, state.values, state.ledger, state.rejection_rate)


def runs_with_counts(shard: Shard, names: Sequence[RunName]) -> dict[RunName, StoredRun]:
    """Those of these runs that are there."""
    found, counts = shard.together(lambda: stored_runs(shard, names), lambda: step_counts(shard, names, SUSPECT_FLAGS))
    return {name: run_of(name[1], stored, counts.get(name, (0, 0))) for name, stored in found.items()}


def step_counts(shard: Shard, names: Sequence[RunName], suspect_flags: int) -> dict[RunName, tuple[int, int]]:
    """(steps, steps with one of these flags) of each of these runs that has steps."""
    if not names:
        return {}
    rows = shard.rows(
        bind(
            "SELECT project, run_id, count(), countIf(known > 0 AND bitAnd(flags, ?) != 0) FROM ("
            "SELECT project, run_id, known, flags FROM step WHERE (project, run_id) IN ? "
            "ORDER BY known DESC, ver DESC LIMIT 1 BY project, run_id, step_id, attempt) GROUP BY project, run_id",
            suspect_flags,
            names,
        )
    )
    return {(project, run_id): (steps, flagged) for project, run_id, steps, flagged in rows}
