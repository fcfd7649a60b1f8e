"""What another limit would do is what a run with that limit does, for every item; what is not known is said. Both stores.

Tests read/what_if.py.
"""

from __future__ import annotations

import json
import operator
import random
from collections.abc import Callable
from typing import Any

import pytest
from xray_server.errors import NotKnownError
from xray_server.read.what_if import what_if
from xray_server.read.why import why
from xray_server.records.schema import decode_record
from xray_server.store import Batch, Store

from tests.core.capturing import Captured
from xray_core import verdicts

PROJECT = "default"
Rejects = Callable[[float, float], bool]


def keep(store: Store, work: Callable[[Any], Any], run_id: str = "r") -> None:
    """Write what a step `gate` of a run captures."""
    captured = Captured()
    with captured.run(run_id=run_id) as run, run.step("gate") as step:
        work(step)
    records = [decode_record(json.dumps(record).encode()) for record in captured.sink.records]
    assert store.write([Batch(records, PROJECT, 1)]) == [{}]


def gate(prices: dict[str, float], rejects: Rejects, limit: float) -> Callable[[Any], None]:
    def work(step: Any) -> None:
        for item, price in prices.items():
            if rejects(price, limit):
                step.reject(item, "dear", value=price, limit=limit)
            else:
                step.accept(item, value=price)

    return work


def asked(store: Store, limit: float | None, **more: Any) -> Any:
    return what_if(store, PROJECT, "r", step="gate", limit=limit, **more)


def fingerprints(answer: Any) -> dict[int, str]:
    """Of each item that would change, what it would be."""
    return {
        verdicts.fingerprint(each["item_id"]) if each["item_id"] else int(each["fingerprint"], 16): each["now"]
        for each in answer["items"]
    }


@pytest.mark.parametrize("rejects", [operator.gt, operator.ge, operator.lt, operator.le])
def test_another_limit_changes_exactly_the_items_that_a_run_with_it_decides_otherwise(
    store: Store, rejects: Rejects
) -> None:
    chance = random.Random(rejects.__name__)
    prices = {f"item {n}": chance.choice([chance.uniform(0, 99), chance.randint(0, 99)]) for n in range(3_000)} | {
        "at": 50
    }
    keep(store, gate(prices, rejects, 50))
    for limit in (-5, 0, 20, 49, 50, 51.5, 80, 99, 200):
        found = asked(store, limit, rows=10_000)
        expected = {
            verdicts.fingerprint(item): "rejected" if rejects(price, limit) else "accepted"
            for item, price in prices.items()
            if rejects(price, limit) != rejects(price, 50)
        }
        assert fingerprints(found) == expected
        assert found["certainty"] == "exact"
        assert found["changes"]["rejected"]["now"] == sum(rejects(price, limit) for price in prices.values())
        assert found["rejects"] == ("above" if rejects in (operator.gt, operator.ge) else "below")


def test_pages_hold_every_change_once_those_nearest_to_the_old_limit_first(store: Store) -> None:
    keep(store, gate({f"i{n}": n for n in range(60)}, operator.gt, 40))
    whole = asked(store, 20, rows=100)["items"]
    assert [each["value"] for each in whole] == [*range(40, 20, -1)]
    found, cursor = [], None
    while True:
        page = asked(store, 20, rows=7, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    one = asked(store, 20, item="i30")
    assert [(each["item_id"], each["was"], each["now"]) for each in one["items"]] == [("i30", "accepted", "rejected")]
    assert asked(store, 20, item="i50")["items"] == []


def test_near_misses_are_those_nearest_to_the_limit_on_either_side(store: Store) -> None:
    keep(store, gate({f"i{n}": n for n in range(60)}, operator.gt, 40))
    found = asked(store, None)
    assert [each["item_id"] for each in found["near"]["rejected"]] == [f"i{n}" for n in range(41, 51)]
    assert [each["item_id"] for each in found["near"]["accepted"]] == [f"i{n}" for n in range(40, 30, -1)]
    assert found["range"] == [0, 59]
    assert found["sentence"] == "gate had a limit of 40, rejected what is above it: 19 of 60 items"


def test_whether_the_limit_itself_is_rejected_is_said_only_where_a_verdict_shows_it(store: Store) -> None:
    keep(store, gate({"low": 1, "on it later": 30, "high": 60}, operator.gt, 40))
    found = asked(store, 30)
    assert (found["changes"]["not_known"], found["items"][0]["now"], found["certainty"]) == (1, None, "partly")
    assert "1 lie on it, and nothing tells whether it is rejected" in found["sentence"]


def test_items_without_a_value_and_those_that_another_rule_decided_are_counted(store: Store) -> None:
    def work(step: Any) -> None:
        gate({f"i{n}": n for n in range(60)}, operator.gt, 40)(step)
        step.reject("no value", "dear")
        step.accept("vip", value=70)
        step.reject("gone", "sold_out", value=5)

    keep(store, work)
    found = asked(store, 50)
    assert (found["without_value"], found["exceptions"], found["other_reasons"]) == (
        {"rejected": 1, "accepted": 0}, 1, 1
    )  # fmt: skip
    assert found["certainty"] == "partly"
    assert found["sentence"] == (
        "gate with a limit of 50 in place of 40: 10 more of 61 items would pass it; 1 of 61 items that were accepted would not; "
        "of 1 more no value was declared; 1 verdict does not follow from the limit; other reasons of the step were not tried on them"
    )


def test_without_a_declared_limit_the_gap_between_rejected_and_accepted_tells(store: Store) -> None:
    def work(step: Any) -> None:
        for n in range(60):
            if n > 40:
                step.reject(f"i{n}", "dear", value=n)
            else:
                step.accept(f"i{n}", value=n)

    keep(store, work)
    assert set(fingerprints(asked(store, 44.5)).values()) == {"accepted"}
    assert asked(store, 44.5)["changes"]["pass"] == 4


def test_values_that_no_limit_tells_apart_are_no_ground_for_an_answer(store: Store) -> None:
    def work(step: Any) -> None:
        for n in range(60):
            if n % 2:
                step.reject(f"i{n}", "dear", value=n)
            else:
                step.accept(f"i{n}", value=n)

    keep(store, work)
    found = asked(store, 44.5)
    assert (found["certainty"], found["changes"]) == ("not_captured", None)


def test_of_several_reasons_with_values_the_one_with_a_limit_is_meant_or_one_must_be_named(store: Store) -> None:
    def work(step: Any) -> None:
        for n in range(20):
            step.reject(f"dear {n}", "dear", value=n + 50, limit=40)
            step.reject(f"far {n}", "far", value=n, limit=5)
            step.accept(f"kept {n}", value=n)

    keep(store, work)
    assert asked(store, 55)["reason"] == "dear", "the other lies on both sides of its limit"
    assert asked(store, 55, reason="far")["rejects"] is None or asked(store, 55, reason="far")["exceptions"]


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        (lambda step: step.reject("a", "dear"), "declared no values: say step.reject"),
        (
            lambda step: (step.reject("a", "dear", value=2), step.reject("a", "far", value=2)),
            "several reasons .* dear, far",
        ),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(store: Store, work: Any, problem: str) -> None:
    keep(store, work)
    with pytest.raises(NotKnownError, match=problem):
        asked(store, 5)
    with pytest.raises(NotKnownError, match="it has: gate"):
        what_if(store, PROJECT, "r", step="gates", limit=5)


@pytest.mark.parametrize("item", ["i5", "i2999", "i100"])
def test_why_tells_the_number_that_decided_for_every_item_sampled_or_not(store: Store, item: str) -> None:
    n = int(item[1:])

    def work(step: Any) -> None:
        gate({f"i{n}": n for n in range(3_000)}, operator.gt, 99)(step)

    captured = Captured(sample_rate=0, samples_per_reason=0)
    with captured.run(run_id="r") as run, run.step("gate") as step:
        work(step)
    records = [decode_record(json.dumps(record).encode()) for record in captured.sink.records]
    assert store.write([Batch(records, PROJECT, 1)]) == [{}]
    found = why(store, PROJECT, "r", item)
    assert found.details == {"value": n, "limit": 99} if n > 99 else found.details == {"value": n}
    if n > 99:
        assert f"dear (value {n}; limit 99)" in found.sentence
