"""Ids of runs, temporary files, times and orders that differ in every run are blamed for nothing; what only looks alike is.

Tests compare/stored.py and sentences.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.compare import Diff
from xray_core.compare.sentences import short_pair
from xray_core.testing import capture


def wrote(*outputs: Any, metadata: Any = (None, None)) -> Diff:
    with capture() as captured:
        for name, output, told in zip(("a1b2-one", "c3d4-two"), outputs, metadata):
            with captured.xray.run(input=1, run_id=name) as run, run.step("write") as step:
                if told is not None:
                    step.set_metadata("elapsed_ms", told)
                step.set_output(output)
        return captured.diff("a1b2-one", "c3d4-two")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/tmp/tmphzipbfdn/a.parquet", "/tmp/tmpy_wb560o/a.parquet"),
        ("C:\\Temp\\tmphzipbfdn", "C:\\Temp\\tmpy_wb560o"),
        ("tmphzipbfdn.csv", "tmpy_wb560o.csv"),
        ({"path": "s3://lake/a1b2-one/part-0"}, {"path": "s3://lake/c3d4-two/part-0"}),
        (["a1b2-one", 3], ["c3d4-two", 3]),
    ],
    ids=str,
)
def test_a_value_that_tells_its_own_run_is_no_difference(one: Any, other: Any) -> None:
    assert wrote(one, other).parted_at is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/tmp/tmphzipbfdn/a.parquet", "/tmp/tmpy_wb560o/b.parquet"),
        ("s3://lake/a1b2-one/part-0", "s3://lake/a1b2-one/part-1"),
        ("s3://lake/c3d4-two/part-0", "s3://lake/a1b2-one/part-0"),  # each is the other's
        ("0b7c3d5e-6f1a-4b7e-9a51-8c2d3e4f5a6b", "1c7c3d5e-6f1a-4b7e-9a51-8c2d3e4f5a6b"),  # the id of an item, say
        ("tmpl_order", "tmpl_offer"),
    ],
    ids=str,
)
def test_what_differs_beside_it_is_one(one: Any, other: Any) -> None:
    diff = wrote(one, other)
    assert diff.parted_at is not None
    assert diff.parted_at.path == "write"


def test_how_long_a_step_took_is_none_of_its_parameters() -> None:
    parted = wrote("x", "y", metadata=(3, 800)).parted_at
    assert parted is not None
    assert (parted.kind, list(parted.changed)) == ("non_deterministic", [])


def test_a_short_id_of_a_run_is_not_looked_for() -> None:
    with capture() as captured:
        for name in "ab":
            with captured.xray.run(input=1, run_id=name) as run, run.step("pick") as step:
                step.set_output({"best": name})
        assert captured.diff("a", "b").parted_at is not None


def judged(*orders: list[str], then: Any = None, ranks: bool = False) -> Diff:
    with capture() as captured:
        for name, order in zip("ab", orders):
            with captured.xray.run(input=1, run_id=name) as run:
                with run.step("check", step_type="filter") as step:
                    for rank, item in enumerate(order, 1):
                        step.accept(item, rank=rank if ranks else None)
                if then is not None:
                    with run.step("next") as step:
                        step.set_output(order[0] if then == "first" else sorted(order))
        return captured.diff("a", "b")


@pytest.mark.parametrize("then", [None, "sorted"])
def test_the_order_of_threads_is_blamed_only_where_it_is_seen_to_have_mattered(then: str | None) -> None:
    assert judged(["x", "y"], ["y", "x"], then=then).parted_at is None
    mattered = judged(["x", "y"], ["y", "x"], then="first").parted_at
    assert mattered is not None
    assert (mattered.path, mattered.reordered) == ("check", True)


def test_ranks_say_that_an_order_was_meant() -> None:
    parted = judged(["x", "y"], ["y", "x"], ranks=True).parted_at
    assert parted is not None
    assert (parted.path, parted.reordered) == ("check", True)


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        (18.7, 9.9, ("18.7", "9.9")),
        (1499.5, 1499.5016667, ("1499.5", "1499.50167")),
        (0.1 + 0.2, 0.3, ("0.30000000000000004", "0.3")),
        ("x" * 60 + "abc", "x" * 60 + "abd", ('…xxxxxxabc"', '…xxxxxxabd"')),
        (["a"] * 30, ["a"] * 31, ("…'a', 'a']", "…'a', 'a', 'a']")),
        (None, 2, ("None", "2")),
    ],
)
def test_two_values_are_shown_so_that_they_differ(one: Any, other: Any, shown: tuple[str, str]) -> None:
    assert short_pair(one, other) == shown
