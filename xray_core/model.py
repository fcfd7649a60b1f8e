"""The words of X-Ray as types: outcomes, statuses, the ledger, ids.

Owns what a run, a step and an item *are*, for the SDK and the server alike. Knows nothing of capture, storage or HTTP.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from xray_core.item_ids import MAX_ITEM_ID_CHARS as MAX_ITEM_ID_CHARS
from xray_core.item_ids import NullIdError as NullIdError
from xray_core.item_ids import item_id_text as item_id_text

Outcome = Literal["accepted", "rejected", "selected", "not_selected", "errored"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

Status = Literal["running", "completed", "failed", "skipped"]
# When processes disagree about one run or step, the higher rank wins.
STATUS_RANK: Final[dict[str, int]] = {"running": 0, "skipped": 1, "completed": 2, "failed": 3}

Capture = Literal["minimal", "sample", "full"]
CAPTURE_LEVELS: Final[tuple[Capture, ...]] = get_args(Capture)

STEP_TYPES: Final = ("generate", "retrieve", "filter", "score", "rank", "select", "transform")

# Sets of items that are not verdicts: what entered a step and what left it, as given by
# `set_input_items` / `set_output_items`. They travel and are stored like verdicts.
ITEMS_IN: Final = "in"
ITEMS_OUT: Final = "out"

# Relations (see `wire`) in which what came out are other items than what went in.
OTHER_ITEMS_COME_OUT: Final = frozenset({"expanded", "aggregated"})
SAME_ITEMS_COME_OUT: Final = frozenset({"filter", "rank", "transform", "joined"})

# Metadata of a run or step is what it was given (parameters, versions), and a change of it explains a changed answer.
# Under this prefix it is what came of it instead (row counts, checks passed), which explains nothing by itself.
RESULT_METADATA: Final = "result."
SUBFLOW: Final = "subflow"  # step_type of a step that stands for a run of its own
SKIPS: Final = "result.skips"  # the steps that a branch, or a short circuit, had the framework skip
# What a step cannot tell of its items, in words: an adapter says it where its framework hides something.
ITEMS_UNKNOWN: Final = f"{RESULT_METADATA}items_unknown"
# Nothing that ran the step captured it: what is known is what its framework reports. Yields to any part that was captured.
NOT_REACHED: Final = f"{RESULT_METADATA}not_captured"
# Of a run, where its own process cannot tell whether what it handed to others was captured there: {"n": tasks handed over, "to": by
# what, "own": steps that this process captured itself, "note": what to do}.
HANDED_OVER: Final = f"{RESULT_METADATA}tasks_elsewhere"

OTHER_REASONS: Final = "(other reasons)"  # those of a step beyond the most that are kept
HASH_MODULUS: Final = 1 << 64  # sums of items' hashes wrap around here

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


# A generator of our own: the user may seed the global one, and then two runs would get the same ids.
_generator = random.Random()  # noqa: S311  # ids must be unique, not secret
_random = _generator.getrandbits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then randomness, so that ids sort by time of creation."""
    now_ms = time.time_ns() // 1_000_000
    bits = _random(74)
    return (
        f"{now_ms >> 16:08x}-{now_ms & 0xFFFF:04x}-7{bits >> 62:03x}-"
        f"{0x8000 | bits >> 48 & 0x3FFF:04x}-{bits & 0xFFFF_FFFF_FFFF:012x}"
    )


def epoch_us(at: datetime.datetime) -> int:
    """A moment as the wire writes it: microseconds since the epoch, UTC. Naive means UTC."""
    at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.timezone.utc)
    return (at - _EPOCH) // _MICROSECOND


_exit_code = SystemExit.__dict__["code"].__get__  # a subclass may have a `code` of its own, which is user code


def is_failure(error: BaseException | None) -> bool:
    """Whether what left a block means that it failed: not so when a generator is closed, or by `sys.exit(0)`."""
    if error is None or isinstance(error, GeneratorExit):
        return False
    return not isinstance(error, SystemExit) or _exit_code(error) not in (None, 0)


def derived_id(framework: str, *parts: object) -> str:
    """The id that every process derives alike for one framework object.

    `parts` are the framework's own ids (a dag id, a run id, ...). A single part that already is a UUID is used
    as it stands, so that ids in X-Ray and in the framework's UI are the same; anything else becomes a UUIDv5.
    """
    if len(parts) == 1:
        if type(parts[0]) is uuid.UUID:
            return str(parts[0])
        try:
            return str(uuid.UUID(str(parts[0])))
        except ValueError:
            pass
    # as uuid.uuid5 makes it; without the class, which costs most of the time where code runs as seldom as once a task
    name = _namespace(framework) + "\x1f".join([str(part) for part in parts]).encode()
    digits = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


@functools.lru_cache(maxsize=32)
def _namespace(framework: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"xray/{framework}").bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """The framework object behind a run or a step, with a link back to its own UI.

    Attributes:
        framework: "prefect", "airflow", "dagster", or "script".
        kind: the framework's word for the object, as in "flow_run", "task_instance", "op".
        ids: the framework's own ids by their own names, as in {"dag_id": "nightly", "try_number": 2}.
        url: the page of that object in the framework's UI, where one is known.
        state: the framework's own word for how it ended, as in "Cached", "UpstreamFailed".
    """

    framework: str
    kind: str = ""
    ids: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None
    state: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        return {
            "framework": self.framework,
            "kind": self.kind,
            "ids": dict(self.ids),
            "url": self.url,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a step's items went; None where that is not known.

    `input + duplicated = accepted + rejected + not_selected + errored + undecided + unaccounted`, None counting as 0.

    Attributes:
        accepted: what came out, the selected included.
        undecided: what has no verdict because its step still runs, or failed before it came to it; 0 of all others.
        unaccounted: what went in and nothing says what became of it; negative when more came out than went in.
        distinct_in, distinct_out: how many different items, where item sets were given.
        duplicated: copies that came out beyond those that went in; negative: copies that were taken out.
        nulls: rows without an id.
        inferred: a figure here was found by an adapter and said by nobody.
        flags: facts about the figures:

            - "unaccounted": by the user's own word items went in, and nothing says what became of them;
            - "created": more came out than went in (a retrieve, a generate, a join): a fact, not a fault;
            - "duplicated": items came out more often than they went in: a fact too;
            - "contradiction": the counts given by the user and the verdicts cannot both be right. Both are kept.
    """

    input: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    not_selected: int | None = None
    errored: int | None = None
    unaccounted: int | None = None
    selected: int | None = None
    flags: tuple[str, ...] = ()
    undecided: int | None = None
    distinct_in: int | None = None
    distinct_out: int | None = None
    duplicated: int | None = None
    nulls: int | None = None
    inferred: bool = False

    @property
    def known(self) -> bool:
        """Whether anything is known of items here."""
        return self.input is not None or self.accepted is not None

    @property
    def output(self) -> int | None:
        """How many items came out: the accepted."""
        return self.accepted

    @property
    def rejection_rate(self) -> float | None:
        """Rejected per item that went in, 0 to 1; None when nothing went in or that is not known."""
        return self.rejected / self.input if self.input and self.input > 0 and self.rejected is not None else None

    def as_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {name: list(value) if name == "flags" else value for name, value in _ledger_fields(self)}


def _ledger_fields(ledger: Ledger) -> list[tuple[str, Any]]:
    return [(name, getattr(ledger, name)) for name in Ledger.__slots__]


_FIGURES: Final = tuple(name for name in Ledger.__slots__ if name not in ("flags", "inferred"))


@dataclass(frozen=True, slots=True)
class _Side:
    """How many items went in, or came out: `n` None where that is not known."""

    n: int | None = None
    inferred: bool = False
    distinct: int | None = None
    nulls: int | None = None


_UNKNOWN: Final = _Side()


def make_ledger(
    counts: Mapping[str, int],
    *,
    input_count: int | None = None,
    output_count: int | None = None,
    items: Mapping[str, Any] | None = None,
    relation: str | None = None,
    running: bool = False,
) -> Ledger:
    """The ledger that follows from verdict counts, the counts that were given and the item sets, if any.

    Args:
        counts: outcome -> number of verdicts; missing outcomes are 0, and no outcome at all means that none was said.
        input_count, output_count: items in and out by the user's word (`set_input_count`, `set_output_count`).
        items: item sets by side, as `merge_step` gives them. What the user counted wins over them; those that were inferred
            count only as far as they agree with what was said.
        relation: how what came out relates to what went in; where it is other items (an aggregate, the parts of each), none is lost.
        running: the step has not ended, or failed: what has no verdict is undecided.

    Items that came out without an explicit accept are accepted: that is what leaving a step means.
    """
    sets = items or {}
    went_in = _side(input_count, sets.get(ITEMS_IN))
    came_out = _side(output_count, sets.get(ITEMS_OUT))
    said = _Said(counts)
    if counts:
        went_in, came_out = _agreeing(went_in, came_out, said)
    accepted = _accepted(went_in, came_out, said)
    total = went_in.n if went_in.n is not None else accepted + said.no if counts and accepted is not None else None
    inferred = went_in.inferred or came_out.inferred
    comparable = not (inferred and relation in OTHER_ITEMS_COME_OUT)
    rest = duplicated = None
    if comparable and total is not None and (accepted is not None or not (counts or inferred)):
        rest, duplicated = _rest(total - (accepted or 0) - said.no, went_in, came_out)
    undecided = None if rest is None else max(0, rest) if running else 0
    unaccounted = None if rest is None else rest - (undecided or 0)
    any_known = bool(counts) or accepted is not None
    return Ledger(
        input=total,
        accepted=accepted,
        rejected=counts.get("rejected", 0) if any_known else None,
        not_selected=counts.get("not_selected", 0) if any_known else None,
        errored=counts.get("errored", 0) if any_known else None,
        unaccounted=unaccounted,
        selected=counts.get("selected", 0) if any_known else None,
        flags=_flags(went_in, came_out, said, unaccounted or 0, duplicated or 0, inferred=inferred),
        undecided=undecided,
        distinct_in=went_in.distinct,
        distinct_out=came_out.distinct,
        duplicated=duplicated,
        nulls=went_in.nulls if went_in.nulls is not None else came_out.nulls,
        inferred=inferred,
    )


class _Said:
    """The verdicts of a step by what they say: `yes`, `no`; `any`: whether there is one."""

    __slots__ = ("any", "no", "yes")

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.any = bool(counts)
        self.yes = counts.get("accepted", 0) + counts.get("selected", 0)
        self.no = counts.get("rejected", 0) + counts.get("not_selected", 0) + counts.get("errored", 0)


def _flags(
    went_in: _Side, came_out: _Side, said: _Said, unaccounted: int, duplicated: int, *, inferred: bool
) -> tuple[str, ...]:
    flags = []
    too_many_yes = came_out.n is not None and said.yes > came_out.n
    if too_many_yes or (went_in.n is not None and said.no > went_in.n):
        flags.append("contradiction")
    if unaccounted > 0 and not inferred:
        flags.append("unaccounted")
    elif unaccounted < 0 and not flags:
        flags.append("created")
    if duplicated > 0:
        flags.append("duplicated")
    return tuple(flags)


def added(ledgers: Iterable[Ledger]) -> Ledger:
    """Several ledgers as one. A figure that one of them lacks, though it knows of items, is not known of all together."""
    known = [ledger for ledger in ledgers if ledger.known]
    total: dict[str, int | None] = {}
    for name in _FIGURES:
        values = [getattr(ledger, name) for ledger in known]
        if any(value is not None for value in values):
            # of items that are all unaccounted for it is known that nothing is known to have come out
            values = [0 if n is None and each.unaccounted is not None else n for each, n in zip(known, values)]
        total[name] = None if None in values or not values else sum(values)
    if len(known) > 1:  # how many different items there are in all is not the sum of how many there are in each
        total["distinct_in"] = total["distinct_out"] = None
    flags = dict.fromkeys(flag for ledger in known for flag in ledger.flags)
    return Ledger(**total, flags=tuple(flags), inferred=any(ledger.inferred for ledger in known))


def ledger_of(state: Mapping[str, Any]) -> Ledger:
    """The ledger of a step's state as `merge_step` gives it."""
    return make_ledger(
        state["counts"],
        input_count=state["input_count"],
        output_count=state["output_count"],
        items=state["items"],
        relation=state["relation"],
        running=state["status"] in ("running", "failed"),
    )


def _side(count: int | None, given: Mapping[str, Any] | None) -> _Side:
    if given is None or (count is not None and given.get("inferred")):
        return _Side(count) if count is not None else _UNKNOWN
    distinct = given.get("distinct") if count is None or count == given["n"] else None
    n = count if count is not None else int(given["n"])
    return _Side(n, bool(given.get("inferred")), distinct, given.get("nulls"))


def _agreeing(went_in: _Side, came_out: _Side, said: _Said) -> tuple[_Side, _Side]:
    """Both sides, without what an adapter inferred and the verdicts contradict: then they speak of other items."""
    if came_out.inferred and came_out.n is not None:
        too_many = went_in.n is not None and came_out.n + said.no > went_in.n
        if said.yes or too_many:
            came_out = _UNKNOWN
            if too_many and went_in.inferred:
                went_in = _UNKNOWN
    if went_in.inferred and went_in.n is not None and said.yes + said.no > went_in.n:
        went_in = _UNKNOWN
    return went_in, came_out


def _accepted(went_in: _Side, came_out: _Side, said: _Said) -> int | None:
    if came_out.n is not None:
        return max(said.yes, came_out.n)
    if not said.any:
        return None
    # an adapter saw more go in than was rejected: those that were not may have come out, or not
    partly = went_in.inferred and not said.yes and went_in.n is not None and said.no < went_in.n
    return None if partly else said.yes


def _rest(rest: int, went_in: _Side, came_out: _Side) -> tuple[int, int | None]:
    """What is left when all is taken away that came out or fell, and the copies that were made (or, negative, taken out):
    40 in, 10 lost and 10 doubled is not 40 = 40.
    """
    if None in (went_in.n, came_out.n, went_in.distinct, came_out.distinct):
        return rest, None
    made = _copies(came_out) - _copies(went_in)
    if made < 0:
        made = -min(-made, max(0, rest))  # copies may have been rejected one by one
    return rest + made, made


def _copies(side: _Side) -> int:
    return (side.n or 0) - (side.nulls or 0) - (side.distinct or 0)
