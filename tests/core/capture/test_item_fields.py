"""Fields of items as they went in and came out are kept where somebody asks for them, and only there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.core.capturing import Captured
from xray_core.capture import item_fields
from xray_core.capture.step import Step

ROWS = [{"id": f"p{n}", "price": n * 10, "country": "DE" if n % 2 else "FR", "secret_token": "x"} for n in range(8)]
Fields = dict[str, dict[str, Any]]


def kept(captured: Captured) -> dict[str, Fields]:
    """Side -> item -> its fields."""
    found: dict[str, Fields] = {"in": {}, "out": {}}
    for sample in captured.samples():
        if sample["outcome"] in found:
            assert sample["item_id"] not in found[sample["outcome"]], "each item once"
            found[sample["outcome"]][sample["item_id"]] = sample["details"]
    return found


def told(rows: Any, *, fields: Any = None, side: str = "in", key: Any = "id", **settings: Any) -> Fields:
    captured = Captured(**settings)
    with captured.run() as run, run.step("s") as step:
        give = step.set_input_items if side == "in" else step.set_output_items
        give(rows, key=key, fields=fields)
    return kept(captured)[side]


def reprice(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A step that changes its rows in place, as many do."""
    for row in rows:
        row["price"] *= 2
        row.setdefault("tags", []).append("repriced")
    return rows[:-1]


def observed(work: Callable[[Any], Any], given: Any, **settings: Any) -> dict[str, Fields]:
    captured = Captured(**settings)
    with captured.run("shop") as run:
        step: Step = run.step("reprice")
        with step:
            step.observe_inputs({"rows": given})
            step.observe_output(work(given))
    return kept(captured)


@dataclasses.dataclass
class Product:
    id: str
    price: int


@pytest.mark.parametrize(
    "make",
    [list, pd.DataFrame, pl.DataFrame, pa.Table.from_pylist, lambda rows: [Product(r["id"], r["price"]) for r in rows]],
    ids=["dicts", "pandas", "polars", "pyarrow", "dataclasses"],
)
def test_the_fields_that_are_asked_for_are_kept_of_all_items_of_a_small_step(make: Callable[[Any], Any]) -> None:
    for side in ("in", "out"):
        assert told(make(ROWS), fields=["price"], side=side) == {f"p{n}": {"price": n * 10} for n in range(8)}
    assert told(make(ROWS)) == {}, "nobody asked"


def test_a_setting_asks_for_them_by_pipeline_and_step_and_the_call_wins_over_it() -> None:
    for text, fields in (("price", {"price"}), ("p/s=price,country", {"price", "country"}), ("other/*=price", set())):
        found = told(ROWS, item_fields=text)
        assert {name for each in found.values() for name in each} == fields
    assert told(ROWS, item_fields="price", fields="country")["p1"] == {"country": "DE"}
    assert told(ROWS, fields="*")["p1"] == {"id": "p1", "price": 10, "country": "DE", "secret_token": "[redacted]"}
    assert told(ROWS, capture="full")["p1"]["price"] == 10
    assert told(ROWS, capture="minimal", fields="price") == {}
    assert told(ROWS, items="hashed", fields="price") == {}, "no item of a set is kept by name"


def test_of_many_items_the_sampled_ones_are_kept_and_they_are_the_same_in_every_step() -> None:
    rows = [{"id": n, "price": n} for n in range(20_000)]
    captured = Captured()
    with captured.run() as run:
        for name, part in (("a", rows), ("b", rows[::2]), ("c", rows[::2_000])):
            with run.step(name) as step:
                step.set_input_items(part, key="id", fields=["price"])
    of = {record["step_id"]: {s["item_id"] for s in record["samples"]} for record in captured.of_kind("samples")}
    a, b, c = of.values()
    assert 150 < len(a) < 300
    assert a & {str(n) for n in range(0, 20_000, 2)} <= b
    assert len(c) == 10
    weights = [s["weight"] for record in captured.of_kind("samples") for s in record["samples"]]
    assert sum(weights) == pytest.approx(20_000 + 10_000 + 10, rel=0.3)


def test_an_argument_is_shown_as_it_was_before_the_step_changed_it() -> None:
    for make in (list, pd.DataFrame):
        rows = make([{"id": n, "price": n * 10} for n in range(1, 4)])

        def work(given: Any) -> Any:
            if isinstance(given, list):
                return reprice(given)
            given["price"] *= 2
            return given.iloc[:-1]

        sides = observed(work, rows, item_fields="price")
        assert sides["in"] == {"1": {"price": 10}, "2": {"price": 20}, "3": {"price": 30}}
        assert sides["out"] == {"1": {"price": 20}, "2": {"price": 40}}


def test_what_a_value_holds_is_shown_as_it_was_too() -> None:
    sides = observed(reprice, [{"id": 1, "price": 1, "tags": ["new"]}], item_fields="shop/reprice=tags,stock")
    assert sides["in"] == {"1": {"tags": ["new"]}}
    sides = observed(
        lambda rows: [reprice([rows[0]]), rows][1], [{"id": 1, "price": 1, "tags": []}], item_fields="tags"
    )
    assert (sides["in"]["1"]["tags"], sides["out"]["1"]["tags"]) == ([], ["repriced"])


def test_a_frame_of_polars_and_several_collections_keep_their_rows_apart() -> None:
    frame = pl.DataFrame({"order_id": [1, 2, 3], "price": [5, None, 7]})
    sides = observed(lambda given: [given.head(1), given.tail(1)], frame, item_fields="price")
    assert sides["in"] == {"1": {"price": 5}, "2": {"price": None}, "3": {"price": 7}}
    assert sides["out"] == {"1": {"price": 5}, "3": {"price": 7}}


def test_of_an_item_that_is_there_twice_nothing_is_kept_since_nothing_says_which_row_became_which() -> None:
    rows = [{"id": None, "v": 0}, {"id": "a", "v": 1}, {"id": "a", "v": 2}, {"id": "b", "v": 3, "more": 1}]
    for settings in ({}, {"capture": "full"}):
        assert told(rows, fields=["v", "more"], **settings) == {"b": {"v": 3, "more": 1}}


def test_ids_that_are_kept_as_fingerprints_take_their_fields_with_them() -> None:
    rows = [{"id": "ana@example.com", "price": 1}, {"id": "p2", "price": 2}]
    assert observed(list, rows, item_fields="price")["in"] == {"p2": {"price": 2}}


def test_at_level_full_ten_thousand_items_are_kept_and_of_more_the_sampled_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_fields, "MAX_WHOLE", 300)
    assert len(told([{"id": n, "v": n} for n in range(300)], capture="full")) == 300
    captured = Captured(capture="full")
    with captured.run() as run, run.step("s") as step:
        step.set_input_items([{"id": n, "v": n} for n in range(301)], key="id")
    assert len(kept(captured)["in"]) < 150
    assert captured.step("s")["dropped"] == {"item_fields": 301}


@pytest.mark.swallows
def test_fields_that_are_not_there_are_said_and_the_items_are_kept() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.set_input_items(["a", "b"], fields=["price"])
        step.set_output_items(ROWS, key="id", fields=["prize"])
    state = captured.step("s")
    assert (state["items"]["in"]["n"], state["items"]["out"]["n"]) == (2, 8)
    assert state["dropped"] == {"item_fields": 10}
    assert kept(captured) == {"in": {}, "out": {}}
