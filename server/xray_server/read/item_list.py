"""The items of a run's steps, all of them: by name where names are kept, else how many are known by fingerprint alone.

Sorted by name, so that pages neither repeat nor skip an item while more verdicts arrive. Knows no HTTP and no SQL.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from xray_core import verdicts
from xray_core.model import ITEMS_IN, ITEMS_OUT, OUTCOMES
from xray_server.errors import BadCursorError, NotKnownError
from xray_server.read.runs import sample_json
from xray_server.read.why import all_steps, known_run
from xray_server.store import MAX_PAGE, Store, StoredSet, StoredStep

Json = dict[str, Any]
_AT_ONCE: Final = 20_000  # of a file: so many are in memory
_READ_EACH_STEP: Final = 20  # of more steps the sets of the whole run are read at once
NO_REASON: Final = ""  # as a filter: what was given no reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items of a run; `step` is a name or a step id, `attempt` None the last one of each step."""

    step: str | None = None
    outcome: str | None = None
    reason: str | None = None
    attempt: int | None = None
    fingerprints: bool = False  # list those too that are known by fingerprint alone

    def holds(self, outcome: str, reason: str | None) -> bool:
        """Whether a set of this outcome and reason is asked for."""
        return (outcome == self.outcome if self.outcome is not None else outcome in OUTCOMES) and (
            self.reason is None or (reason or NO_REASON) == self.reason
        )


class _Key(NamedTuple):
    """What rows are sorted by; `unnamed` is 1 for a fingerprint."""

    unnamed: int
    text: str
    step_id: str
    outcome: str
    reason: str


class _Row(NamedTuple):
    step: StoredStep
    value: float | None
    limit: float | None


def rows_of_all(store: Store, project: str, run_id: str, where: ItemFilter) -> Iterator[list[Json]]:
    """All items, some thousands at a time.

    Raises:
        UnknownRunError, NotKnownError: no such run, or no such step in it.
    """
    cursor: str | None = None
    while True:
        found = page(store, project, run_id, where, limit=_AT_ONCE, cursor=cursor)
        yield found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            return


def page(store: Store, project: str, run_id: str, where: ItemFilter, *, limit: int, cursor: str | None = None) -> Json:
    """A page of items.

    Raises:
        UnknownRunError, NotKnownError: no such run, or no such step in it.
        BadCursorError: not a cursor of this list.
    """
    after = None if cursor is None else _Key(*parse_cursor(cursor, tuple[int, str, str, str, str]))
    run = known_run(store, project, run_id)
    steps = steps_of(store, project, run_id, where)
    called = None if where.step is None else name_of(steps, where.step)
    rows: dict[_Key, _Row] = {}
    named = fingerprints = 0
    for step, each in sets_of(store, project, run_id, steps):
        if not where.holds(each.outcome, each.reason):
            continue
        if each.fp40 is not None:
            fingerprints += each.n
            if not where.fingerprints:
                continue
        else:
            named += each.n
        for key, row in _rows(step, each, after, limit + 2):
            if after is None or key > after:
                rows[key] = row
    first = heapq.nsmallest(limit + 1, rows)
    shown = first[:limit]
    counted = _counted(steps, where, captured=named + fingerprints > 0)
    missing = max(0, (counted or 0) - named - fingerprints)
    return {
        "run_id": run_id,
        "pipeline": run.state["pipeline"],
        "step": called,
        "outcome": where.outcome,
        "reason": where.reason,
        "sentence": _unknown(where, called)
        if counted is None and not named + fingerprints
        else _sentence(where, called, named, fingerprints, missing),
        "certainty": "not_captured" if (missing or counted is None) and not named + fingerprints else "exact",
        "total": {
            "items": named + fingerprints + missing, "named": named, "fingerprints": fingerprints,
            "not_captured": missing,
        },
        "items": _items_json(store, project, run_id, shown, rows),
        "next_cursor": cursor_of(shown[-1]) if len(first) > limit else None,
    }  # fmt: skip


def steps_of(store: Store, project: str, run_id: str, where: ItemFilter) -> list[StoredStep]:
    """The step attempts that are asked for.

    Raises:
        NotKnownError: the run has no such step.
    """
    if where.step is None:
        found = all_steps(store, project, run_id)
    else:
        found, cursor = [], None
        while True:
            some = store.run_steps(project, run_id, limit=MAX_PAGE, cursor=cursor, name=where.step)
            found += some.items
            cursor = some.next_cursor
            if cursor is None:
                break
        found = found or store.step(project, run_id, where.step)
        if not found:
            names = sorted({step.state["name"] or step.step_id for step in all_steps(store, project, run_id)})
            known = f"it has: {', '.join(names[:20])}" if names else "it has none"
            raise NotKnownError(f"run {run_id[:100]!r} has no step {where.step[:100]!r}; {known}", field="step")
    if where.attempt is not None:
        return [step for step in found if step.attempt == where.attempt]
    last = {step.step_id: step for step in sorted(found, key=lambda step: step.attempt)}
    return [step for step in found if last[step.step_id] is step]


def name_of(steps: Sequence[StoredStep], asked: str) -> str:
    """What a step that was asked about by its name or its id is called."""
    return next((step.state["name"] for step in steps if step.state["name"]), asked)


def sets_of(
    store: Store, project: str, run_id: str, steps: Sequence[StoredStep]
) -> Iterator[tuple[StoredStep, StoredSet]]:
    """The sets of these step attempts."""
    wanted = {step.key: step for step in steps}
    ids: list[str | None] = list(dict.fromkeys(step.step_id for step in steps))
    for step_id in ids if len(ids) <= _READ_EACH_STEP else [None]:
        for each in store.sets(project, run_id, step_id):
            step = wanted.get((each.step_id, each.attempt))
            if step is not None:
                yield step, each


def values_in(each: StoredSet) -> Sequence[float | None]:
    """The declared value of each item of a set; None for one without."""
    if each.values is None:
        return [None] * each.n
    return [None if value != value else value for value in verdicts.numbers_of(each.values)]


def _rows(step: StoredStep, each: StoredSet, after: _Key | None, most: int) -> Iterator[tuple[_Key, _Row]]:
    """The first `most` items of a set that come behind a place."""
    reason = each.reason or NO_REASON
    values: Sequence[float | None] | None = None if each.values is None else values_in(each)

    def row(at: int) -> _Row:
        return _Row(step, None if values is None else values[at], each.limit)

    if each.ids is not None:
        places = [at for at, item in enumerate(each.ids) if after is None or (0, item) >= after[:2]]
        for at in heapq.nsmallest(most, places, key=each.ids.__getitem__):
            yield _Key(0, each.ids[at], step.step_id, each.outcome, reason), row(at)
    elif each.fp40 is not None:
        found = verdicts.decode(each.fp40)
        start = bisect_left(found, int(after.text, 16)) if after is not None and after.unnamed else 0
        for at in range(start, min(len(found), start + most)):
            yield _Key(1, f"{found[at]:010x}", step.step_id, each.outcome, reason), row(at)


def _counted(steps: Sequence[StoredStep], where: ItemFilter, *, captured: bool) -> int | None:
    """How many items the steps' own counts say there are; None where nothing says it. Rows say nothing of how many items
    there are beside those that were captured: an item may have come twice.
    """
    total = 0
    for step in steps:
        if where.outcome in (ITEMS_IN, ITEMS_OUT):
            of = step.ledger
            distinct, rows = (of.distinct_in, of.input) if where.outcome == ITEMS_IN else (of.distinct_out, of.accepted)
            n = rows if distinct is None and not captured else distinct
            if n is None:
                return None
            total += n if where.reason is None else 0
            continue
        counts, reasons = step.state["counts"] or {}, step.state["reasons"] or {}
        for outcome, n in counts.items():
            if where.reason is None:
                total += n if where.holds(outcome, None) else 0
            else:
                total += sum(n for reason, n in (reasons.get(outcome) or {}).items() if where.holds(outcome, reason))
    return total


def _items_json(store: Store, project: str, run_id: str, keys: Sequence[_Key], rows: Mapping[_Key, _Row]) -> list[Json]:
    """The rows under the names of the API, with the details of those that were sampled."""
    of_page = list({rows[key].step.key for key in keys})
    samples = store.samples(project, run_id, of_page) if of_page else {}
    details = {
        (step, sample["item_id"], sample["outcome"]): sample_json(sample)
        for step, some in samples.items()
        for sample in some
    }
    found = []
    for key in keys:
        row = rows[key]
        sample = {} if key.unnamed else details.get((row.step.key, key.text, key.outcome), {})
        found.append({
            "item_id": None if key.unnamed else key.text,
            "fingerprint": key.text if key.unnamed else None,
            "step": row.step.state["name"],
            "step_id": row.step.step_id,
            "attempt": row.step.attempt,
            "outcome": key.outcome,
            "reason": key.reason or None,
            "value": row.value,
            "limit": row.limit,
            "score": sample.get("score"),
            "details": sample.get("details"),
        })  # fmt: skip
    return found


_SIDES: Final = {ITEMS_IN: "went in", ITEMS_OUT: "came out"}


def _unknown(where: ItemFilter, step: str | None) -> str:
    return (
        f"nothing tells how many items {_SIDES[where.outcome or ITEMS_IN]}{f' at {step}' if step is not None else ''}"
    )


def _sentence(where: ItemFilter, step: str | None, named: int, fingerprints: int, missing: int) -> str:
    items = named + fingerprints + missing
    what = (where.outcome or "decided").replace("_", " ")
    what = _SIDES.get(what, f"{'was' if items == 1 else 'were'} {what}")
    why = "" if where.reason is None else f" for {where.reason}" if where.reason else " without a reason"
    at = f" at {step}" if step is not None else ""
    said = f"{items:,} {'item' if items == 1 else 'items'} {what}{why}{at}"
    known = [f"{n:,} {how}" for n, how in (
        (named, "by name"), (fingerprints, "known by fingerprint only"), (missing, "counted only, not captured one by one"),
    ) if n]  # fmt: skip
    return f"{said}: {', '.join(known)}" if known and named != items else said


def cursor_of(place: tuple[Any, ...]) -> str:
    """A place in a sorted list as the cursor of the next page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(place))).decode().rstrip("=")


def parse_cursor(cursor: str, kind: Any) -> Any:
    """The place that `cursor_of` was given, a tuple of this type.

    Raises:
        BadCursorError: it is none.
    """
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise BadCursorError("not a cursor of this list") from None
