"""Two groups of runs with planted differences, on both stores: what was planted is found, where and since when, and nothing else.

Tests read/groups.py, group_changes.py, segments.py, backends/relational/run_figures.py, backends/clickhouse/run_figures.py and
store/figures.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from xray_server.read.groups import compare_groups
from xray_server.records.schema import Record, RunRecord, Sample, SamplesRecord, StepRecord, sample_text
from xray_server.store import Batch, RunFilter, Store
from xray_server.store.figures import from_steps

PROJECT = "default"
T0 = 1_760_000_000_000_000
HOUR_US = 3_600_000_000
SPLIT = 40  # runs before it belong to a
WHERE = (
    RunFilter(pipeline="checkout", until_us=T0 + SPLIT * HOUR_US),
    RunFilter(pipeline="checkout", since_us=T0 + SPLIT * HOUR_US),
)
WORDS = "until=then", "since=then"
ITEMS = 30
Rate = Callable[[int, dict[str, Any]], float]


def runs_of(
    rate: Rate,
    *,
    n: int = 80,
    seed: int = 1,
    metadata: Callable[[int], Any] = lambda run: {},
    dimensions: bool = False,
    sampled: bool = True,
) -> list[Record]:
    """Hourly runs of a step that rejects each item with a chance of its own; `dimensions`: counted by carrier and country."""
    chance = random.Random(seed)
    made: list[Record] = []
    for run in range(n):
        cells: dict[str, dict[str, dict[str, int]]] = {}
        samples, counts, reasons = [], {"accepted": 0, "rejected": 0}, {"no_slot": 0, "closed": 0}
        for item in range(ITEMS):
            details = {"carrier": chance.choice(["DHL", "UPS", "GLS"]), "country": chance.choice(["DE", "FR"])}
            no = chance.random() < rate(run, details)
            reason = chance.choice(["no_slot", "no_slot", "closed"]) if no else None
            counts["rejected" if no else "accepted"] += 1
            if reason:
                reasons[reason] += 1
            for name, value in details.items():
                of_value = cells.setdefault(name, {}).setdefault(value, {})
                of_value["rejected" if no else "accepted"] = of_value.get("rejected" if no else "accepted", 0) + 1
            samples.append(Sample(f"i{item}", "rejected" if no else "accepted", reason, details, weight=1.0))
        at, run_id = T0 + run * HOUR_US, f"run {run:03}"
        made += [
            RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline="checkout", status="completed", started_us=at, tags={"half": run % 2}),
            *[
                StepRecord(v=1, run_id=run_id, step_id=name, attempt=1, part="a", rev=1, pipeline="checkout", name=name, started_us=at + k,
                           duration_us=1_000 + chance.randrange(200), status="completed", counts=counts, reasons={"rejected": reasons},
                           metadata=metadata(run), dimensions=cells if dimensions else None)
                for k, name in enumerate(("slots",))
            ],
            SamplesRecord(1, run_id, "slots", sample_text(samples if sampled else []), 1, "a", "live", 1),
        ]  # fmt: skip
    return made


def compared(store: Store, records: list[Record], **more: Any) -> Any:
    for start in range(0, len(records), 500):
        assert store.write([Batch(records[start : start + 500], PROJECT, T0 + 100 * HOUR_US)]) == [{}]
    return compare_groups(store, PROJECT, *WHERE, WORDS, **more)


def test_a_step_that_rejects_more_is_named_with_its_reasons_and_the_run_in_which_that_began(store: Store) -> None:
    found = compared(store, runs_of(lambda run, _: 0.15 if run < 43 else 0.4))
    assert found["lead"] == "slots"
    (step,) = found["steps"]
    assert step["rejected"]["changed"]
    assert step["ledger"]["a"]["input"] == SPLIT * ITEMS
    assert step["rejected"]["rate_a"] == step["ledger"]["a"]["rejected"] / (SPLIT * ITEMS)
    assert sum(each["a"] + each["b"] for each in step["reasons"]) == sum(
        step["ledger"][side]["rejected"] for side in "ab"
    )
    assert step["began"]["run_id"] in {"run 042", "run 043", "run 044"}
    assert found["sentence"].startswith("slots: 1")
    assert "rejected since 2025-10-11 0" in found["sentence"]
    assert "(p < 1e-6); no_slot +" in found["sentence"]


def test_the_change_is_found_in_the_segment_in_which_it_was_planted(store: Store) -> None:
    def rate(run: int, details: dict[str, Any]) -> float:
        return 0.7 if run >= SPLIT and details == {"carrier": "DHL", "country": "DE"} else 0.15

    found = compared(store, runs_of(rate), by=["carrier", "country"])["segment"]
    assert found["certainty"] == "estimated"
    assert found["found"]["words"] == "carrier=DHL and country=DE"
    assert abs(found["found"]["share"] - 1) < 0.35
    assert 0.1 < found["found"]["portion"] < 0.25


def test_one_condition_is_told_where_one_is_enough_and_none_where_the_change_is_everywhere(store: Store) -> None:
    one = runs_of(lambda run, d: 0.6 if run >= SPLIT and d["country"] == "DE" else 0.15)
    assert compared(store, one, by=["carrier", "country"])["segment"]["found"]["words"] == "country=DE"


@pytest.mark.parametrize("by", [[], ["country"], ["carrier", "country"]])
def test_declared_dimensions_tell_the_segment_exactly_and_without_any_sample(store: Store, by: list[str]) -> None:
    def rate(run: int, details: dict[str, Any]) -> float:
        return 0.6 if run >= SPLIT and details["country"] == "DE" else 0.15

    found = compared(store, runs_of(rate, dimensions=True, sampled=False), by=by)
    segment = found["segment"]
    assert (segment["certainty"], segment["dimensions"]) == ("exact", ["carrier", "country"])
    assert segment["found"]["words"] == "country=DE"
    assert 0.85 < segment["found"]["share"] < 1.15
    assert "country=DE: " in found["sentence"]
    assert "give or take" not in found["sentence"]


def test_two_conditions_are_taken_from_samples_where_dimensions_tell_only_one(store: Store) -> None:
    def rate(run: int, details: dict[str, Any]) -> float:
        return 0.7 if run >= SPLIT and details == {"carrier": "DHL", "country": "DE"} else 0.15

    found = compared(store, runs_of(rate, dimensions=True))["segment"]
    assert (found["certainty"], found["found"]["words"]) == ("estimated", "carrier=DHL and country=DE")


def test_a_change_that_is_everywhere_lies_in_no_segment(store: Store) -> None:
    found = compared(store, runs_of(lambda run, _: 0.6 if run >= SPLIT else 0.15), by=["carrier", "country"])
    assert found["segment"]["found"] is None
    assert "spread over all of carrier, country" in found["sentence"]
    assert compare_groups(store, PROJECT, *WHERE, WORDS, by=["colour"])["segment"]["certainty"] == "not_captured"


def test_where_only_run_to_run_noise_was_planted_nothing_is_named(store: Store) -> None:
    chance = random.Random(5)
    rates = [min(1.0, max(0.0, chance.gauss(0.3, 0.15))) for _ in range(80)]
    found = compared(store, runs_of(lambda run, _: rates[run]))
    assert found["lead"] is None
    assert found["sentence"] == (
        "no step is known to differ between 40 and 40 runs, beyond what runs differ among themselves"
    )


def test_what_else_changed_is_told_and_what_is_another_in_every_run_is_not(store: Store) -> None:
    def metadata(run: int) -> Any:
        return {"model": "v3" if run >= SPLIT + 2 else "v2", "seed": run, "limit": 100, "result.n": int(run >= SPLIT)}

    found = compared(store, runs_of(lambda run, _: 0.3, metadata=metadata))
    ((step, what, a, b),) = [(each["step"], each["what"], each["a"], each["b"]) for each in found["changes"]]
    assert (step, what, a, b) == ("slots", "metadata.model", "v2", "v3")


def test_groups_may_be_chosen_by_tag_and_a_run_in_both_is_in_the_second_alone(store: Store) -> None:
    compared(store, runs_of(lambda run, _: 0.6 if run % 2 else 0.2))
    by_tag = compare_groups(store, PROJECT, RunFilter(pipeline="checkout"), RunFilter(tag="half:1"), ("all", "odd"))
    assert (by_tag["a"]["runs"], by_tag["b"]["runs"]) == (40, 40)
    assert by_tag["steps"][0]["rejected"]["changed"]
    assert by_tag["steps"][0]["began"] is None, "neither lies before the other"
    some = compare_groups(store, PROJECT, *WHERE, WORDS, max_runs=10)
    assert (some["certainty"], some["a"]["runs"]) == ("partly", 10)


def test_the_figures_of_runs_are_those_of_their_steps_whatever_they_are_made_of(store: Store) -> None:
    several = [
        StepRecord(v=1, run_id="run 001", step_id="slots", attempt=1, part=part, rev=1, name="slots", counts={"errored": 2}, status="failed",
                   metadata={"m": part}, code_version="v", started_us=T0)
        for part in ("a", "b")
    ] + [StepRecord(v=1, run_id="run 002", step_id="again", attempt=n, part="a", rev=1, name="x", status="failed" if n < 2 else "completed",
                    started_us=T0) for n in (1, 2)]  # fmt: skip
    store.write([Batch([*runs_of(lambda run, _: 0.3, n=7), *several], PROJECT, T0 + 100 * HOUR_US)])
    where = RunFilter(pipeline="checkout")
    found = store.run_figures(PROJECT, where, limit=5)
    assert [run.run.run_id for run in found.items] == [f"run {n:03}" for n in (6, 5, 4, 3, 2)]
    rest = store.run_figures(PROJECT, where, limit=5, cursor=found.next_cursor)
    slow = from_steps(store, PROJECT, where, limit=100)
    assert [*found.items, *rest.items] == slow.items
    assert (rest.next_cursor, slow.next_cursor) == (None, None)
    assert [(step.step_id, step.attempt) for step in found.items[4].steps] == [("again", 2), ("slots", 1)]


def test_the_inputs_of_runs_that_are_compared_are_not_held(store: Store) -> None:
    """Row 44: thousands of runs are compared at once."""
    large = {"text": "x" * 100_000}
    runs = [RunRecord(v=1, run_id=f"r{n}", part="a", pipeline="p", started_us=T0 + n, input=large, output=large, tags={"k": "v"})
            for n in range(3)]  # fmt: skip
    steps = [
        StepRecord(v=1, run_id=f"r{n}", step_id="s", part="a", name="s", input=large, started_us=T0 + n)
        for n in range(3)
    ]
    store.write([Batch([*runs, *steps], PROJECT, T0)])
    found = store.run_figures(PROJECT, RunFilter(pipeline="p"), limit=10).items
    assert [run.run.state["tags"] for run in found] == [{"k": "v"}] * 3
    assert all(run.run.state["input"] is run.run.state["output"] is None for run in found)
    assert from_steps(store, PROJECT, RunFilter(pipeline="p"), limit=10).items == found


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_runs_are_nothing_to_tell_from(store: Store, n: int) -> None:
    found = compared(store, runs_of(lambda run, _: 0.1, n=SPLIT + n))
    assert found["lead"] is None
    assert ("nothing to compare" in found["sentence"]) == (n == 0)


def test_one_run_beside_another_says_that_these_are_too_few(store: Store) -> None:
    found = compared(store, runs_of(lambda run, _: 0.1, n=SPLIT + 1), max_runs=1)
    assert found["sentence"] == "1 run in until=then and 1 in since=then are too few to tell a difference from chance"
