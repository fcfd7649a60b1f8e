"""`explain`: from the steps of a run and what was looked up in them to the answer for one item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from xray_core.journey.flow import Flow, started
from xray_core.journey.neighbours import attempts_that_count, collapsed, settle_by_neighbours
from xray_core.journey.sentences import say
from xray_core.journey.step_evidence import StepEvidence, key_of
from xray_core.journey.types import NEGATIVE, LookedUp, State, StepKey, Why
from xray_core.journey.verdict import answer
from xray_core.markup import changes_text
from xray_core.model import ITEMS_IN, ITEMS_OUT, SAME_ITEMS_COME_OUT

MAX_JOURNEY: Final = 1_000
_MAX_CHANGES: Final = 3  # steps that changed the item, in the sentence


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
    keys = _keys_of_item(flow.states, sets)
    step_evidence = [
        StepEvidence(state, flow.path(state), sets.get(_key(state), []), samples.get(_key(state), ()), item_id, keys)
        for state in flow.states
    ]
    counting = attempts_that_count(flow.children_first(step_evidence, lambda evidence: evidence.state["step_id"]))
    settle_by_neighbours(counting, flow)
    journey = collapsed(step_evidence)
    why = answer(item_id, run_id, run, counting, flow)
    if any(each.inferred and each.state["step_id"] == why.step_id for each in counting):
        # of what came out the sentence says already that nobody said so
        said = say("inferred") if why.outcome in NEGATIVE else ""
        why = replace(why, inferred=True, sentence=why.sentence + said)
    changes = [each for each in counting if each.changed and not each.superseded][-_MAX_CHANGES:]
    return replace(
        why,
        sentence=why.sentence + "".join(say("changed", step=e.path, changes=changes_text(e.changed)) for e in changes),
        journey=[evidence.entry() for evidence in journey[:MAX_JOURNEY]],
        journey_omitted=max(0, len(journey) - MAX_JOURNEY),
    )


def _keys_of_item(states: Iterable[State], sets: Mapping[StepKey, Sequence[LookedUp]]) -> frozenset[Any]:
    """The fields under which the item was found; a set of items that are named by others says nothing of it.

    A step that let the same items out under another name (ids that became records) tells that both name them, and so does each
    instance of a mapped one of all.
    """
    here: dict[Any, set[Any]] = {}
    alike: dict[Any, set[Any]] = {}
    for state in states:
        items = state["items"] or {}
        names = {side: key_of(items[side]) for side in (ITEMS_IN, ITEMS_OUT) if side in items}
        step = (state["parent_id"], state["name"])
        if state["relation"] in SAME_ITEMS_COME_OUT:
            alike.setdefault(step, set()).update(names.values())
        for each in sets.get(_key(state), ()):
            if each.found and each.outcome in names:
                here.setdefault(step, set()).add(names[each.outcome])
    return frozenset().union(
        *(found | (alike.get(step, set()) if found & alike.get(step, set()) else set()) for step, found in here.items())
    )


def with_known_run(answer: Why, run_id: str, at: str | None) -> Why:
    """The answer of a run that does not know the item, naming the newest run of the pipeline that does."""
    text = answer.sentence + say("known_run", run=run_id, at=at or "an unknown time")
    return replace(answer, sentence=text, known_run={"run_id": run_id, "started_at": at})


def _key(state: State) -> StepKey:
    return state["step_id"], state["attempt"]
