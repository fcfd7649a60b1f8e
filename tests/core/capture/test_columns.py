"""Ids out of lists and columns: the same spelling and the same fingerprints, whatever library holds them."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections import deque
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.capture.columns import NotIdsError, hash_all, read_ids
from xray_core.item_ids import item_id_text
from xray_core.verdicts import hash64

TEXTS = ["a", "bé", "x" * 300, "c"]


def columns_of(values: list[Any]) -> dict[str, Any]:
    return {
        "list": values, "tuple": tuple(values), "deque": deque(values), "dict": dict.fromkeys(values), "keys": dict.fromkeys(values).keys(),
        "numpy": np.array(values), "numpy objects": np.array(values, object), "Series": pd.Series(values), "Index": pd.Index(values),
        "objects": pd.Series(values, dtype=object), "Categorical": pd.Series(values).astype("category"), "extension array": pd.array(values),
        "polars": pl.Series(values), "polars categories": pl.Series(map(str, values)).cast(pl.Categorical), "pyarrow": pa.array(values),
        "chunked": pa.chunked_array([values[:1], values[1:]]), "large": pa.array(map(str, values), pa.large_string()),
        "dictionary": pa.array(values).dictionary_encode(), "pandas over arrow": pd.Series(values, dtype=pd.ArrowDtype(pa.array(values).type)),
    }  # fmt: skip


@pytest.mark.parametrize("values", [TEXTS, [1, 20, -3], []])
def test_every_kind_of_column_gives_the_same_ids(values: list[Any]) -> None:
    for name, column in columns_of(values).items():
        assert [text.decode() for text in read_ids(column).texts] == [item_id_text(each) for each in values], name
        assert list(hash_all(read_ids(column).texts)) == [hash64(item_id_text(each)) for each in values], name


def test_ids_of_one_value_are_one_whatever_the_columns_type() -> None:
    for column in (
        pd.Series([1, 2, None]), pd.Series([1, 2, None], dtype="Int64"), pl.Series([1, 2, None]), pl.Series([1.0, 2.0, None]),
        pl.Series(["1", "2", None]), pa.array([1, 2, None]), pa.array(["1", "2", None]), np.array([1, 2, np.nan]), ["1", 2.0, None],
        np.ma.array([1, 2, 3], mask=[False, False, True]), pl.Series(["1", "2", None]).cast(pl.Categorical), [1, "2", float("nan")],
    ):  # fmt: skip
        ids = read_ids(column)
        assert (ids.texts, ids.nulls, ids.odd, ids.size) == ([b"1", b"2"], 1, 0, 3), column
        assert ids.rows is not None
        assert list(ids.rows) == [0, 1]


def test_times_are_spelled_alike_in_every_library() -> None:
    moments = [dt.datetime(2024, 1, 2, 3, 4, 5), dt.datetime(2024, 1, 2)]
    wanted = [b"2024-01-02T03:04:05", b"2024-01-02T00:00:00"]
    for column in (moments, np.array(moments, "M8[ns]"), pd.Series(moments), pd.DatetimeIndex(moments), pl.Series(moments), pa.array(moments)):  # fmt: skip
        assert read_ids(column).texts == wanted, type(column)
    zoned = [dt.datetime(2024, 1, 2, 3, tzinfo=dt.timezone.utc)]
    for column in (
        zoned,
        pd.Series(zoned),
        pd.Series(zoned).dt.tz_convert("Asia/Tokyo"),
        pl.Series(zoned),
        pa.array(zoned),
    ):
        assert read_ids(column).texts == [b"2024-01-02T03:00:00+00:00"], type(column)


def test_one_odd_id_costs_that_id_alone() -> None:
    ids = read_ids(["a", object(), None, "d", [1]])
    assert (ids.texts, ids.nulls, ids.odd, ids.size) == ([b"a", b"d"], 1, 2, 5)
    assert list(ids.rows or ()) == [0, 3]


def test_several_columns_make_one_id() -> None:
    data = {"carrier": ["AA", "B|6"], "flight": [1, 2]}
    wanted = [b"AA|1", b"B\\|6|2"]
    assert read_ids(pd.DataFrame(data), ["carrier", "flight"]).texts == wanted
    assert read_ids(pl.DataFrame(data), ["carrier", "flight"]).texts == wanted
    assert read_ids(pa.table(data), ["carrier", "flight"]).texts == wanted
    assert read_ids(pd.DataFrame(data).set_index(["carrier", "flight"]).index).texts == wanted
    assert read_ids(list(zip(*data.values()))).texts == wanted
    assert read_ids([("AA", 1), ("B6", 2)]).texts == [b"AA|1", b"B6|2"]


FRAME = pd.DataFrame({"id": ["a", "b"], "price": [1, 2]})


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (FRAME, "column of ids"), (pl.from_pandas(FRAME), "column of ids"), (pa.table({"id": ["a"]}), "column of ids"),
        (pl.from_pandas(FRAME).lazy(), "collect it"), (pl.col("id"), "collect it"), ("p10", "method for one item"), (b"p10", "method for one item"),
        (FRAME.price > 1, "mask"), (np.array([True, False]), "mask"), (pl.Series([True]), "mask"), (pa.array([True]), "mask"), ([True, False], "mask"),
        (pd.Series([True, None], dtype="boolean"), "mask"), (np.zeros((2, 2)), "one column"), (iter("ab"), "as a list"), (5, "as a list"),
        (np.str_("p10"), "method for one item"), (object(), "as a list"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_ids_is_refused_with_advice(given: Any, advice: str) -> None:
    with pytest.raises(NotIdsError, match=advice):
        read_ids(given)


def test_a_subclass_of_a_frame_is_a_frame() -> None:
    class Special(pd.DataFrame):
        pass

    with pytest.raises(NotIdsError, match="a frame"):
        read_ids(Special(FRAME))
    assert read_ids(Special(FRAME), "id").texts == [b"a", b"b"]


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.tuples(st.text(), st.integers()))))
def test_a_list_is_spelled_as_its_ids_one_by_one(values: list[Any]) -> None:
    ids = read_ids(values)
    one_by_one = []
    for value in values:
        try:
            one_by_one.append(item_id_text(value).encode())
        except TypeError:
            continue
    assert ids.texts == one_by_one
    assert ids.size == len(values)
    assert list(hash_all(ids.texts, 7)) != [] or not ids.texts


def test_the_core_imports_none_of_the_libraries_itself() -> None:
    code = (
        "import sys; from xray_core.capture.columns import hash_all, read_ids; import xray_core; hash_all(read_ids(['a', 1, 2.0]).texts);"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
