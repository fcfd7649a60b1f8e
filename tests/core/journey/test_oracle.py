"""Random pipelines against a plain oracle in memory: certain answers are never wrong, and the ledger always adds up.

The pipelines are as real ones are: steps that say nothing of items, mapped, nested, retried and resumed ones.

Tests journey/verdict.py and step_evidence.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.core.journey.pipelines import ITEMS, StepPlan, Truth, all_accept, perform
from xray_core.model import Ledger, make_ledger
from xray_core.testing import Captured, capture
from xray_core.xray import XRay

CLIENT = XRay("test", disable_plugins=("*",))  # one for all examples: `capture` diverts what any client captures

OUTCOMES = ("accepted", "rejected", "not_selected", "errored", "lost", "kept_silently")

SHAPES = ("plain", "plain", "plain", "silent", "mapped", "nested", "retried", "resumed")


def step_of(drawn: bytes) -> StepPlan:
    """A step out of one draw: drawing each of its choices by itself takes longer than performing it."""
    tells_input, tells_output, minimal, padding, shape, step_type, frames, *fates = drawn
    return StepPlan(
        fate={item: OUTCOMES[fate % len(OUTCOMES)] for item, fate in zip(ITEMS, fates)},
        tells_input=tells_input % 2 == 1,
        tells_output=tells_output % 2 == 1,
        minimal=minimal % 4 == 3,
        padding=1_200 if padding % 8 == 7 else 0,
        shape=SHAPES[shape % len(SHAPES)],
        step_type="filter" if step_type % 3 == 2 else None,
        frames=("", "", "", "", "pandas", "polars")[frames % 6],
    )


steps = st.binary(min_size=7 + len(ITEMS), max_size=7 + len(ITEMS)).map(step_of)
plans = st.lists(steps, min_size=1, max_size=5)
starts = st.sets(st.sampled_from(ITEMS), min_size=1)


def check_item(result: Captured, run_id: str, item: str, truth: Truth) -> None:
    why = result.why(item, run_id)
    for entry in why.journey:
        if entry.certainty == "not_captured" or entry.outcome is None or entry.superseded:
            continue
        assert (entry.certainty == "fingerprint") <= (0 < entry.p_false < 1e-7)
        assert entry.outcome in truth.outcomes(entry.path, entry.attempt, item), (entry, truth.fates[item])
    if why.certainty == "not_captured" or why.outcome == "not_captured":
        return
    ended = truth.ended.get(item)
    if ended is None:
        expected = ("accepted", "selected") if item in truth.start else ("never_entered",)
        assert why.outcome in expected, why
    elif ended.silent:
        # what came before the loss is told, and that this step was not asked
        assert why.outcome in ("accepted", "selected", "dropped"), why
        assert any(ended.step in path for path in why.unasked), (why, ended)
        named = [path for path in why.unasked[:3] if ended.step in path]  # the sentence counts the others
        assert ended.step in why.sentence or (not named and " more tell nothing" in why.sentence), why
    else:
        assert why.outcome == ended.outcome, (why, ended)
        assert why.outcome == "dropped" or why.step == ended.step, (why, ended)


def check(plan: list[StepPlan], start: set[str]) -> None:
    with capture() as result:
        run_id, truth = perform(CLIENT, plan, start)
    for item in [*ITEMS, "stranger"]:
        check_item(result, run_id, item, truth)
    for name, step in zip(truth.names, plan):
        if step.shape != "mapped":  # of instances of which some tell what went in, the sums are of those that do
            assert all_is_told_of(result.ledger(name, run_id))


def plan_of(*steps: StepPlan) -> list[StepPlan]:
    return list(steps)


TELLS = StepPlan(all_accept(), tells_input=True)
ONLY_ENTERED = StepPlan({**all_accept(), **dict.fromkeys(ITEMS, "kept_silently")}, tells_input=True)
RESUMED_IN_SILENCE = StepPlan({**all_accept(), "i0": "rejected", "i2": "kept_silently"}, shape="resumed")
SILENT_LOSS = StepPlan({**all_accept(), "i1": "lost"}, shape="silent")
RESUMED_REJECT = StepPlan({**all_accept(), "i0": "rejected"}, tells_input=True, shape="resumed")


def pinned(function: Callable[..., None]) -> Callable[..., None]:
    """Pipelines that once got a certain and wrong answer."""
    for plan in (
        plan_of(TELLS, ONLY_ENTERED, SILENT_LOSS, TELLS),  # was "dropped at step1, exact"
        plan_of(SILENT_LOSS, TELLS),  # was "never entered, exact"
        plan_of(TELLS, SILENT_LOSS, TELLS),
        plan_of(TELLS, RESUMED_REJECT, TELLS),  # the second attempt never saw what the first rejected
        plan_of(TELLS, RESUMED_IN_SILENCE),  # the second attempt says nothing; was "accepted at step0, exact"
        plan_of(replace(TELLS, shape="mapped"), TELLS),  # was "dropped: it never reached step0[1]"
        plan_of(replace(TELLS, shape="mapped")),
    ):
        function = example(plan=plan, start={"i0", "i1", "i2"})(function)
    return function


@pinned
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=starts)
def test_certain_answers_are_those_of_the_oracle(plan: list[StepPlan], start: set[str]) -> None:
    check(plan, start)


@pytest.mark.stack
@pytest.mark.timeout(3_600)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=starts)
def test_certain_answers_are_those_of_the_oracle_in_ten_thousand_pipelines(
    plan: list[StepPlan], start: set[str]
) -> None:
    check(plan, start)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=starts)
def test_a_run_compared_with_its_repetition_is_blamed_for_nothing(plan: list[StepPlan], start: set[str]) -> None:
    with capture() as result:
        a, _ = perform(CLIENT, plan, start)
        b, _ = perform(CLIENT, plan, start)
    diff = result.diff(a, b)
    assert diff.parted_at is None
    assert diff.flipped_count == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=starts, item=st.sampled_from(ITEMS), at=st.integers(0, 4))
def test_one_changed_verdict_is_found_where_it_was_made(
    plan: list[StepPlan], start: set[str], item: str, at: int
) -> None:
    """Accepted in one run, rejected in the other: at that step, if it got there and the step keeps verdicts."""
    at %= len(plan)
    if plan[at].shape != "plain":
        plan[at] = replace(plan[at], shape="plain")
    other = [replace(p, fate=dict(p.fate)) for p in plan]
    plan[at].fate[item], other[at].fate[item] = "accepted", "rejected"
    with capture() as result:
        a, truth = perform(CLIENT, plan, start)
        b, _ = perform(CLIENT, other, start)
    diff = result.diff(a, b)
    if item not in truth.entered[at]:
        assert diff.parted_at is None
        return
    assert diff.parted_at is not None
    assert diff.parted_at.step == f"step{at}"
    assert diff.parted_at.kind == "non_deterministic"
    if not plan[at].minimal:
        assert diff.flipped_count == 1
        assert diff.flipped[0].item_id in (item, None)


def all_is_told_of(ledger: Ledger) -> bool:
    """Whether what went in is what came out, fell or is not accounted for, as far as that is known."""
    told = (ledger.accepted, ledger.rejected, ledger.not_selected, ledger.errored, ledger.undecided, ledger.unaccounted)
    return ledger.unaccounted is None or (ledger.input or 0) + (ledger.duplicated or 0) == sum(n or 0 for n in told)


def test_the_ledger_of_any_counts_adds_up() -> None:
    @given(st.dictionaries(st.sampled_from(("accepted", "rejected", "selected", "errored")), st.integers(0, 9)),
           st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))  # fmt: skip
    def adds_up(counts: dict[str, int], given_in: int | None, given_out: int | None) -> None:
        assert all_is_told_of(make_ledger(counts, input_count=given_in, output_count=given_out))

    adds_up()
