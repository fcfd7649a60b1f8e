"""One spelling for an item id, whatever type holds it.

Tests capture/items.py.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import pathlib
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.item_ids import NullIdError, item_id_text


class Colour(enum.Enum):
    RED = "red"
    TEN = 10


class Kind(str, enum.Enum):  # what programs of Python 3.10 have
    A = "a1"


class Number(enum.IntEnum):
    SEVEN = 7


class Shouting(str):
    def __str__(self) -> str:
        return "LOUD"


class Berlin(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        raise AssertionError("the program's own code was called")


PLUS_2 = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("item_id", "text"),
    [
        ("p1", "p1"), (Shouting("quiet"), "quiet"), (np.str_("s"), "s"), (Kind.A, "a1"), (Colour.RED, "red"),
        (5, "5"), (5.0, "5"), (-0.0, "0"), (np.int64(5), "5"), (np.uint64(2**63), str(2**63)), (np.float64(5), "5"),
        (np.float32(5), "5"), (decimal.Decimal("5"), "5"), (decimal.Decimal("5.00"), "5"), (decimal.Decimal("5E2"), "500"),
        (Number.SEVEN, "7"), (Colour.TEN, "10"), (pa.scalar(3), "3"), (np.array(5), "5"),
        (0.5, "0.5"), (decimal.Decimal("0.50"), "0.5"), (decimal.Decimal("1E-7"), "1e-07"), (1e-7, "1e-07"),
        (decimal.Decimal("0.12345678901234567890"), "0.1234567890123456789"), (float("inf"), "inf"),
        (decimal.Decimal("Infinity"), "inf"), (decimal.Decimal("1E+100000"), "1E+100000"), (10**400, "1" + "0" * 238),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (dt.date(2024, 1, 2), "2024-01-02"), (np.datetime64("2024-01-02"), "2024-01-02"),
        (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"), (pd.Timestamp("2024-01-02 03:04:05"), "2024-01-02T03:04:05"),
        (np.datetime64("2024-01-02T03:04:05.000000000"), "2024-01-02T03:04:05"),
        (np.datetime64("2024-01-02T03:04:05.500"), "2024-01-02T03:04:05.500000"), (np.datetime64("2024-01-02T03"), "2024-01-02T03:00:00"),
        (pd.Timestamp("2024-01-02T03:04:05.5"), "2024-01-02T03:04:05.500000"),
        (np.datetime64("2024-01-02T03:04:05.000000001"), "2024-01-02T03:04:05.000000001"),
        (pd.Timestamp("2024-01-02T03:04:05.000000001"), "2024-01-02T03:04:05.000000001"),
        (dt.datetime(2024, 1, 2, 3, tzinfo=PLUS_2), "2024-01-02T01:00:00+00:00"),
        (pd.Timestamp("2024-01-02 03:00", tz="Etc/GMT-2"), "2024-01-02T01:00:00+00:00"), (dt.time(3, 4), "03:04:00"),
        (pd.Period("2024-01", "M"), "2024-01"),
        (b"ab", "ab"), (np.bytes_(b"ab"), "ab"), ("é".encode(), "é"), (b"\xff\x00", "0xff00"), (b"a\x00", "0x6100"),
        (("a", 1), "a|1"), (("a|b", "c"), "a\\|b|c"), (("a", "b|c"), "a|b\\|c"), (("a", None), "a|\\N"), (("a", "\\N"), "a|\\\\N"),
        (("a", 5.0), "a|5"), (pathlib.PurePosixPath("x/y.csv"), "x/y.csv"), ("\ud800", "\\ud800"),
    ],
)  # fmt: skip
def test_what_is_one_value_is_spelled_alike(item_id: Any, text: str) -> None:
    assert item_id_text(item_id)[: len(text)] == text
    assert len(item_id_text(item_id)) == min(len(item_id_text(item_id)), 256)
    if len(text) < 239:
        assert item_id_text(item_id) == text


@pytest.mark.parametrize(
    "item_id",
    [
        None, float("nan"), np.nan, np.float32("nan"), decimal.Decimal("NaN"), pd.NaT, pd.NA, np.datetime64("NaT", "ns"),
        pa.scalar(None), pa.scalar(None, pa.string()), (None, float("nan")), (),
    ],
)  # fmt: skip
def test_none_nan_and_nat_are_no_ids(item_id: Any) -> None:
    with pytest.raises(NullIdError):
        item_id_text(item_id)


@pytest.mark.parametrize(
    "item_id",
    [
        True, np.bool_(True), object(), [], {}, {"id": "a"}, {"a"}, 1j, np.array([5]), np.timedelta64(5, "ns"),
        dt.timedelta(1), np.longdouble(1), dt.datetime(2024, 1, 1, tzinfo=Berlin()), ("a", []), ((((((1,),),),),),),
    ],
)  # fmt: skip
def test_what_names_no_item_is_refused_and_no_code_of_the_program_is_called(item_id: Any) -> None:
    with pytest.raises(TypeError) as refused:
        item_id_text(item_id)
    assert not isinstance(refused.value, NullIdError)


part = st.one_of(st.text(max_size=4), st.integers(), st.none(), st.sampled_from(["|", "\\", "\\N", "\\|", ""]))


@given(st.lists(part, min_size=2, max_size=3), st.lists(part, min_size=2, max_size=3))
def test_two_composites_are_spelled_alike_only_where_their_parts_are(a: list[Any], b: list[Any]) -> None:
    def spelled(parts: list[Any]) -> str | None:
        try:
            return item_id_text(tuple(parts))
        except NullIdError:
            return None

    same_parts = [None if p is None else str(p) for p in a] == [None if p is None else str(p) for p in b]
    if spelled(a) is not None and spelled(b) is not None:
        assert (spelled(a) == spelled(b)) == same_parts
