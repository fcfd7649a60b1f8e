"""`explain`: from the steps of a run and what was looked up in them to the answer for one item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow, started
from xray_core.journey.step_evidence import StepEvidence
from xray_core.journey.types import LookedUp, State, StepKey, Why
from xray_core.journey.verdict import answer, collapsed, settle_by_neighbours

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
    step_evidence = [
        StepEvidence(state, flow.path(state), sets.get(_key(state), []), samples.get(_key(state), ()), item_id)
        for state in flow.states
    ]
    for evidence in step_evidence:
        evidence.superseded = flow.last_attempt[evidence.state["step_id"]] != evidence.state["attempt"]
    counting = [
        evidence
        for evidence in flow.children_first(step_evidence, lambda evidence: evidence.state["step_id"])
        if not evidence.superseded
    ]
    settle_by_neighbours(counting, flow)
    journey = collapsed(step_evidence)
    return replace(
        answer(item_id, run_id, run, counting, flow),
        journey=[evidence.entry() for evidence in journey[:MAX_JOURNEY]],
        journey_omitted=max(0, len(journey) - MAX_JOURNEY),
    )


def _key(state: State) -> StepKey:
    return state["step_id"], state["attempt"]
