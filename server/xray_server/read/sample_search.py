"""Search inside samples: which items, at which steps, with which details; and how many of them there are in truth.

A sample carries its weight, 1 / inclusion probability, so the sum of the weights of what matches estimates how many items
match (Horvitz and Thompson, 1952); for the sampling of `xray_core.capture.sampling` the terms are uncorrelated, which gives the
variance as the sum of w (w - 1) (Cohen and Kaplan, 2007). Walks steps newest first, within a budget of time. Knows no SQL.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from xray_core.model import OUTCOMES
from xray_server.read.runs import sample_json
from xray_server.store import BadCursorError, SampledStep, StepFilter, Store

Json = dict[str, Any]
Comparison = Literal["eq", "gt", "lt", "gte", "lte", "exists"]
_FIRST_PAGE: Final = 50  # steps looked into at once: as few as may be enough,
_GROWS: Final = 3  # then more, since each asking has a price of its own
_LARGEST_PAGE: Final = 450
_MARGIN: Final = 1.25  # what is looked into at once, of what the page probably wants still
BUDGET_MS: Final = 1_000  # for finding a page
ESTIMATE_MS: Final = 25  # for going on once it is full, to estimate how many there are in all
ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class DetailTest:
    """One condition on details: `path` with dots, as in "flight.price"."""

    path: str
    comparison: Comparison
    value: str

    def holds(self, details: Any) -> bool:
        """Whether a sample's details meet the condition."""
        found = value_at(details, self.path)
        if self.comparison == "exists":
            return (found is not ABSENT and found is not None) == (self.value == "true")
        if found is ABSENT:
            return False
        if self.comparison == "eq":
            return _equal(found, self.value)
        return _compared(found, self.comparison, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    """Which samples; `where` narrows the steps that are looked into."""

    where: StepFilter
    item_id: str | None = None
    outcome: str | None = None
    details: Sequence[DetailTest] = ()

    def holds(self, sample: Mapping[str, Any]) -> bool:
        """Whether a sample meets all conditions."""
        return (
            (self.item_id is None or sample["item_id"] == self.item_id)
            and (sample["outcome"] == self.outcome if self.outcome is not None else sample["outcome"] in OUTCOMES)
            and (self.where.reason is None or sample["reason"] == self.where.reason)
            and all(test.holds(sample["details"]) for test in self.details)
        )


def search(
    store: Store,
    project: str,
    chosen: DecisionFilter,
    *,
    limit: int,
    cursor: str | None,
    estimate_ms: float = ESTIMATE_MS,
    budget_ms: float = BUDGET_MS,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """A page of matching samples, newest steps first, and on the first page the estimated total.

    The page may be short where the budget ran out, and the estimate cover a part only: `estimate.complete` tells.
    """
    began = clock()
    where, place = chosen.where, _Place()
    if cursor is not None:
        until_us, place = _parse(cursor)
        where = replace(where, until_us=until_us)
    walk = _Walk(store, project, where, place)
    found: list[Json] = []
    next_cursor: str | None = None
    estimate = _Estimate()
    complete = True
    for step in walk.steps():
        if where.until_us is None:
            walk.where = where = replace(
                where, until_us=step.at_us + 1
            )  # what starts later belongs on no page of this list
        skip = walk.take_skip()
        matching = [sample for sample in step.samples if chosen.holds(sample)]
        for number, sample in enumerate(matching[skip:], skip):
            if len(found) < limit:
                found.append(_decision_json(step, sample))
            elif next_cursor is None:
                next_cursor = _cursor(where.until_us, walk.before_this_step(), number)
        walk.met(len(found), of=limit)
        estimate.add(matching)
        if next_cursor is not None and cursor is not None:
            break  # only the first page estimates
        spent_ms = (clock() - began) * 1000
        if spent_ms > budget_ms or (len(found) == limit and spent_ms > estimate_ms):
            complete = not walk.more()
            if next_cursor is None and not complete:
                next_cursor = _cursor(where.until_us, walk.after_this_step(), 0)
            break
    said = estimate.as_json(complete=complete) if cursor is None else None
    return {"decisions": found, "next_cursor": next_cursor, "estimate": said, "scanned_steps": walk.scanned}


class _Estimate:
    """How many items match in truth, by the samples that do."""

    def __init__(self) -> None:
        self._sampled = 0
        self._total = self._variance = 0.0

    def add(self, samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in samples:
            weight = sample["weight"] if sample["weight"] is not None else 1.0
            self._sampled += 1
            self._total += weight
            self._variance += weight * (weight - 1)

    def as_json(self, *, complete: bool) -> Json:
        error = round(math.sqrt(max(0.0, self._variance)), 2)
        return {"total": round(self._total, 2), "standard_error": error, "sampled": self._sampled, "complete": complete}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins: the store's own cursor, and how many matches of the step after it were given already."""

    cursor: str | None = None
    skip: int = 0


class _Walk:
    """The steps that may hold matches, newest first, with their samples."""

    def __init__(self, store: Store, project: str, where: StepFilter, place: _Place) -> None:
        self._store, self._project, self.where = store, project, where
        self._page_cursor, self._skip = place.cursor, place.skip
        self._page: list[SampledStep] = []
        self._place = -1
        self._next: str | None = None
        self._still_wanted = 0.0  # steps, to fill the page, as it has gone until now
        self.scanned = 0

    def steps(self) -> Iterator[SampledStep]:
        limit = _FIRST_PAGE
        while True:
            page = self._store.sampled_steps(self._project, self.where, limit=limit, cursor=self._page_cursor)
            self._page, self._next = page.items, page.next_cursor
            for place, step in enumerate(self._page):
                self._place = place
                self.scanned += 1
                yield step
            if self._next is None:
                return
            self._page_cursor = self._next
            limit = min(limit * _GROWS, _LARGEST_PAGE)
            if self._still_wanted:
                limit = min(limit, max(_FIRST_PAGE, round(self._still_wanted * _MARGIN)))

    def met(self, found: int, *, of: int) -> None:
        """So many of the matches that the page has room for were found until now."""
        self._still_wanted = max(0, of - found) * self.scanned / found if found else 0.0

    def take_skip(self) -> int:
        skip, self._skip = self._skip, 0
        return skip

    def more(self) -> bool:
        return self._place + 1 < len(self._page) or self._next is not None

    def before_this_step(self) -> str | None:
        return self._cursor_after(self._place)

    def after_this_step(self) -> str | None:
        return self._cursor_after(self._place + 1)

    def _cursor_after(self, steps: int) -> str | None:
        return self._page[steps - 1].cursor if steps else self._page_cursor


def _decision_json(step: SampledStep, sample: Mapping[str, Any]) -> Json:
    return {
        "run_id": step.run_id,
        "pipeline": step.pipeline,
        "step": step.name,
        "step_id": step.step_id,
        "attempt": step.attempt,
        **sample_json(sample),
    }


def value_at(details: Any, path: str) -> Any:
    """The value at a path with dots; a key that has dots itself is found too."""
    if isinstance(details, Mapping):
        if path in details:
            return details[path]
        key, dot, rest = path.partition(".")
        while dot:
            if key in details:
                found = value_at(details[key], rest)
                if found is not ABSENT:
                    return found
            more, dot, rest = rest.partition(".")
            key = f"{key}.{more}"
    elif isinstance(details, Sequence) and not isinstance(details, str):
        key, dot, rest = path.partition(".")
        if key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(details):
            return value_at(details[int(key)], rest) if dot else details[int(key)]
    return ABSENT


def _equal(found: Any, wanted: str) -> bool:
    if isinstance(found, str):
        return found == wanted
    if found is None or isinstance(found, bool):
        return wanted == {None: "null", True: "true", False: "false"}[found]
    number = _number(wanted)
    return isinstance(found, (int, float)) and number is not None and found == number


def _compared(found: Any, comparison: Comparison, wanted: str) -> bool:
    """Numbers against a number, text against text (which orders times of day and ISO dates)."""
    number = _number(wanted)
    bound: Any
    if number is not None:
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            return False
        bound = number
    elif isinstance(found, str):
        bound = wanted
    else:
        return False
    if comparison == "gt":
        return bool(found > bound)
    if comparison == "lt":
        return bool(found < bound)
    return bool(found >= bound) if comparison == "gte" else bool(found <= bound)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cursor(until_us: int | None, cursor: str | None, skip: int) -> str:
    return base64.urlsafe_b64encode(f"{until_us or 0}:{skip}:{cursor or ''}".encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[int, _Place]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        until, skip, rest = text.split(":", 2)
        until_us, skipped = int(until), int(skip)
    except (ValueError, binascii.Error):
        raise BadCursorError("not a cursor of this list") from None
    if not (0 <= until_us < 1 << 62 and 0 <= skipped < 1 << 31):
        raise BadCursorError("not a cursor of this list")
    return until_us, _Place(rest or None, skipped)
