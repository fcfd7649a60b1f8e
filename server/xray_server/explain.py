"""Why: fetches what `xray_core.journey` needs to explain one item, from any Store. Knows no HTTP and no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xray_core.errors import XRayError
from xray_core.journey import StepKey, Why, explain
from xray_core.model import item_id_text
from xray_server.store import MAX_PAGE, Store, StoredRun, StoredStep


class UnknownRunError(XRayError):
    """There is no such run."""

    def __init__(self, run_id: str, field: str = "run_id") -> None:
        super().__init__(f"there is no run {run_id[:256]!r}")
        self.field = field


def why(store: Store, project: str, run_id: str, item_id: str) -> Why:
    """What became of an item in a run.

    Raises:
        UnknownRunError: there is no such run.
    """
    run = known_run(store, project, run_id)
    text = item_id_text(item_id)
    steps = all_steps(store, project, run_id)
    looked_up = store.look_up(project, run_id, text)
    holding = {(each.step_id, each.attempt) for each in looked_up if each.found}
    return explain(
        text,
        run_id=run_id,
        run=run.state,
        steps=[step.state for step in steps],
        looked_up=looked_up,
        samples=samples_of(store, project, run_id, text, [step.key for step in steps if step.key in holding]),
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
