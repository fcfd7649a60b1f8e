"""What a text may be the beginning of: runs, pipelines, tags, steps, reasons, items, error texts and metadata; with counts.

Names are counted along an index. Ids of items, error texts and metadata have none: the newest runs and steps are looked
through within a budget of time, and the answer says how far back that went. Knows no HTTP, no HTML and no SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from xray_server.read import heads
from xray_server.read.runs import run_json
from xray_server.store import MAX_COUNTED, Page, RunFilter, StepFilter, Store, StoredRun, StoredStep
from xray_server.times import iso

Json = dict[str, Any]
BUDGET_MS: Final = 15  # of each of the three that have no index: a page has 100 ms
MAX_BUDGET_MS: Final = 5_000
_FIRST_ROWS: Final = 50
_FURTHER_ROWS: Final = 200
_ITEM_RUNS: Final = 20  # runs read together, to look for items in
_MAX_CHARS: Final = 300
_MAX_DEPTH: Final = 4
_KINDS: Final = (("pipeline", "pipelines"), ("tag", "tags"), ("step", "steps"), ("reason", "reasons"))
_RUN_FIELDS: Final = ("run_id", "pipeline", "status", "started_at", "first_seen_at", "duration_ms", "tags", "mark")

T = TypeVar("T", StoredRun, StoredStep)
Clock = Callable[[], float]


def search(
    store: Store,
    project: str,
    text: str,
    *,
    limit: int,
    budget_ms: float = BUDGET_MS,
    clock: Clock = time.monotonic,
) -> Json:
    """What begins with a text: at most `limit` of each kind.

    `looked_back_to` says how far back the newest were looked through for `items`, `errors` and `metadata`; null: all of them.
    """
    names = store.names(project, text, limit=limit)
    runs = store.runs(project, RunFilter(q=text), limit=limit).items
    answer: Json = {
        "q": text,
        "run_count": next((each.n for each in names if each.kind == "runs"), 0),
        "runs": [heads.row({name: run_json(run)[name] for name in _RUN_FIELDS}) for run in runs],
    }
    for kind, plural in _KINDS:
        answer[plural] = [
            {"name": each.name, "count": each.n, "more": each.n >= MAX_COUNTED} for each in names if each.kind == kind
        ]
    back: Json = {}
    for kind, find in (("items", _items), ("errors", _errors), ("metadata", _metadata)):
        answer[kind], back_to_us = find(store, project, text, limit, _Timer(clock, budget_ms))
        back[kind] = iso(back_to_us)
    answer["looked_back_to"] = back
    return answer


class _Timer:
    """Whether a budget of time is spent. Begins with the first question."""

    def __init__(self, clock: Clock, budget_ms: float) -> None:
        self._clock, self._budget_s = clock, budget_ms / 1000
        self._end: float | None = None

    def spent(self) -> bool:
        now = self._clock()
        if self._end is None:
            self._end = now + self._budget_s
        return now > self._end

    def half(self) -> _Timer:
        """One with half of the budget, which has not begun."""
        return _Timer(self._clock, self._budget_s * 1000 / 2)


class _Newest(Generic[T]):
    """Rows of a list, newest first, until there are no more or the time is spent.

    Attributes:
        back_to_us: where it stopped for want of time; None: it did not.
    """

    def __init__(self, read: Callable[[int, str | None], Page[T]], timer: _Timer, rows: int = _FURTHER_ROWS) -> None:
        self._read: Callable[[int, str | None], Page[T]] = read
        self._timer, self._rows = timer, rows
        self.back_to_us: int | None = None

    def __iter__(self) -> Iterator[T]:
        cursor, rows = None, min(_FIRST_ROWS, self._rows)
        self._timer.spent()
        while True:
            page = self._read(rows, cursor)
            for at, row in enumerate(page.items):
                yield row
                last = at + 1 == len(page.items)
                if self._timer.spent() and (not last or page.next_cursor is not None):
                    self.back_to_us = row.at_us
                    return
            cursor, rows = page.next_cursor, self._rows
            if cursor is None:
                return


class _Counted(dict[str, Json]):
    """What was found, by its text, in the order in which it was found."""

    def add(self, text: str, kind: str, **newest: Any) -> None:
        """Count one more; `newest` is where it was found first, which is the newest place."""
        found = self.setdefault(text, {**newest, "runs": 0, "steps": 0})
        found[kind] += 1

    def most(self, name: str, limit: int) -> list[Json]:
        """Those with most steps and runs, each with its text under `name`."""
        rows = ({name: text, **found} for text, found in self.items())
        return sorted(rows, key=lambda row: -(row["steps"] + row["runs"]))[:limit]


def _items(store: Store, project: str, text: str, limit: int, timer: _Timer) -> tuple[list[Json], int | None]:
    """Items whose ids were kept, as small sets' and samples' are, in the newest runs."""
    found: dict[str, Json] = {}
    walk = _Newest(_runs_by(store, project, RunFilter()), timer, _ITEM_RUNS)
    for run in walk:
        ids = {item for each in store.sets(project, run.run_id) for item in each.ids or () if item.startswith(text)}
        for samples in store.samples(project, run.run_id).values():
            ids.update(sample["item_id"] for sample in samples if sample["item_id"].startswith(text))
        for item in sorted(ids):
            known = found.setdefault(item, {"item_id": item, "runs": 0, "run_id": run.run_id})
            known["runs"] += 1
    return sorted(found.values(), key=lambda row: (len(row["item_id"]), row["item_id"]))[:limit], walk.back_to_us


def _errors(store: Store, project: str, text: str, limit: int, timer: _Timer) -> tuple[list[Json], int | None]:
    """Errors, as in "ValueError: no such airport", with a word that begins with the text."""
    wanted = text.casefold()

    def matching(error: Mapping[str, Any] | None) -> list[str]:
        parts = [str(part) for part in ((error or {}).get("type"), (error or {}).get("message")) if part]
        line = ": ".join(parts)[:_MAX_CHARS]
        folded = line.casefold()
        at = folded.find(wanted)
        while at > 0 and folded[at - 1].isalnum():
            at = folded.find(wanted, at + 1)
        return [line] if at >= 0 and line else []

    return _in_runs_and_steps(store, project, "error", matching, limit, timer, status="failed")


def _metadata(store: Store, project: str, text: str, limit: int, timer: _Timer) -> tuple[list[Json], int | None]:
    """Metadata, as in `model=v3`, that begins with the text or whose value does."""
    wanted = text.casefold()

    def matching(metadata: Mapping[str, Any] | None) -> list[str]:
        pairs = (
            (path, value if isinstance(value, str) else msgspec.json.encode(value).decode())
            for path, value in _flat(metadata or {}, "")
        )
        return [
            f"{path}={value}"[:_MAX_CHARS]
            for path, value in pairs
            if f"{path}={value}".casefold().startswith(wanted) or value.casefold().startswith(wanted)
        ]

    return _in_runs_and_steps(store, project, "metadata", matching, limit, timer, status=None)


def _in_runs_and_steps(
    store: Store,
    project: str,
    field: str,
    matching: Callable[[Any], list[str]],
    limit: int,
    timer: _Timer,
    *,
    status: str | None,
) -> tuple[list[Json], int | None]:
    """What matches in a field of the newest steps and runs, half of the time each, and how far back both were looked through."""
    found = _Counted()
    steps = _Newest(_steps_by(store, project, StepFilter(status=status)), timer.half())
    for step in steps:
        for text in matching(step.state[field]):
            found.add(
                text, "steps", run_id=step.run_id, step_id=step.step_id,
                step=step.state["name"], pipeline=step.state["pipeline"],
            )  # fmt: skip
    runs = _Newest(_runs_by(store, project, RunFilter(status=status)), timer.half())
    for run in runs:
        for text in matching(run.state[field]):
            found.add(text, "runs", run_id=run.run_id, step_id=None, step=None, pipeline=run.state["pipeline"])
    stopped = [each for each in (steps.back_to_us, runs.back_to_us) if each is not None]
    return found.most(field, limit), max(stopped, default=None)


def _runs_by(store: Store, project: str, where: RunFilter) -> Callable[[int, str | None], Page[StoredRun]]:
    return lambda limit, cursor: store.runs(project, where, limit=limit, cursor=cursor)


def _steps_by(store: Store, project: str, where: StepFilter) -> Callable[[int, str | None], Page[StoredStep]]:
    return lambda limit, cursor: store.steps(project, where, limit=limit, cursor=cursor)


def _flat(values: Mapping[str, Any], path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(path with dots, value) of all plain values."""
    for name, value in values.items():
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            yield from _flat(value, f"{path}{name}.", depth + 1)
        elif value is None or isinstance(value, (str, int, float, bool)):
            yield f"{path}{name}", value
