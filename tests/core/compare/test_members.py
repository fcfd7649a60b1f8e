"""Steps that were retried: begun again, or gone on where they had stopped; compared over all their attempts.

Tests compare/members.py and flips.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from xray_core.compare import Diff
from xray_core.testing import capture

ITEMS = [f"i{n}" for n in range(12)]
MANY = [f"m{n}" for n in range(3_000)]  # kept as fingerprints


def attempt(run: Any, number: int, items: Sequence[str], rejected: Sequence[str], *, fails: bool) -> None:
    step = run.open_step("check", step_id=f"{run.run_id}-check", attempt=number, step_type="filter", code_version="1")
    for item in items:
        if item in rejected:
            step.reject(item, "bad")
        else:
            step.accept(item)
    step.close("failed" if fails else "completed", error=TimeoutError("no answer") if fails else None)


def stopped(
    *at: int | None, rejected: Sequence[Sequence[str]] = ((), ()), items: Sequence[str] = ITEMS, again: bool = False
) -> Diff:
    """Two runs that stopped after so many items and went on, or began `again`; None: they never stopped."""
    with capture() as captured:
        for name, where, fell in zip("ab", at, rejected):
            with captured.xray.run(input=1, run_id=name) as run:
                if where is None:
                    attempt(run, 1, items, fell, fails=False)
                else:
                    attempt(run, 1, items[:where], fell, fails=True)
                    attempt(run, 2, items if again else items[where:], fell, fails=False)
                with run.step("store") as step:
                    step.set_input_items(sorted(set(items) - set(fell)))
        return captured.diff("a", "b")


@pytest.mark.parametrize("items", [ITEMS, MANY], ids=["named", "fingerprints"])
@pytest.mark.parametrize("at", [(5, 5), (5, 7), (None, 5), (5, None), (0, 12)], ids=str)
def test_where_a_step_stopped_and_went_on_is_no_difference(at: tuple[int | None, int | None], items: list[str]) -> None:
    diff = stopped(*at, items=items)
    assert (diff.parted_at, diff.flipped_count) == (None, 0), diff.sentence


@pytest.mark.parametrize("item", ["i1", "i6", "i11"])
@pytest.mark.parametrize("at", [(5, 5), (5, 8), (None, 5), (5, None)], ids=str)
def test_an_item_that_came_out_differently_in_any_attempt_is_the_one_that_flipped(
    at: tuple[int | None, int | None], item: str
) -> None:
    diff = stopped(*at, rejected=((), (item,)))
    assert diff.parted_at is not None
    assert diff.parted_at.path == "check"
    assert [(each.item_id, each.a["outcome"], each.b["outcome"]) for each in diff.flipped] == [
        (item, "accepted", "rejected")
    ]


def test_a_step_that_was_begun_again_is_compared_by_its_last_attempt() -> None:
    assert stopped(None, 5, again=True).parted_at is None
    diff = stopped(None, 5, rejected=((), ("i2", "i9")), again=True)
    assert sorted(str(each.item_id) for each in diff.flipped) == ["i2", "i9"]


def test_items_lost_when_it_went_on_are_found() -> None:
    with capture() as captured:
        for name, rest in (("a", ITEMS[5:]), ("b", ITEMS[7:])):
            with captured.xray.run(input=1, run_id=name) as run:
                attempt(run, 1, ITEMS[:5], (), fails=True)
                attempt(run, 2, rest, (), fails=False)
        diff = captured.diff("a", "b")
    assert diff.parted_at is not None
    assert sorted(str(each.item_id) for each in diff.flipped) == ["i5", "i6"]


@pytest.mark.parametrize("items", [ITEMS, MANY], ids=["named", "fingerprints"])
def test_steps_that_pass_on_what_flipped_before_them_add_nothing(items: list[str]) -> None:
    """Three steps accept the same items; what they differ in, they differ in alike, but for the last."""
    with capture() as captured:
        for name, lost in (("a", 0), ("b", 3)):
            with captured.xray.run(input=1, run_id=name) as run:
                for number, more in enumerate((0, 0, 1)):
                    with run.step(f"step{number}", code_version="1") as step:
                        step.accept_many(items[: len(items) - lost - (more if lost else 0)])
        diff = captured.diff("a", "b")
    assert diff.flipped_count == 4
    assert sorted(each.step for each in diff.flipped) == ["step0", "step0", "step0", "step2"]
