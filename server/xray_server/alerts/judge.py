"""One rule and one finished step or run: a breach, fine, or nothing to be said. Pure: what it needs is handed to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec
import xxhash

from xray_core.plurals import plural
from xray_server.alerts.change import ALPHA, Change, mix_change, rate_change
from xray_server.alerts.rules import CHANGED, Rule
from xray_server.statistics import change_point, compare_rates
from xray_server.store import StoredRun, StoredStep
from xray_server.times import iso

State = Literal["breach", "fine", "unsaid"]
_TOLD_REASONS: Final = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What a rule may look at of a finished step attempt, or of a run (`step_id` is None)."""

    project: str
    run_id: str
    step_id: str | None
    attempt: int
    pipeline: str | None
    name: str | None
    step_type: str | None
    status: str
    at_us: int
    ended_us: int
    duration_us: int | None
    input: int = 0
    output: int | None = 0
    rejected: int = 0
    unaccounted: int = 0
    rejection_rate: float | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    dimensions: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    @property
    def subject(self) -> bytes:
        """The identity of what was judged, in 16 bytes."""
        key = [self.project, self.run_id, self.step_id, self.attempt]
        return xxhash.xxh3_128_digest(msgspec.json.encode(key))

    @property
    def digest(self) -> bytes:
        """What judging depends on, in 8 bytes: equal for a record that was only sent again."""
        seen = (
            self.pipeline, self.name, self.step_type, self.status, self.ended_us, self.duration_us, self.input, self.output,
            self.rejected, self.unaccounted, self.rejection_rate, sorted(self.reasons.items()),
            *([self.dimensions] if self.dimensions else []),
        )  # fmt: skip
        return xxhash.xxh3_64_digest(msgspec.json.encode(seen))

    @property
    def series(self) -> str:
        """What a rule fires and resolves for: the steps of one name in one pipeline, or the runs of one pipeline."""
        return msgspec.json.encode([self.pipeline, self.step_id is not None, self.name]).decode()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says: the state, one sentence with its figures, and the figure itself."""

    state: State
    sentence: str = ""
    value: float | None = None


def step_figures(project: str, step: StoredStep) -> Figures:
    """The figures of a finished step attempt."""
    state, ledger = step.state, step.ledger
    # of items that went in and of which nobody knows what became there is nothing to judge
    went_in = 0 if ledger.unaccounted is None else ledger.input or 0
    unaccounted = 0 if ledger.inferred else ledger.unaccounted or 0
    return Figures(
        project, step.run_id, step.step_id, step.attempt, state["pipeline"], state["name"], state["step_type"], state["status"],
        step.at_us, _ended(step.at_us, state), state["duration_us"], went_in, ledger.output, ledger.rejected or 0,
        unaccounted, step.rejection_rate, state["reasons"].get("rejected", {}), _error(state), state["dimensions"] or {},
    )  # fmt: skip


def run_figures(project: str, run: StoredRun) -> Figures:
    """The figures of a finished run."""
    state = run.state
    return Figures(
        project, run.run_id, None, 0, state["pipeline"], None, None, state["status"],
        run.at_us, _ended(run.at_us, state), state["duration_us"], error=_error(state),
    )  # fmt: skip


def _ended(at_us: int, state: Mapping[str, Any]) -> int:
    return int(state["ended_us"] or at_us + (state["duration_us"] or 0))


def _error(state: Mapping[str, Any]) -> str | None:
    error = state["error"]
    return None if not error else ": ".join(str(error[part]) for part in ("type", "message") if error.get(part))[:300]


def of_value(found: Figures, dimension: str) -> Figures:
    """The figures of the items with one value of a dimension, as in "carrier=DHL"; none went in where it was not counted."""
    name, _, value = dimension.partition("=")
    counts = found.dimensions.get(name, {}).get(value, {})
    n, rejected = sum(counts.values()), counts.get("rejected", 0)
    return replace(found, input=n, rejected=rejected, rejection_rate=rejected / n if n else None, reasons={})


def judge(rule: Rule, found: Figures, before: Sequence[Figures] = (), pooled: Sequence[Figures] = ()) -> Judgement:
    """Judge a finished step or run that the rule covers.

    Args:
        before: for `changed_*` the steps to compare with; no other metric looks at it.
        pooled: of a rule with a pool, the steps just before this one that are taken together with it.
    """
    if rule.dimension is not None:
        name = rule.dimension
        found, before, pooled = (
            of_value(found, name),
            [of_value(b, name) for b in before],
            [of_value(p, name) for p in pooled],
        )
    if rule.pool > 1:
        return _pooled(rule, found, before, pooled) if found.status == "completed" else Judgement("unsaid")
    what = "The run" if found.step_id is None else f"Step {found.name or 'without a name'}"
    if rule.metric == "failed":
        if found.status != "failed":
            return Judgement("fine", f"{what} {found.status}.") if found.status == "completed" else Judgement("unsaid")
        return Judgement("breach", f"{what} failed" + (f": {found.error}" if found.error else "."), 1.0)
    if rule.metric == "duration":
        if found.duration_us is None:
            return Judgement("unsaid")
        took_ms = found.duration_us / 1000
        return _bounded(rule, took_ms, f"{what} took {_duration(took_ms)}", _duration)
    if found.status != "completed" or found.input < rule.least_items:
        return Judgement("unsaid")  # what a failed or skipped step did with its items is another question
    if rule.metric == "unaccounted":
        said = f"{what} does not say what became of {max(0, found.unaccounted):,} of {plural(found.input, 'item')}"
        limits = rule if rule.above is not None or rule.below is not None else rule.model_copy(update={"above": 0.0})
        return _bounded(limits, max(0, found.unaccounted), said, lambda n: f"{n:,.0f}")
    if rule.metric == "zero_output":
        if found.input == 0 or found.output is None:
            return Judgement("unsaid")
        said = f"{what} let {found.output:,} of {plural(found.input, 'item')} through"
        return Judgement("breach" if found.output == 0 else "fine", f"{said}{_why(found)}.", found.output)
    if rule.metric in CHANGED:
        return _changed(rule, found, before, what)
    if rule.metric == "reason_share":
        if found.input == 0:
            return Judgement("unsaid")
        n = found.reasons.get(rule.reason or "", 0)
        said = f"{what} rejected {n:,} of {plural(found.input, 'item')} ({n / found.input:.1%}) for {rule.reason}"
        return _bounded(rule, n / found.input, said, lambda share: f"{share:.4g}")
    if found.rejection_rate is None:
        return Judgement("unsaid")
    said = (
        f"{what} rejected {found.rejected:,} of {plural(found.input, 'item')} ({found.rejection_rate:.1%}{_why(found)})"
    )
    return _bounded(rule, found.rejection_rate, said, lambda rate: f"{rate:.4g}")


def _bounded(rule: Rule, value: float, said: str, spell: Any) -> Judgement:
    if rule.above is not None and value > rule.above:
        return Judgement("breach", f"{said}, above {spell(rule.above)}.", value)
    if rule.below is not None and value < rule.below:
        return Judgement("breach", f"{said}, below {spell(rule.below)}.", value)
    return Judgement("fine", f"{said}.", value)


def _changed(rule: Rule, found: Figures, before: Sequence[Figures], what: str) -> Judgement:
    limits: dict[str, Any] = {"min_change": rule.min_change, "min_runs": rule.min_runs}
    if rule.metric == "changed_rate":
        past = [(each.rejected, each.input) for each in before if each.input]
        change = rate_change(found.rejected, found.input, past, **limits)
        said = f"{what} rejected {change.now:.1%} of {plural(found.input, 'item')}{_why(found)}; {change.before:.1%}"
    else:
        if sum(found.reasons.values()) < rule.least_items:
            return Judgement("unsaid")
        change = mix_change(found.reasons, [each.reasons for each in before], **limits)
        said = f"{what} rejected {change.now:.1%} of what it rejected for {change.most}; {change.before:.1%}"
    if not change.enough:
        return Judgement("unsaid")
    said += f" in the {change.runs} runs before ({_p(change)})."
    return Judgement("breach" if change.changed else "fine", said, change.size)


def _pooled(rule: Rule, found: Figures, before: Sequence[Figures], pooled: Sequence[Figures]) -> Judgement:
    """The newest runs together against those before them, with the run as the unit: 12 items a run are enough."""
    now = [each for each in (found, *pooled) if each.input]
    past = [each for each in before if each.input]
    entered = sum(each.input for each in now)
    if len(now) < rule.pool or len(past) < rule.min_runs or entered < rule.least_items:
        return Judgement("unsaid")
    found_ = compare_rates(
        [(each.rejected, each.input) for each in past], [(each.rejected, each.input) for each in now]
    )
    if not found_.enough or found_.a is None or found_.b is None:
        return Judgement("unsaid")
    size = abs(found_.b - found_.a)
    where = f" where {rule.dimension}" if rule.dimension is not None else ""
    said = (
        f"Step {found.name or 'without a name'} rejected {found_.b:.1%} of {plural(entered, 'item')}{where} in its last {len(now)} runs; "
        f"{found_.a:.1%} in the {len(past)} runs before"
    )
    said += f" (p {'< 0.001' if found_.p < ALPHA else f'= {found_.p:.3f}'})"
    if not (found_.p < ALPHA and size >= rule.min_change):
        return Judgement("fine", f"{said}.", size)
    ordered = sorted((*past, *now), key=lambda each: (each.at_us, each.run_id))
    began = change_point([(each.rejected, each.input) for each in ordered])
    since = "" if began is None else f"; since run {ordered[began.at].run_id}, {iso(ordered[began.at].at_us)}"
    return Judgement("breach", f"{said}{since}.", size)


def _p(change: Change) -> str:
    return "p < 0.001" if change.p < 0.001 else f"p = {change.p:.3f}"


def _why(found: Figures) -> str:
    top = sorted(found.reasons.items(), key=lambda each: (-each[1], each[0]))[:_TOLD_REASONS]
    return ": " + ", ".join(f"{reason[:60] or 'no reason'} {n:,}" for reason, n in top) if top else ""


def _duration(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"
