"""Why: fetches what `xray_core.journey` needs to explain one item, from any Store. Knows no HTTP and no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xray_core.journey import NEGATIVE, StepKey, Why, explain, with_child_runs, with_known_run
from xray_core.model import item_id_text
from xray_server.errors import UnknownItemError, UnknownRunError
from xray_server.store import MAX_PAGE, RunFilter, Store, StoredRun, StoredStep
from xray_server.times import iso

_MAX_LOOKED_AT: Final = 200  # runs, to find those that began inside another
_MAX_CHILD_RUNS: Final = 20


def why(store: Store, project: str, run_id: str, item_id: str) -> Why:
    """What became of an item in a run.

    Raises:
        UnknownRunError: there is no such run.
        UnknownItemError: the item was deleted, and the run is from before.
    """
    run = known_run(store, project, run_id)
    text = item_id_text(item_id)
    deleted_us = store.item_deleted_us(project, text)
    if deleted_us is not None and run.at_us < deleted_us:
        raise UnknownItemError(f"this item was deleted at {iso(deleted_us)}; nothing is kept of it in runs from before")
    answer = _explained(store, project, run, text)
    if answer.outcome in NEGATIVE and answer.certainty != "not_captured":
        return answer
    inner = [_explained(store, project, child, text) for child in child_runs(store, project, run)]
    known = [each for each in inner if each.step is not None and each.outcome != "never_entered"]
    if known or (answer.step is not None and answer.outcome != "never_entered"):
        return with_child_runs(answer, known)
    newest = store.item_runs(project, text, pipeline=run.state["pipeline"], limit=1).items
    if newest:
        return with_known_run(answer, newest[0].run_id, iso(newest[0].at_us))
    return answer


def child_runs(store: Store, project: str, run: StoredRun) -> list[StoredRun]:
    """The runs that began inside a run, as subflows do; at most 20, of the 200 newest that began in its time."""
    ended_us = run.state["ended_us"]
    where = RunFilter(since_us=run.at_us, until_us=None if ended_us is None else ended_us + 1)
    found = [
        each
        for each in store.runs(project, where, limit=_MAX_LOOKED_AT).items
        if (each.state["parent"] or {}).get("run_id") == run.run_id and each.run_id != run.run_id
    ]
    return found[:_MAX_CHILD_RUNS]


def _explained(store: Store, project: str, run: StoredRun, item_id: str) -> Why:
    steps = all_steps(store, project, run.run_id)
    looked_up = store.look_up(project, run.run_id, item_id)
    holding = {(each.step_id, each.attempt) for each in looked_up if each.found}
    samples = samples_of(store, project, run.run_id, item_id, [step.key for step in steps if step.key in holding])
    return explain(
        item_id,
        run_id=run.run_id,
        run=run.state,
        steps=[step.state for step in steps],
        looked_up=looked_up,
        samples=samples,
    )


def samples_of(
    store: Store, project: str, run_id: str, item_id: str, steps: list[StepKey]
) -> dict[StepKey, list[Mapping[str, Any]]]:
    """The samples of one item at some step attempts."""
    if not steps:
        return {}
    found = store.samples(project, run_id, steps)
    return {key: [sample for sample in samples if sample["item_id"] == item_id] for key, samples in found.items()}


def known_run(store: Store, project: str, run_id: str, field: str = "run_id") -> StoredRun:
    """The run; raises UnknownRunError, which names `field`, when there is none."""
    run = store.run(project, run_id)
    if run is None:
        raise UnknownRunError(run_id, field)
    return run


def all_steps(store: Store, project: str, run_id: str) -> list[StoredStep]:
    """All step attempts of a run, in the order in which they started."""
    steps: list[StoredStep] = []
    cursor: str | None = None
    while True:
        page = store.run_steps(project, run_id, limit=MAX_PAGE, cursor=cursor)
        steps += page.items
        cursor = page.next_cursor
        if cursor is None:
            return steps
