from __future__ import annotations

import random
from typing import Any

import pytest

from xray_core.sums import merge_columns, merge_sums

NUMBERS: dict[str, Any] = {
    "sum": "01",
    "n": 2,
    "nulls": 0,
    "min": 1.0,
    "max": 2.0,
    "total": 3.0,
    "abs": 3.0,
    "proj": [1.0, -1.0],
}


def test_hashes_are_added_up_modulo_two_to_the_64() -> None:
    assert merge_sums(["ffffffffffffffff", "2"]) == f"{1:016x}"
    assert merge_sums(["0a"]) == f"{10:016x}"


def test_a_part_without_a_sum_leaves_none() -> None:
    assert merge_sums(["1", None]) is None
    assert merge_sums([]) is None


def test_only_columns_that_every_part_has_are_added_up_and_the_others_counted() -> None:
    merged, others = merge_columns([{"a": NUMBERS, "b": NUMBERS}, {"a": NUMBERS, "c": NUMBERS}])
    assert (list(merged), others) == (["a"], 2)
    assert merged["a"] == {
        "sum": f"{2:016x}", "n": 4, "nulls": 0, "min": 1.0, "max": 2.0, "total": 6.0, "abs": 6.0, "proj": [2.0, -2.0],
    }  # fmt: skip


def test_a_part_without_a_value_says_nothing_of_the_numbers() -> None:
    empty = {"sum": "00", "n": 3, "nulls": 3}
    merged, _ = merge_columns([{"a": NUMBERS}, {"a": empty}])
    assert (merged["a"]["n"], merged["a"]["nulls"], merged["a"]["total"]) == (5, 3, 3.0)


def test_a_part_with_texts_leaves_no_numbers() -> None:
    texts = {"sum": "05", "n": 1, "nulls": 0}
    merged, _ = merge_columns([{"a": NUMBERS}, {"a": texts}])
    assert merged["a"] == {"sum": f"{6:016x}", "n": 3, "nulls": 0}


def test_a_total_that_no_double_holds_is_left_out() -> None:
    huge = {**NUMBERS, "total": 1.7e308, "abs": 1.7e308}
    merged, _ = merge_columns([{"a": huge}, {"a": huge}])
    assert not merged["a"].keys() & {"total", "abs"}
    assert merged["a"]["proj"] == [2.0, -2.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_parts_does_not_show(seed: int) -> None:
    chance = random.Random(seed)
    parts = [
        {
            "a": {
                **NUMBERS,
                "sum": f"{chance.getrandbits(64):016x}",
                "total": chance.uniform(-1e9, 1e-9),
                "proj": [chance.random(), 1e16],
            }
        }
        for _ in range(20)
    ]
    shuffled = chance.sample(parts, len(parts))
    assert merge_columns(parts) == merge_columns(shuffled)
