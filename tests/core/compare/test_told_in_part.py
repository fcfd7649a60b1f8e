"""What was captured of a part is not taken for the whole: rows without an id, an input that is not told, limits, reasons.

Tests evidence.py, blame.py and what_changed.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from xray_core.capture.run import Run
from xray_core.compare import Diff
from xray_core.testing import capture


def diff_of(pipeline: Callable[[Run, bool], object]) -> Diff:
    with capture() as result:
        for bad in (False, True):
            with result.xray.run(input={"day": "n"}, run_id=("a", "b")[bad]) as run:
                run.set_output(pipeline(run, bad))
    return result.diff("a", "b")


@pytest.mark.parametrize("as_rows", [True, False])
@pytest.mark.parametrize("values", [[1, 3, 2], [1, 2, 4]])
def test_rows_without_an_id_are_not_known_to_be_equal(values: list[int], as_rows: bool) -> None:
    def pipeline(run: Run, bad: bool) -> list[str]:
        frame = pd.DataFrame({"c": ["p", None, None], "land": list("abc"), "v": values if bad else [1, 2, 3]})
        told = frame.to_dict("records") if as_rows else frame
        with run.step("read", "retrieve") as step:
            step.set_output_items(told, key="c")
        with run.step("choose", "transform") as step:
            step.set_input_items(told, key="c")
            chosen = [str(each) for each in frame[frame.v != 3].land]
            step.set_output(chosen)
        return chosen

    diff = diff_of(pipeline)
    assert diff.parted_at is not None
    assert not diff.parted_at.certain, diff.sentence
    assert "the same input" not in diff.sentence


def test_a_step_whose_parameters_changed_goes_before_one_that_did_not_tell_what_it_was_given() -> None:
    def pipeline(run: Run, bad: bool) -> float:
        with run.step("orders", "retrieve") as step:
            step.set_output(orders := {"p": 2.5, "q": 3.0})
        with run.step("rates", "transform", code_version="v1") as step:
            step.set_metadata("table", "v2" if bad else "v1")
            step.set_input("a table")
            step.set_output(rate := 2.5 if bad else 1.5)
        with run.step("join", "transform", code_version="v1") as step:
            step.set_input(orders)
            step.set_output(total := sum(orders.values()) * rate)
        return total

    diff = diff_of(pipeline)
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.kind, diff.parted_at.certain) == ("rates", "code_changed", False)
    assert "its difference is not seen to reach the output of the run" in diff.parted_at.not_certain_because
    assert [each["path"] for each in diff.also] == ["join"]


def test_a_changed_step_that_the_next_one_undoes_is_not_blamed_for_what_comes_later() -> None:
    def pipeline(run: Run, bad: bool) -> str:
        with run.step("read", "retrieve") as step:
            step.set_output(name := "lamp")
        with run.step("shout", "transform", code_version="v2" if bad else "v1") as step:
            step.set_input(name)
            step.set_output(loud := name.upper() if bad else name)
        with run.step("lower", "transform", code_version="v1") as step:
            step.set_input(loud)
            step.set_output(quiet := loud.lower())
        with run.step("model", "transform", code_version="v1") as step:
            step.set_input(quiet)
            step.set_output(answer := quiet + ("!" if bad else ""))
        return answer

    diff = diff_of(pipeline)
    assert diff.parted_at is not None
    assert diff.parted_at.path == "model", diff.sentence


def test_a_declared_limit_that_moved_is_a_parameter_that_changed() -> None:
    def pipeline(run: Run, bad: bool) -> list[str]:
        scores = {"A": 630, "B": 700}
        with run.step("read", "retrieve") as step:
            step.set_output(scores)
        with run.step("cutoff", "filter", code_version="v1") as step:
            step.set_input(scores)
            limit = 640 if bad else 620
            for name, score in scores.items():
                if score < limit:
                    step.reject(name, "low", value=score, limit=limit)
                else:
                    step.accept(name, value=score, limit=limit)
        return [name for name, score in scores.items() if score >= limit]

    diff = diff_of(pipeline)
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.kind) == ("cutoff", "code_changed")
    assert "its parameters changed (limit: 620 -> 640; rejected.low: 0 -> 1)" in diff.sentence


def test_another_reason_for_the_same_outcome_is_a_difference_where_it_reached_the_output() -> None:
    def pipeline(read: bool) -> Callable[[Run, bool], dict[str, int]]:
        def run_it(run: Run, bad: bool) -> dict[str, int]:
            reason = "expired" if bad else "listed"
            with run.step("check", "filter") as step:
                step.set_input(["x", "y"])
                step.accept("x")
                step.reject("y", reason)
            return {reason: 1} if read else {"kept": 1}

        return run_it

    seen, unread = diff_of(pipeline(read=True)), diff_of(pipeline(read=False))
    assert seen.parted_at is not None
    assert (seen.parted_at.path, seen.flipped_count) == ("check", 0)
    assert "(rejected.expired: 0 -> 1; rejected.listed: 1 -> 0)" in seen.sentence
    assert unread.parted_at is None
