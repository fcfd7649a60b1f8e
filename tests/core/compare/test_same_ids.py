"""The same ids are the same items and not the same values: who is blamed where values changed, or items came twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xray_core import XRay
from xray_core.compare import Diff
from xray_core.testing import capture

IDS = [f"i{n}" for n in range(40)]


def compared(pipeline: Callable[[Any, bool], None]) -> Diff:
    with capture() as captured:
        for changed in (False, True):
            with XRay("p").run(input={"q": 1}, run_id=f"changed {changed}") as run:
                pipeline(run, changed)
        return captured.diff("changed False", "changed True")


def repriced(run: Any, changed: bool, *, told: bool) -> None:
    rows = [{"id": item, "price": n * (2 if changed else 1)} for n, item in enumerate(IDS)]
    with run.step("clean", step_type="transform") as step:
        step.set_input_items(IDS)
        step.set_output_items(rows if told else IDS, key="id" if told else None)
    with run.step("gate", step_type="filter") as step:
        step.set_input_items(rows if told else IDS, key="id" if told else None)
        for row in rows:
            if int(str(row["price"])) > 50:
                step.reject(str(row["id"]), "too_big")
            else:
                step.accept(str(row["id"]))


def test_a_step_whose_values_were_not_captured_is_not_cleared_by_equal_ids() -> None:
    found = compared(lambda run, changed: repriced(run, changed, told=False))
    assert found.parted_at is not None
    assert (found.parted_at.certain, found.steps[0].outputs_equal) == (False, None)
    assert "clean" in found.sentence


def test_values_given_with_the_ids_name_the_step_that_changed_them() -> None:
    found = compared(lambda run, changed: repriced(run, changed, told=True))
    assert found.parted_at is not None
    assert found.parted_at.path == "clean"


def test_items_that_came_twice_are_named_where_they_came() -> None:
    def retried(run: Any, changed: bool) -> None:
        with run.step("fetch", step_type="retrieve") as step:
            step.set_output_items(IDS)
        with run.step("sum") as step:
            step.set_input_items(IDS + IDS[: 10 if changed else 0])

    found = compared(retried)
    assert found.parted_at is not None
    assert found.parted_at.path == "sum"
    assert "10 items" in found.sentence
    assert "more than once" in found.sentence


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_scores_differ_whatever_library_they_are_of(kind: Callable[[float], Any]) -> None:
    def scored(run: Any, changed: bool) -> None:
        with run.step("score", "score") as step:
            step.set_input_items(["a", "b"])
            for item, score in (("a", 0.1 if changed else 0.9), ("b", 0.2)):
                step.accept(item, score=kind(score))
        with run.step("select", "select") as step:
            step.decide("best", selected="b" if changed else "a", alternatives=["a" if changed else "b"])

    found = compared(scored)
    assert found.parted_at is not None
    assert found.parted_at.path == "score"
