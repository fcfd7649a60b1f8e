"""Why: fetches what `xray_core.journey` needs to explain one item, from any Store. Knows no HTTP and no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xray_core.journey import ChildRun, StepKey, Why, child_runs, explain, is_settled, with_child_runs, with_known_run
from xray_core.model import item_id_text
from xray_server.errors import UnknownItemError, UnknownRunError
from xray_server.store import MAX_PAGE, RunFilter, Store, StoredRun, StoredStep
from xray_server.times import iso

_MAX_LOOKED_AT: Final = 1_000  # runs, to find those that began inside another
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
    answer, steps = _explained(store, project, run, text)
    if is_settled(answer):
        return answer
    answers = [
        (child, _explained(store, project, inner, text)[0]) for child, inner in inner_runs(store, project, run, text)
    ]
    answer = with_child_runs(answer, answers, steps)
    if answer.step is not None and answer.outcome != "never_entered":
        return answer
    newest = store.item_runs(project, text, pipeline=run.state["pipeline"], limit=1).items
    if newest:
        return with_known_run(answer, newest[0].run_id, iso(newest[0].at_us))
    return answer


def inner_runs(store: Store, project: str, run: StoredRun, item_id: str) -> list[tuple[ChildRun, StoredRun]]:
    """The runs that began inside a run, as subflows do, in the order in which they began.

    At most 20 of the 1,000 newest that began in its time; of more, those that hold the item.
    """
    ended_us = run.state["ended_us"]
    where = RunFilter(since_us=run.at_us, until_us=None if ended_us is None else ended_us + 1)
    began: dict[str, StoredRun] = {}
    cursor: str | None = None
    while len(began) < _MAX_LOOKED_AT:
        page = store.runs(project, where, limit=_MAX_LOOKED_AT // 5, cursor=cursor)
        began.update((each.run_id, each) for each in page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    found = child_runs(run.run_id, ((each.run_id, each.state) for each in began.values()))
    if len(found) > _MAX_CHILD_RUNS:
        holding = {each.run_id for each in store.item_runs(project, item_id, pipeline=None, limit=MAX_PAGE).items}
        found = [each for each in found if each.run_id in holding] or found
    return [(each, began[each.run_id]) for each in found[-_MAX_CHILD_RUNS:]]


def _explained(store: Store, project: str, run: StoredRun, item_id: str) -> tuple[Why, list[Mapping[str, Any]]]:
    """The answer of one run alone, and its steps."""
    steps = all_steps(store, project, run.run_id)
    looked_up = store.look_up(project, run.run_id, item_id)
    holding = {(each.step_id, each.attempt) for each in looked_up if each.found}
    samples = samples_of(store, project, run.run_id, item_id, [step.key for step in steps if step.key in holding])
    states = [step.state for step in steps]
    answer = explain(
        item_id, run_id=run.run_id, run=run.state, steps=states, looked_up=looked_up, samples=samples
    )  # fmt: skip
    return answer, states


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
