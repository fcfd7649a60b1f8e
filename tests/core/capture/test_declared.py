"""Declared values: kept for every item, by name and by fingerprint, with the limit that each was held against.

Tests capture/declared.py and verdict_sets.py.
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.capturing import Captured
from xray_core import verdicts
from xray_core.capture import declared

Known = dict[int, tuple[str, str | None, float | None, float | None]]


def kept(work: Callable[[Any], Any], level: str = "sample") -> tuple[Known, dict[str, Any]]:
    """Of each item's fingerprint its outcome, reason, value and limit, as the wire has them; and the step's state."""
    captured = Captured()
    with captured.run() as run, run.step("gate", capture=level) as step:
        work(step)
    found: Known = {}
    for record in captured.of_kind("verdicts"):
        for each in record["sets"]:
            prints = (
                [verdicts.fingerprint(item) for item in each["ids"]]
                if "ids" in each
                else verdicts.decode(base64.b64decode(each["fp40"]))
            )
            values: list[float | None] = [None] * len(prints)
            if "values" in each:
                values = list(verdicts.numbers_of(base64.b64decode(each["values"])))
            assert len(values) == len(prints) == each["n"]
            for fingerprint, value in zip(prints, values):
                found[fingerprint] = (each["outcome"], each["reason"], value, each.get("limit"))
    return found, captured.step("gate")


def of(found: Known, item: str) -> Any:
    return found[verdicts.fingerprint(item)]


def test_a_value_and_its_limit_are_kept_for_named_and_for_fingerprinted_items() -> None:
    def work(step: Any) -> None:
        for n in range(5_000):
            if n > 100:
                step.reject(f"i{n}", "price_too_high", {"price": n}, value=n, limit=100)
            else:
                step.accept(f"i{n}", value=n)
        step.reject("no value", "price_too_high")

    found, state = kept(work)
    assert len(found) == 5_001
    for n in range(5_000):
        expected = ("rejected", "price_too_high", n, 100) if n > 100 else ("accepted", None, n, None)
        assert of(found, f"i{n}") == expected
    assert of(found, "no value") == ("rejected", "price_too_high", None, None)
    assert state["counts"] == {"accepted": 101, "rejected": 4_900}
    assert not state["dropped"]
    assert state["value_sums"] == {
        "accepted": {"": {"n": 101, "total": sum(range(101)), "min": 0, "max": 100}},
        "rejected": {"price_too_high": {"n": 4_899, "total": sum(range(101, 5_000)), "min": 101, "max": 4_999}},
    }
    assert "rejected" in state["sums"], "an item with a value is summed as all others are"


def test_limits_that_differ_are_kept_apart_up_to_a_bound_which_is_counted() -> None:
    def work(step: Any) -> None:
        for n in range(40):
            step.reject(f"i{n}", "late", value=n, limit=n)

    found, state = kept(work)
    limits = [of(found, f"i{n}")[3] for n in range(40)]
    assert limits == [n if n < declared.MAX_LIMITS else None for n in range(40)]
    assert [of(found, f"i{n}")[2] for n in range(40)] == list(range(40))
    assert state["dropped"] == {"limits": 40 - declared.MAX_LIMITS}


@pytest.mark.parametrize("odd", [math.nan, math.inf, "150", object(), [1]])
def test_a_value_that_is_no_finite_number_costs_the_value_alone(odd: Any) -> None:
    found, state = kept(lambda step: step.reject("a", "late", value=odd, limit=1))
    assert of(found, "a") == ("rejected", "late", None, None)
    assert state["dropped"] == {"values": 1}


@pytest.mark.parametrize("capture", ["minimal", "sample", "full"])
def test_values_whose_sum_is_out_of_range_cost_the_sum_alone(capture: str) -> None:
    def work(step: Any) -> None:
        for n in range(40):
            step.reject(f"i{n}", "late", value=1.5e308, limit=-1.5e308, score=1.5e308)
        step.reject_many([f"j{n}" for n in range(40)], "late", value=[1.5e308] * 40, limit=1.0)

    found, state = kept(work, capture)
    assert capture == "minimal" or of(found, "i39") == ("rejected", "late", 1.5e308, -1.5e308)
    assert state["counts"] == {"rejected": 80}
    assert state["status"] == "completed"
    for sums in state.get("value_sums", {}).get("rejected", {}).values():
        assert sums == {"n": 80, "total": None, "min": 1.5e308, "max": 1.5e308}
    assert capture == "minimal" or state["value_sums"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(["dear", "late"]),
            st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-9, 9),
        ),
        min_size=1,
        max_size=60,
    ),
    st.booleans(),
)
def test_many_at_once_keep_what_a_loop_would(rows: list[tuple[str | None, float | None]], repeated: bool) -> None:
    rows = rows * (40 if repeated else 1)  # more than are kept by name
    ids = [f"i{n}" for n in range(len(rows))]

    def loop(step: Any) -> None:
        for item, (reason, value) in zip(ids, rows):
            limit = {"dear": 3, "late": 4}.get(reason or "")
            if reason is None:
                step.accept(item, value=value)
            else:
                step.reject(item, reason, value=value, limit=limit)

    def at_once(step: Any) -> None:
        reasons, values = zip(*rows)
        step.judge(ids, list(reasons), value=list(values), limit={"dear": 3, "late": 4})

    one, two = kept(loop), kept(at_once)
    assert one[0] == two[0]
    assert {name: one[1][name] for name in ("counts", "reasons", "sums")} == {
        name: two[1][name] for name in ("counts", "reasons", "sums")
    }


@pytest.mark.parametrize("library", [pd, pl])
def test_a_frame_is_filtered_with_the_column_that_decided(library: Any) -> None:
    frame = library.DataFrame({"id": [f"i{n}" for n in range(2_000)], "price": list(range(2_000))})
    found, _ = kept(lambda step: step.filter(frame, {"dear": frame["price"] > 99}, key="id", value="price", limit=99))
    assert len(found) == 2_000
    for n in range(2_000):
        outcome = ("rejected", "dear") if n > 99 else ("accepted", None)
        assert of(found, f"i{n}") == (*outcome, n, 99)


def test_threads_that_reject_at_once_do_not_mix_up_items_and_values() -> None:
    def work(step: Any) -> None:
        def some(thread: int) -> None:
            for n in range(thread * 2_000, thread * 2_000 + 2_000):
                step.reject(f"i{n}", "late", value=n, limit=-1)

        threads = [threading.Thread(target=some, args=(each,)) for each in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    found, _ = kept(work)
    assert [of(found, f"i{n}")[2] for n in range(12_000)] == list(range(12_000))


def test_the_order_is_told_where_all_items_have_a_value_and_not_where_some_have() -> None:
    def all_of_them(step: Any) -> None:
        for n in range(2_000):
            step.accept(f"i{n}", value=n)

    def some_of_them(step: Any) -> None:
        for n in range(2_000):
            step.accept(f"i{n}", value=n if n % 2 else None)

    def without(step: Any) -> None:
        for n in range(2_000):
            step.accept(f"i{n}")

    orders = [kept(work)[1]["orders"] for work in (all_of_them, some_of_them, without)]
    assert orders[0] == orders[2] != {}
    assert not orders[1]


def test_ids_that_are_secrets_keep_their_values_and_not_their_names() -> None:
    secret = "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a"
    captured = Captured()
    with captured.run() as run, run.step("gate") as step:
        step.reject(secret, "late", value=7, limit=5)
    text = repr(captured.sink.records)
    assert secret not in text
    assert kept(lambda step: step.reject(secret, "late", value=7, limit=5))[0] == {
        verdicts.fingerprint(secret): ("rejected", "late", 7, 5)
    }


def test_at_capture_level_minimal_items_with_values_are_counted() -> None:
    found, state = kept(lambda step: step.reject("a", "late", value=7, limit=5), "minimal")
    assert not found
    assert state["counts"] == {"rejected": 1}
