"""Which committed records are worth judging. Runs on the writing thread inside its transaction: a dictionary look-up a record.

Owns the note: the names of finished step attempts and runs that some rule may cover. What they amount to is read later,
merged, from the store.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from xray_core.safety import swallow
from xray_server.alerts.rules import StoredRule
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch

NOTE_SUBJECTS: Final = 200  # the worker judges a note at a time, and rests in between
MAX_WAITING_NOTES: Final = 20_000
_MAX_CACHED: Final = 10_000

Subject = tuple[str, str, str | None, int]  # project, run id, step id, attempt
_Place = tuple[str, bool, str | None, str | None, str | None]


class Watch:
    """Holds the rules by scope. `select` is called by the writer, `use` by whoever changes rules."""

    def __init__(self) -> None:
        self._rules: tuple[StoredRule, ...] = ()
        self._covered: dict[_Place, bool] = {}
        self._covering: dict[_Place, list[StoredRule]] = {}
        self._lock = threading.Lock()
        self.waiting = 0  # notes; an estimate that the engine corrects
        self.passed_over = 0  # subjects that were not noted, since too many waited

    def use(self, rules: Sequence[StoredRule]) -> None:
        """Watch for these rules from now on. Any thread."""
        with self._lock:
            self._rules = tuple(rules)
            self._covered = {}
            self._covering = {}

    def covering(self, place: _Place) -> list[StoredRule]:
        """The rules that cover a run or step: (project, whether a run, pipeline, step name, step type)."""
        known = self._covering
        found = known.get(place)
        if found is None:
            project, run, pipeline, step, step_type = place
            found = [
                each
                for each in self._rules
                if each.project == project
                and each.rule.covers(run=run, pipeline=pipeline, step=step, step_type=step_type)
            ]
            if len(known) >= _MAX_CACHED:
                known.clear()
            known[place] = found
        return found

    def select(self, batches: Sequence[Batch]) -> list[bytes]:
        """The notes of these batches; none without rules. Never raises."""
        if not self._rules:
            return []
        try:
            return self._select(batches)
        except Exception as error:  # noqa: BLE001  # alerts must not stop a write
            swallow("alerts watch", error)
            return []

    def _select(self, batches: Sequence[Batch]) -> list[bytes]:
        subjects: dict[Subject, None] = {}
        covered = self._covered
        for batch in batches:
            project = batch.project
            for record in batch.records:
                kind = type(record)
                if kind is StepRecord and record.status not in (None, "running"):  # type: ignore[union-attr]
                    place: _Place = (project, False, record.pipeline, record.name, record.step_type)  # type: ignore[union-attr]
                    subject: Subject = (project, record.run_id, record.step_id, record.attempt)  # type: ignore[union-attr]
                elif kind is RunRecord and record.status not in (None, "running"):  # type: ignore[union-attr]
                    place = (project, True, record.pipeline, None, None)  # type: ignore[union-attr]
                    subject = (project, record.run_id, None, 0)  # type: ignore[union-attr]
                else:
                    continue
                known = covered.get(place)
                if known is None:
                    known = self._may_cover(place)
                    if len(covered) >= _MAX_CACHED:
                        covered.clear()
                    covered[place] = known
                if known:
                    subjects[subject] = None
        if not subjects:
            return []
        if self.waiting >= MAX_WAITING_NOTES:
            self.passed_over += len(subjects)
            return []
        ordered = list(subjects)
        notes = [msgspec.json.encode(ordered[i : i + NOTE_SUBJECTS]) for i in range(0, len(ordered), NOTE_SUBJECTS)]
        self.waiting += len(notes)
        return notes

    def _may_cover(self, place: _Place) -> bool:
        """Whether a rule covers it, or might: a part that lacks a name may belong to a step whose other parts have it."""
        project, run, pipeline, step, step_type = place
        return any(
            each.project == project
            and each.rule.of_runs == run
            and (each.rule.pipeline is None or pipeline is None or each.rule.pipeline == pipeline)
            and (each.rule.step is None or step is None or each.rule.step == step)
            and (each.rule.step_type is None or step_type is None or each.rule.step_type == step_type)
            for each in self._rules
        )


def subjects_of(note: bytes) -> list[Subject]:
    """The runs and steps that a note names."""
    return msgspec.json.decode(note, type=list[Subject])
