"""Fingerprints that are equal when the values are, whatever their spelling."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy
from hypothesis import given
from hypothesis import strategies as st

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


def test_what_cannot_be_read_whole_says_so() -> None:
    assert fingerprint(object())["partial"]
    assert fingerprint([{"i": i} for i in range(50_000)])["partial"]
    assert not fingerprint({"a": [1, {"b": None}]})["partial"]


def _rebuilt(value: Any) -> Any:
    """The same value with its dicts filled in the opposite order."""
    if isinstance(value, dict):
        return {key: _rebuilt(value[key]) for key in reversed(list(value))}
    return [_rebuilt(each) for each in value] if isinstance(value, list) else value
