"""Which given values can be all that went in or came out, and which tell less.

Tests compare/coverage.py and certainty.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.compare import PartedAt
from xray_core.compare.coverage import can_be_all, only_refers
from xray_core.testing import capture

ROWS = [{"id": f"r{n}", "price": n} for n in range(12)]


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (ROWS, 12),
        ({"limit": 5, "rows": ROWS}, 12),
        ({f"r{n}": n for n in range(12)}, 12),  # a value for each name
        ([*ROWS[:5], {"$more": 7}], 12),  # stored in part, fingerprinted whole
        ({"$type": "DataFrame", "size": 12, "$more": 1}, 12),
        ([0.2, 0.7, 0.4], 3),
        (["what is it?", "where is it?"], 2),
        ({"id": "r1", "price": 3}, 1),
        ({"question": "what is it?"}, None),  # of no items anything is known
        ("prompt", None),
        (17, None),
        ({"fever": 101.3, "unit": "F"}, None),
    ],
    ids=str,
)
def test_values_and_records_can_be_all(value: Any, n: int | None) -> None:
    assert can_be_all(value, n)


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (["r1", "r2"], None),  # ids, it may be
        ([1, 2, 3], 3),
        ([*["r1"] * 5, {"$more": 7}], 12),
        ({"rows": 12}, None),
        ({"n": 12, "shape": [12, 3]}, None),
        ({"n_docs": 3, "total_count": 7}, None),
        ({"rows": 12, "ok": True}, None),
        (True, None),
        ({"question": "what is it?"}, 12),
        ({"ids": [f"r{n}" for n in range(12)]}, 12),
        (ROWS[:11], 12),
        (None, None),
    ],
    ids=str,
)
def test_names_counts_and_what_leaves_items_out_are_less(value: Any, n: int | None) -> None:
    assert not can_be_all(value, n)


@pytest.mark.parametrize(
    "value",
    ["s3://lake/orders.parquet", "orders_v2", 12, True, {"path": "/data/a", "rows": 3}, {"found": 8, "ok": None}],
)
def test_what_refers_to_data_is_not_the_data(value: Any) -> None:
    """A path is equal in both runs, whatever was written there."""
    assert only_refers(value)
    parted = blamed(value, ROWS)
    assert not parted.certain


@pytest.mark.parametrize(
    "value",
    ["a whole sentence", 0.5, {"fever": 101.3}, ROWS, {f"r{n}": n for n in range(12)}, {"rows": ROWS[:2]}],
    ids=str,
)
def test_sentences_records_and_measures_are_data(value: Any) -> None:
    assert not only_refers(value)


def blamed(clean_out: Any, gate_in: Any, *, typed: bool = False) -> PartedAt:
    """A pipeline in which `clean` may have changed values: what is said of it, and of what went into `gate`."""
    with capture() as captured:
        for bad in (False, True):
            with captured.xray.run(input=1, run_id=f"bad {bad}") as run:
                with run.step("load", "retrieve") as step:
                    step.set_output(ROWS)
                with run.step("clean") as step:
                    step.set_input(ROWS)
                    step.set_output(clean_out)
                with run.step("gate", "filter" if typed else None) as step:
                    step.set_input(gate_in)
                    for row in ROWS:
                        step.accept(row["id"]) if row["price"] > 3 * bad else step.reject(row["id"], "small")
        parted = captured.diff("bad False", "bad True").parted_at
    assert parted is not None
    assert parted.path == "gate"
    return parted


@pytest.mark.parametrize("typed", [False, True])
def test_a_blame_rests_on_what_can_be_all_that_went_in(typed: bool) -> None:
    assert blamed(ROWS, ROWS, typed=typed).certain
    for less in ({"rows": 12}, [row["id"] for row in ROWS], {"question": "which?"}):
        parted = blamed(ROWS, less, typed=typed)
        assert not parted.certain
        assert list(parted.not_certain_because) == ["more went into it than what was captured of its input"]


def test_a_count_of_rows_or_a_list_of_ids_clears_no_step() -> None:
    for less in ({"rows": 12}, [row["id"] for row in ROWS]):
        parted = blamed(less, ROWS)
        assert not parted.certain
        assert "what clean put out is equal and may stand for more" in parted.not_certain_because[0]


def blamed_step(pipeline: Any, *, asked: Any = 1) -> tuple[str, bool]:
    with capture() as captured:
        for bad in (False, True):
            options = {} if asked is None else {"input": asked}
            with captured.xray.run(run_id=f"bad {bad}", **options) as run:
                pipeline(run, bad)
        parted = captured.diff("bad False", "bad True").parted_at
    assert parted is not None
    return parted.path, parted.certain


@pytest.mark.parametrize("items", [False, True])
def test_noise_within_the_tolerance_may_be_what_a_step_decides_by(items: bool) -> None:
    def pipeline(run: Any, bad: bool) -> None:
        rows = [{"id": f"i{n}", "score": n / 10 + 1e-13 * bad} for n in range(12)]
        with run.step("embed") as step:
            step.set_output_items(rows, key="id") if items else step.set_output(rows)
        with run.step("gate", "filter") as step:
            step.set_input_items(rows, key="id") if items else step.set_input(rows)
            for row in rows:
                step.accept(row["id"]) if row["score"] <= 0.5 else step.reject(row["id"], "high")

    assert blamed_step(pipeline) == ("gate", False)


def test_so_may_the_order_of_a_dict() -> None:
    def pipeline(run: Any, bad: bool) -> None:
        rows = dict(reversed([*enumerate("abc")])) if bad else dict(enumerate("abc"))
        with run.step("load") as step:
            step.set_output(rows)
        with run.step("first") as step:
            step.set_input(rows)
            step.set_output(next(iter(rows.values())))

    assert blamed_step(pipeline) == ("first", False)


def test_nothing_is_certain_where_nobody_said_what_the_runs_were_given() -> None:
    def pipeline(run: Any, bad: bool) -> None:
        with run.step("load") as step:
            step.set_output(f"rows {bad}")

    assert blamed_step(pipeline) == ("load", True)
    assert blamed_step(pipeline, asked=None) == ("load", False)
