"""What the pages of runs and steps show: one model per page, from the store's answers. Knows no HTTP, no HTML and no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core.journey import Why, uncaptured
from xray_core.model import OUTCOMES, item_id_text
from xray_core.plurals import plural
from xray_server.pages import charts
from xray_server.pages import funnel as funnels
from xray_server.pages.compare import Verdict, verdict
from xray_server.pages.formatting import dropped_warnings, duration
from xray_server.pages.list_order import beside, sorted_steps
from xray_server.read import heads
from xray_server.read import runs as read_runs
from xray_server.read import why as read_why
from xray_server.read.conservation import gaps_of
from xray_server.store import RunFilter, Store, StoredRun, StoredStep

READ_EACH_STEP: Final = (
    400  # above, a run is drawn from sums by name: reading a step costs 45 us, and a page has 100 ms
)
EXPLAIN_UP_TO: Final = 150  # steps: of a run with more, why and compare are asked for by a click
MAX_ROWS: Final = 60  # of the funnel on one page
SUMMARISED_STEPS: Final = 200  # a run with more gets no funnel of its own in the list of runs
RUNS_PER_PAGE: Final = 40
SAMPLES_PER_PAGE: Final = 25
_ORDER: Final = ("rejected", "errored", "not_selected", "accepted", "selected")  # what one comes for first
_RANK: Final = {name: rank for rank, name in enumerate(_ORDER)}
STEPS_PER_PAGE: Final = 100
MAX_SORTED: Final = 2_000  # steps of one name that are sorted or filtered


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run in the list of runs, the figures of its steps, and the row where most items were lost, if any."""

    run: Mapping[str, Any]
    funnel: funnels.Funnel | None
    worst: funnels.Row | None

    @property
    def believed(self) -> tuple[str, Mapping[str, int] | None]:
        """What tells how far its counts can be believed (`formatting.completeness`)."""
        return str(self.run["status"]), self.run["dropped"]


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run.

    Attributes:
        complete: False when the run has too many steps to read each; reasons and nesting are then one click away.
        rows: the part of the funnel on this page; `before` and `after` say how many rows there are around it.
        chips: (item id, what it was) worth asking about.
        older, newer: the runs of the pipeline that began before it and after it.
    """

    run: Mapping[str, Any]
    funnel: funnels.Funnel
    rows: Sequence[funnels.Row]
    offset: int
    complete: bool
    warnings: Sequence[str]
    chips: Sequence[tuple[str, str]]
    timeline: charts.Timeline | None
    graph: charts.Graph | None
    live: bool
    asked: str | None = None
    why: Why | None = None
    verdict: Verdict | None = None
    per_page: int = MAX_ROWS
    older: str | None = None
    newer: str | None = None

    @property
    def known(self) -> bool:
        """False while only steps of the run have arrived."""
        return self.run["started_at"] is not None or self.run["client"] is not None

    @property
    def failed_step(self) -> Mapping[str, Any] | None:
        """The first step that failed, where the funnel has each step."""
        found = next((row.step for row in self.funnel.rows if row.failed and row.step is not None), None)
        return None if found is None else {"step_id": found.step_id, "name": found.state["name"]}

    @property
    def dropped(self) -> Mapping[str, int]:
        """What could not be kept of the run and of its steps."""
        every = [self.run["dropped"] or {}, *(row.dropped for row in self.funnel.rows)]
        return {what: n for each in every for what, n in each.items()}

    @property
    def after(self) -> int:
        """How many rows come after those that are shown."""
        return max(0, len(self.funnel.rows) - self.offset - len(self.rows))


def run_lines(store: Store, project: str, where: RunFilter, *, cursor: str | None) -> tuple[list[RunLine], str | None]:
    """A page of runs, newest first, and the cursor of the next."""
    page = store.runs(project, where, limit=RUNS_PER_PAGE, cursor=cursor)
    small = [run.run_id for run in page.items if 0 < run.step_count <= SUMMARISED_STEPS]
    groups = store.step_groups(project, small)
    lines = []
    for run in page.items:
        funnel = funnels.from_groups(groups[run.run_id], drawn=False) if run.run_id in groups else None
        worst = None if funnel is None else funnel.worst
        lines.append(RunLine(heads.row(read_runs.run_json(run)), funnel, worst))
    return lines, page.next_cursor


def run_page(
    store: Store,
    project: str,
    run_id: str,
    *,
    view: str,
    scale: str | None,
    offset: int,
    now_us: int,
    item: str | None = None,
) -> RunPage | None:
    """One run as `view` ("funnel", "timeline" or "graph") shows it; None when there is no such run.

    Args:
        item: what is asked about; nothing means the item that was selected, once the run has ended.
    """
    run = store.run(project, run_id)
    if run is None:
        return None
    steps: list[StoredStep] = []
    complete = run.step_count <= READ_EACH_STEP
    if complete:
        steps = store.run_steps(project, run_id, limit=READ_EACH_STEP).items
        funnel = funnels.from_steps(steps, scale=scale)
    else:
        funnel = funnels.from_groups(store.step_groups(project, [run_id])[run_id], scale=scale)
    rows = funnel.rows[offset : offset + MAX_ROWS]
    older, newer = beside(store, project, run)
    chips = _chips(steps)
    live = run.state["status"] == "running"
    small = not live and run.step_count <= EXPLAIN_UP_TO
    asked = item or (chips[0][0] if small and chips and chips[0][1] == "selected" else None)
    compared = verdict(store, project, run) if small and run.known else None
    for row in rows:
        row.parted = (
            compared is not None
            and compared.alarming
            and compared.parted is not None
            and " > ".join(row.path) == compared.parted.path
        )
    return RunPage(
        run=read_runs.run_json(run),
        funnel=funnel,
        rows=rows,
        offset=offset,
        complete=complete,
        warnings=[*_warnings(run, funnel, steps), *(gap.sentence for gap in gaps_of(store, project, run, steps))],
        chips=chips,
        timeline=charts.timeline(rows, now_us) if view == "timeline" else None,
        graph=charts.graph(funnel.rows, steps, funnels.paths_of(steps)) if view == "graph" else None,
        live=live,
        asked=asked,
        older=older,
        newer=newer,
        verdict=compared,
        why=None if asked is None else read_why.why(store, project, run_id, asked),
    )


def strip(lines: Sequence[RunLine]) -> list[tuple[float, float, float, str, RunLine]]:
    """The runs of a page as a strip, oldest first: (x, width in percent, height in pixels, status, the run)."""
    longest = max((line.run["duration_ms"] or 0 for line in lines), default=0) or 1
    width = 100 / RUNS_PER_PAGE
    first = RUNS_PER_PAGE - len(lines)
    return [
        (
            round((first + place) * width, 3), round(width, 3),
            round(6 + 38 * (line.run["duration_ms"] or 0) / longest, 1), line.run["status"], line,
        )
        for place, line in enumerate(reversed(lines))
    ]  # fmt: skip


def _warnings(run: StoredRun, funnel: funnels.Funnel, steps: Sequence[StoredStep]) -> list[str]:
    """What a reader must know before believing the figures, each with what to do."""
    found = []
    if not run.known:
        found.append(
            "Only steps of this run have arrived, not the run itself. Its process may still be sending, or have been killed: "
            "`xray sync` on that machine delivers what it left on disk."
        )
    started_us = run.state["started_us"]
    if started_us is not None and started_us > run.at_us:
        found.append(
            f"It says that it started {duration((started_us - run.at_us) / 1000)} after it was received: the clock of its machine "
            "is ahead, so its times cannot be compared with others. In lists it stands where it was received."
        )
    found.extend(dropped_warnings(run.state["dropped"]))
    lossy = [row for row in funnel.rows if row.dropped]
    for row in lossy[:3]:
        found.extend(f"{row.name}: {warning}" for warning in dropped_warnings(row.dropped))
    minimal = [row.name for row in funnel.rows if row.step is not None and row.step.state["capture"] == "minimal"]
    if minimal:
        found.append(
            f"Captured at level minimal: {', '.join(minimal[:4])}{' …' if len(minimal) > 4 else ''}. Counts are exact, but no "
            'item can be asked about there; capture="sample" on the step keeps every verdict.'
        )
    about = run.state["metadata"]
    return [*found, *uncaptured((step.state for step in steps), metadata=about, step_count=run.step_count)]


def _chips(steps: Sequence[StoredStep]) -> list[tuple[str, str]]:
    """Items whose fate is most likely asked about: the selected one and its runners-up, from the last decision."""
    for step in reversed(steps):
        for decision in reversed(_decisions(step.state["decisions"])):
            chips = [(item, "selected") for item in decision.selected]
            for place, (item, _) in enumerate(decision.passed_over[:2]):
                chips.append((item, "runner-up" if place == 0 else "3rd"))
            if chips:
                return chips[:3]
    return []


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it is shown; a client may have sent any value in any of its fields.

    Attributes:
        selected: the items that it names; `other` is what was selected where that names none.
        passed_over: (item id, score) of the alternatives.
    """

    name: Any
    selected: Sequence[str]
    other: Any
    reason: Any
    score: Any
    details: Any
    passed_over: Sequence[tuple[str, Any]]


def _decisions(given: Sequence[Mapping[str, Any]] | None) -> list[Decision]:
    return [
        Decision(
            each.get("decision"), [item for item, _ in _named(each.get("selected"))], each.get("selected"),
            each.get("reason"), each.get("score"), each.get("details"), _named(each.get("alternatives")),
        )
        for each in given or ()
    ]  # fmt: skip


def _named(value: Any) -> list[tuple[str, Any]]:
    """(item id, score) of the items that a decision names: an id, an object that has one, or a list of these."""
    found: list[tuple[str, Any]] = []
    for each in value if isinstance(value, list) else [value]:
        of = each if isinstance(each, Mapping) else {"item_id": each}
        item = of.get("item_id", of.get("id"))
        if isinstance(item, (str, int)) and not isinstance(item, bool):
            found.append((item_id_text(item), of.get("score")))
    return found


@dataclass(frozen=True, slots=True)
class StepPage:
    """One step attempt.

    Attributes:
        attempts: (attempt, status) of each try.
        columns: names of the details shown as columns.
        samples: those on this page, of `matching` that match the filter, of `kept` in all; `by_outcome` says of which.
    """

    run: Mapping[str, Any]
    step: Mapping[str, Any]
    row: funnels.Row
    attempts: Sequence[tuple[int, str]]
    columns: Sequence[str]
    samples: Sequence[Mapping[str, Any]]
    matching: int
    kept: int
    by_outcome: Sequence[tuple[str, int]]
    offset: int
    distributions: Sequence[charts.Distribution]
    decisions: Sequence[Decision]
    per_page: int = SAMPLES_PER_PAGE


def step_page(
    store: Store,
    project: str,
    run_id: str,
    step_id: str,
    *,
    attempt: int | None,
    sort: str,
    outcome: str | None,
    reason: str | None,
    offset: int,
) -> StepPage | None:
    """One attempt of a step (the last, unless one is named) with a page of its samples; None when there is none."""
    run = store.run(project, run_id)
    tries = store.step(project, run_id, step_id)
    chosen = [step for step in tries if attempt is None or step.attempt == attempt]
    if run is None or not chosen:
        return None
    step = chosen[-1]
    samples = store.samples(project, run_id, [step.key]).get(step.key, [])
    matching = [
        sample
        for sample in samples
        if (sample["outcome"] == outcome if outcome is not None else sample["outcome"] in OUTCOMES)
        and (reason is None or (sample["reason"] or "") == reason)
    ]
    matching = sorted_samples(matching, sort)
    shown = matching[offset : offset + SAMPLES_PER_PAGE]
    return StepPage(
        run=read_runs.run_json(run),
        step=read_runs.step_json(step),
        row=funnels.from_steps([step], scale="linear").rows[0],
        attempts=[(each.attempt, each.state["status"]) for each in tries],
        columns=columns_of(matching),
        samples=[read_runs.sample_json(sample) for sample in shown],
        matching=len(matching),
        kept=sum(sample["outcome"] in OUTCOMES for sample in samples),
        by_outcome=[(name, n) for name in _ORDER if (n := sum(sample["outcome"] == name for sample in samples))],
        offset=offset,
        distributions=charts.distributions(matching),
        decisions=_decisions(step.state["decisions"]),
    )


def columns_of(samples: Sequence[Mapping[str, Any]], *, limit: int = 6) -> list[str]:
    """The details most samples have, in the order in which they first come."""
    seen: dict[str, int] = {}
    for sample in samples[:500]:
        if isinstance(sample["details"], Mapping):
            for name in sample["details"]:
                seen[name] = seen.get(name, 0) + 1
    most = sorted(seen, key=lambda name: -seen[name])[:limit]
    return [name for name in seen if name in most]


def sorted_samples(samples: Sequence[Mapping[str, Any]], sort: str) -> list[Mapping[str, Any]]:
    """By `item`, `reason`, `outcome`, `score`, `weight`, `time` or `details.NAME`; `-` in front turns it round. Unknown
    values come last either way.
    """
    name, down = sort.removeprefix("-"), sort.startswith("-")

    def value(sample: Mapping[str, Any]) -> Any:
        if name.startswith("details."):
            details = sample["details"]
            return details.get(name[8:]) if isinstance(details, Mapping) else None
        return sample.get({"item": "item_id", "time": "at_us"}.get(name, name))

    def key(sample: Mapping[str, Any]) -> tuple[int, float, str]:
        found = value(sample)
        if isinstance(found, (int, float)) and found == found:
            return 0, float(found) if abs(found) < 1e300 else 0.0, ""
        return 1, 0.0, str(found)

    if name == "outcome":  # what was rejected first, by reason
        ranked = sorted(samples, key=lambda s: (_RANK.get(s["outcome"], 9), s["reason"] or "", str(s["item_id"])))
        return ranked[::-1] if down else ranked
    known = [sample for sample in samples if value(sample) is not None]
    unknown = [sample for sample in samples if value(sample) is None]
    return [*sorted(known, key=key, reverse=down), *unknown]


@dataclass(frozen=True, slots=True)
class GroupPage:
    """The attempts of all steps of one name in a run, a page of them."""

    run: Mapping[str, Any]
    name: str
    steps: Sequence[Mapping[str, Any]]
    row: funnels.Row | None
    next_cursor: str | None
    title: str
    looked_at: int = 0  # where they were sorted or filtered: so many were looked at


def group_page(
    store: Store,
    project: str,
    run_id: str,
    name: str,
    *,
    cursor: str | None,
    sort: str | None = None,
    status: str | None = None,
) -> GroupPage | None:
    """A page of the steps of one name; None when there is no such run. Sorted or filtered, it is of the first 2,000."""
    run = store.run(project, run_id)
    if run is None:
        return None
    groups = store.step_groups(project, [run_id])[run_id]
    total = next((row for row in funnels.from_groups(groups).rows if row.name == name), None)
    chosen = sort is not None or status is not None
    limit = MAX_SORTED if chosen else STEPS_PER_PAGE
    page = store.run_steps(project, run_id, limit=limit, cursor=cursor, name=name)
    wanted = [step for step in page.items if status is None or step.state["status"] == status]
    steps = sorted_steps([read_runs.step_json(step) for step in wanted], sort)[:STEPS_PER_PAGE]
    title = plural(total.steps, "attempt") if total is not None else "nothing"
    looked_at = len(page.items) if chosen else 0
    return GroupPage(
        read_runs.run_json(run), name, steps, total, None if chosen else page.next_cursor, title, looked_at
    )
