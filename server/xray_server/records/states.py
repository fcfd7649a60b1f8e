"""From the stored parts of a run or a step attempt to its state: merged, with its ledger and its rejection rate.

Adds to `xray_core.merge` what only the server has: parts that came through `POST /runs`. A client of that shape sends what it
knows, again and again and in pieces, without revisions; so each distinct piece is a part of its own, and pieces fold by
filling in (the piece that knows the later state first), never by adding up. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core.merge import Part, merge_run, merge_step
from xray_core.model import STATUS_RANK, Ledger, ledger_of
from xray_server.records.documents import RUN_FIELDS, STEP_FIELDS
from xray_server.records.schema import encode_json

POSTED: Final = "post:"
ECHO: Final = (
    "echo"  # the part that X-Ray's own spans tell (`xray_server.otlp.echo`): it counts where there is no other
)
MAX_POSTED_PARTS: Final = 64  # a client that posts its progress for ever must not grow a step without end
FLAG_BITS: Final = {"unaccounted": 1, "created": 2, "contradiction": 4, "duplicated": 8}
SUSPECT_FLAGS: Final = FLAG_BITS["unaccounted"] | FLAG_BITS["contradiction"]  # the others are facts, not faults
# In the column of flags too, since the figures beside it are 0 where nothing is known.
INPUT_UNKNOWN: Final = 16
OUTPUT_UNKNOWN: Final = 32

# What a step's row says in its columns too. In the document of a lone part True stands there instead, which halves it:
# True is no value that any of these can have. `elide_columns` and `restore_columns` undo each other.
IN_COLUMNS: Final = ("pipeline", "name", "step_type", "status", "index", "started_us", "duration_us")
_PLACES: Final = tuple(STEP_FIELDS.index(name) for name in IN_COLUMNS)
_STARTED, _ENDED = STEP_FIELDS.index("started_us"), STEP_FIELDS.index("ended_us")
_MAY_BE_EMPTY: Final = tuple(
    STEP_FIELDS.index(name)
    for name in (
        "upstream",
        "counts",
        "reasons",
        "sums",
        "items",
        "scores",
        "score_sums",
        "orders",
        "dimensions",
        "value_sums",
        "decisions",
        "metadata",
        "origin",
        "dropped",
    )
)


@dataclass(frozen=True, slots=True)
class StepState:
    """A step attempt as its parts say: `values` is what `merge_step` gives."""

    values: dict[str, Any]
    ledger: Ledger
    rejection_rate: float | None

    @property
    def flag_bits(self) -> int:
        """The flags of the ledger and what is not known, as the column of flags holds them."""
        ledger = self.ledger
        unknown = (INPUT_UNKNOWN if ledger.input is None else 0) | (OUTPUT_UNKNOWN if ledger.accepted is None else 0)
        return unknown | sum([FLAG_BITS[flag] for flag in ledger.flags]) if ledger.flags else unknown

    def reasons(self) -> dict[tuple[str, str], int]:
        """(outcome, reason) -> number of items, for those that have a reason."""
        return {
            (outcome, reason): n
            for outcome, reasons in (self.values["reasons"] or {}).items()
            for reason, n in reasons.items()
            if reason and n
        }


def run_part(part: str, values: Sequence[Any]) -> dict[str, Any]:
    """A run's part with its fields named; `values` are in the order of RUN_FIELDS."""
    named = dict(zip(RUN_FIELDS, values))
    named["part"] = part
    return named


def step_part(part: str, values: Sequence[Any]) -> dict[str, Any]:
    """A step's part with its fields named; `values` are in the order of STEP_FIELDS."""
    named = dict(zip(STEP_FIELDS, values))
    named["part"] = part
    return named


def run_state(parts: Iterable[Part]) -> dict[str, Any]:
    """A run from its parts; of no parts, a running run of which nothing is known."""
    return merge_run(fold_posted(without_echo(parts)) or [{}])


def step_state(parts: Sequence[Part]) -> StepState:
    """A step attempt from its parts, sharing with them; of no parts, one of which nothing is known but that it is."""
    folded = fold_posted(without_echo(parts))
    values = merge_step(folded or [{}], shared=True)
    ledger = ledger_of(values)
    rate = ledger.rejection_rate
    if rate is None or "rejected" not in values["counts"]:
        posted_rate = next((part["rejection_rate"] for part in folded if part.get("rejection_rate") is not None), None)
        rate = rate if posted_rate is None else posted_rate
    return StepState(values, ledger, rate)


def without_echo(parts: Iterable[Part]) -> list[Part]:
    """The parts, without the one that repeats what the others say."""
    several = list(parts)
    own = [part for part in several if part.get("part") != ECHO]
    return own or several


def fold_posted(parts: Iterable[Part]) -> list[Part]:
    """The parts, those that were posted folded into one: the later state first, the others filling in what it lacks."""
    others: list[Part] = []
    posted: list[Part] = []
    for part in parts:
        (posted if str(part.get("part") or "").startswith(POSTED) else others).append(part)
    if len(posted) < 2:
        return others + posted
    posted.sort(key=_posted_rank, reverse=True)
    folded: dict[str, Any] = {}
    for part in posted:
        for name, value in part.items():
            if isinstance(value, dict) and isinstance(folded.get(name), dict) and name in ("metadata", "tags"):
                folded[name] = {**value, **folded[name]}
            elif folded.get(name) is None:
                folded[name] = value
    return [*others, folded]


def surplus_posted(parts: Mapping[str, Part]) -> list[str]:
    """The names of posted parts beyond the bound: always those that rank last, so that the order of arrival is no matter."""
    posted = [name for name in parts if name.startswith(POSTED)]
    if len(posted) <= MAX_POSTED_PARTS:
        return []
    posted.sort(key=lambda name: _posted_rank(parts[name]), reverse=True)
    return posted[MAX_POSTED_PARTS:]


def _posted_rank(part: Part) -> tuple[Any, ...]:
    counts = part.get("counts") or {}
    return (
        STATUS_RANK.get(part.get("status") or "running", 0),
        part.get("ended_us") or 0,
        part.get("duration_us") or 0,
        sum(counts.values()),
        sum(value is not None for value in part.values()),
        encode_json(part),
    )


def drop_empty(values: list[Any]) -> list[Any]:
    """The values of a step part with nothing where an empty collection says no more; changed in place."""
    for place in _MAY_BE_EMPTY:
        if not values[place]:
            values[place] = None
    return values


def elide_columns(values: Sequence[Any], columns: Sequence[Any]) -> list[Any]:
    """A lone step part without what the columns of its row say too.

    Args:
        values: in the order of STEP_FIELDS.
        columns: in the order of IN_COLUMNS, words as text.
    """
    thinned = list(values)
    for place, column in zip(_PLACES, columns):
        if thinned[place] is not None and thinned[place] == column:
            thinned[place] = True
    started, duration = values[_STARTED], columns[-1]
    if started is not None and duration is not None and values[_ENDED] == started + duration:
        thinned[_ENDED] = True
    while thinned and thinned[-1] is None:  # a document may end early: what is missing is None
        thinned.pop()
    return thinned


def restore_columns(thinned: Sequence[Any], columns: Sequence[Any]) -> list[Any]:
    """The part that was thinned; its columns as they were given to `elide_columns`."""
    values = [*thinned, *[None] * (len(STEP_FIELDS) - len(thinned))]
    for place, column in zip(_PLACES, columns):
        if values[place] is True:
            values[place] = column
    if values[_ENDED] is True:
        values[_ENDED] = values[_STARTED] + columns[-1]
    return values
