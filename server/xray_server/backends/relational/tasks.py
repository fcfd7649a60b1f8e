"""Which parts of steps count where several attempts of one task spoke (`xray_core.tasks`): asked when verdicts and samples
are read, so that what an attempt said counts or not whatever came first. Of parts that are no attempt's nothing is read.
"""

from __future__ import annotations

from xray_core import tasks
from xray_server.backends.relational.database import STEP_COLUMNS, Database, StepRow
from xray_server.backends.relational.stored import parts_of


class Counting:
    """Says of the parts of steps whether they count, for as long as one question lasts."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counted: dict[int, frozenset[str]] = {}
        self._names: dict[int, str] = {}

    def named(self, run: int, step: int, part: str) -> bool:
        """Whether a part of a step counts, by its name."""
        if not tasks.is_of_task(part):
            return True
        counted = self._counted.get(step)
        if counted is None:
            counted = self._counted[step] = self._of(run, step)
        return part in counted

    def numbered(self, run: int, step: int, part: int) -> bool:
        """Whether a part of a step counts, by its number."""
        name = self._names.get(part)
        if name is None:
            name = self._names[part] = self._db.parts({part})[part]
        return self.named(run, step, name)

    def _of(self, run: int, step: int) -> frozenset[str]:
        rows = self._db.rows(
            f"SELECT {STEP_COLUMNS} FROM step JOIN run ON run.pk = step.run WHERE step.run = ? AND step.pk = ?",  # noqa: S608
            [run, step],
        )
        found = [part for row in rows for part in parts_of(self._db, StepRow._make(row))]
        return frozenset(part["part"] for part in tasks.counting(found))
