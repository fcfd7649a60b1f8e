"""Runs, steps and items as rows of ClickHouse's tables: what a writer makes of records, before it touches a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from xray_core import verdicts
from xray_core.model import STATUS_RANK
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.parts import HEARD, PART, SUM, RunName, StepName, Stored
from xray_server.backends.relational.rows import FP40, place_us, run_state, step_state, tag_text
from xray_server.records.documents import unpack
from xray_server.records.schema import encode_json
from xray_server.records.states import StepState

LARGE_SET: Final = 16_384  # items; a larger set has no row for each of them
LARGE: Final = 0  # stands for a fingerprint in the rows of `item` of runs with a large set


@dataclass(slots=True)
class Written:
    """A run or step attempt after this group.

    Attributes:
        before: what was stored, or None.
        now: what is to be stored.
        changed: the parts that differ.
        said: some record of this group is about it itself, not only about what hangs on it.
    """

    before: Stored | None
    now: Stored
    changed: set[str]
    said: bool
    _state: tuple[Stored, StepState] | None = None

    def step_state(self) -> StepState:
        """What a step's parts come to, worked out once: several rows say it."""
        if self._state is None or self._state[0] is not self.now:
            self._state = self.now, step_state(self.now.parts)
        return self._state[1]

    @property
    def new(self) -> bool:
        """Nothing but that it exists was known, if that."""
        return self.before is None or not self.before.vers


KNOWN: Final = 5  # the place of `known` in a row of `step`


def run_rows(name: RunName, run: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `run`: the parts that changed, or that the run was heard of."""
    project, run_id = name
    now = run.now
    if run.before is None and not now.parts:
        yield project, now.week, run_id, HEARD, "", parts.MAX_VER - now.received_us, now.received_us, b""
    for part in run.changed:
        doc = encode_json(now.parts[part]) if part in now.parts else b""
        yield project, now.week, run_id, PART, part, now.vers[part], now.received_us, doc


def step_rows(name: StepName, step: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `step`: the parts that changed, or that the step was heard of; of several parts also their sum."""
    project, run_id, step_id, attempt = name
    now = step.now
    state = step.step_state()
    figures = _figures(state, place_us(state.values, now.received_us))
    key = (project, now.week, run_id, step_id, attempt)
    if step.before is None and not now.parts:
        yield *key, HEARD, "", parts.MAX_VER - now.received_us, now.received_us, *figures, b""
    for part in step.changed:
        doc = encode_json(now.parts[part]) if part in now.parts else b""
        yield *key, PART, part, now.vers[part], now.received_us, *figures, doc
    if len(now.parts) > 1:
        yield *key, SUM, "", now.ver, now.received_us, *figures, b""


def _figures(state: StepState, at_us: int) -> tuple[Any, ...]:
    """The columns of `step` from its place to `selected`."""
    values, ledger = state.values, state.ledger
    return (
        at_us, values["index"], values["pipeline"], values["name"], values["step_type"], STATUS_RANK[values["status"]],
        state.flag_bits, values["duration_us"], ledger.input or 0, ledger.accepted or 0, ledger.rejected or 0,
        ledger.not_selected or 0, ledger.errored or 0, ledger.selected or 0,
    )  # fmt: skip


def run_list_rows(name: RunName, run: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `run_list`: its place, and that it left another."""
    project, run_id = name
    now = run.now
    state = run_state(now.parts)
    at_us = place_us(state, now.received_us)
    if run.before is not None:
        was_us = place_us(run_state(run.before.parts), run.before.received_us)
        if was_us != at_us:
            yield project, was_us, run_id, now.ver, 1, now.week, None, 0, {}, 0
    tags = {key: tag_text(value) for key, value in (state["tags"] or {}).items()}
    size = sum(len(encode_json(values)) for values in now.parts.values())
    yield project, at_us, run_id, now.ver, 0, now.week, state["pipeline"], STATUS_RANK[state["status"]], tags, size


def step_list_rows(name: StepName, step: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `step_list`: its place, and that it left another."""
    project, run_id, step_id, attempt = name
    now = step.now
    state = step.step_state()
    values, ledger = state.values, state.ledger
    at_us = place_us(values, now.received_us)
    if step.before is not None:
        was_us = place_us(step_state(step.before.parts).values, step.before.received_us)
        if was_us != at_us:
            nothing: tuple[Any, ...] = (None, None, None, 0, None, None, 0, 0, 0, 0, 0, 0, 0, {}, 0)
            yield project, was_us, run_id, step_id, attempt, now.ver, 1, 0, *nothing
    reasons: dict[str, int] = {}
    for (_, reason), n in state.reasons().items():
        reasons[reason] = reasons.get(reason, 0) + n
    duration_us = values["duration_us"]
    # items of which nobody knows whether they came out are not among those that did not
    counted_input = 0 if ledger.unaccounted is None else ledger.input or 0
    yield (
        project, at_us, run_id, step_id, attempt, now.ver, 0, int(bool(now.parts)), values["pipeline"], values["name"],
        values["step_type"], STATUS_RANK[values["status"]], duration_us, state.rejection_rate, counted_input,
        ledger.accepted or 0, ledger.rejected or 0, ledger.not_selected or 0, ledger.errored or 0, ledger.selected or 0,
        ledger.unaccounted or 0, reasons, sum(len(encode_json(part)) for part in now.parts.values()),
    )  # fmt: skip


def fingerprints_of(head: bytes, data: bytes) -> set[int]:
    """The fingerprints of the items in a chunk; `LARGE` for sets that are too large."""
    found: set[int] = set()
    for _, _, n, form, offset, length, *_ in unpack(head):
        if n > LARGE_SET:
            found.add(LARGE)
            continue
        blob = data[offset : offset + length]
        if form == FP40:
            found.update(verdicts.decode(blob))
        else:
            found.update(map(verdicts.fingerprint, msgspec.json.decode(blob)))
    return found
