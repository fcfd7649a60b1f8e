"""The figures of steps, from whole steps: for stores that have no faster way of their own. Knows no SQL."""

from __future__ import annotations

from dataclasses import replace

from xray_server.store.answers import Page, RunFigures, StepFigures, StoredRun, StoredStep
from xray_server.store.protocol import Store
from xray_server.store.questions import MAX_PAGE, RunFilter


def from_steps(
    store: Store, project: str, where: RunFilter, *, limit: int, cursor: str | None = None
) -> Page[RunFigures]:
    """As `Store.run_figures`, by reading every step."""
    page = store.runs(project, where, limit=min(limit, MAX_PAGE), cursor=cursor)
    found = []
    for run in page.items:
        steps: list[StoredStep] = []
        at: str | None = None
        while True:
            some = store.run_steps(project, run.run_id, limit=MAX_PAGE, cursor=at)
            steps += some.items
            at = some.next_cursor
            if at is None:
                break
        found.append(RunFigures(without_values(run), last_attempts([figures_of(step) for step in steps])))
    return Page(found, page.next_cursor)


def without_values(run: StoredRun) -> StoredRun:
    """A run without its input and output: of thousands that are compared nobody asks for them."""
    return replace(run, state={**run.state, "input": None, "output": None})


def figures_of(step: StoredStep) -> StepFigures:
    """The figures of one step attempt."""
    state, ledger = step.state, step.ledger
    return StepFigures(
        step.step_id, step.attempt, state["name"] or "", state["status"], step.at_us, state["duration_us"],
        ledger.input, ledger.accepted, ledger.rejected or 0, ledger.not_selected or 0, ledger.errored or 0,
        ledger.selected or 0, state["reasons"] or {}, state["code_version"], state["metadata"] or {},
        state["dimensions"] or {},
    )  # fmt: skip


def last_attempts(steps: list[StepFigures]) -> list[StepFigures]:
    """Without the attempts that a later one followed."""
    last = {step.step_id: step.attempt for step in sorted(steps, key=lambda step: step.attempt)}
    return [step for step in steps if last[step.step_id] == step.attempt]
