"""What is packed of a value: equal in every type and order, and not changed by what becomes of the value."""

from __future__ import annotations

import datetime
import decimal
import enum
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_core.capture.snapshots import MAX_BYTES, NotPlainError, packed, unpacked
from xray_core.objects.fingerprint import fingerprint

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8) | st.decimals(allow_nan=False) | st.uuids()
    | st.dates() | st.times() | st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc)) | st.timedeltas()
)  # fmt: skip
rows = st.lists(st.dictionaries(st.sampled_from("abc"), scalars, max_size=3), max_size=5)
values = st.recursive(
    scalars | rows | st.sets(st.integers(), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


def spelled(value: Any) -> Any:
    """A value with the types of all that it holds: 1, 1.0 and True are equal to Python."""
    if isinstance(value, dict):
        return "dict", [(spelled(name), spelled(each)) for name, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [spelled(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(map(repr, value))
    return type(value).__name__, repr(value)


def _spoil(value: Any) -> None:
    """Change every container that can be changed."""
    if isinstance(value, (list, tuple)):
        for each in value:
            _spoil(each)
    if isinstance(value, dict):
        for each in list(value.values()):
            _spoil(each)
        value["spoilt"] = 1
    if isinstance(value, list):
        value.append("spoilt")
    if isinstance(value, set):
        value.add("spoilt")


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_copy_is_the_same_in_types_and_order_and_stays_so_whatever_becomes_of_the_value(value: Any) -> None:
    before, print_before = spelled(value), fingerprint(value)
    data = packed(value)
    _spoil(value)
    assert spelled(unpacked(data)) == before
    assert fingerprint(unpacked(data)) == print_before


class Word(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class Pair(NamedTuple):
    left: int
    right: int


class Price(decimal.Decimal):
    __slots__ = ()


class Nowhere(datetime.tzinfo):
    """A time zone of the program's own."""


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        Word("a"), Colour.RED, Pair(1, 2), Price(1), datetime.datetime(2026, 1, 1, tzinfo=Nowhere()), object(), numpy.float64(1),
        numpy.array([1]), OrderedDict(a=1), range(3), (n for n in range(3)), deep(), {Pair(1, 2)}, {Pair(1, 2): 1}, int, print,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("where", [lambda v: v, lambda v: [v], lambda v: [{"id": 1, "x": v}], lambda v: {"x": v}])
def test_what_is_not_plain_is_refused_wherever_it_is(value: Any, where: Any) -> None:
    with pytest.raises(NotPlainError):
        packed(where(value))


@pytest.mark.parametrize(
    "value",
    [
        list(range(MAX_BYTES)),
        [{"id": n, "x": str(n)} for n in range(MAX_BYTES // 4)],
        {"a": list(range(MAX_BYTES // 4)), "b": list(range(MAX_BYTES // 4))},
        "x" * MAX_BYTES,
        [f"{n}" * (MAX_BYTES // 2) for n in range(2)],
        [{"x" * MAX_BYTES: 1}],
    ],
    ids=["numbers", "records", "lists", "text", "texts", "name"],
)
def test_what_is_large_is_refused(value: Any) -> None:
    with pytest.raises(NotPlainError):
        packed(value)


def test_what_holds_itself_is_packed_so() -> None:
    value: list[Any] = [1]
    value.append(value)
    again = unpacked(packed(value))
    assert again[0] == 1
    assert again[1] is again
