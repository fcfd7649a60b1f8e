"""Sets of hashes count and compare alike with numpy and without."""

from __future__ import annotations

import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.capture.inference import id_sets
from xray_core.capture.inference.id_sets import IdSet

_hashes = st.lists(st.integers(0, 40) | st.integers(2**63, 2**64 - 1), max_size=60)


@given(_hashes, _hashes)
def test_many_and_few_are_counted_alike(one: list[int], other: list[int]) -> None:
    a, b = (IdSet(array("Q", each)) for each in (one, other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_sets, "_MANY", 1)
        c, d = (IdSet(array("Q", each)) for each in (one, other))
    assert "numpy" in sys.modules
    for left in (a, c):
        assert left.n == len(set(one))
        for right in (b, d):
            assert left.shared(right) == len(set(one) & set(other))
