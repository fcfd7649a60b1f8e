"""Values that are equal and written otherwise have two forms; the same value has one."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.form import UNKNOWN, form, kinds_of


@dataclass
class Point:
    x: Any


@dataclass
class Hidden:
    x: int
    _y: int


class Rows(list[int]):
    """A list with room for attributes."""


def marked(value: Any, mark: int) -> Any:
    value.mark = mark
    return value


def attributed(mark: int) -> pd.DataFrame:
    frame = pd.DataFrame({"n": [1]})
    frame.attrs["mark"] = mark
    return frame


def at(zone: Any) -> list[datetime]:
    return [datetime(2026, 1, 1, 12, tzinfo=zone)]


ROWS = [{"id": "a", "n": 5}, {"id": "b", "n": 6}]
FRAME = pd.DataFrame(ROWS)


def mixed(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


def levels(*order: str) -> pd.Categorical:
    return pd.Categorical(["low", "high"], categories=order, ordered=True)


OTHERWISE = {
    "a whole float": ([5], [5.0]),
    "a flag": ([True], [1]),
    "a tuple": ((1, 2), [1, 2]),
    "places of types": ([5, 5.0], [5.0, 5]),
    "rows of another type": (ROWS, [{**row, "n": float(row["n"])} for row in ROWS]),
    "one row of another type": (ROWS, [ROWS[0], {"id": "b", "n": 6.0}]),
    "the order of fields": (ROWS, [{"n": row["n"], "id": row["id"]} for row in ROWS]),
    "the order of fields of one": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "a key": ({1: 2}, {"1": 2}),
    "a nested value": ({"a": {"b": [1]}}, {"a": {"b": [1.0]}}),
    "a class": (Point(1), Point(1.0)),
    "another dict": ({"a": 1}, OrderedDict(a=1)),
    "a column of pandas": (FRAME, FRAME.astype({"n": float})),
    "the order of columns": (FRAME, FRAME[["n", "id"]]),
    "an index": (FRAME, FRAME.set_axis([3, 4])),
    "a category": (FRAME, FRAME.astype({"id": "category"})),
    "the index of a series": (pd.Series([1, 2]), pd.Series([1, 2], index=[2, 3])),
    "the order of categories": (pd.Series(levels("low", "high")), pd.Series(levels("high", "low"))),
    "the order of categories of a column": (
        FRAME.assign(p=levels("low", "high")),
        FRAME.assign(p=levels("high", "low")),
    ),
    "a gap in a column of objects": (mixed(None, "a"), mixed(float("nan"), "a")),
    "an object in a column of them": (mixed([1], "a"), mixed([1.0], "a")),
    "an object in an array": (np.array([1, None], dtype=object), np.array([1.0, None], dtype=object)),
    "the name of a series": (pd.Series([1, 2], name="a"), pd.Series([1, 2], name="b")),
    "the name of an index": (FRAME.rename_axis(index="a"), FRAME.rename_axis(index="b")),
    "the name of the columns": (FRAME.rename_axis(columns="a"), FRAME.rename_axis(columns="b")),
    "the type of a column's name": (pd.DataFrame({1: [2]}), pd.DataFrame({"1": [2]})),
    "the order of an enum of polars": tuple(
        pl.DataFrame({"p": pl.Series(["x", "y"], dtype=pl.Enum(order))}) for order in (["x", "y"], ["y", "x"])
    ),
    "the order of an array in memory": (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3)))),
    "a private attribute": (Hidden(1, 2), Hidden(1, 3)),
    "an attribute of a subclass of a builtin": (marked(Rows([1]), 2), marked(Rows([1]), 3)),
    "an attribute of an error": (marked(ValueError("x"), 2), marked(ValueError("x"), 3)),
    "an attribute of a frame": (attributed(2), attributed(3)),
    "the bound of a deque": (deque([1], 2), deque([1], 3)),
    "what a missing key makes": (defaultdict(int, a=1), defaultdict(float, a=1)),
    "a zone": (at(ZoneInfo("Europe/Berlin")), at(timezone(timedelta(hours=1)))),
    "another zone": (at(ZoneInfo("Europe/Berlin")), at(ZoneInfo("Africa/Algiers"))),
    "a column of polars": (pl.DataFrame(ROWS), pl.DataFrame(ROWS).cast({"n": pl.Float64})),
    "a column of pyarrow": (pa.table({"n": [1]}), pa.table({"n": [1.0]})),
    "an array": (np.array([1, 2]), np.array([1.0, 2.0])),
    "numpy's number": (np.float64(1), 1.0),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_written_otherwise_has_another_form(name: str) -> None:
    a, b = OTHERWISE[name]
    assert form(a) != form(b)
    assert UNKNOWN not in (form(a), form(b))
    assert (form(a), form(b)) == (form(a), form(b))


@pytest.mark.parametrize(
    "value", [ROWS, FRAME, FRAME.set_index("id"), {"a": None, "b": (1, {"x"})}, [], {}, "text", None]
)
def test_other_values_of_the_same_types_have_one_form(value: Any) -> None:
    assert form(value) != UNKNOWN
    assert form([{"id": "x", "n": 1}, {"id": "y", "n": 2}]) == form(ROWS)
    assert form(FRAME.assign(n=[7, 8])) == form(FRAME)


@pytest.mark.parametrize("value", [
    object(), iter([1]), [[1]] * 30_000, FRAME.set_index(["id", "n"]),
    defaultdict(lambda: 1, a=1), Hidden(1, object()),  # type: ignore[arg-type]
    pl.DataFrame({"p": pl.Series(["x"], dtype=pl.Categorical)}), pl.DataFrame({"p": pl.Series([object()], dtype=pl.Object)}),
    pa.table({"p": pa.array(["x"]).dictionary_encode()}), mixed(*range(100_001)),
])  # fmt: skip
def test_what_cannot_be_told_whole_has_none(value: Any) -> None:
    assert form(value) == UNKNOWN or not fingerprint(value)["partial"]


def test_types_are_told_place_by_place_where_they_are_mixed() -> None:
    assert kinds_of([1, 2, 3]) == kinds_of([4]) == "i"
    assert kinds_of([1, None, 2.0]) == "inf"
    assert kinds_of([Point(1), 1]) == f"<{__name__}.Point>i"
