"""Two groups of runs compared: which steps reject more or for other reasons, since when, where, and what else changed.

Ledgers and reasons are exact sums over the runs; whether they differ is tested with the run as the unit
(`xray_server.statistics`), adjusted for how much is tested at once. Segments are estimated from samples. Knows no HTTP, no SQL.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from xray_core.model import OUTCOMES
from xray_core.plurals import plural
from xray_server.read.group_changes import what_else
from xray_server.read.sample_search import ABSENT, value_at
from xray_server.read.segments import Row, added, better, find, find_exact
from xray_server.statistics import Difference, Hits, change_point, compare_means, compare_rates, holm
from xray_server.store import MAX_PAGE, RunFigures, RunFilter, StepFigures, StepFilter, Store
from xray_server.times import iso

Json = dict[str, Any]
ALPHA: Final = 0.001  # of a whole comparison: the chance of any false change in it
MAX_RUNS: Final = 5_000  # of a group, the newest
MAX_REASONS: Final = 20  # of a step that are tested, the most frequent
MIN_RATIO: Final = 1.1  # a mean of sizes or durations that differs by less is no change
_SAMPLES_MS: Final = 300  # of reading samples for segments, a group
_MAX_VALUE_CHARS: Final = 100
_LEDGER: Final = ("input", "accepted", "rejected", "not_selected", "errored", "selected")
_NO_REASONS: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that were chosen; `complete` is False where there are more than are looked at."""

    words: str
    runs: Sequence[RunFigures]
    complete: bool

    def as_json(self) -> Json:
        """Under the names of the API."""
        places = [run.run.at_us for run in self.runs]
        return {
            "where": self.words, "runs": len(self.runs), "complete": self.complete,
            "first_at": iso(min(places, default=None)), "last_at": iso(max(places, default=None)),
        }  # fmt: skip


@dataclass(slots=True)
class _Side:
    """One step name in one group, added up by run."""

    rejected: list[Hits] = field(default_factory=list)
    errored: list[Hits] = field(default_factory=list)
    reasons: list[tuple[Mapping[str, int], int]] = field(default_factory=list)
    inputs: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    sums: list[int] = field(default_factory=lambda: [0] * len(_LEDGER))

    def add(self, steps: Sequence[StepFigures]) -> None:
        """The steps of this name in one run."""
        reasons: dict[str, int] = {}
        entered = rejected = errored = 0
        sums = self.sums
        for step in steps:
            sums[0] += step.input or 0
            sums[1] += step.accepted or 0
            sums[2] += step.rejected
            sums[3] += step.not_selected
            sums[4] += step.errored
            sums[5] += step.selected
            if step.duration_us is not None:
                self.durations.append(math.log(max(1, step.duration_us)))
            if step.input is None:
                continue
            entered, rejected, errored = entered + step.input, rejected + step.rejected, errored + step.errored
            for reason, n in step.reasons.get("rejected", _NO_REASONS).items():
                reasons[reason] = reasons.get(reason, 0) + n
        if entered > 0:
            self.rejected.append((rejected, entered))
            self.errored.append((errored, entered))
            self.reasons.append((reasons, entered))
            self.inputs.append(math.log(entered))

    @property
    def ledger(self) -> dict[str, int]:
        """The sums over all runs; nothing where there were none."""
        return dict(zip(_LEDGER, self.sums)) if self.durations or self.rejected or any(self.sums) else {}

    def of_reason(self, reason: str) -> list[Hits]:
        """How many items each run rejected for it."""
        return [(mix.get(reason, 0), n) for mix, n in self.reasons]

    def totals(self) -> dict[str, int]:
        """Reason -> items."""
        found: dict[str, int] = {}
        for mix, _ in self.reasons:
            for reason, n in mix.items():
                found[reason] = found.get(reason, 0) + n
        return found


@dataclass(slots=True)
class _Tested:
    """One difference that was tested, and where its answer goes."""

    difference: Difference
    answer: Json
    factor: bool = False  # of logarithms: the answer is a factor


def compare_groups(
    store: Store,
    project: str,
    a: RunFilter,
    b: RunFilter,
    words: tuple[str, str],
    *,
    by: Sequence[str] = (),
    max_runs: int = MAX_RUNS,
) -> Json:
    """What differs between the runs of two filters; a run that fits both is in b alone.

    Args:
        words: what the groups are called.
        by: fields of details whose values are told apart.
    """
    group_b = read_group(store, project, b, words[1], max_runs)
    in_b = {run.run.run_id for run in group_b.runs}
    group_a = read_group(store, project, a, words[0], max_runs)
    group_a = Group(words[0], [run for run in group_a.runs if run.run.run_id not in in_b], group_a.complete)
    steps, tested = _steps(group_a, group_b)
    failed = _failed(group_a, group_b, tested)
    for test, p in zip(tested, holm([each.difference.p for each in tested])):
        _write(test, p)
    changed = [step for step in steps if _is_changed(step)]
    lead = min(changed, key=lambda step: _weight(step), default=None)
    for step in changed:
        step["began"] = _began(group_a, group_b, step)
    segment = None
    if lead is not None:
        segment = _segments(store, project, (a, b), (group_a, group_b), lead, by)
    return {
        "a": group_a.as_json(),
        "b": group_b.as_json(),
        "sentence": _sentence(group_a, group_b, lead, changed, failed, segment)
        if any(each.difference.enough for each in tested)
        else _too_few(group_a, group_b),
        "certainty": "exact" if group_a.complete and group_b.complete else "partly",
        "lead": None if lead is None else lead["step"],
        "failed": failed,
        "segment": segment,
        "steps": steps,
        "changes": what_else(group_a.runs, group_b.runs),
    }


def read_group(store: Store, project: str, where: RunFilter, words: str, max_runs: int) -> Group:
    """The newest runs of a filter."""
    runs: list[RunFigures] = []
    cursor: str | None = None
    while len(runs) < max_runs:
        page = store.run_figures(project, where, limit=min(MAX_PAGE, max_runs - len(runs)), cursor=cursor)
        runs += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return Group(words, runs, cursor is None)


def _steps(a: Group, b: Group) -> tuple[list[Json], list[_Tested]]:
    """Every step name of both groups, in the order of the newest run, and what is tested of them."""
    sides = [_sides(group.runs) for group in (a, b)]
    names = list(dict.fromkeys(name for side in reversed(sides) for name in side))
    tested: list[_Tested] = []
    of_a, of_b = sides
    return [_step(name, of_a.get(name, _Side()), of_b.get(name, _Side()), tested) for name in names], tested


def _sides(runs: Iterable[RunFigures]) -> dict[str, _Side]:
    sides: dict[str, _Side] = {}
    for run in runs:
        by_name: dict[str, list[StepFigures]] = {}
        for step in run.steps:
            by_name.setdefault(step.name, []).append(step)
        for name, steps in by_name.items():
            side = sides.get(name)
            if side is None:
                side = sides[name] = _Side()
            side.add(steps)
    return sides


def _step(name: str, a: _Side, b: _Side, tested: list[_Tested]) -> Json:
    def rates(hits_a: Sequence[Hits], hits_b: Sequence[Hits], **about: Any) -> Json:
        answer = {
            **about,
            "a": sum(k for k, _ in hits_a),
            "b": sum(k for k, _ in hits_b),
            "excess": _excess(hits_a, hits_b),
        }
        tested.append(_Tested(compare_rates(hits_a, hits_b), answer))
        return answer

    def means(logs_a: Sequence[float], logs_b: Sequence[float]) -> Json:
        answer: Json = {}
        tested.append(_Tested(compare_means(logs_a, logs_b), answer, factor=True))
        return answer

    total_a, total_b = a.totals(), b.totals()
    often = sorted({*total_a, *total_b}, key=lambda reason: (-total_a.get(reason, 0) - total_b.get(reason, 0), reason))
    return {
        "step": name,
        "runs": {"a": len(a.rejected), "b": len(b.rejected)},
        "ledger": {"a": a.ledger, "b": b.ledger},
        "rejected": rates(a.rejected, b.rejected),
        "errored": rates(a.errored, b.errored) if any(k for k, _ in (*a.errored, *b.errored)) else None,
        "reasons": [rates(a.of_reason(reason), b.of_reason(reason), reason=reason) for reason in often[:MAX_REASONS]]
        + [
            {"reason": reason, "a": total_a.get(reason, 0), "b": total_b.get(reason, 0)}
            for reason in often[MAX_REASONS:]
        ],
        "items_in": means(a.inputs, b.inputs),
        "duration": means(a.durations, b.durations),
        "began": None,
    }


def _failed(a: Group, b: Group, tested: list[_Tested]) -> Json:
    """How many runs failed."""
    hits = [
        [(int(run.run.state["status"] == "failed"), 1) for run in group.runs if run.run.state["status"] != "running"]
        for group in (a, b)
    ]
    answer: Json = {"a": sum(k for k, _ in hits[0]), "b": sum(k for k, _ in hits[1])}
    tested.append(_Tested(compare_rates(*hits), answer))
    return answer


def _write(test: _Tested, p: float) -> None:
    """What a test found, adjusted for how many there were."""
    found = test.difference
    if test.factor:
        factor = None if found.a is None or found.b is None else math.exp(found.b - found.a)
        large = factor is not None and max(factor, 1 / factor) >= MIN_RATIO
        test.answer.update(factor=factor, p=p if found.enough else None, changed=large and found.enough and p < ALPHA)
        return
    test.answer.update(
        rate_a=found.a, rate_b=found.b, error=found.error, p=p if found.enough else None,
        changed=found.enough and p < ALPHA,
    )  # fmt: skip


def _excess(a: Sequence[Hits], b: Sequence[Hits]) -> float | None:
    """How many more there are in b than at the rate of a."""
    n_a, n_b = sum(n for _, n in a), sum(n for _, n in b)
    return sum(k for k, _ in b) - sum(k for k, _ in a) * n_b / n_a if n_a and n_b else None


def _is_changed(step: Json) -> bool:
    return bool(
        step["rejected"]["changed"]
        or (step["errored"] or {}).get("changed")
        or any(reason.get("changed") for reason in step["reasons"])
    )


def _weight(step: Json) -> tuple[float, float]:
    """What steps are ranked by: the surest first, then the largest."""
    ps = [step["rejected"], *step["reasons"], *([step["errored"]] if step["errored"] else [])]
    return min((each["p"] for each in ps if each.get("p") is not None), default=1.0), -abs(
        step["rejected"]["excess"] or 0
    )


def _began(a: Group, b: Group, step: Json) -> Json | None:
    """When it began: the first run of the new regime, where one group lies before the other."""
    earlier, later = sorted((a, b), key=lambda group: min((run.run.at_us for run in group.runs), default=0))
    if not earlier.runs or not later.runs:
        return None
    if max(run.run.at_us for run in earlier.runs) > min(run.run.at_us for run in later.runs):
        return None
    reason = next((each["reason"] for each in step["reasons"] if each.get("changed")), None)
    what = "rejected" if step["rejected"]["changed"] else "errored" if reason is None else "reason"
    ordered = sorted((*earlier.runs, *later.runs), key=lambda run: (run.run.at_us, run.run.run_id))
    hits = [_hits(run, step["step"], what, reason) for run in ordered]
    found = change_point(hits)
    if found is None:
        return None
    at, low, high = (ordered[place].run for place in (found.at, found.low, found.high))
    return {
        "run_id": at.run_id, "at": iso(at.at_us), "between": [iso(low.at_us), iso(high.at_us)],
        "runs_between": found.high - found.low,
    }  # fmt: skip


def _hits(run: RunFigures, name: str, what: str, reason: str | None) -> Hits:
    steps = [step for step in run.steps if step.name == name and step.input is not None]
    figures = [
        step.reasons.get("rejected", {}).get(reason or "", 0) if what == "reason" else getattr(step, what)
        for step in steps
    ]
    return sum(figures), sum(step.input or 0 for step in steps)


def _segments(
    store: Store,
    project: str,
    filters: tuple[RunFilter, RunFilter],
    groups: tuple[Group, Group],
    step: Json,
    by: Sequence[str],
) -> Json | None:
    """Where the change of a step lies: by its dimensions, exactly; by other fields, from its samples.

    Args:
        by: the fields; none: the dimensions that were declared.
    """
    n_a, n_b = (step["ledger"][side].get("input", 0) for side in ("a", "b"))
    counted = [
        added(each.dimensions for run in group.runs for each in run.steps if each.name == step["step"])
        for group in groups
    ]
    exact = {name for name in counted[0] if name in counted[1]}
    by = list(by) or sorted(exact)
    if not by:
        return None
    segment = find_exact(counted[0], counted[1], by, n_a, n_b) if exact & set(by) else None
    rows: list[list[Row]] = [[], []]
    sampled_runs = [0, 0]
    if len(by) > 1 or not exact & set(by):  # what two conditions hold is known of samples alone
        for place, (where, group) in enumerate(zip(filters, groups)):
            rows[place], sampled_runs[place] = _rows(store, project, where, group, step["step"], by)
        segment = better(segment, find(rows[0], rows[1], n_a, n_b))
    fields = {name for some in rows for row in some for name in row.fields} | (exact & set(by))
    is_exact = (
        segment is not None and all(name in exact for name, _ in segment.conditions) and len(segment.conditions) == 1
    )
    certainty = "exact" if is_exact else "estimated" if fields else "not_captured"
    return {
        "by": by, "certainty": certainty, "dimensions": sorted(exact),
        "samples": {"a": len(rows[0]), "b": len(rows[1])},
        "sampled_runs": {"a": sampled_runs[0], "b": sampled_runs[1]}, "not_captured": sorted(set(by) - fields),
        "found": None if segment is None else segment.as_json(),
    }  # fmt: skip


def _rows(
    store: Store, project: str, where: RunFilter, group: Group, name: str, by: Sequence[str]
) -> tuple[list[Row], int]:
    """The samples of a step in the runs of a group, newest first, as many as there is time for; of how many runs."""
    runs = {run.run.run_id for run in group.runs}
    rows: list[Row] = []
    seen: set[str] = set()
    asked = StepFilter(name=name, pipeline=where.pipeline, since_us=min((r.run.at_us for r in group.runs), default=0))
    cursor: str | None = None
    until = time.monotonic() + _SAMPLES_MS / 1000
    while time.monotonic() < until:
        page = store.sampled_steps(project, asked, limit=150, cursor=cursor)
        for step in page.items:
            if step.run_id not in runs:
                continue
            seen.add(step.run_id)
            for sample in step.samples:
                if sample["outcome"] in OUTCOMES:
                    weight = sample["weight"] if sample["weight"] is not None else 1.0
                    rows.append(Row(_fields(sample["details"], by), sample["outcome"] == "rejected", weight))
        cursor = page.next_cursor
        if cursor is None:
            break
    return rows, len(seen)


def _fields(details: Any, by: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in by:
        value = value_at(details, name)
        if value is not ABSENT and isinstance(value, (str, int, float, bool)):
            found[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)[:_MAX_VALUE_CHARS]
    return found


def _too_few(a: Group, b: Group) -> str:
    runs = f"{plural(len(a.runs), 'run')} in {a.words} and {len(b.runs):,} in {b.words}"
    if not a.runs or not b.runs:
        return f"there {'is' if len(a.runs) == 1 else 'are'} {runs}: nothing to compare"
    return f"{runs} are too few to tell a difference from chance"


def _sentence(
    a: Group, b: Group, lead: Json | None, changed: Sequence[Json], failed: Json, segment: Json | None
) -> str:
    if lead is None and failed["changed"]:
        return f"{failed['rate_a']:.1%} -> {failed['rate_b']:.1%} of runs failed (p {_p(failed['p'])}); no step is known to differ"
    if lead is None:
        return f"no step is known to differ between {len(a.runs):,} and {plural(len(b.runs), 'run')}, beyond what runs differ among themselves"
    figure, word = lead["rejected"], "rejected"
    if not figure["changed"] and (lead["errored"] or {}).get("changed"):
        figure, word = lead["errored"], "errored"
    elif not figure["changed"]:
        figure = next(each for each in lead["reasons"] if each.get("changed"))
        word = f"rejected for {figure['reason'] or 'no reason'}"
    since = f" since {_when(lead['began'])}" if lead["began"] else ""
    parts = [f"{lead['step']}: {figure['rate_a']:.1%} -> {figure['rate_b']:.1%} {word}{since} (p {_p(figure['p'])})"]
    more = [each for each in lead["reasons"] if each.get("changed") and each is not figure]
    parts += [
        f"{each['reason'] or 'no reason'} {each['excess']:+,.0f}"
        for each in sorted(more, key=lambda e: -abs(e["excess"]))[:3]
    ]
    if segment is not None and segment["found"]:
        found = segment["found"]
        error = "" if segment["certainty"] == "exact" else f", give or take {2 * found['error']:.0%}"
        parts.append(f"{found['words']}: {found['share']:.0%} of the change{error}")
    elif segment is not None and segment["certainty"] == "not_captured":
        parts.append(f"{', '.join(segment['by'])}: not captured")
    elif segment is not None:
        parts.append(f"spread over all of {', '.join(segment['by'])}")
    others = [each["step"] for each in changed if each is not lead]
    if others:
        parts.append(f"also {', '.join(others[:3])}{f' and {len(others) - 3} more' if len(others) > 3 else ''}")
    return "; ".join(parts)


def _when(began: Json) -> str:
    return str(began["at"])[:16].replace("T", " ")


def _p(p: float) -> str:
    return "< 1e-6" if p < 1e-6 else f"= {p:.1g}"
