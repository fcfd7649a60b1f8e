from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from xray_core import bounds


class Loud:
    """Whatever is asked of it fails the test."""

    def __str__(self) -> str:
        raise AssertionError("user code ran")

    __repr__ = __float__ = __int__ = __index__ = __str__  # type: ignore[assignment]


def test_a_name_that_is_too_long_keeps_its_head_and_still_names_one_thing() -> None:
    one, other = (bounds.name_text("n" * 500 + end) for end in "ab")
    assert len(one) == len(other) == bounds.MAX_NAME_CHARS
    assert one.startswith("nnn")
    assert one != other
    assert bounds.name_text("n" * 200) == "n" * 200


@pytest.mark.parametrize(
    ("value", "name"), [(3, "3"), ("a\ud800", "a\\ud800"), ("é", "é"), (True, "True"), (None, "None")]
)
def test_a_name_is_valid_text(value: object, name: str) -> None:
    assert bounds.name_text(value) == name
    bounds.name_text(value).encode()


def test_what_has_no_text_is_named_by_its_type_and_no_user_code_runs() -> None:
    assert "Loud" in bounds.name_text(Loud())
    for read in (bounds.number, bounds.whole, bounds.count, bounds.moment_us, bounds.id_text):
        assert read(Loud()) is None, read


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0), (1.5, 1.5), (Decimal("2.5"), 2.5), (Fraction(1, 4), 0.25), (math.nan, None), (-math.inf, None), (True, None),
        ("1", None), (None, None), (10**400, None), (Decimal("NaN"), None), (Decimal("sNaN"), None), (Fraction(10**400), None),
        (1j, None), (Decimal("1e999"), None),
    ],
)  # fmt: skip
def test_a_number_is_finite_or_none(value: Any, number: float | None) -> None:
    assert bounds.number(value) == number


@pytest.mark.parametrize(
    ("value", "whole"),
    [(3, 3), (3.0, 3), (Decimal("3"), 3), (3.5, None), (bounds.MAX_INT, bounds.MAX_INT), (bounds.MAX_INT + 1, None), (False, None)],
)  # fmt: skip
def test_a_whole_number_is_within_bounds_or_none(value: Any, whole: int | None) -> None:
    assert bounds.whole(value) == whole


def test_a_count_is_neither_negative_nor_more_than_a_trillion() -> None:
    assert [bounds.count(n) for n in (-1, 0, bounds.MAX_COUNT, bounds.MAX_COUNT + 1)] == [
        None,
        0,
        bounds.MAX_COUNT,
        None,
    ]


class NoZone(datetime.tzinfo):
    def utcoffset(self, _: datetime.datetime | None) -> datetime.timedelta:
        raise ValueError("no zone")


def test_a_moment_lies_between_1970_and_2255_or_is_none() -> None:
    utc = datetime.timezone.utc
    assert bounds.moment_us(datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=utc)) == 1_000_000
    for value in (
        datetime.datetime(1969, 12, 31, tzinfo=utc), datetime.datetime(2300, 1, 1, tzinfo=utc),
        datetime.datetime(2020, 1, 1, tzinfo=NoZone()), 0, "2020-01-01", datetime.date(2020, 1, 1),
    ):  # fmt: skip
        assert bounds.moment_us(value) is None, value


def test_a_record_that_is_too_large_loses_its_largest_values_and_says_which() -> None:
    record = {"kind": "step", "name": "n", "input": "x" * 5_000, "output": "y" * 50, "dropped": {"items": 2}}
    short = bounds.shortened(record, 1_000)
    assert len(msgspec.json.encode(short)) <= 1_000
    assert short == {"kind": "step", "name": "n", "output": "y" * 50, "dropped": {"items": 2, "clamped.input": 1}}
    assert record["input"] == "x" * 5_000, "the caller's record is as it was"
    assert bounds.shortened(record, 10_000) == record


def test_of_samples_that_are_too_large_the_largest_details_go() -> None:
    record = {
        "kind": "samples",
        "samples": [{"item_id": "a", "details": {"t": "x" * 900}}, {"item_id": "b", "details": {"t": 1}}],
    }
    short = bounds.shortened(record, 400)
    assert short["samples"] == [
        {"item_id": "a", "details": {"$omitted": "too large"}},
        {"item_id": "b", "details": {"t": 1}},
    ]
    assert record["samples"][0]["details"] == {"t": "x" * 900}  # type: ignore[index]


def test_a_field_that_json_cannot_hold_costs_itself_alone() -> None:
    sound = bounds.encodable(
        {"kind": "step", "input": object(), "output": "\ud800", "name": "n", "dropped": {"items": 1}}
    )
    assert sound == {"kind": "step", "name": "n", "dropped": {"items": 1, "clamped.input": 1, "clamped.output": 1}}
