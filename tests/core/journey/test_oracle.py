"""Random pipelines against a plain oracle in memory: certain answers are never wrong, and the ledger always adds up."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xray_core import XRay
from xray_core.journey import Why
from xray_core.model import make_ledger
from xray_core.testing import Captured, capture

ITEMS = [f"i{n}" for n in range(12)]
OUTCOMES = ("accepted", "rejected", "not_selected", "errored", "lost", "kept_silently")


@dataclass
class StepPlan:
    """What a step does with the items that reach it, and how much of it it tells."""

    fate: dict[str, str]
    tells_input: bool
    tells_output: bool
    minimal: bool
    padding: int
    """Items beside ours that are rejected first: beyond a thousand, the rest is kept as fingerprints."""


@dataclass
class Truth:
    """What really happened: the step at which each item ended, and how."""

    ended: dict[str, tuple[int, str]] = field(default_factory=dict)
    entered: list[set[str]] = field(default_factory=list)


plans = st.lists(
    st.builds(
        StepPlan,
        fate=st.fixed_dictionaries({item: st.sampled_from(OUTCOMES) for item in ITEMS}),
        tells_input=st.booleans(),
        tells_output=st.booleans(),
        minimal=st.sampled_from([False, False, False, True]),
        padding=st.sampled_from([0, 0, 0, 0, 1_200]),
    ),
    min_size=1,
    max_size=4,
)


def perform(xray: XRay, plan: list[StepPlan], start: set[str]) -> tuple[str, Truth]:
    truth = Truth()
    present = set(start)
    with xray.run() as run:
        for number, each in enumerate(plan):
            truth.entered.append(set(present))
            left = set(present)
            with run.step(f"step{number}", capture="minimal" if each.minimal else None) as step:
                padding = [f"pad-{number}-{n}" for n in range(each.padding)]
                if each.tells_input:
                    step.set_input_items(sorted(present) + padding)
                step.reject_many(padding, "padding")
                for item in sorted(present):
                    fate = each.fate[item]
                    if fate == "accepted":
                        step.accept(item)
                    elif fate == "rejected":
                        step.reject(item, "because")
                    elif fate == "errored":
                        step.errored(item, "broken")
                    elif fate == "not_selected":
                        step.decide("pick", selected=None, alternatives=[item])
                    if fate not in ("accepted", "kept_silently"):
                        left.discard(item)
                        truth.ended[item] = (number, "dropped" if fate == "lost" else fate)
                if each.tells_output:
                    step.set_output_items(sorted(left))
            present = left
    return run.run_id, truth


def check_item(result: Captured, run_id: str, item: str, plan: list[StepPlan], truth: Truth) -> None:
    why = result.why(item, run_id)
    for entry in why.journey:
        number = int(entry.step.removeprefix("step"))
        inside = item in truth.entered[number]
        if entry.certainty == "not_captured" or entry.outcome is None:
            continue
        fate = plan[number].fate.get(item)
        told = {"lost": "dropped", "kept_silently": "accepted"}.get(fate or "", fate)
        assert entry.outcome == (told if inside else "never_entered"), (entry, fate, inside)
        assert (entry.certainty == "fingerprint") <= (0 < entry.p_false < 1e-7)
    if why.certainty == "not_captured" or why.outcome == "not_captured":
        return
    if item in truth.ended:
        number, fate = truth.ended[item]
        if says_nothing(plan[number], truth.entered[number]):
            assert_the_answer_says_where_it_stops(why, number)
            return
        assert why.outcome == fate, (why, truth.ended[item])
        assert fate == "dropped" or why.step == f"step{number}"
    elif item in truth.entered[0]:
        assert why.outcome in ("accepted", "selected"), why
    else:
        assert why.outcome == "never_entered", why


def assert_the_answer_says_where_it_stops(why: Why, number: int) -> None:
    """An item that ended in a step which says nothing of items: what came before is told, and that this step was not asked."""
    told = [int(entry.step.removeprefix("step")) for entry in why.journey if entry.outcome is not None]
    if told and max(told) < number:
        assert f"step{number}" in why.unasked
        assert "nothing about items" in why.sentence
    assert why.outcome in ("accepted", "selected", "dropped"), why
    assert why.step != f"step{number}", why


def says_nothing(step: StepPlan, entered: set[str]) -> bool:
    """Whether a step gave no verdict, no set and no count: for X-Ray it is one that has nothing to do with items."""
    quiet = all(step.fate[item] in ("lost", "kept_silently") for item in entered)
    return quiet and not (step.tells_input or step.tells_output or step.padding)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=st.sets(st.sampled_from(ITEMS), min_size=1))
def test_certain_answers_are_those_of_the_oracle(plan: list[StepPlan], start: set[str]) -> None:
    with capture() as result:
        run_id, truth = perform(result.xray, plan, start)
    for item in [*ITEMS, "stranger"]:
        check_item(result, run_id, item, plan, truth)
    for number in range(len(plan)):
        ledger = result.ledger(f"step{number}", run_id)
        parts = ledger.accepted + ledger.rejected + ledger.not_selected + ledger.errored + ledger.unaccounted
        assert ledger.input == parts


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=st.sets(st.sampled_from(ITEMS), min_size=1))
def test_a_run_compared_with_its_repetition_is_blamed_for_nothing(plan: list[StepPlan], start: set[str]) -> None:
    with capture() as result:
        a, _ = perform(result.xray, plan, start)
        b, _ = perform(result.xray, plan, start)
    diff = result.diff(a, b)
    assert diff.parted_at is None
    assert diff.flipped_count == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, start=st.sets(st.sampled_from(ITEMS), min_size=1), item=st.sampled_from(ITEMS), at=st.integers(0, 3))
def test_one_changed_verdict_is_found_where_it_was_made(
    plan: list[StepPlan], start: set[str], item: str, at: int
) -> None:
    """Accepted in one run, rejected in the other: at that step, if it got there and the step keeps verdicts."""
    at %= len(plan)
    other = [StepPlan(dict(p.fate), p.tells_input, p.tells_output, p.minimal, p.padding) for p in plan]
    plan[at].fate[item], other[at].fate[item] = "accepted", "rejected"
    with capture() as result:
        a, truth = perform(result.xray, plan, start)
        b, _ = perform(result.xray, other, start)
    if item not in truth.entered[at]:
        assert result.diff(a, b).parted_at is None
        return
    diff = result.diff(a, b)
    assert diff.parted_at is not None
    assert diff.parted_at.step == f"step{at}"
    assert diff.parted_at.kind == "non_deterministic"
    if not plan[at].minimal:
        assert diff.flipped_count == 1
        assert diff.flipped[0].item_id in (item, None)


def test_the_ledger_of_any_counts_adds_up() -> None:
    @given(st.dictionaries(st.sampled_from(("accepted", "rejected", "selected", "errored")), st.integers(0, 9)),
           st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))  # fmt: skip
    def adds_up(counts: dict[str, int], given_in: int | None, given_out: int | None) -> None:
        ledger = make_ledger(counts, input_count=given_in, output_count=given_out)
        parts = ledger.accepted + ledger.rejected + ledger.not_selected + ledger.errored + ledger.unaccounted
        assert ledger.input == parts

    adds_up()
