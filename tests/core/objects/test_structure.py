"""Any object as plain structure: known types are read, others are named, and no line of a user's class runs."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy
import pandas
import pytest

from xray_core.objects.structure import known_size, type_name, view


class Hostile:
    """Every way to ask it anything raises."""

    def _never(self, *args: Any) -> Any:
        raise AssertionError("the user's code was called")

    __len__ = __iter__ = __repr__ = __str__ = __bool__ = __eq__ = __getattr__ = _never
    __hash__ = None  # type: ignore[assignment]


class HostileList(list[Any]):
    __len__ = __iter__ = Hostile._never  # type: ignore[assignment]


Point = namedtuple("Point", "x y")  # what users have


@dataclass
class Flight:
    dest: str
    price: int


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ([1, 2], 2), ((1,), 1), ({1, 2, 3}, 3), (frozenset(), 0), ({"a": 1}, 1), (range(7), 7), (deque([1]), 1),
        (OrderedDict(a=1), 1), (defaultdict(int), 0), (Counter("aab"), 2), (numpy.zeros((4, 2)), 4),
        (pandas.DataFrame({"a": [1, 2, 3]}), 3),
        ("text", None), (b"bytes", None), (5, None), (None, None), (Point(1, 2), None),
        ((x for x in ()), None), (numpy.float64(1.0), None),
    ],
)  # fmt: skip
def test_the_size_of_a_collection_is_read_where_it_costs_nothing(value: Any, size: int | None) -> None:
    assert known_size(value) == size


@pytest.mark.parametrize(
    ("value", "kind", "seen"),
    [
        (Flight("LAX", 5), "map", [("dest", "LAX"), ("price", 5)]),
        (Point(1, 2), "map", [("x", 1), ("y", 2)]),
        (Colour.RED, "atom", "red"),
        (decimal.Decimal("1.50"), "text", "1.50"),
        (uuid.UUID(int=1), "text", "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 1, 2), "text", "2026-01-02"),
        (ValueError("no", 3), "map", [("args", ("no", 3))]),
        (numpy.int64(3), "atom", 3),
        (True, "atom", True),
    ],
)
def test_known_types_are_read(value: Any, kind: str, seen: Any) -> None:
    read = view(value, 10)
    assert (read.kind, read.value) == (kind, seen)


def test_no_code_of_the_users_runs() -> None:
    assert known_size(HostileList([1, 2])) == 2
    assert known_size(Hostile()) is None
    assert view(HostileList([1]), 10).value == [1]
    assert view(Hostile(), 10).kind == "opaque"
    for holder in ([Hostile()], {"a": Hostile()}):
        assert view(holder, 10).size == 1


def test_at_most_the_limit_is_read_and_the_size_is_whole() -> None:
    read = view(list(range(1000)), 3)
    assert (read.value, read.size) == ([0, 1, 2], 1000)
    read = view(Flight("LAX", 5), 1)
    assert (len(read.value), read.size) == (1, 2)


def test_a_property_called_dict_is_left_alone() -> None:
    class Sly:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise AssertionError("the user's code was called")

    assert view(Sly(), 10).kind == "opaque"
    assert type_name(Sly).endswith("Sly")
