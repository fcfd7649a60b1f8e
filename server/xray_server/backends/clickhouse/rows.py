"""Runs, steps and items as rows of ClickHouse's tables: what a writer makes of records, before it touches a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from xray_core import verdicts
from xray_core.model import STATUS_RANK
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.parts import HEARD, PART, SUM, RunName, StepName, Stored
from xray_server.backends.relational.rows import FP40, HOUR_US, place_us, run_state, step_state, tag_text
from xray_server.records.documents import unpack
from xray_server.records.schema import encode_json
from xray_server.records.states import StepState

RUN, STEP, HOUR = 0, 1, 2  # kinds of rows of `state` and `listed`
VERDICT, SAMPLE = 0, 1  # kinds of rows of `evidence`
LARGE_SET: Final = 16_384  # items; a larger set has no row for each of them
LARGE: Final = 0  # stands for a fingerprint in the rows of `item` of runs with a large set


@dataclass(slots=True)
class Written:
    """A run or step attempt after this group.

    Attributes:
        before: what was stored, or None.
        now: what is to be stored.
        changed: the parts that differ.
        again: what is sent again is written again: one of several replicas may have missed it the first time.
        said: some record of this group is about it itself, not only about what hangs on it.
        elsewhere_us: places at which others who wrote it meanwhile may have listed it, of what they knew.
    """

    before: Stored | None
    now: Stored
    changed: set[str]
    said: bool
    again: bool = False
    elsewhere_us: set[int] = field(default_factory=set)
    _state: tuple[Stored, StepState] | None = None
    _run_state: tuple[Stored, Mapping[str, Any]] | None = None
    _documents: dict[str, tuple[Sequence[Any], bytes]] = field(default_factory=dict)

    def step_state(self) -> StepState:
        """What a step's parts come to, worked out once: several rows say it."""
        if self._state is None or self._state[0] is not self.now:
            self._state = self.now, step_state(self.now.parts)
        return self._state[1]

    def run_state(self) -> Mapping[str, Any]:
        """As `step_state`, of a run."""
        if self._run_state is None or self._run_state[0] is not self.now:
            self._run_state = self.now, run_state(self.now.parts)
        return self._run_state[1]

    def document(self, part: str) -> bytes:
        """The text of a part, made once; of one that does not count any more, none."""
        values = self.now.parts.get(part)
        if values is None:
            return b""
        made = self._documents.get(part)
        if made is None or made[0] is not values:
            made = self._documents[part] = values, encode_json(values)
        return made[1]

    @property
    def size(self) -> int:
        """The bytes of its documents."""
        return sum([len(self.document(part)) for part in self.now.parts])

    @property
    def new(self) -> bool:
        """Nothing but that it exists was known, if that."""
        return self.before is None or not self.before.vers


class EvidenceRow(NamedTuple):
    """A row of `evidence`."""

    kind: int
    project: str
    week: int
    run_id: str
    step_id: str
    attempt: int
    part: str
    chunk: str
    ver: int
    received_us: int = 0
    place: int = 0
    head: bytes = b""
    data: bytes = b""
    text: bytes = b""


KNOWN, VER = 6, 8  # places in a row of `state`
_NO_FIGURES: Final = (0, None, None, None, None, 0, 0, None, 0, 0, 0, 0, 0, 0)  # `_figures` of what is no step


def run_rows(name: RunName, run: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `state` of a run: the parts that changed, or that the run was heard of."""
    project, run_id = name
    now = run.now
    key = (RUN, project, now.week, run_id, "", 0)
    if not now.parts and (run.before is None or run.again):
        yield *key, HEARD, "", parts.MAX_VER - now.received_us, now.received_us, *_NO_FIGURES, b""
    for part in run.changed:
        yield *key, PART, part, now.vers[part], now.received_us, *_NO_FIGURES, run.document(part)


def step_rows(name: StepName, step: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `state` of a step: the parts that changed, or that the step was heard of; of several parts also their sum."""
    project, run_id, step_id, attempt = name
    now = step.now
    state = step.step_state()
    figures = _figures(state, place_us(state.values, now.received_us))
    key = (STEP, project, now.week, run_id, step_id, attempt)
    if not now.parts and (step.before is None or step.again):
        yield *key, HEARD, "", parts.MAX_VER - now.received_us, now.received_us, *figures, b""
    for part in step.changed:
        yield *key, PART, part, now.vers[part], now.received_us, *figures, step.document(part)
    if len(now.parts) > 1:
        yield *key, SUM, "", now.ver, now.received_us, *figures, b""


def _figures(state: StepState, at_us: int) -> tuple[Any, ...]:
    """The columns of `state` from its place to `selected`."""
    values, ledger = state.values, state.ledger
    return (
        at_us, values["index"], values["pipeline"], values["name"], values["step_type"], STATUS_RANK[values["status"]],
        state.flag_bits, values["duration_us"], ledger.input or 0, ledger.accepted or 0, ledger.rejected or 0,
        ledger.not_selected or 0, ledger.errored or 0, ledger.selected or 0,
    )  # fmt: skip


_NO_SUMS: Final[tuple[Any, ...]] = (None, None, None, None, 0, 0, 0, 0, 0, 0, 0, {})  # the last columns of `listed`


def run_list_rows(name: RunName, run: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `listed` of a run: its place, and that it left others."""
    project, run_id = name
    now = run.now
    state = run.run_state()
    at_us = place_us(state, now.received_us)
    left_us = set(run.elsewhere_us)
    if run.before is not None:
        left_us.add(place_us(run_state(run.before.parts), run.before.received_us))
    for was_us in left_us - {at_us}:
        yield RUN, project, was_us, run_id, "", 0, now.ver, 1, 0, now.week, None, 0, 0, {}, *_NO_SUMS
    tags = {key: tag_text(value) for key, value in (state["tags"] or {}).items()}
    known, status = int(bool(now.parts)), STATUS_RANK[state["status"]]
    key = (RUN, project, at_us, run_id, "", 0)
    yield *key, now.ver, 0, known, now.week, state["pipeline"], status, run.size, tags, *_NO_SUMS


def step_list_rows(name: StepName, step: Written) -> Iterable[tuple[Any, ...]]:
    """The rows of `listed` of a step: its place, and that it left others."""
    project, run_id, step_id, attempt = name
    now = step.now
    state = step.step_state()
    values, ledger = state.values, state.ledger
    at_us = place_us(values, now.received_us)
    left_us = set(step.elsewhere_us)
    if step.before is not None:
        left_us.add(place_us(step_state(step.before.parts).values, step.before.received_us))
    for was_us in left_us - {at_us}:
        yield STEP, project, was_us, run_id, step_id, attempt, now.ver, 1, 0, now.week, None, 0, 0, {}, *_NO_SUMS
    reasons: dict[str, int] = {}
    for (_, reason), n in state.reasons().items():
        reasons[reason] = reasons.get(reason, 0) + n
    duration_us = values["duration_us"]
    # items of which nobody knows whether they came out are not among those that did not
    counted_input = 0 if ledger.unaccounted is None else ledger.input or 0
    yield (
        STEP, project, at_us, run_id, step_id, attempt, now.ver, 0, int(bool(now.parts)), now.week, values["pipeline"],
        STATUS_RANK[values["status"]], step.size, {}, values["name"], values["step_type"], duration_us, state.rejection_rate,
        counted_input, ledger.accepted or 0, ledger.rejected or 0, ledger.not_selected or 0, ledger.errored or 0,
        ledger.selected or 0, ledger.unaccounted or 0, reasons,
    )  # fmt: skip


def hour_rows(hours: Iterable[tuple[str, int]], process: str, at_us: int) -> list[tuple[Any, ...]]:
    """The rows of `listed` that say when a process last wrote steps of these (project, hour)."""
    nothing = (0, 0, 0, None, 0, 0, {}, *_NO_SUMS)
    return [(HOUR, project, hour * HOUR_US, process, "", 0, at_us, *nothing) for project, hour in hours]


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
