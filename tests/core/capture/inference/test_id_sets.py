"""Sets of hashes count and compare alike with numpy and without."""

from __future__ import annotations

import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.capture.columns import hash_all
from xray_core.capture.inference import id_sets
from xray_core.capture.inference.id_sets import IdSet

_hashes = st.lists(st.integers(0, 40) | st.integers(2**63, 2**64 - 1), max_size=60)


@given(_hashes, _hashes)
def test_many_and_few_are_counted_alike(one: list[int], other: list[int]) -> None:
    a, b = (IdSet(array("Q", each)) for each in (one, other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_sets, "_MANY", 1)
        c, d = (IdSet(array("Q", each)) for each in (one, other))
    e, f = (IdSet(hash_all(each), each) for each in (list(map(b"%d".__mod__, one)), list(map(b"%d".__mod__, other))))
    assert "numpy" in sys.modules
    assert (e.n, e.shared(f)) == (len(set(one)), len(set(one) & set(other)))
    assert e.shared(IdSet(hash_all([b"%d" % each for each in other]))) == e.shared(f), (
        "their hashes, where one has no texts"
    )
    for left in (a, c):
        assert left.n == len(set(one))
        for right in (b, d):
            assert left.shared(right) == len(set(one) & set(other))
