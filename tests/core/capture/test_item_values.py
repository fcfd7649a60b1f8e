"""What items hold is compared without keeping it: by value, whatever library holds it and in whatever order.

Tests item_values.py, read_values.py and given_items.py.
"""

from __future__ import annotations

import datetime
import enum
import math
import random
import sys
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.capturing import Captured
from xray_core import XRay
from xray_core.bounds import name_text
from xray_core.capture import collections, item_values
from xray_core.capture.budget import no_tick
from xray_core.objects.fingerprint import fingerprint
from xray_core.testing import capture

ROWS = [{"id": f"i{n}", "price": n * 1.5, "stock": n, "city": "RU"[n % 2] * 3} for n in range(60)]


def told(items: Any, key: Any = "id") -> dict[str, Any]:
    with capture() as captured:
        with XRay("p").run() as run, run.step("s") as step:
            step.set_input_items(items, key=key)
        (state,) = captured._steps("s", None)
    assert not state["dropped"]
    found: dict[str, Any] = state["items"]["in"]
    return found


def flat(column: dict[str, Any]) -> dict[str, Any]:
    """A column's figures, without a list among them."""
    one, two = column.get("proj", (0.0, 0.0))
    return {
        **{
            name: int(value, 16) % 2**53 if name == "sum" else value for name, value in column.items() if name != "proj"
        },
        "p1": one,
        "p2": two,
    }


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist], ids=["pandas", "polars", "arrow"])
def test_equal_values_are_equal_whatever_holds_them_and_in_whatever_order(make: Callable[[Any], Any]) -> None:
    plain = told(ROWS)
    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    assert plain["rows"] is not None
    for other in (told(make(ROWS)), told(make(shuffled)), told([dict(reversed(row.items())) for row in ROWS])):
        assert other["rows"] == plain["rows"]
        for name, column in plain["columns"].items():
            assert flat(other["columns"][name]) == pytest.approx(flat(column)), name


def test_a_changed_value_shows_in_its_row_and_its_column_alone() -> None:
    changed = [{**row, "price": 80.0} if row["id"] == "i7" else row for row in ROWS]
    swapped = [{**row, "city": {"RRR": "UUU", "UUU": "RRR"}[row["city"]]} for row in ROWS]
    before, after = told(ROWS), told(changed)
    assert (before["sum"], before["rows"] == after["rows"]) == (after["sum"], False)
    assert [name for name in before["columns"] if before["columns"][name] != after["columns"][name]] == ["price"]
    assert told(swapped)["columns"]["city"]["sum"] != before["columns"]["city"]["sum"]


def test_numbers_are_equal_by_value_and_text_by_its_characters() -> None:
    class City(str, enum.Enum):
        RRR = "RRR"
        UUU = "UUU"

    other = [{**row, "stock": np.float32(row["stock"]), "city": City(row["city"])} for row in ROWS]  # type: ignore[arg-type]
    assert told(other)["rows"] == told(ROWS)["rows"]
    exact = [{**row, "price": Decimal(str(row["price"]))} for row in ROWS]
    assert told(exact)["rows"] == told(pd.DataFrame(exact))["rows"] == told(ROWS)["rows"]
    assert told([{"id": 1, "x": 0.0, "y": math.nan}])["rows"] == told([{"id": "1", "x": -0.0, "y": None}])["rows"]


def test_noise_is_told_from_a_change_by_the_projections() -> None:
    noisy = told([{**row, "price": row["price"] * (1 + 1e-12)} for row in ROWS])["columns"]["price"]
    prices = told(ROWS)["columns"]["price"]
    one, two = ROWS[3]["price"], ROWS[9]["price"]
    swapped = told([{**row, "price": {one: two, two: one}.get(row["price"], row["price"])} for row in ROWS])["columns"][
        "price"
    ]

    def far(other: Any) -> float:
        return max(abs(p - q) for p, q in zip(prices["proj"], other["proj"])) / prices["abs"]

    assert noisy["sum"] != prices["sum"]
    assert far(noisy) < 1.5e-12
    assert swapped["total"] == prices["total"]
    assert far(swapped) > 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9) | st.none(), min_size=1, max_size=30))
def test_with_numpy_and_without_it_the_sums_are_the_same(values: list[float | None]) -> None:
    rows = [{"id": n, "x": value} for n, value in enumerate(values)]
    fast = told(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_values, "sys", type("NoNumpy", (), {"modules": {}}))
        slow = told(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_values, "_MANY", 0)
        many = told(rows)
    assert "numpy" in sys.modules
    for other in (slow, many):
        assert other["rows"] == fast["rows"]
        assert flat(other["columns"]["x"]) == pytest.approx(flat(fast["columns"]["x"]), rel=1e-9, abs=1e-3)


def test_without_numpy_a_large_set_given_in_code_costs_no_seconds_and_says_what_was_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"id": n, "price": n * 0.5, "stock": n % 7, "city": "RRR"} for n in range(40_000)]
    assert set(told(rows)["columns"]) == {"price", "stock", "city"}
    monkeypatch.setattr(item_values, "sys", type("NoNumpy", (), {"modules": {}}))
    some = told(rows)
    assert set(some["columns"]) == {"price", "stock"}
    assert some["columns_omitted"] == 1
    assert "rows" not in some, "a sum over rows is of whole rows"


def test_rows_without_an_id_are_left_out_and_counted() -> None:
    some = told([*ROWS[:5], {"id": None, "price": 1.0, "stock": 1, "city": "x"}])
    assert (some["n"], some["nulls"], some["distinct"]) == (6, 1, 5)
    assert some["rows"] == told(ROWS[:5])["rows"]


@pytest.mark.parametrize(
    "vector",
    [lambda n: np.full(4, n), lambda n: pd.Series([n] * 4), lambda n: pl.Series([n] * 4), lambda n: [float(n)] * 4],
)
def test_arrays_in_a_field_are_values_like_any_other(vector: Callable[[int], Any]) -> None:
    """As the embeddings of documents: nothing was known of the items of a step that had any."""
    captured = Captured()
    rows = [{"id": n, "vector": vector(n), "price": n} for n in range(5)]
    with captured.run() as run:
        with run.step("given") as step:
            step.set_input_items(rows, key="id")
        for name, came_out in (("same", rows), ("changed", [{**row, "vector": vector(9)} for row in rows])):
            with run.step(name) as step:
                step.observe_inputs({"rows": rows})
                step.observe_output(came_out)
    sets = {name: captured.step(name)["items"] for name in ("given", "same", "changed")}
    sums = {name: [each[side]["columns"] for side in ("in", "out") if side in each] for name, each in sets.items()}
    assert list(sums["given"][0]) == ["vector", "price"]
    assert sums["same"][0] == sums["same"][1]
    assert sums["changed"][0]["vector"] != sums["changed"][1]["vector"]
    assert sums["changed"][0]["price"] == sums["changed"][1]["price"]


def test_what_is_nested_in_items_given_in_code_costs_no_seconds_and_is_said_to_be_not_read() -> None:
    looped: list[Any] = []
    looped.append(looped)
    captured = Captured()
    rows = [
        {
            "id": n,
            "price": n,
            "vector": [0.5] * 1_500,
            "array": np.full(1_500, 0.5),
            "lines": [{"a": each, "b": {"c": [each] * 20}} for each in range(9)],
            "loop": looped,
        }
        for n in range(2_000)
    ]
    with captured.run() as run, run.step("s") as step:
        began_s = time.process_time()
        step.set_input_items(rows, key="id")
        took_s = time.process_time() - began_s
    seen = captured.step("s")["items"]["in"]
    assert (list(seen["columns"]), seen["columns_omitted"]) == (["price"], 4)
    assert took_s < 2


@pytest.mark.swallows
def test_a_column_that_cannot_be_read_costs_that_column_alone() -> None:
    class Column:
        def __len__(self) -> int:
            raise RuntimeError("no size")

    found = collections.find(pd.DataFrame({"id": [1, 2], "price": [1.0, 2.0]}))
    assert found is not None
    read = item_values.read(found._replace(held={**found.held, "price": Column()}, fields=("id", "price")), no_tick)
    assert (list(read.columns), read.omitted) == (["id"], 1)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_column_of_times_is_read_as_its_times_are_one_by_one(unit: str) -> None:
    random_numbers = np.random.default_rng(7)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = random_numbers.integers(-9_000_000_000, 9_000_000_000, 600) * per_second
    moments = (seconds + random_numbers.choice([0, per_second // 2, per_second // 3, 1 % per_second], 600)).astype(
        f"M8[{unit}]"
    )
    moments[::17] = np.datetime64("NaT", unit)
    frame = pd.DataFrame({"id": range(600), "at": pd.Series(moments)})
    rows = [{"id": n, "at": None if each is pd.NaT else each} for n, each in enumerate(frame["at"].tolist())]
    assert told(frame)["columns"] == told(rows)["columns"]
    assert told(frame)["columns"]["at"]["nulls"] == 36


def test_values_with_a_text_have_the_hash_of_their_fingerprint() -> None:
    zone = datetime.timezone.utc
    for value in (datetime.datetime(2020, 1, 1, 3, tzinfo=zone), datetime.date(2020, 1, 1), uuid.uuid4(), Fraction(1, 3),
                  datetime.timedelta(3), Path("/a"), 3 + 4j, pd.Period("2020"), np.datetime64("2020-01-01")):  # fmt: skip
        assert item_values._hash(value, no_tick) == int(fingerprint(value)["exact"], 16)


def test_names_of_fields_are_kept_as_text_that_can_be_written() -> None:
    long = "n" * 10_000
    seen = told([{"id": n, "\ud800": n, long: n} for n in range(3)])
    assert list(seen["columns"]) == ["\\ud800", name_text(long)]


def test_a_table_with_two_columns_of_one_name_is_known_by_the_others() -> None:
    table = pa.table([[1, 2], [1.0, 2.0], [3.0, 4.0], ["a", "b"]], names=["id", "price", "price", "city"])
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.observe_inputs({"rows": table})
        step.observe_output(table)
    seen = captured.step("s")["items"]["out"]
    assert (seen["key"], seen["n"], list(seen["columns"])) == ("id", 2, ["city"])
