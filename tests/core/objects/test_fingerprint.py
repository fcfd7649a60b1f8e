"""Fingerprints that are equal when the values are, whatever their spelling.

Tests fingerprint.py and columns.py.
"""

from __future__ import annotations

import enum
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.compare.evidence import values_equal
from xray_core.compare.options import Options
from xray_core.objects import fingerprint as module
from xray_core.objects.fingerprint import fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(values)
def test_equal_values_have_equal_fingerprints(value: Any) -> None:
    assert fingerprint(value) == fingerprint(_rebuilt(value))


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_a_reordered_list_is_told_from_a_changed_one(numbers: list[int]) -> None:
    a, b, c = fingerprint(numbers), fingerprint(numbers[::-1]), fingerprint([*numbers, 1])
    assert a["exact"] != b["exact"]
    assert a["unordered"] == b["unordered"] != c["unordered"]


def test_spelling_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": 2.0}) == fingerprint({"b": 2, "a": 1.0})
    assert fingerprint({"x", "y", "z"}) == fingerprint({"z", "y", "x"})
    assert fingerprint(Decimal("2.50")) == fingerprint(2.5)
    assert fingerprint([1, 2]) == fingerprint((1, 2))
    assert fingerprint(0.1 + 0.2) != fingerprint(0.3)
    assert fingerprint(True) != fingerprint(1)
    assert fingerprint(["1"]) != fingerprint([1])
    assert fingerprint([{"a": 1}, {"b": 2}])["unordered"] == fingerprint([{"b": 2}, {"a": 1}])["unordered"]
    assert fingerprint(numpy.arange(3)) != fingerprint(numpy.arange(4))


class Colour(str, enum.Enum):
    RED = "red"


class Name(str):
    pass


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [1.0, 2.0]), ([1, 2], [numpy.int64(1), numpy.float32(2)]), ([1, 2], numpy.array([1, 2])), ([1, 2], [Decimal(1), Decimal("2.0")]),
        ([0.0], [-0.0]), ([float("nan")], [numpy.nan]), ([float("nan")], [Decimal("NaN")]), (["red"], [Colour.RED]), (["a"], [Name("a")]),
        (["a"], [numpy.str_("a")]), ("red", Colour.RED), ({"red": 1}, {Colour.RED: 1.0}), (2**60, float(2**60)), (1e300, Decimal(int(1e300))),
        ([1, 2.5], [Decimal(1), 2.5]), (numpy.array([1, 2, 3] * 9_999), numpy.array([1.0, 2.0, 3.0] * 9_999)), (pandas.Series([1, 2]), [1, 2]),
        (numpy.array(["a", "b"], object), ["a", "b"]), (polars.Series(["a", "b"]), ["a", "b"]), (pyarrow.array([1, 2]), [1, 2]),
    ],
)  # fmt: skip
def test_what_is_one_value_has_one_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)
    assert not fingerprint(one)["partial"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(["a\0b"], ["a", "b"]), ([True], [1]), ([None], [float("nan")]), (["1"], [1]), ([], [""]), ([1.5], [1]), ([[1]], [1]), (2**53, 2**53 + 1)],
)  # fmt: skip
def test_what_are_two_values_have_two_fingerprints(one: Any, other: Any) -> None:
    assert fingerprint(one)["exact"] != fingerprint(other)["exact"]


DATA: dict[str, list[Any]] = {"id": ["a", "b", None], "n": [1, 2, 3], "x": [0.5, None, -0.0], "ok": [True, False, True]}
DATA["at"] = [datetime(2024, 1, 1), datetime(2024, 1, 2), None]


def test_frames_of_the_same_shape_with_other_contents_differ_and_libraries_agree() -> None:
    frames = [
        pandas.DataFrame(DATA),
        polars.DataFrame(DATA),
        pyarrow.table(DATA),
        pandas.DataFrame(DATA).convert_dtypes(),
    ]
    prints = [fingerprint(frame) for frame in frames]
    assert [each["exact"] for each in prints] == [prints[0]["exact"]] * len(frames)
    assert not any(each["partial"] for each in prints)
    for name, values in {
        "n": [1, 2, 4],
        "id": ["a", "b", ""],
        "x": [0.5, 0.5, 0.0],
        "ok": [True, True, True],
        "at": [None] * 3,
    }.items():
        changed = {**DATA, name: values}
        for frame in (
            pandas.DataFrame(changed),
            polars.DataFrame(changed, schema_overrides={"at": polars.Datetime}),
            pyarrow.table(changed),
        ):
            assert fingerprint(frame)["exact"] != prints[0]["exact"], name
            assert fingerprint(frame)["unordered"] != prints[0]["unordered"], name
    renamed = pandas.DataFrame(DATA).rename(columns={"n": "m"})
    assert fingerprint(renamed)["unordered"] != prints[0]["unordered"]
    assert fingerprint(pandas.DataFrame(DATA)[["x", "n", "at", "ok", "id"]]) == prints[0], (
        "the order of columns means nothing"
    )
    swapped = pandas.DataFrame({**DATA, "n": [2, 1, 3]})
    assert fingerprint(swapped)["unordered"] != prints[0]["unordered"], "a row is one thing"


@pytest.mark.parametrize("rows", [3, 30_000])
def test_reordered_rows_are_told_from_changed_ones(rows: int) -> None:
    frame = pandas.DataFrame({"id": [f"i{i}" for i in range(rows)], "n": range(rows)})
    back = frame[::-1].reset_index(drop=True)
    assert fingerprint(frame)["unordered"] == fingerprint(back)["unordered"]
    assert fingerprint(frame)["exact"] != fingerprint(back)["exact"] == fingerprint(polars.from_pandas(back))["exact"]
    assert fingerprint(frame) != fingerprint(frame.set_index("id"))
    array = numpy.arange(rows)
    assert fingerprint(array)["unordered"] == fingerprint(array[::-1])["unordered"]
    assert fingerprint(array)["exact"] != fingerprint(array[::-1])["exact"]


def test_moments_are_compared_by_when_they_are() -> None:
    utc = pandas.DataFrame({"at": pandas.date_range("2024-01-01", periods=3, tz="UTC")})
    tokyo = pandas.DataFrame({"at": utc["at"].dt.tz_convert("Asia/Tokyo")})
    assert fingerprint(utc) == fingerprint(tokyo) == fingerprint(polars.from_pandas(utc))


def test_a_frame_inside_of_a_value_counts_and_too_large_a_one_is_partial() -> None:
    def inside(n: int) -> dict[str, Any]:
        return fingerprint({"frame": pandas.DataFrame({"n": [n]})})

    assert inside(1) != inside(2)
    assert not inside(1)["partial"]
    assert fingerprint(polars.DataFrame({"n": [{"a": 1}] * 30_000}))["partial"]
    assert fingerprint(polars.DataFrame({"n": [1]}).lazy())["partial"]


def test_arrays_are_told_apart_by_shape_and_big_numbers_by_every_digit() -> None:
    ones = numpy.ones((2, 3))
    assert fingerprint(ones) != fingerprint(ones.reshape(3, 2))
    assert fingerprint(ones) == fingerprint(ones.astype(int))
    big = numpy.array([2**60] * 30_000)
    assert fingerprint(big)["exact"] != fingerprint(big + 1)["exact"]
    many = numpy.arange(1_500_000)
    assert fingerprint(many) == fingerprint(many.astype(float))
    assert fingerprint(many)["exact"] != fingerprint(many[::-1])["exact"]
    assert not fingerprint(many)["partial"]


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ({"id": "o1", "price": 10.0, "n": None, "ok": True}, "05cc809b6a377c70"),
        ([{"id": f"o{n}", "price": 1.5 * n, "country": "DE"} for n in range(20)], "349b55fae05c0195"),
        ({"a": 2**5_000, "b": "x" * 2_000, "c": math.nan, "d": -0.0}, "af7c91900abb28c8"),
    ],
)
def test_fingerprints_of_this_version_are_those_that_stores_hold(value: Any, exact: str) -> None:
    assert fingerprint(value)["exact"] == exact


@given(st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_a_record_of_plain_values_is_hashed_as_one_whose_values_are_none_that_python_brings(
    record: dict[str, Any],
) -> None:
    """A subclass of text is the same value, and takes the general way."""

    class Text(str):
        __slots__ = ()

    subclassed = {Text(name): Text(value) if type(value) is str else value for name, value in record.items()}
    assert fingerprint([record, 1])["exact"] == fingerprint([subclassed, 1])["exact"]
    assert fingerprint(record) == fingerprint(subclassed)


def test_fingerprints_of_two_versions_prove_nothing() -> None:
    now = {"input": None, "input_fp": fingerprint([1.0, 2.0])}
    before = {"input": None, "input_fp": {name: each for name, each in now["input_fp"].items() if name != "v"}}

    def equal(a: dict[str, Any], b: dict[str, Any]) -> bool | None:
        return values_equal(a, b, "input", Options(), (None, None)).equal

    assert equal(now, now) is True
    assert equal(before, before) is True
    assert equal(now, before) is None


def test_what_cannot_be_read_whole_says_so() -> None:
    assert fingerprint(object())["partial"]
    assert fingerprint([{"i": i} for i in range(50_000)])["partial"]
    assert not fingerprint({"a": [1, {"b": None}]})["partial"]


fields = st.lists(st.text(max_size=3), max_size=4, unique=True)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
ODD: list[Any] = [
    {},
    {"id": [1]},
    {1: 2},
    {"id": Decimal(1)},
    {(1, 2): "x"},
    {"id": "x" * 100_001},
    1,
    None,
    {"\ud800": 1},
]


@given(st.data(), fields, st.lists(st.sampled_from(ODD), max_size=1))
def test_records_that_are_read_field_by_field_have_the_fingerprint_that_each_by_itself_gives(
    data: st.DataObject, names: list[str], odd: list[Any]
) -> None:
    """What is stored from before is compared with it."""
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, plain)), min_size=1, max_size=4))
    rows += odd
    together = fingerprint(rows)
    with pytest.MonkeyPatch.context() as patch:
        for quick in ("_records", "_flat"):
            patch.setattr(module._Walk, quick, lambda *_: None)
        assert fingerprint(rows) == together
    assert fingerprint(_rebuilt(rows)) == together


def test_a_few_records_are_read_without_a_look_at_the_clock_and_many_not_without_one() -> None:
    def no_time(_: float) -> None:
        raise TimeoutError

    assert not fingerprint([{"a": 1, "b": "x"}] * 10, no_time)["partial"]
    assert fingerprint([{"a": 1, "b": "x"}] * 100, no_time)["partial"]


def _rebuilt(value: Any) -> Any:
    """The same value with its dicts filled in the opposite order."""
    if isinstance(value, dict):
        return {key: _rebuilt(value[key]) for key in reversed(list(value))}
    return [_rebuilt(each) for each in value] if isinstance(value, list) else value
