"""step.filter: the rows of the plain boolean filter, and a verdict for every row."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.capture.test_many import told
from tests.core.capturing import Captured
from xray_core import current_step
from xray_core.capture import many
from xray_core.capture.frames import filtered

DATA: dict[str, list[Any]] = {
    "id": ["a", "b", "c", "d"],
    "price": [50, 150, 250, 350],
    "dest": ["LAX", "BUR", "LAX", "JFK"],
}


def pandas_case() -> tuple[Any, dict[str, Any]]:
    frame = pd.DataFrame(DATA)
    return frame, {"too_dear": frame.price > 200, "wrong_destination": ~frame.dest.isin(["LAX"])}


def polars_case() -> tuple[Any, dict[str, Any]]:
    frame = pl.DataFrame(DATA)
    return frame, {"too_dear": frame["price"] > 200, "wrong_destination": ~frame["dest"].is_in(["LAX"])}


def expression_case() -> tuple[Any, dict[str, Any]]:
    return pl.DataFrame(DATA), {"too_dear": pl.col("price") > 200, "wrong_destination": ~pl.col("dest").is_in(["LAX"])}


def table_case() -> tuple[Any, dict[str, Any]]:
    table = pa.table(DATA)
    wrong = pc.invert(pc.is_in(table["dest"], pa.array(["LAX"])))
    return table, {"too_dear": pc.greater(table["price"], 200), "wrong_destination": wrong}


def batch_case() -> tuple[Any, dict[str, Any]]:
    return pa.RecordBatch.from_pydict(DATA), table_case()[1]


def lists_case() -> tuple[Any, dict[str, Any]]:
    frame, masks = pandas_case()
    return frame, {"too_dear": masks["too_dear"].tolist(), "wrong_destination": masks["wrong_destination"].to_numpy()}


def mixed_case() -> tuple[Any, dict[str, Any]]:
    return pl.DataFrame(DATA), lists_case()[1]


CASES = [pandas_case, polars_case, expression_case, table_case, batch_case, lists_case, mixed_case]


@pytest.mark.parametrize("case", CASES)
def test_a_filter_returns_the_rows_that_stay_and_every_row_has_its_first_true_reason(case: Any) -> None:
    frame, masks = case()
    kept: list[Any] = []
    seen = told(lambda step: kept.append(step.filter(frame, masks, key="id", details=["price", "dest"], score="price")))
    assert type(kept[0]) is type(frame)
    assert list(kept[0]["id"]) == ["a"] or kept[0]["id"].to_pylist() == ["a"]
    assert seen["reasons"] == {"accepted": {"": 1}, "rejected": {"too_dear": 2, "wrong_destination": 1}}
    assert seen["sets"] == {
        ("accepted", ""): [["a"]], ("rejected", "too_dear"): [["c", "d"]], ("rejected", "wrong_destination"): [["b"]],
    }  # fmt: skip
    assert seen["dropped"] == {}
    by_id = {sample["item_id"]: sample for sample in seen["samples"]}
    assert by_id["c"]["details"] == {"price": 250, "dest": "LAX"}
    assert by_id["a"]["details"] == {"price": 50, "dest": "LAX"}
    assert seen["scores"]["rejected"] == {"min": [150, "b"], "max": [350, "d"]}


rows = st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 3, st.integers(0, 5)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_the_rows_are_those_of_the_plain_filter_and_null_is_false(table: list[Any]) -> None:
    masks = {f"r{i}": [row[i] for row in table] for i in range(3)}
    values = [row[3] for row in table]
    stays = [value for value, row in zip(values, table) if not any(row[:3])]
    nulls = sum(each is None for row in table for each in row[:3])
    index = pd.Index([f"x{i % 7}" for i in range(len(table))])
    frame = pd.DataFrame({"v": pd.Series(values, dtype="int64", index=index)}, index=index)
    polars = pl.DataFrame({"v": values}, schema={"v": pl.Int64})
    arrow = pa.table({"v": pa.array(values, pa.int64())})
    for given_frame, make in (
        (frame, lambda m: pd.Series(m, dtype="boolean", index=index)),
        (frame, lambda m: pd.Series(m, dtype=object, index=index)),
        (frame, lambda m: m),
        (polars, lambda m: pl.Series(m, dtype=pl.Boolean)),
        (polars, lambda m: m),
        (arrow, lambda m: pa.array(m, pa.bool_())),
        (arrow, lambda m: pa.chunked_array([pa.array(m[:3], pa.bool_()), pa.array(m[3:], pa.bool_())])),
    ):
        kept: list[Any] = []
        given_masks = {name: make(mask) for name, mask in masks.items()}
        seen = told(lambda step, f=given_frame, m=given_masks, k=kept: k.append(step.filter(f, m, key="v")))
        assert kept[0]["v"].to_pylist() == stays if given_frame is arrow else list(kept[0]["v"]) == stays
        assert seen["counts"].get("accepted", 0) == len(stays)
        assert sum(seen["counts"].values()) == len(table)
        assert seen["dropped"].get("mask_nulls", 0) == nulls
    plain = (
        frame[~(pd.DataFrame(masks, index=index).astype("boolean").fillna(False).astype(bool).any(axis=1).to_numpy())]
        if table
        else frame
    )
    with Captured().run() as run, run.step("s") as step:
        assert step.filter(
            frame, {name: pd.Series(mask, dtype="boolean", index=index) for name, mask in masks.items()}
        ).equals(plain)


def test_pandas_masks_go_by_the_index_as_its_own_filter_does() -> None:
    frame = pd.DataFrame(DATA, index=[3, 2, 1, 0])
    dear = (frame.price > 200).sort_index()
    with Captured().run() as run, run.step("s") as step:
        assert step.filter(frame, {"dear": dear}).equals(frame[frame.price <= 200])
        with pytest.raises(ValueError, match="another index"):
            step.filter(frame, {"dear": dear.reset_index(drop=True).set_axis([7, 8, 9, 10])})


def test_ids_are_a_column_several_or_the_index() -> None:
    frame = pd.DataFrame(DATA)
    dear = frame.price > 200
    rejected = ("rejected", "dear")
    assert told(lambda s: s.filter(frame, {"dear": dear}))["sets"][rejected] == [["2", "3"]]
    named = frame.set_index("id")
    assert told(lambda s: s.filter(named, {"dear": dear.to_numpy()}))["sets"][rejected] == [["c", "d"]]
    assert told(lambda s: s.filter(named, {"dear": dear.to_numpy()}, key="id"))["sets"][rejected] == [["c", "d"]]
    both = told(lambda s: s.filter(frame, {"dear": dear}, key=["id", "dest"]))
    assert both["sets"][rejected] == [["c|LAX", "d|JFK"]]
    assert both["sets"] == told(lambda s: s.filter(frame.set_index(["id", "dest"]), {"dear": dear.to_numpy()}))["sets"]
    assert (
        both["sets"]
        == told(lambda s: s.filter(pl.DataFrame(DATA), {"dear": pl.col("price") > 200}, key=["id", "dest"]))["sets"]
    )


@pytest.mark.swallows
@pytest.mark.parametrize("case", CASES)
def test_without_a_readable_key_the_filter_works_and_the_items_are_counted(case: Any) -> None:
    frame, masks = case()
    kept: list[Any] = []
    seen = told(lambda step: kept.append(step.filter(frame, masks, key="idd", details=["nothing"], score="nothing")))
    assert len(kept[0]) == 1
    assert seen["counts"] == {"accepted": 1, "rejected": 3}
    assert seen["dropped"] == {"verdicts_without_id": 4, "details": 4, "scores": 4}


@pytest.mark.swallows
def test_the_filter_returns_the_right_rows_when_capture_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("capture is broken")

    monkeypatch.setattr(many, "told_of_filter", broken)
    for case in CASES:
        frame, masks = case()
        with Captured().run() as run, run.step("s") as step:
            assert len(step.filter(frame, masks, key="id")) == 1


@pytest.mark.parametrize("case", CASES)
def test_outside_any_step_the_filter_filters(case: Any) -> None:
    frame, masks = case()
    assert not current_step()
    assert len(current_step().filter(frame, masks, key="id", details=["price"])) == 1


FRAME, POLARS, TABLE = pandas_case()[0], pl.DataFrame(DATA), pa.table(DATA)


@pytest.mark.parametrize(
    ("frame", "mask", "error", "advice"),
    [
        (FRAME, [True], ValueError, "1 row, the frame 4"), (POLARS, pl.Series([True]), ValueError, "1 row"), (TABLE, [True], ValueError, "1 row"),
        (FRAME, FRAME.price, TypeError, "not of booleans"), (POLARS, pl.col("price"), TypeError, "not of booleans"), (TABLE, TABLE["price"], TypeError, "not of booleans"),
        (FRAME, "price", TypeError, "column or a list"), (FRAME, True, TypeError, "column or a list"), (TABLE, pc.field("price") > 3, TypeError, "expression"),
        (POLARS.lazy(), pl.col("price") > 3, TypeError, "collect"), ([{"id": 1}], [True], TypeError, "takes a pandas"), (FRAME.price, [True], TypeError, "takes a pandas"),
    ],
)  # fmt: skip
def test_what_cannot_be_filtered_raises_before_anything_is_recorded(
    frame: Any, mask: Any, error: Any, advice: str
) -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step, pytest.raises(error, match=advice):
        step.filter(frame, {"good": [False] * 4, "bad": mask}, key="id")
    assert captured.step("s")["counts"] == {}


@pytest.mark.parametrize("case", CASES)
def test_no_masks_and_no_rows_are_filters_too(case: Any) -> None:
    frame, masks = case()
    assert told(lambda step: step.filter(frame, {}, key="id"))["counts"] == {"accepted": 4}
    empty = frame[:0] if not isinstance(frame, (pa.Table, pa.RecordBatch)) else frame.slice(0, 0)
    nothing = {name: mask if isinstance(mask, pl.Expr) else mask[:0] for name, mask in masks.items()}
    assert told(lambda step: step.filter(empty, nothing, key="id"))["counts"] == {}


def test_a_frame_of_a_subclass_stays_one() -> None:
    class Special(pd.DataFrame):
        @property
        def _constructor(self) -> Any:
            return Special

    with Captured().run() as run, run.step("s") as step:
        assert type(step.filter(Special(DATA), {"dear": FRAME.price > 200}, key="id")) is Special


def test_three_hundred_reasons_are_told_apart() -> None:
    frame = pl.DataFrame({"id": range(300)})
    for given_frame in (frame, frame.to_pandas(), frame.to_arrow()):
        masks = {f"r{i}": [row == i for row in range(300)] for i in range(299)}
        seen = told(lambda step, f=given_frame, m=masks: step.filter(f, m, key="id"))
        assert seen["reasons"]["rejected"] == {f"r{i}": 1 for i in range(299)}
        assert seen["sets"][("accepted", "")] == [["299"]]


def test_details_may_be_times_and_other_types_of_the_library() -> None:
    frame = pd.DataFrame({"id": [1.0, np.nan], "at": [dt.datetime(2024, 1, 1)] * 2, "kind": pd.Categorical(["x", "y"])})
    seen = told(lambda step: step.filter(frame, {"all": [True, True]}, key="id", details=["at", "kind"]))
    assert seen["samples"][0]["details"] == {"at": "2024-01-01T00:00:00", "kind": "x"}
    assert (seen["sets"], seen["dropped"]) == ({("rejected", "all"): [["1"]]}, {"null_ids": 1})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist], ids=["pandas", "polars", "arrow"])
def test_up_to_255_reasons_are_numbered_by_bytes_however_many_rows_there_are(make: Any) -> None:
    """What many.py is fastest with: a list costs a third of a filter's time more."""
    frame = make([{"id": n} for n in range(300)])
    mask = [n % 3 == 0 for n in range(300)]
    assert type(filtered(frame, {"a": mask}).codes) is bytes
    assert type(filtered(frame, {f"r{n}": mask for n in range(256)}).codes) is list
