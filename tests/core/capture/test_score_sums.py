"""Scores are summed over all items and orders are told, sampled or not; a blame that follows from either names the step.

Tests capture/score_sums.py and caller.py.
"""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.core.capturing import Captured
from xray_core import XRay
from xray_core.capture.score_sums import ScoreSums
from xray_core.testing import capture
from xray_core.verdicts import hash64

IDS = [f"i{n}" for n in range(3_000)]


def state_of(work: Callable[[Any], None], level: str = "sample") -> dict[str, Any]:
    captured = Captured()
    with captured.run() as run, run.step("s", capture=level) as step:
        work(step)
    return captured.step("s")


def parted_at(pipeline: Callable[[Any, bool], None]) -> tuple[str | None, bool | None]:
    """The step that the difference of two runs is blamed on, and whether it is certain."""
    with capture() as captured:
        for changed in (False, True):
            with XRay("p").run(input={"q": 1}, run_id=f"changed {changed}") as run:
                pipeline(run, changed)
        found = captured.diff("changed False", "changed True").parted_at
    return (None, None) if found is None else (found.path, found.certain)


def test_one_score_of_thousands_is_seen_whichever_items_are_sampled() -> None:
    def work(run: Any, changed: bool) -> None:
        scores = {item: n + (5 if changed and n == 1_500 else 0) for n, item in enumerate(IDS)}
        with run.step("model", step_type="score") as step:
            step.set_input_items(IDS)
            for item in IDS:
                step.accept(item, score=scores[item])
        with run.step("gate", step_type="filter") as step:
            step.set_input_items(IDS)
            for item in IDS:
                if scores[item] < 1_503:
                    step.reject(item, "low")
                else:
                    step.accept(item)

    assert parted_at(work)[0] == "model"


def test_another_order_of_the_same_items_is_blamed_on_the_step_that_made_it() -> None:
    def work(run: Any, changed: bool) -> None:
        items = IDS[:40][:: -1 if changed else 1]
        with run.step("sort", step_type="rank") as step:
            step.set_input_items(IDS[:40])
            for item in items:
                step.accept(item)
        with run.step("page", step_type="select") as step:
            step.decide("page", selected=items[:5], alternatives=items[5:])

    assert parted_at(work)[0] == "sort"


def test_scores_swapped_between_two_items_differ_though_every_figure_is_equal() -> None:
    def work(run: Any, changed: bool) -> None:
        with run.step("model", step_type="score") as step:
            step.set_input_items(IDS)
            for n, item in enumerate(IDS):
                step.reject(item, "low", score={700: 900, 900: 700}.get(n, n) if changed else n)

    assert parted_at(work)[0] == "model"


def test_noise_below_the_tolerance_is_no_difference_of_scores() -> None:
    def work(run: Any, changed: bool) -> None:
        with run.step("model", step_type="score") as step:
            step.set_input_items(IDS)
            step.accept_many(IDS, score=[n * (1 + 1e-13 if changed else 1) for n in range(len(IDS))])

    assert parted_at(work)[0] is None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "high", None])
def test_what_is_no_finite_score_is_in_no_sum(score: Any) -> None:
    state = state_of(lambda step: [step.accept(item, score=score if item == "b" else 1) for item in "abc"])
    assert (state["score_sums"]["accepted"]["n"], state["score_sums"]["accepted"]["total"]) == (2, 2.0)


def test_sums_are_those_of_one_block_however_many_were_made() -> None:
    hashes = array("Q", map(hash64, (f"i{n}" for n in range(20_000))))
    scores = array("d", (n / 7 for n in range(20_000)))
    one, other = ScoreSums(), ScoreSums()
    one.extend(hashes, scores, [0.0, "i0", 19_999 / 7, "i19999"])
    for n, (hashed, score) in enumerate(zip(hashes, scores)):
        other.add(hashed, score, f"i{n}")
    assert one.ends == other.ends
    a, b = one.column(), other.column()
    assert a is not None
    assert b is not None
    assert {name: a[name] for name in ("n", "sum", "min", "max")} == {
        name: b[name] for name in ("n", "sum", "min", "max")
    }
    for name in ("total", "abs", "proj"):
        assert np.allclose(a[name], b[name], rtol=1e-9)


def test_minimal_capture_has_neither_sums_nor_orders() -> None:
    state = state_of(lambda step: step.accept("a", score=1), "minimal")
    assert (state["score_sums"], state["orders"]) == ({}, {})


def test_the_order_is_that_of_the_whole_sequence_written_down_in_parts_or_at_once() -> None:
    def in_parts(step: Any) -> None:
        for n, item in enumerate(IDS):
            step.accept(item)
            if n in (3, 1_000, 2_000):
                step.snapshot()

    at_once = state_of(lambda step: step.accept_many(IDS))["orders"]
    assert at_once == state_of(in_parts)["orders"]
    assert at_once != state_of(lambda step: step.accept_many([*IDS[:-2], IDS[-1], IDS[-2]]))["orders"]


def test_an_order_that_is_chance_is_not_captured() -> None:
    def two_threads(step: Any) -> None:
        step.accept("a")
        thread = threading.Thread(target=step.accept, args=("b",))
        thread.start()
        thread.join()

    def two_tasks(step: Any) -> None:
        async def accept(item: str) -> None:
            step.accept(item)

        async def both() -> None:
            await asyncio.gather(accept("a"), accept("b"))

        asyncio.run(both())

    def two_reasons(step: Any) -> None:
        step.accept("a", "fits")
        step.accept("b", "cheap")

    def without_an_id(step: Any) -> None:
        step.accept("a")
        step.accept(None)

    for work in (two_threads, two_tasks, two_reasons, without_an_id):
        assert state_of(work)["orders"] == {}, work.__name__


def test_rejections_have_no_order() -> None:
    assert state_of(lambda step: [step.reject("a", "x"), step.accept("b")])["orders"].keys() == {"accepted"}
