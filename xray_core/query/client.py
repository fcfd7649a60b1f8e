"""The Python client for reading: what the server knows, as typed results.

    from xray_core import Client

    client = Client()                                   # XRAY_API_URL, or this machine's server
    print(client.why("UA-1545-0101").sentence)          # in the newest run
    print(client.diff(run_id, "baseline").parted_at)

Every field of an answer that this version does not know is left out; every answer keeps the whole JSON in `raw`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar

from xray_core import markup
from xray_core.compare import Diff
from xray_core.errors import ConfigurationError, NotFoundError
from xray_core.journey import Why
from xray_core.query import frames
from xray_core.query.http_reader import HttpReader
from xray_core.query.waiting import diff_with_waiting, why_with_waiting

Json = dict[str, Any]
T = TypeVar("T")
Kind = Literal["runs", "steps", "decisions", "items", "run_items"]
_PAGE_ROWS = 200  # what every list of the API gives at once


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some answers; iterate over it. `next_cursor` asks for the next page, None at the end."""

    items: list[T]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def to_pandas(self) -> Any:
        """These answers as a pandas DataFrame."""
        return frames.to_pandas(self.items)

    def to_polars(self) -> Any:
        """These answers as a polars DataFrame."""
        return frames.to_polars(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step attempt. Times are ISO 8601 in UTC; `ledger` has input, accepted, rejected, ..., flags."""

    run_id: str
    step_id: str
    attempt: int
    name: str | None = None
    pipeline: str | None = None
    step_type: str | None = None
    status: str = "running"
    parent_id: str | None = None
    map_index: int | None = None
    input_count: int | None = None
    output_count: int | None = None
    rejection_rate: float | None = None
    rejection_counts: Mapping[str, int] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: float | None = None
    error: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run; `steps` only where one run was asked for."""

    run_id: str
    pipeline: str | None = None
    status: str = "running"
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: float | None = None
    input: Any = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    step_count: int = 0
    flagged_steps: int = 0
    steps: list[StepResult] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return markup.run_text(self)

    def _repr_html_(self) -> str:
        return markup.run_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One sample: an item at a step, with details; `weight` is 1 / the probability with which it was kept."""

    run_id: str
    step_id: str
    attempt: int
    item_id: str
    outcome: str
    step: str | None = None
    pipeline: str | None = None
    reason: str | None = None
    details: Any = None
    score: Any = None
    rank: Any = None
    weight: float | None = None
    timestamp: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many items match in truth, by the samples' weights; `complete` is False where not all could be looked at."""

    total: float
    standard_error: float
    sampled: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Decisions(Page[Decision]):
    """A page of decisions; the first page also estimates the total."""

    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One bucket of time of one step name."""

    at: str
    pipeline: str
    step: str
    steps: int
    failed: int
    items_in: int
    ledger: Mapping[str, int]
    rejection_rate: float | None
    reasons: Mapping[str, int]
    mean_duration_ms: float | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRun:
    """A run that holds an item; `steps` are the sets in which it was found."""

    run_id: str
    pipeline: str | None = None
    started_at: str | None = None
    outcome: str | None = None
    reason: str | None = None
    step: str | None = None
    steps: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunItem:
    """An item of a step; `fingerprint` in place of the id where its name was not kept. `value` and `limit`: as declared."""

    item_id: str | None
    fingerprint: str | None
    step: str | None
    step_id: str
    attempt: int
    outcome: str
    reason: str | None = None
    value: float | None = None
    limit: float | None = None
    score: Any = None
    details: Any = None


@dataclass(frozen=True, slots=True)
class Items(Page[RunItem]):
    """A page of items; `total` has items, named, fingerprints, not_captured."""

    sentence: str = ""
    certainty: str = "exact"
    total: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What another limit would do at a step: `changes` {pass, fail, not_known, rejected {was, now}}, `items` that would change
    [{item_id, fingerprint, step_id, value, was, now}], `near` {rejected, accepted}: the nearest to the present limit.
    """

    sentence: str
    certainty: str
    step: str
    reason: str | None = None
    limit: float | None = None
    limits: list[float] = field(default_factory=list)
    rejects: str | None = None
    changes: Mapping[str, Any] | None = None
    items: list[Mapping[str, Any]] = field(default_factory=list)
    near: Mapping[str, Any] = field(default_factory=dict)
    next_cursor: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsDiff:
    """Two groups of runs compared: `lead` is the step that differs most surely; `steps`, `segment` and `changes` as in JSON."""

    sentence: str
    certainty: str
    lead: str | None = None
    a: Mapping[str, Any] = field(default_factory=dict)
    b: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    segment: Mapping[str, Any] | None = None
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Client:
    """Asks one server. Blocks up to `timeout_s` a question; one thread at a time.

    Args:
        api_url, api_key, timeout_s: as for `XRay`; what is not given comes from `XRAY_*`, then the defaults.

    Every method raises `NotFoundError` when there is no such run, and `ApiError` when the server cannot be reached or
    refuses the question.
    """

    def __init__(
        self, api_url: str | None = None, *, api_key: str | None = None, timeout_s: float | None = None
    ) -> None:
        from xray_core.settings import load

        given = {"api_url": api_url, "api_key": api_key, "timeout_s": timeout_s}
        self._settings = load({name: value for name, value in given.items() if value is not None})
        self._reader = HttpReader(self._settings)

    def why(self, item_id: str | int, run: str | None = None, *, pipeline: str | None = None) -> Why:
        """What became of an item in a run; in the newest one (of `pipeline`) where none is given."""
        named = run is not None
        if run is None:
            newest = self.runs(pipeline=pipeline, limit=1)
            if not newest.items:
                raise NotFoundError(f"there is no run{f' of {pipeline!r}' if pipeline else ''} yet", status=404)
            run = newest.items[0].run_id
        answer = self._reader.get("runs", run, "items", self._reader.item(item_id))
        return Why.from_json(why_with_waiting(answer, self._settings, newest=not named))

    def diff(
        self,
        a: str,
        b: str = "baseline",
        *,
        baseline: str | None = None,
        tolerance: float | None = None,
        ignore: Iterable[str] = (),
    ) -> Diff:
        """Where run b first differs from run a; without b, where a first differs from its baseline.

        Args:
            baseline: which: a run id, "good" (the last marked good) or "median:20".
            tolerance: relative difference up to which numbers are equal (default 1e-9).
            ignore: paths to leave out, as in "input.request_id".
        """
        chosen = {"baseline": baseline, "tolerance": tolerance, "ignore": ",".join(ignore) or None}
        return Diff.from_json(diff_with_waiting(self._reader.get("runs", a, "diff", b, **chosen), self._settings))

    def mark(self, run: str, mark: str, note: str | None = None) -> None:
        """Mark a run "good" or "bad", with a note; "none" takes the mark away."""
        self._reader.send("POST", "runs", run, "mark", body={"mark": mark, "note": note})

    def items(
        self,
        item_id: str | int,
        *,
        pipeline: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        step: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page[ItemRun]:
        """The runs that hold an item, those whose verdicts arrived last first: all, or those with such a verdict on it."""
        answer = self._reader.get(
            "items", self._reader.item(item_id), pipeline=pipeline, outcome=outcome, reason=reason, step=step, since=since, until=until,
            limit=limit, cursor=cursor,
        )  # fmt: skip
        return Page([_made(ItemRun, each) for each in answer["runs"]], answer["next_cursor"])

    def run_items(self, run: str, step: str | None = None, **filters: Any) -> Items:
        """All items of a run, or of a step (by name or id): outcome, reason, attempt, fingerprints, limit, cursor."""
        answer = self._reader.get("runs", run, "items", step=step, **filters)
        rows = [_made(RunItem, each) for each in answer["items"]]
        return Items(rows, answer["next_cursor"], answer["sentence"], answer["certainty"], answer["total"])

    def whatif(
        self,
        run: str,
        step: str,
        limit: float | None = None,
        *,
        reason: str | None = None,
        item: str | None = None,
        rows: int = 50,
        cursor: str | None = None,
    ) -> WhatIf:
        """Who would change at a step if its limit were another; without one, what is near the limit it had."""
        answer = self._reader.get(
            "runs", run, "whatif", step=step, limit=limit, reason=reason, item=item, rows=rows, cursor=cursor
        )
        made: WhatIf = _made(WhatIf, answer)
        return made

    def compare(
        self, a: str, b: str, *, pipeline: str | None = None, by: Iterable[str] = (), runs: int | None = None
    ) -> GroupsDiff:
        """What differs between two groups of runs.

        Args:
            a, b: as in "since=14d,until=4d" or "tag=model:v3"; a run in both is in b alone.
            by: fields of details among whose values the change is looked for.
            runs: of each group at most, the newest.
        """
        answer = self._reader.get("groups", "diff", pipeline=pipeline, a=a, b=b, by=",".join(by) or None, runs=runs)
        made: GroupsDiff = _made(GroupsDiff, answer)
        return made

    def stability(
        self, pipeline: str, *, same_input: bool = False, step: str | None = None, runs: int = 20
    ) -> Mapping[str, Any]:
        """How often items' verdicts are others in another run: {sentence, certainty, steps, items, runs}."""
        return self._reader.get("stability", pipeline=pipeline, same_input=same_input, step=step, runs=runs)

    def separates(self, step: str, **filters: Any) -> Mapping[str, Any]:
        """What tells a step's rejected items from those it let through: run, pipeline, reason, since, until.
        {sentence, certainty, rules: [{words, coverage, error, ...}]}.
        """
        return self._reader.get("separates", step=step, **filters)

    def above(self, run: str, a: str | int, b: str | int) -> Mapping[str, Any]:
        """Why item a stands above item b in a run: {sentence, above, decided_at, certainty, steps}."""
        return self._reader.get("runs", run, "above", a=str(a), b=str(b))

    def side_by_side(self, *runs: str) -> Mapping[str, Any]:
        """Several runs side by side: {sentence, first, runs, steps}, each step with the places of the runs that are `odd`."""
        return self._reader.get("diff", runs=",".join(runs))

    def runs(self, **filters: Any) -> Page[RunResult]:
        """Runs, newest first: pipeline, status, since, until, tag, q, limit, cursor."""
        answer = self._reader.get("runs", **filters)
        return Page([_made(RunResult, each) for each in answer["runs"]], answer["next_cursor"])

    def run(self, run_id: str) -> RunResult:
        """One run with all its steps."""
        answer = self._reader.get("runs", run_id)
        steps, cursor = list(answer["steps"]), answer.get("next_cursor")
        while cursor is not None:
            page = self._reader.get("runs", run_id, cursor=cursor)
            steps += page["steps"]
            cursor = page.get("next_cursor")
        made: RunResult = _made(RunResult, {**answer, "steps": [_made(StepResult, each) for each in steps]})
        return made

    def steps(self, **filters: Any) -> Page[StepResult]:
        """Steps across runs, newest first: step_type, name, pipeline, status, reason, rejection_rate_gt, ..._lt,
        duration_ms_gt, since, until, limit, cursor.
        """
        answer = self._reader.get("steps", **filters)
        return Page([_made(StepResult, each) for each in answer["steps"]], answer["next_cursor"])

    def decisions(self, details: Mapping[str, Any] | None = None, **filters: Any) -> Decisions:
        """Search inside samples, newest first: item, reason, outcome, step, step_type, pipeline, since, until, limit, cursor,
        estimate_ms (how long to go on estimating the total once the page is full).

        Args:
            details: conditions on details by path, as in {"price_gt": 100, "flight.dest": "BUR", "seats_exists": True}.
        """
        conditions = {f"details.{path}": value for path, value in (details or {}).items()}
        answer = self._reader.get("decisions", **filters, **conditions)
        estimate = answer.get("estimate")
        return Decisions(
            [_made(Decision, each) for each in answer["decisions"]],
            answer["next_cursor"],
            None if estimate is None else _made(Estimate, estimate),
        )

    def trends(self, **filters: Any) -> list[Trend]:
        """Ledger and reason mix per bucket of time and step, oldest first: pipeline, step, since, until, bucket; with
        `numbers=True` scores and declared values of the step too.
        """
        return [_made(Trend, each) for each in self._reader.get("trends", **filters)["trends"]]

    def to_pandas(self, what: Kind = "steps", *, rows: int = 10_000, **filters: Any) -> Any:
        """Runs, steps, decisions, or the sightings of an item as a pandas DataFrame, newest first.

        Args:
            what: which of them; "items" takes `item_id`, "run_items" `run`.
            rows: at most so many answers, over as many pages as that takes.
            filters: as for the method of that name.
        """
        return frames.to_pandas(self._all(what, rows, filters))

    def to_polars(self, what: Kind = "steps", *, rows: int = 10_000, **filters: Any) -> Any:
        """As `to_pandas`, as a polars DataFrame."""
        return frames.to_polars(self._all(what, rows, filters))

    def _all(self, what: Kind, rows: int, filters: Mapping[str, Any]) -> list[Any]:
        ask: Mapping[str, Callable[..., Page[Any]]] = {
            "runs": self.runs, "steps": self.steps, "decisions": self.decisions, "items": self.items,
            "run_items": self.run_items,
        }  # fmt: skip
        if what not in ask:
            raise ConfigurationError(f"there are no {what!r}; ask for one of {', '.join(ask)}")
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < rows:
            page = ask[what](**filters, limit=min(_PAGE_ROWS, rows - len(found)), cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def health(self) -> Json:
        """What the server says of itself."""
        return self._reader.get("health")

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        self._reader.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _made(kind: Any, answer: Mapping[str, Any]) -> Any:
    names = {each.name for each in fields(kind)}
    known = {name: value for name, value in answer.items() if name in names}
    return kind(**known, raw=answer) if "raw" in names else kind(**known)
