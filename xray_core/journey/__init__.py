"""Why: what became of one item in one run, step by step, in one sentence, and how certain each part of the answer is.

Pure: takes merged states, the sets that were looked up and the item's samples, and returns the answer; the server fetches
them from its store, `xray_core.testing` from memory. Knows no storage and no HTTP. What each answer rests on, and where it
stops, is told in docs/why.md. The one rule above all: absence is only said where a complete set says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow, started
from xray_core.journey.step_evidence import Mark
from xray_core.journey.types import NEGATIVE, Certainty, Entry, LookedUp, State, StepKey, Why
from xray_core.journey.verdict import answer, collapsed, details_text, settle_by_neighbours

__all__ = ["NEGATIVE", "Certainty", "Entry", "LookedUp", "State", "StepKey", "Why", "details_text", "explain"]

MAX_JOURNEY: Final = 1_000


def explain(
    item_id: str,
    *,
    run_id: str,
    run: State,
    steps: Iterable[State],
    looked_up: Iterable[LookedUp],
    samples: Mapping[StepKey, Sequence[Mapping[str, Any]]],
) -> Why:
    """What became of the item.

    Args:
        item_id: in its one spelling (`model.item_id_text`).
        run: the merged run (`merge.merge_run`).
        steps: every merged step attempt (`merge.merge_step`).
        looked_up: every set of every step attempt of the run, whether it holds the item or not.
        samples: the item's own samples, by (step id, attempt).
    """
    sets: dict[StepKey, list[LookedUp]] = {}
    for each in looked_up:
        sets.setdefault((each.step_id, each.attempt), []).append(each)
    flow = Flow(sorted(steps, key=started))
    marks = [
        Mark(state, flow.path(state), sets.get(_key(state), []), samples.get(_key(state), ()), item_id)
        for state in flow.states
    ]
    for mark in marks:
        mark.superseded = flow.last_attempt[mark.state["step_id"]] != mark.state["attempt"]
    counting = [mark for mark in flow.children_first(marks, lambda mark: mark.state["step_id"]) if not mark.superseded]
    settle_by_neighbours(counting, flow)
    journey = collapsed(marks)
    return replace(
        answer(item_id, run_id, run, counting, flow),
        journey=[mark.entry() for mark in journey[:MAX_JOURNEY]],
        journey_omitted=max(0, len(journey) - MAX_JOURNEY),
    )


def _key(state: State) -> StepKey:
    return state["step_id"], state["attempt"]
