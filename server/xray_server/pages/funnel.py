"""A run as a funnel: one row per step, attempts folded, mapped and repeated steps of one name grouped, nested ones indented.

Owns which rows there are, what each is a share of, and how long its bar is. Knows the store's answers; no HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from xray_core.model import Ledger, added
from xray_server.store import StepGroup, StoredStep

MAX_TONES: Final = 6  # colours for reasons; further reasons share the last
_LOG_ABOVE: Final = 40  # when the widest row is so many times the narrowest, a linear bar shows nothing of it
_NOTHING_KNOWN: Final = Ledger()
_MIN_WIDTH: Final = 0.7  # percent of the bar: the least that can be seen


@dataclass(frozen=True, slots=True)
class Portion:
    """Items that left a step in one way.

    Attributes:
        tone: name of its colour.
        x, width: place in the bar, in percent of the widest bar.
    """

    outcome: str
    reason: str | None
    n: int
    tone: str
    x: float = 0.0
    width: float = 0.0

    @property
    def label(self) -> str:
        """The reason, else the outcome."""
        return self.reason or self.outcome.replace("_", " ")


@dataclass(slots=True)
class Row:
    """One line of the funnel: a step, or all steps of one name under one parent.

    Attributes:
        path: names from the outermost step to this one.
        step: the step itself, when the row stands for one.
        ledger: of all its steps together.
        share_of_first: of the items at the last row where items entered; share_kept: of what came in here.
        intervals: (start, end or None, attempt, status) of each attempt, microseconds.
    """

    path: tuple[str, ...]
    step_type: str | None
    steps: int = 0
    attempts: int = 0
    failed: int = 0
    running: int = 0
    flagged: int = 0
    duration_us: int = 0
    ledger: Ledger = _NOTHING_KNOWN
    exact_reasons: bool = True
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    step: StoredStep | None = None
    error: Mapping[str, Any] | None = None
    origin_url: str | None = None
    intervals: list[tuple[int, int | None, int, str]] = field(default_factory=list)
    portions: list[Portion] = field(default_factory=list)
    kept_width: float = 0.0
    share_of_first: float | None = None
    share_kept: float | None = None
    parted: bool = False

    @property
    def name(self) -> str:
        """The name of the step or group."""
        return self.path[-1]

    @property
    def depth(self) -> int:
        """How deep it is nested; 0 at the top."""
        return len(self.path) - 1

    @property
    def status(self) -> str:
        """The worst status of its steps."""
        return "failed" if self.failed else "running" if self.running else "completed"

    @property
    def counted(self) -> bool:
        """Whether anything is known of its items."""
        return self.ledger.known

    @property
    def input(self) -> int:
        """0 where it is not known: for lengths and shares, never to be shown."""
        return self.ledger.input or 0

    @property
    def accepted(self) -> int:
        """As `input`."""
        return self.ledger.accepted or 0

    @property
    def widest(self) -> int:
        """The greater of its items in and out: what its bar is scaled by."""
        return max(self.input, self.accepted)

    @property
    def lost(self) -> int:
        """The items that went in and did not come out."""
        ledger = self.ledger
        return (
            (ledger.rejected or 0)
            + (ledger.not_selected or 0)
            + (ledger.errored or 0)
            + max(0, ledger.unaccounted or 0)
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """The rows of a run.

    Attributes:
        scale: "linear" or "log": how the lengths of the bars follow from counts.
        first: items where they last entered in number, and what the shares of first are of.
    """

    rows: list[Row]
    scale: str
    first: int
    first_name: str | None
    last: int | None

    @property
    def worst(self) -> Row | None:
        """The row that rejected the largest share of what came in."""
        rejecting = [row for row in self.rows if row.ledger.rejected and row.input > 0]
        return max(
            rejecting, key=lambda row: ((row.ledger.rejected or 0) / row.input, row.ledger.rejected), default=None
        )


def from_steps(steps: Sequence[StoredStep], *, scale: str | None = None) -> Funnel:
    """The funnel of all step attempts of a run."""
    last_of: dict[str, StoredStep] = {}
    for step in steps:
        if step.step_id not in last_of or step.attempt >= last_of[step.step_id].attempt:
            last_of[step.step_id] = step
    children: dict[tuple[str, ...], list[Row]] = {}
    rows: dict[tuple[str, ...], Row] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for step in steps:
        path = _path(step, last_of, paths)
        row = rows.get(path)
        if row is None:
            row = rows[path] = Row(path, step.state["step_type"])
            children.setdefault(path[:-1], []).append(row)
        _add(row, step, is_last=last_of[step.step_id] is step)
    ordered: list[Row] = []

    def walk(parent: tuple[str, ...]) -> None:
        for row in children.get(parent, ()):
            ordered.append(row)
            walk(row.path)

    walk(())
    seen = {row.path for row in ordered}
    ordered.extend(row for row in rows.values() if row.path not in seen)
    return _measured(ordered, scale)


def from_groups(groups: Iterable[StepGroup], *, scale: str | None = None, drawn: bool = True) -> Funnel:
    """The funnel of a run with too many steps to read each: by name, without reasons and without nesting.

    Args:
        drawn: the lengths of its bars too; a list of runs shows figures alone.
    """
    rows = []
    for group in groups:
        row = Row((group.name or "unnamed",), group.step_type)
        row.steps = row.attempts = group.steps
        row.failed, row.flagged, row.duration_us = group.failed, group.flagged, group.duration_us
        row.ledger = _of_group(group)
        row.exact_reasons = False
        for outcome in ("rejected", "not_selected", "errored"):
            if getattr(group, outcome):
                row.reasons[(outcome, "")] = getattr(group, outcome)
        row.intervals = [(group.first_at_us, None, 1, row.status)]
        rows.append(row)
    return _measured(rows, scale, drawn=drawn)


def paths_of(steps: Sequence[StoredStep]) -> dict[str, tuple[str, ...]]:
    """The path of names of each step, by its id."""
    known = {step.step_id: step for step in steps}
    paths: dict[str, tuple[str, ...]] = {}
    for step in steps:
        _path(step, known, paths)
    return paths


def _of_group(group: StepGroup) -> Ledger:
    """The ledger of steps that were added up: what is known of none of them is not known."""
    fallen = group.rejected + group.not_selected + group.errored
    if not (group.input or group.accepted or fallen):
        return _NOTHING_KNOWN
    went_in = group.input if group.inputs_known else None
    came_out = group.accepted if group.outputs_known else None
    every = group.inputs_known == group.outputs_known == group.steps
    unaccounted = group.input - group.accepted - fallen if every else None
    undecided = 0
    if not group.flagged and unaccounted and unaccounted > 0:  # a step still runs, or failed: nobody lost anything
        undecided, unaccounted = unaccounted, 0
    flags = ("unaccounted",) if unaccounted and unaccounted > 0 else ()
    return Ledger(
        went_in,
        came_out,
        group.rejected,
        group.not_selected,
        group.errored,
        unaccounted,
        group.selected,
        flags,
        undecided,
    )


def is_counted(step: StoredStep) -> bool:
    """Whether anything is known of items at a step."""
    return step.ledger.known


def _path(step: StoredStep, known: Mapping[str, StoredStep], paths: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    found = paths.get(step.step_id)
    if found is None:
        names: list[str] = []
        seen: set[str] = set()
        at: StoredStep | None = step
        while at is not None and at.step_id not in seen and len(names) < 8:  # a cycle is a client's mistake
            seen.add(at.step_id)
            names.append(at.state["name"] or at.step_id)
            parent = at.state["parent_id"]
            at = known.get(parent) if parent is not None else None
        found = paths[step.step_id] = tuple(reversed(names))
    return found


def _add(row: Row, step: StoredStep, *, is_last: bool) -> None:
    state, ledger = step.state, step.ledger
    row.attempts += 1
    started = state["started_us"] if state["started_us"] is not None else step.at_us
    ended = state["ended_us"]
    if ended is None and state["duration_us"] is not None:
        ended = started + state["duration_us"]
    row.intervals.append((started, ended, step.attempt, state["status"]))
    row.duration_us += state["duration_us"] or 0
    if not is_last:
        return
    row.steps += 1
    row.step = step if row.steps == 1 else None
    row.failed += state["status"] == "failed"
    row.running += state["status"] == "running"
    row.error = row.error or state["error"]
    for what, n in (state["dropped"] or {}).items():
        row.dropped[what] = row.dropped.get(what, 0) + n
    if not is_counted(step):
        return
    row.ledger = added([row.ledger, ledger]) if row.ledger.known else ledger
    row.flagged += bool({"unaccounted", "contradiction"} & set(ledger.flags))
    for outcome in ("rejected", "not_selected", "errored"):
        given = state["reasons"].get(outcome, {})
        for reason, n in given.items():
            row.reasons[(outcome, reason)] = row.reasons.get((outcome, reason), 0) + n
        rest = (getattr(ledger, outcome) or 0) - sum(given.values())
        if rest > 0:
            row.reasons[(outcome, "")] = row.reasons.get((outcome, ""), 0) + rest


def _measured(rows: list[Row], scale: str | None, *, drawn: bool = True) -> Funnel:
    """Shares and lengths, given all rows."""
    first, first_name, previous = 0, None, None
    before_first: list[Row] = []
    last: int | None = None
    counted_paths = {row.path for row in rows if row.counted}
    for row in rows:
        if not row.counted:
            continue
        known = row.ledger.accepted is not None
        row.share_kept = row.accepted / row.input if row.input > 0 and known else None
        if not known and row.ledger.rejected is None:
            continue  # what went in is known, and nothing else: it says nothing of what is left
        if any(row.path[:end] in counted_paths for end in range(1, len(row.path))):
            row.share_of_first = row.accepted / first if first and known else None
            continue  # the step around it speaks for its items
        entered = max(row.input, row.accepted)
        if previous is None or entered > previous:
            first, first_name = entered, row.name
            for earlier in before_first:  # what came before is no share of what entered here
                earlier.share_of_first = None
        before_first.append(row)
        row.share_of_first = row.accepted / first if first and known else None
        if known:
            previous = last = row.accepted
    sizes = [max(row.input, row.accepted) for row in rows if row.counted]
    widest = max(sizes, default=0)
    narrowest = min((row.accepted for row in rows if row.counted and row.accepted > 0), default=widest)
    if scale not in ("linear", "log"):
        scale = "log" if narrowest and widest / narrowest > _LOG_ABOVE else "linear"
    for row in rows if drawn else ():
        _lay_out(row, widest, scale)
    return Funnel(rows, scale, first, first_name, last)


def length(n: int, widest: int, scale: str) -> float:
    """The length of a bar in percent of the widest one."""
    if n <= 0 or widest <= 0:
        return 0.0
    share = math.log1p(n) / math.log1p(widest) if scale == "log" else n / widest
    return max(_MIN_WIDTH, 100 * share)


def _lay_out(row: Row, widest: int, scale: str) -> None:
    """The kept items from the left, as long as the next step's bar; what was lost shares the rest of the bar by count."""
    dropped = row.ledger.inferred
    portions = portions_of(row.reasons, row.ledger.unaccounted or 0, dropped=dropped)
    total = length(max(row.input, row.accepted), widest, scale)
    lost = sum(portion.n for portion in portions)
    row.kept_width = round(min(length(row.accepted, widest, scale), 100.0), 2)
    if not lost:
        return
    # what is too small to be seen is widened, and the others give way
    room = max(total - row.kept_width, _MIN_WIDTH * min(len(portions), MAX_TONES + 2))
    row.kept_width = min(row.kept_width, 100 - room)
    shares = [max(_MIN_WIDTH, room * portion.n / lost) for portion in portions]
    fit = room / sum(shares)
    x = row.kept_width
    for portion, share in zip(portions, shares):
        width = share * fit
        row.portions.append(
            Portion(portion.outcome, portion.reason, portion.n, portion.tone, round(x, 2), round(width, 2))
        )
        x += width


def portions_of(reasons: Mapping[tuple[str, str], int], unaccounted: int, *, dropped: bool = False) -> list[Portion]:
    """What left a step, the most first, each with its colour; at most 8, the rest of them added up in the last.

    `dropped`: an adapter saw that the rest did not come out, and nobody was asked to say why.
    """
    ranked = sorted(
        ((outcome, reason, n) for (outcome, reason), n in reasons.items() if n > 0), key=lambda r: (-r[2], r)
    )
    found = []
    tone = 0
    for outcome, reason, n in ranked[:8]:
        if outcome == "errored":
            name = "bad"
        elif outcome == "not_selected":
            name = "cut"
        else:
            tone += 1
            name = f"r{min(tone, MAX_TONES)}"
        found.append(Portion(outcome, reason or None, n, name))
    if len(ranked) > 8:
        found.append(
            Portion("other", f"{len(ranked) - 8} more reasons", sum(n for _, _, n in ranked[8:]), f"r{MAX_TONES}")
        )
    if unaccounted > 0:
        found.append(
            Portion("dropped" if dropped else "unaccounted", None, unaccounted, "cut" if dropped else "warned")
        )
    return found
