"""When a rule would have fired, and what another bound would have done: its judging replayed over what the store has.

Sends nothing, writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from xray_server.alerts.judge import Figures, judge, run_figures, step_figures
from xray_server.alerts.rules import CHANGED, Rule
from xray_server.alerts.series import SeriesState, advance
from xray_server.store import MAX_PAGE, RunFilter, StepFilter, Store
from xray_server.times import iso

MAX_LOOKED_AT: Final = 20_000
MAX_EVENTS: Final = 200
MAX_POINTS: Final = 500
MAX_CHANGES: Final = 100
NEAR: Final = 5  # on either side of the bound

Json = dict[str, Any]


@dataclass(slots=True)
class DryRun:
    """The messages that would have been sent, oldest first; `complete` is False when there was more history than is looked at.

    `points` are what was judged, oldest first, the newest of them: when, the value, "breach", "fine" or "unsaid", and of what.
    `near` are those nearest to the bound on either side, `range` the least and the greatest value; None without a bound.
    `whatif` is what another bound would have changed, where one was asked for.
    """

    judged: int = 0
    breaches: int = 0
    unsaid: int = 0
    suppressed: int = 0
    complete: bool = True
    events: list[Json] = field(default_factory=list)
    points: list[Json] = field(default_factory=list)
    fired: int = 0
    near: Json | None = None
    range: tuple[float, float] | None = None
    whatif: Json | None = None


def dry_run(
    store: Store, project: str, rule: Rule, *, since_us: int, until_us: int, other: Rule | None = None
) -> DryRun:
    """Replay a rule over what finished in a window of time (microseconds); a subject's end is its clock.

    Args:
        other: the rule with another bound.
    """
    found, complete = _finished(store, project, rule, since_us, until_us)
    result = _replay(rule, found)
    result.complete = complete
    valued = [point for point in result.points if point["value"] is not None and point["state"] != "unsaid"]
    if rule.bounds and valued:
        values = [point["value"] for point in valued]
        result.range = min(values), max(values)
        ordered = sorted(valued, key=lambda point: _distance(rule, point))
        result.near = {
            state: [point for point in ordered if point["state"] == state][:NEAR] for state in ("breach", "fine")
        }
    if other is not None:
        result.whatif = _what_if(rule, result, other, _replay(other, found))
    result.points = result.points[-MAX_POINTS:]
    return result


def _distance(rule: Rule, point: Json) -> float:
    return float(min(abs(point["value"] - bound) for _, bound in rule.bounds))


def _what_if(rule: Rule, was: DryRun, other: Rule, now: DryRun) -> Json:
    """What another bound would have judged otherwise, what was nearest to the bound that the rule has first."""
    changes = [
        {**before, "was": before["state"], "now": after["state"]}
        for before, after in zip(was.points, now.points)
        if before["state"] != after["state"]
    ]
    changes.sort(key=lambda point: _distance(rule, point))
    return {
        "says": other.words(), "above": other.above, "below": other.below,
        "fired": {"was": was.fired, "now": now.fired}, "breaches": {"was": was.breaches, "now": now.breaches},
        "changes": changes[:MAX_CHANGES], "changes_omitted": max(0, len(changes) - MAX_CHANGES),
    }  # fmt: skip


def _replay(rule: Rule, found: Sequence[Figures]) -> DryRun:
    """Judge what finished, in the order in which it ended."""
    result = DryRun()
    state_of: dict[str, SeriesState] = {}
    past: dict[str, list[Figures]] = defaultdict(list)
    for each in sorted(found, key=lambda figures: figures.ended_us):
        state = state_of.get(each.series) or SeriesState()
        before: list[Figures] = []
        pooled: list[Figures] = []
        if rule.metric in CHANGED:
            frozen = state.firing and state.breaches < rule.window
            until = min(each.at_us, state.started_at_us) if frozen else each.at_us
            others = sorted((p for p in past[each.series] if p.run_id != each.run_id), key=lambda p: -p.at_us)
            before = [p for p in others if p.at_us < until][rule.pool - 1 : rule.looks_back]
            pooled = [p for p in others if p.at_us < each.at_us][: rule.pool - 1]
            if each.status == "completed" and each.input > 0:
                past[each.series] = [*past[each.series], each][-3 * rule.looks_back :]
        judgement = judge(rule, each, before, pooled)
        result.judged += 1
        place = {"pipeline": each.pipeline, "step": each.name, "run_id": each.run_id, "step_id": each.step_id, "attempt": each.attempt}  # fmt: skip
        result.points.append({"at": iso(each.ended_us), "value": judgement.value, "state": judgement.state, **place})
        result.breaches += judgement.state == "breach"
        result.unsaid += judgement.state == "unsaid"
        after, event = advance(
            state, each, judgement, now_us=max(1, each.ended_us), cooldown_us=int(rule.cooldown_s * 1e6)
        )
        state_of[each.series] = after
        result.suppressed += event == "suppressed"
        result.fired += event == "fired"
        if event in ("fired", "resolved") and len(result.events) < MAX_EVENTS:
            result.events.append(
                {"kind": event, "at": iso(each.ended_us), **place, "sentence": judgement.sentence, "value": judgement.value}
            )  # fmt: skip
    return result


def _finished(store: Store, project: str, rule: Rule, since_us: int, until_us: int) -> tuple[list[Figures], bool]:
    """The newest finished subjects in the rule's scope, and whether they are all."""
    found: list[Figures] = []
    cursor: str | None = None
    while len(found) < MAX_LOOKED_AT:
        if rule.of_runs:
            runs = store.runs(
                project, RunFilter(pipeline=rule.pipeline, since_us=since_us, until_us=until_us), limit=MAX_PAGE, cursor=cursor
            )  # fmt: skip
            found += [run_figures(project, run) for run in runs.items if run.state["status"] != "running"]
            cursor = runs.next_cursor
        else:
            where = StepFilter(
                pipeline=rule.pipeline, name=rule.step, step_type=rule.step_type, since_us=since_us, until_us=until_us
            )
            steps = store.steps(project, where, limit=MAX_PAGE, cursor=cursor)
            found += [step_figures(project, step) for step in steps.items if step.state["status"] != "running"]
            cursor = steps.next_cursor
        if cursor is None:
            return found, True
    return found, False
