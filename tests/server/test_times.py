"""Times at the edge: what is written is read back to the microsecond, and what is no time is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xray_server.times import iso, parse_iso, parse_time

END_OF_9999_US = 253_402_300_799_999_999
DAY_US = 86_400_000_000


@given(st.integers(0, END_OF_9999_US))
def test_a_time_comes_back_as_it_was_written(us: int) -> None:
    assert parse_iso(iso(us) or "") == us


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-02", DAY_US),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T05:30:00 05:30", 0),  # a "+" that was not escaped arrives as a space
        ("1970-01-01T05:30:00.5 0530", 500_000),
        ("1970-01-01T05:30:00+0530", 0),
        ("1970-01-01T00:00-0030", 1_800_000_000),
        ("1970-01-01 05:30", 19_800_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00,1234567z", 123_456),
    ],
)
def test_naive_times_are_utc_and_fractions_of_any_length_are_read(text: str, us: int) -> None:
    assert parse_iso(text) == us


def test_an_end_after_the_year_9999_is_written_as_the_end_of_that_year() -> None:
    assert iso(END_OF_9999_US + DAY_US) == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    "text", ["", "now", "1969-12-31T23:59:59Z", "2026-13-01", "10000-01-01", "9999-12-31T23:59:59-12:00", "5x", "-1h"]
)
def test_what_is_no_time_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        parse_time(text, 0)


@pytest.mark.parametrize(("text", "ago_us"), [("90s", 90_000_000), ("2h", 7_200_000_000), ("1w", 7 * DAY_US)])
def test_how_long_ago_is_counted_from_now_and_not_before_the_epoch(text: str, ago_us: int) -> None:
    now_us = 100 * DAY_US
    assert parse_time(text, now_us) == now_us - ago_us
    assert parse_time(text, 5) == 0
