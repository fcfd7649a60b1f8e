"""Differences between groups of runs: hardly ever found where there are none, found where there are, and dated.

Tests statistics.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from xray_server.read.groups import ALPHA
from xray_server.statistics import change_point, compare_means, compare_rates, holm

STEPS = 4  # tested in each pair


def hits(rng: Any, sizes: Any, rate: float, scatter: float) -> list[tuple[int, int]]:
    """Runs of these sizes whose own rates scatter about `rate`: `scatter` is their correlation within a run."""
    own = rng.beta(rate * (1 / scatter - 1), (1 - rate) * (1 / scatter - 1), len(sizes)) if scatter else rate
    return list(zip(rng.binomial(sizes, own).tolist(), sizes.tolist()))


@pytest.mark.parametrize(
    ("runs", "items", "rate", "scatter"),
    [
        ((60, 40), (8, 16), 0.15, 0.02),  # many small runs
        ((40, 40), (8, 16), 0.02, 0.0),  # that reject rarely
        ((5, 5), (100, 400), 0.3, 0.1),  # few, and they differ among themselves
        ((30, 8), (10, 3_000), 0.4, 0.05),  # of very different sizes
    ],
)
def test_of_a_thousand_pairs_of_groups_without_a_difference_at_most_ten_are_called_different(
    runs: tuple[int, int], items: tuple[int, int], rate: float, scatter: float
) -> None:
    rng = np.random.default_rng(7)
    false_alarms = 0
    for _ in range(1_000):
        ps = []
        for _step in range(STEPS):
            a, b = (hits(rng, np.exp(rng.uniform(*np.log(items), n)).astype(int), rate, scatter) for n in runs)
            found = compare_rates(a, b)
            ps.append(found.p)
        false_alarms += min(holm(ps)) < ALPHA
    assert false_alarms <= 10


def test_twelve_items_a_run_are_enough_where_there_are_many_runs() -> None:
    rng = np.random.default_rng(3)
    found = sum(
        compare_rates(hits(rng, np.full(100, 12), 0.15, 0.02), hits(rng, np.full(60, 12), 0.3, 0.02)).p < ALPHA
        for _ in range(200)
    )
    assert found >= 190


def test_one_run_is_held_against_how_the_others_scatter() -> None:
    rng = np.random.default_rng(3)
    usual = hits(rng, np.full(30, 400), 0.2, 0.01)
    assert compare_rates(usual, [(80, 400)]).p > 0.05
    assert compare_rates(usual, [(200, 400)]).p < 1e-5
    assert not compare_rates([(80, 400)], [(200, 400)]).enough, "how runs scatter is not known"


def test_too_few_items_or_runs_are_not_enough() -> None:
    assert not compare_rates([], [(1, 2)] * 9).enough
    assert not compare_rates([(0, 12)] * 5, [(1, 12)] * 5).enough
    assert compare_rates([(0, 0), (3, 2)], [(1, 2)] * 9).a is None
    assert not compare_means([1, 2], [1, 2, 3]).enough


@pytest.mark.parametrize("truth", [5, 20, 35])
def test_a_change_point_is_within_one_run_of_the_truth_and_its_range_holds_it(truth: int) -> None:
    rng = np.random.default_rng(truth)
    near = inside = 0
    for _ in range(200):
        before = hits(rng, np.full(truth, 200), 0.15, 0.002)
        after = hits(rng, np.full(40 - truth, 200), 0.30, 0.002)
        found = change_point([*before, *after])
        assert found is not None
        near += abs(found.at - truth) <= 1
        inside += found.low <= truth <= found.high
    assert near >= 195
    assert inside >= 180


def test_a_change_point_keeps_its_place_where_runs_without_items_lie_between() -> None:
    series = [(1, 100)] * 10 + [(0, 0)] * 5 + [(50, 100)] * 10
    found = change_point(series)
    assert found is not None
    assert found.at == 15
    assert change_point([]) is change_point([(0, 0)]) is change_point([(5, 10)] * 4) is None


def test_means_of_logarithms_differ_by_a_factor() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.log(rng.lognormal(mean, 0.5, 60)).tolist() for mean in (1.0, 1.0 + math.log(2)))
    found = compare_means(a, b)
    assert found.p < 1e-6
    assert found.a is not None
    assert found.b is not None
    assert math.exp(found.b - found.a) == pytest.approx(2, rel=0.2)
    assert compare_means([1.0] * 5, [1.0] * 5).p == 1
    assert compare_means([1.0] * 5, [2.0] * 5).p == 0


def test_adjusted_for_how_many_were_asked() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
