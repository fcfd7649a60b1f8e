"""Records as rows: what every relational store makes of a group of batches before it touches its database.

Records are folded in memory first (newest revision of each part), so that the many snapshots of one step in one transaction
cost one row; sums are kept as new minus old, so that a resent record counts once. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, TypeAlias, TypeVar

from xray_core.merge import newest
from xray_core.model import ITEMS_IN, ITEMS_OUT, OUTCOMES, STATUS_RANK, Ledger
from xray_server.records import states
from xray_server.records.documents import (
    RUN_FIELDS,
    SAMPLE_FIELDS,
    STEP_FIELDS,
    pack,
    pack_values,
    run_values,
    sample_values,
    step_values,
)
from xray_server.records.schema import (
    MAX_DURATION_US,
    ClientRecord,
    RunRecord,
    SamplesRecord,
    StepRecord,
    VerdictsRecord,
    encode_json,
    read_samples,
)
from xray_server.records.states import StepState
from xray_server.store import Batch

STATUS_NAMES: Final = {rank: name for name, rank in STATUS_RANK.items()}
SET_CODES: Final = {name: code for code, name in enumerate((*OUTCOMES, ITEMS_IN, ITEMS_OUT))}
SET_NAMES: Final = {code: name for name, code in SET_CODES.items()}
IDS, FP40 = 1, 2
# What `step_columns` gives, and the document.
STEP_ROW_COLUMNS: Final = (
    "pipeline, name, type, status, position, at_us, duration_us, "
    "input, accepted, rejected, not_selected, errored, selected, flags, rate, doc"
)
HOUR_US: Final = 3_600_000_000
MAX_AHEAD_US: Final = 600_000_000  # clocks that differ by less are believed
HIGH_RATE: Final = 0.9  # of the partial index on rejection rates
SLOW_US: Final = 10_000_000  # of the partial index on durations

REV: Final = RUN_FIELDS.index("rev")  # STEP_FIELDS have it in the same place
RUN_STARTED_US: Final = RUN_FIELDS.index("started_us")
_RUN_PIPELINE, _RUN_TAGS = RUN_FIELDS.index("pipeline"), RUN_FIELDS.index("tags")
_STEP_REASONS: Final = STEP_FIELDS.index("reasons")
_step_words: Final = itemgetter(*map(STEP_FIELDS.index, ("pipeline", "name", "step_type")))

RunKey: TypeAlias = tuple[int, str]
StepKey: TypeAlias = tuple[int, str, str, int]
K = TypeVar("K")
Parts: TypeAlias = dict[str, list[Any]]  # part name -> values


@dataclass(slots=True)
class Folded:
    """A group of batches by what they are about; `received` is when a run was first heard of in it."""

    runs: dict[RunKey, Parts] = field(default_factory=dict)
    steps: dict[StepKey, Parts] = field(default_factory=dict)
    verdicts: list[tuple[StepKey, VerdictsRecord]] = field(default_factory=list)
    samples: list[tuple[StepKey, SamplesRecord]] = field(default_factory=list)
    clients: list[tuple[int, ClientRecord, int]] = field(default_factory=list)
    received: dict[RunKey, int] = field(default_factory=dict)


def fold(batches: Sequence[Batch], project_id: Callable[[str], int]) -> Folded:
    """The newest revision of every part in these batches; runs and steps that only others speak of have no parts."""
    folded = Folded()
    for batch in batches:
        project = project_id(batch.project)
        for record in batch.records:
            if isinstance(record, ClientRecord):
                folded.clients.append((project, record, batch.received_us))
                continue
            run_key = (project, record.run_id)
            folded.received.setdefault(run_key, batch.received_us)
            parts = folded.runs.setdefault(run_key, {})
            if isinstance(record, RunRecord):
                keep_newest(parts, record.part, run_values(record), states.run_part)
                continue
            step_key = (project, record.run_id, record.step_id, record.attempt)
            step_parts = folded.steps.setdefault(step_key, {})
            if isinstance(record, StepRecord):
                keep_newest(step_parts, record.part, states.drop_empty(step_values(record)), states.step_part)
            elif isinstance(record, VerdictsRecord):
                folded.verdicts.append((step_key, record))
            else:
                folded.samples.append((step_key, record))
    return folded


def dictionary_strings(folded: Folded) -> set[str]:
    """Every word that these records may need; what their runs and steps said before is there already."""
    words: set[str | None] = {""}
    for run in folded.runs.values():
        for values in run.values():
            words.add(values[_RUN_PIPELINE])
            words.update(values[_RUN_TAGS] or ())
    for step in folded.steps.values():
        for values in step.values():
            words.update(_step_words(values))
            for reasons in (values[_STEP_REASONS] or {}).values():
                words.update(reasons)
    return {word for word in words if word is not None}


def part_names(folded: Folded) -> set[str]:
    """The names of every part in these records."""
    names = {name for parts in (*folded.runs.values(), *folded.steps.values()) for name in parts}
    names.update(record.part for _, record in folded.verdicts)
    names.update(record.part for _, record in folded.samples)
    names.update(record.part for _, record, _ in folded.clients)
    return names


class Sums:
    """What one transaction adds to the hourly sums, to those by reason, and to the counters of runs."""

    def __init__(self, word: Callable[[str], int]) -> None:
        self._word = word
        self.hourly: dict[tuple[int, int, int, int], list[int]] = {}  # project, pipeline (0: not known), name, hour
        self.by_reason: dict[tuple[int, int, int, int, int, int], int] = {}  # the same, outcome, reason
        self.by_run: dict[int, list[int]] = {}  # steps, failed, flagged

    def new_step(self, run: int) -> None:
        """Count a step attempt that was not there before."""
        self.by_run.setdefault(run, [0, 0, 0])[0] += 1

    def add(self, state: StepState, *, project: int, run: int, at_us: int, sign: int) -> None:
        """Add a step's figures (sign 1), or take them away (-1)."""
        values, ledger = state.values, state.ledger
        failed = values["status"] == "failed"
        of_run = self.by_run.setdefault(run, [0, 0, 0])
        of_run[1] += sign * failed
        of_run[2] += sign * bool(state.flag_bits & states.SUSPECT_FLAGS)
        pipeline = 0 if values["pipeline"] is None else self._word(values["pipeline"])
        place = (project, pipeline, self._word(values["name"] or ""), at_us // HOUR_US)
        input_, accepted, *others = _figures(ledger)
        if ledger.unaccounted is None:
            input_ = 0  # items of which nobody knows whether they came out are not among those that did not
        figures = (
            1, failed, input_, accepted, *others, ledger.unaccounted or 0, min(values["duration_us"] or 0, MAX_DURATION_US),
        )  # fmt: skip
        known = self.hourly.get(place)
        if known is None:
            self.hourly[place] = [sign * figure for figure in figures]
        else:
            known[:] = [sum_ + sign * figure for sum_, figure in zip(known, figures)]
        for (outcome, reason), n in state.reasons().items():
            key = (*place, SET_CODES[outcome], self._word(reason))
            self.by_reason[key] = self.by_reason.get(key, 0) + sign * n


def tag_text(value: object) -> str:
    """A tag's value as it is searched: a string itself, anything else as JSON, cut at 256 characters."""
    return (value if isinstance(value, str) else encode_json(value).decode())[:256]


def client_document(record: ClientRecord) -> bytes:
    """The document of a client process: host, pid, SDK, pipeline, counters."""
    return pack([record.host, record.pid, record.sdk, record.pipeline, record.counters or {}])


def verdict_documents(record: VerdictsRecord) -> tuple[bytes, bytes]:
    """The head and the data of a chunk of verdicts."""
    head: list[tuple[Any, ...]] = []
    data, at = [], 0
    for each in record.sets:
        form, blob = (FP40, each.fp40) if each.fp40 is not None else (IDS, encode_json(each.ids or []))
        head.append((SET_CODES[each.outcome], each.reason, each.n, form, at, len(blob)))
        data.append(blob)
        at += len(blob)
        if each.values is not None:
            packed = pack_values(each.values)
            head[-1] = (*head[-1], at, len(packed), each.limit)
            data.append(packed)
            at += len(packed)
    return pack(head), b"".join(data)


def gathered_samples(rows: Iterable[tuple[K, bytes]]) -> dict[K, list[Mapping[str, Any]]]:
    """The samples of steps from their records' texts, each once, in an order in which the records' arrival has no part."""
    found: dict[K, dict[Any, Mapping[str, Any]]] = {}
    for step, text in rows:
        once = found.setdefault(step, {})
        for each in read_samples(text):
            sample = dict(zip(SAMPLE_FIELDS, sample_values(each)))
            # the same sample may come in two records: a live snapshot and a final one, a run posted twice
            at_us, reason = sample["at_us"], sample["reason"]
            identity = (at_us or 0, sample["item_id"], sample["outcome"], reason or "", at_us is None, reason is None)
            if identity not in once or repr(once[identity]) < repr(sample):
                once[identity] = sample
    return {step: [once[identity] for identity in sorted(once)] for step, once in found.items()}


def step_document(parts: Parts, state: StepState, at_us: int, part_key: Callable[[str], Any]) -> bytes:
    """The text of a step's document, its parts.

    Args:
        at_us: what its row has as its place in time.
        part_key: how the store names a part in it.
    """
    if len(parts) == 1:
        columns = [at_us if name == "started_us" else state.values[name] for name in states.IN_COLUMNS]
        return encode_json([(part_key(name), states.elide_columns(values, columns)) for name, values in parts.items()])
    return encode_json([(part_key(name), values) for name, values in parts.items()])


def _step_figures(state: StepState) -> tuple[Any, ...]:
    """The ledger's columns of a step's row: input ... selected, flags, rate."""
    return (*_figures(state.ledger), state.flag_bits, state.rejection_rate)


def _figures(ledger: Ledger) -> tuple[int, ...]:
    """Input ... selected, 0 where not known: the flags beside them say which of these are known."""
    return (
        ledger.input or 0, ledger.accepted or 0, ledger.rejected or 0, ledger.not_selected or 0, ledger.errored or 0,
        ledger.selected or 0,
    )  # fmt: skip


def step_columns(state: StepState, at_us: int, word: Callable[[str], int]) -> tuple[Any, ...]:
    """The columns of a step's row from its pipeline to its rate; words by their numbers."""
    values = state.values
    return (
        None if values["pipeline"] is None else word(values["pipeline"]),
        None if values["name"] is None else word(values["name"]),
        None if values["step_type"] is None else word(values["step_type"]),
        STATUS_RANK[values["status"]],
        values["index"],
        at_us,
        values["duration_us"],
        *_step_figures(state),
    )


def run_state(parts: Parts) -> Mapping[str, Any]:
    """The state of a run that is the merge of these parts."""
    return states.run_state([states.run_part(name, values) for name, values in parts.items()])


def place_us(state: Mapping[str, Any], received_us: int) -> int:
    """The place of a run or a step in every list: its start, else when it was first heard of.

    What says that it starts long after it was received comes from a clock that is wrong: it would head every list and
    outlive every retention.
    """
    started_us: int | None = state["started_us"]
    return received_us if started_us is None or _is_ahead(started_us, received_us) else started_us


def _is_ahead(started_us: int, received_us: int) -> bool:
    return received_us > 0 and started_us > received_us + MAX_AHEAD_US


def run_columns(
    parts: Parts,
    state: Mapping[str, Any],
    first_received_us: int,
    *,
    word: Callable[[str], int],
    part: Callable[[str], int],
) -> tuple[Any, ...]:
    """A run's columns pipeline, status, at_us, parts, part and doc; words and parts by their numbers."""
    only = next(iter(parts)) if len(parts) == 1 else None
    return (
        None if state["pipeline"] is None else word(state["pipeline"]),
        STATUS_RANK[state["status"]],
        place_us(state, first_received_us),
        len(parts),
        None if only is None else part(only),
        pack(parts[only] if only is not None else state) if parts else None,
    )


def step_state(parts: Parts) -> StepState:
    """The state of a step attempt that is the merge of these parts."""
    return states.step_state([states.step_part(name, values) for name, values in parts.items()])


def effective_start_us(before: StepState, after: StepState, *, old_us: int, received_us: int) -> int:
    """The place in time of a step that changed: its start, and while that is not known when it was heard of. Of a start
    that was sent and then taken back nothing may remain, or the order of arrival would show.
    """
    started_us: int | None = after.values["started_us"]
    if started_us is not None and not _is_ahead(started_us, received_us):
        return started_us
    was_us: int | None = before.values["started_us"]
    return old_us if was_us is None or _is_ahead(was_us, received_us) else received_us


def keep_newest(parts: Parts, name: str, values: list[Any], as_part: Any) -> None:
    """Keep the newer of a part that is known and this one; `as_part` names the fields of its values, to decide between equals."""
    known = parts.get(name)
    if known is None or values[REV] > known[REV]:
        parts[name] = values
    elif values[REV] == known[REV] and values != known:
        winner = newest(as_part(name, known), as_part(name, values))
        parts[name] = list(winner.values())[:-1]


def merged(known: Parts, incoming: Parts, as_part: Any) -> tuple[Parts, set[str]]:
    """The newest of every part, and the names of those that changed."""
    both = dict(known)
    for name, values in incoming.items():
        keep_newest(both, name, values, as_part)
    surplus: list[str] = []
    if len(both) > states.MAX_POSTED_PARTS:
        posted = {name: as_part(name, values) for name, values in both.items() if name.startswith(states.POSTED)}
        surplus = states.surplus_posted(posted)
        for name in surplus:
            del both[name]
    # of a step with hundreds of parts only those that were given can have changed
    return both, {name for name in (*incoming, *surplus) if both.get(name) != known.get(name)}
