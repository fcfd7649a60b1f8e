"""The step rows of one PostgreSQL transaction: the steps themselves, their reasons, and the sums that both add to.

First everything is worked out (`fold`), then it is written in bulk. The runs are locked by then, so that nobody else changes
their steps meanwhile. Knows nothing of how runs are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import Cursor

from xray_server.backends.postgres.text import id_bytes
from xray_server.backends.relational.merged import LastMerged
from xray_server.backends.relational.rows import (
    STATUS_NAMES,
    STEP_ROW_COLUMNS,
    Parts,
    RunKey,
    StepKey,
    Sums,
    effective_start_us,
    merged,
    place_us,
    step_columns,
    step_document,
    step_state,
)
from xray_server.records import states
from xray_server.records.documents import squeeze, unpack
from xray_server.records.states import StepState

if TYPE_CHECKING:
    from xray_server.backends.postgres.dictionary import Dictionary

_TYPES = [
    "int4", "int4", "int4", "int2", "int8", "int8", "int8",
    "int8", "int8", "int8", "int8", "int8", "int8", "int2", "float8", "bytea",
]  # fmt: skip
_KNOWN = (
    "SELECT s.run, s.id, s.attempt, s.pk, s.at_us, s.doc, s.pipeline, s.name, s.type, s.status, s.position, s.duration_us "
    "FROM unnest(%s::bigint[], %s::bytea[], %s::int[]) AS k(run, id, attempt) "
    "JOIN step s ON s.run = k.run AND s.id = k.id AND s.attempt = k.attempt"
)


class StepRows:
    """Used once. `sums` is complete after `fold`; `fresh` are the numbers of the steps that were not there before."""

    def __init__(self, cursor: Cursor[Any], dictionary: Dictionary, parts: Dictionary, last: LastMerged) -> None:
        self._cursor = cursor
        self._dictionary = dictionary
        self._parts = parts
        self._last = last
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._reasons: list[tuple[Any, ...]] = []
        self._old_reasons: list[tuple[Any, ...]] = []
        self.sums = Sums(dictionary.id)
        self.fresh: set[int] = set()

    def fold(
        self,
        steps: Mapping[StepKey, Parts],
        runs: Mapping[RunKey, int],
        received: Mapping[RunKey, int],
        fresh_runs: set[int],
    ) -> dict[StepKey, tuple[int, int]]:
        """Work out what becomes of these steps; (run, step) numbers of each."""
        keys = {(runs[key[0], key[1]], id_bytes(key[2]), key[3]): key for key in steps}
        old = [key for key in keys if key[0] not in fresh_runs]
        known: dict[StepKey, Sequence[Any]] = {}
        if old:
            for row in self._cursor.execute(_KNOWN, [list(column) for column in zip(*old)]).fetchall():
                known[keys[row[0], row[1], row[2]]] = row[3:]
        missing = len(steps) - len(known)
        numbers = iter(
            self._cursor.execute("SELECT nextval('step_number') FROM generate_series(1, %s)", (missing,)).fetchall()
            if missing
            else ()
        )
        pks: dict[StepKey, tuple[int, int]] = {}
        for key, parts in steps.items():
            run = runs[key[0], key[1]]
            row = known.get(key)
            if row is None:
                (pk,) = next(numbers)
                self.fresh.add(pk)
                self._insert(key, run, pk, parts, received[key[0], key[1]])
            else:
                pk = row[0]
                if parts:
                    self._update(key[0], run, parts, row, received[key[0], key[1]])
            pks[key] = (run, pk)
        return pks

    def _insert(self, key: StepKey, run: int, pk: int, parts: Parts, received_us: int) -> None:
        project, _, step_id, attempt = key
        state = step_state(parts)
        at_us = place_us(state.values, received_us)
        document = squeeze(step_document(parts, state, at_us, self._parts.id))
        self._inserts.append(
            (run, pk, project, attempt, id_bytes(step_id), *step_columns(state, at_us, self._dictionary.id), document)
        )
        if parts:
            self.sums.add(state, project=project, run=run, at_us=at_us, sign=1)
            self._give_reasons(state, project, run, pk, at_us)
        self.sums.new_step(run)

    def _update(self, project: int, run: int, parts: Parts, row: Sequence[Any], received_us: int) -> None:
        pk, old_at_us, doc, pipeline, name, kind, status, position, duration_us = row
        pipeline, name, kind = (
            None if word is None else self._dictionary.text(word) for word in (pipeline, name, kind)
        )
        columns = (pipeline, name, kind, STATUS_NAMES[status], position, old_at_us, duration_us)
        last = self._last.get(pk, doc)
        if last is not None:
            before_parts, before = last
        else:
            before_parts = {
                self._parts.text(part): states.restore_columns(values, columns) for part, values in unpack(doc)
            }
            before = step_state(before_parts)
        now, changed = merged(before_parts, parts, states.step_part)
        if not changed:
            return
        after = step_state(now)
        at_us = effective_start_us(before, after, old_us=old_at_us, received_us=received_us)
        document = squeeze(step_document(now, after, at_us, self._parts.id))
        self._last.put(pk, document, now, after)
        self._updates.append((*step_columns(after, at_us, self._dictionary.id), document, run, pk))
        if before_parts:
            self.sums.add(before, project=project, run=run, at_us=old_at_us, sign=-1)
        self.sums.add(after, project=project, run=run, at_us=at_us, sign=1)
        self._old_reasons += [
            (project, self._dictionary.id(reason), old_at_us, run, pk)
            for reason in {why for _, why in before.reasons()}
        ]
        self._give_reasons(after, project, run, pk, at_us)

    def _give_reasons(self, state: StepState, project: int, run: int, pk: int, at_us: int) -> None:
        self._reasons += [
            (run, pk, at_us, project, self._dictionary.id(reason)) for reason in {why for _, why in state.reasons()}
        ]

    def write(self) -> None:
        """Write steps and reasons. The partitions are there."""
        if self._inserts:
            statement = f"COPY step (run, pk, project, attempt, id, {STEP_ROW_COLUMNS}) FROM STDIN (FORMAT BINARY)"
            with self._cursor.copy(statement) as copy:
                copy.set_types(["int8", "int8", "int4", "int4", "bytea", *_TYPES])
                for row in self._inserts:
                    copy.write_row(row)
        if self._updates:
            places = ", ".join(f"{column} = %s" for column in STEP_ROW_COLUMNS.split(", "))
            self._cursor.executemany(
                f"UPDATE step SET {places} WHERE run = %s AND pk = %s",  # noqa: S608
                self._updates,
            )
        if self._old_reasons:
            self._cursor.executemany(
                "DELETE FROM step_reason WHERE project = %s AND reason = %s AND at_us = %s AND run = %s AND step = %s",
                self._old_reasons,
            )
        if self._reasons:
            with self._cursor.copy(
                "COPY step_reason (run, step, at_us, project, reason) FROM STDIN (FORMAT BINARY)"
            ) as copy:
                copy.set_types(["int8", "int8", "int8", "int4", "int4"])
                for row in self._reasons:
                    copy.write_row(row)

    def write_sums(self) -> None:
        """Add to the hourly sums, in the order of their keys: other processes add to the same rows."""
        hourly = sorted((*place, *sums) for place, sums in self.sums.hourly.items() if any(sums))
        if hourly:
            self._cursor.execute(
                "INSERT INTO rollup (project, pipeline, name, hour, steps, failed, input, accepted, rejected, "
                "not_selected, errored, selected, unaccounted, duration_us) "
                "SELECT * FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], "
                "%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
                "ON CONFLICT (project, pipeline, name, hour) DO UPDATE SET steps = rollup.steps + excluded.steps, "
                "failed = rollup.failed + excluded.failed, input = rollup.input + excluded.input, "
                "accepted = rollup.accepted + excluded.accepted, rejected = rollup.rejected + excluded.rejected, "
                "not_selected = rollup.not_selected + excluded.not_selected, errored = rollup.errored + excluded.errored, "
                "selected = rollup.selected + excluded.selected, unaccounted = rollup.unaccounted + excluded.unaccounted, "
                "duration_us = rollup.duration_us + excluded.duration_us",
                [list(column) for column in zip(*hourly)],
            )
        by_reason = sorted((*place, n) for place, n in self.sums.by_reason.items() if n)
        if by_reason:
            self._cursor.execute(
                "INSERT INTO rollup_reason (project, pipeline, name, hour, outcome, reason, n) SELECT * FROM unnest("
                "%s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[]) "
                "ON CONFLICT (project, pipeline, name, hour, outcome, reason) "
                "DO UPDATE SET n = rollup_reason.n + excluded.n",
                [list(column) for column in zip(*by_reason)],
            )
