"""The rows of steps in SQLite: of new runs made before the transaction begins, of runs that are there within it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_server.backends.relational import blocks
from xray_server.backends.relational.ids import id_key
from xray_server.backends.relational.merged import LastMerged
from xray_server.backends.relational.rows import (
    SET_CODES,
    STATUS_NAMES,
    STEP_ROW_COLUMNS,
    Parts,
    StepKey,
    Sums,
    effective_start_us,
    merged,
    place_us,
    step_columns,
    step_document,
    step_state,
)
from xray_server.backends.sqlite.dictionary import Dictionary
from xray_server.backends.sqlite.documents import documents, plan_documents, write_blocks
from xray_server.records import states
from xray_server.records.documents import squeeze
from xray_server.records.states import StepState

# The attempts of one step; takes a mapping with `run` and `id`. The second test is the one that has an index (0008_step_id.sql).
OF_STEP: Final = "step.run = :run AND substr(step.id, -4) = substr(:id, -4) AND step.id = :id"


@dataclass(frozen=True, slots=True)
class NewStep:
    """A step of which nothing is stored; `row` is its row from `id` to `rate`, without number, run and document."""

    known: bool
    project: int
    state: StepState
    at_us: int
    row: tuple[Any, ...]
    text: bytes


def new_step(key: StepKey, parts: Parts, received_us: int, dictionary: Dictionary, part_names: Dictionary) -> NewStep:
    """A step of which nothing is stored, worked out before the transaction begins; `received_us` is its place until its start is known."""
    project, _, step_id, attempt = key
    state = step_state(parts)
    at_us = place_us(state.values, received_us)
    row = (id_key(step_id), attempt, project, *step_columns(state, at_us, dictionary.id))
    return NewStep(bool(parts), project, state, at_us, row, step_document(parts, state, at_us, part_names.id))


class StepRows:
    """The rows of the steps of one transaction: the steps themselves, their reasons, and the sums that both add to."""

    def __init__(
        self, connection: sqlite3.Connection, dictionary: Dictionary, parts: Dictionary, last: LastMerged
    ) -> None:
        self._db = connection
        self._dictionary = dictionary
        self._parts = parts
        self._last = last
        self._inserts: list[tuple[Any, ...]] = []
        self._blocks: list[tuple[int, int, int, bytes]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._reasons: list[tuple[Any, ...]] = []
        self._sums = Sums(dictionary.id)
        self._next = int(connection.execute("SELECT coalesce(max(pk), 0) + 1 FROM step").fetchone()[0])

    def insert(
        self, run: int, steps: Sequence[NewStep], made: tuple[Sequence[bytes], Sequence[blocks.Block]] | None = None
    ) -> int:
        """New steps of one run; the number of the first, which the others follow.

        Args:
            made: what `plan_documents` made of their texts, where that was done already.
        """
        first = self._next
        docs, blocks_made = made if made is not None else plan_documents([step.text for step in steps])
        for pk, (step, doc) in enumerate(zip(steps, docs), first):
            self._inserts.append((pk, run, *step.row, doc))
            self._sums.new_step(run)
            if step.known:
                self._count(step.state, step.project, run, pk, step.at_us)
        self._blocks += [(run, first + block.low, first + block.high, block.data) for block in blocks_made]
        self._next += len(steps)
        return first

    def merge(self, run: int, steps: Mapping[StepKey, Parts], received_us: int) -> dict[StepKey, int]:
        """Steps of a run that is there: those that are there too are changed, the others inserted. Their numbers."""
        pks: dict[StepKey, int] = {}
        fresh: list[StepKey] = []
        for key, parts in steps.items():
            project, _, step_id, attempt = key
            row = self._db.execute(
                "SELECT pk, at_us, doc, pipeline, name, type, status, position, duration_us FROM step "  # noqa: S608
                f"WHERE {OF_STEP} AND attempt = :attempt",
                {"run": run, "id": id_key(step_id), "attempt": attempt},
            ).fetchone()
            if row is None:
                fresh.append(key)
                continue
            pks[key] = int(row[0])
            if parts:
                self._update(project, run, parts, row, received_us)
        first = self.insert(
            run, [new_step(key, steps[key], received_us, self._dictionary, self._parts) for key in fresh]
        )
        pks.update((key, first + place) for place, key in enumerate(fresh))
        return pks

    def _update(self, project: int, run: int, parts: Parts, row: Sequence[Any], received_us: int) -> None:
        pk, old_at_us, doc, pipeline, name, kind, status, position, duration_us = row
        pipeline, name, kind = (
            None if word is None else self._dictionary.text(word) for word in (pipeline, name, kind)
        )
        columns = (pipeline, name, kind, STATUS_NAMES[status], position, old_at_us, duration_us)
        last = self._last.get(pk, doc)
        if last is not None:
            known, before = last
        else:
            stored = documents(self._db, [(pk, run, doc)])[pk]
            names = self._parts.texts([part for part, _ in stored])
            known = {names[part]: states.restore_columns(values, columns) for part, values in stored}
            before = step_state(known)
        now, changed = merged(known, parts, states.step_part)
        if not changed:
            return
        after = step_state(now)
        at_us = effective_start_us(before, after, old_us=old_at_us, received_us=received_us)
        document = squeeze(step_document(now, after, at_us, self._parts.id))
        self._last.put(pk, document, now, after)
        self._updates.append((*step_columns(after, at_us, self._dictionary.id), document, pk))
        self._db.executemany(
            "DELETE FROM step_reason WHERE project = ? AND reason = ? AND at_us = ? AND step = ? AND outcome = ?",
            [
                (project, self._dictionary.id(why), old_at_us, pk, SET_CODES[outcome])
                for outcome, why in before.reasons()
            ],
        )
        if known:
            self._sums.add(before, project=project, run=run, at_us=old_at_us, sign=-1)
        self._count(after, project, run, pk, at_us)

    def _count(self, state: StepState, project: int, run: int, pk: int, at_us: int) -> None:
        self._sums.add(state, project=project, run=run, at_us=at_us, sign=1)
        self._reasons += [
            (project, self._dictionary.id(reason), at_us, pk, SET_CODES[outcome], n)
            for (outcome, reason), n in state.reasons().items()
        ]

    def write(self) -> None:
        """Write what was gathered."""
        db = self._db
        if self._inserts:
            db.executemany(
                f"INSERT INTO step (pk, run, id, attempt, project, {STEP_ROW_COLUMNS}) "  # noqa: S608  # constants
                f"VALUES (?, ?, ?, ?, ?, {', '.join('?' * len(STEP_ROW_COLUMNS.split(', ')))})",
                self._inserts,
            )
        write_blocks(db, self._blocks)
        if self._updates:
            db.executemany(
                f"UPDATE step SET {', '.join(f'{column} = ?' for column in STEP_ROW_COLUMNS.split(', '))} WHERE pk = ?",  # noqa: S608
                self._updates,
            )
        db.executemany(
            "INSERT OR REPLACE INTO step_reason (project, reason, at_us, step, outcome, n) VALUES (?, ?, ?, ?, ?, ?)",
            self._reasons,
        )
        db.executemany(
            "UPDATE run SET steps = steps + ?, failed = failed + ?, flagged = flagged + ? WHERE pk = ?",
            [(*sums, run) for run, sums in self._sums.by_run.items() if any(sums)],
        )
        db.executemany(
            "INSERT INTO rollup (project, pipeline, name, hour, steps, failed, input, accepted, rejected, not_selected, "
            "errored, selected, unaccounted, duration_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (project, pipeline, name, hour) DO UPDATE SET steps = steps + excluded.steps, "
            "failed = failed + excluded.failed, input = input + excluded.input, accepted = accepted + excluded.accepted, "
            "rejected = rejected + excluded.rejected, not_selected = not_selected + excluded.not_selected, "
            "errored = errored + excluded.errored, selected = selected + excluded.selected, "
            "unaccounted = unaccounted + excluded.unaccounted, duration_us = duration_us + excluded.duration_us",
            [(*place, *sums) for place, sums in self._sums.hourly.items() if any(sums)],
        )
        db.executemany(
            "INSERT INTO rollup_reason (project, pipeline, name, hour, outcome, reason, n) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (project, pipeline, name, hour, outcome, reason) DO UPDATE SET n = n + excluded.n",
            [(*place, n) for place, n in self._sums.by_reason.items() if n],
        )
