"""A step that differs in random ids alone, which it may have made up, is not blamed with certainty."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from xray_core.capture.run import Run
from xray_core.testing import capture
from xray_core.xray import XRay

Pipeline = Callable[[Run, bool], None]
FIXED = [str(UUID(int=n, version=4)) for n in range(1, 7)]


def is_certain_of(pipeline: Pipeline) -> tuple[str, bool]:
    with capture() as result:
        for bad in (False, True):
            with result.xray.run(input="x", run_id=f"run-{bad}") as run:
                pipeline(run, bad)
        parted = result.diff("run-False", "run-True").parted_at
    assert parted is not None
    return parted.path, parted.certain


@pytest.mark.parametrize("many", [3, 300])
def test_items_that_were_given_new_ids(many: int) -> None:
    def pipeline(run: Run, bad: bool) -> None:
        rows = [{"chunk_id": str(uuid4()), "text": f"t{n}"} for n in range(many)]
        with run.step("chunk", step_type="generate") as step:
            step.set_input("doc")
            step.set_output_items(rows, key="chunk_id")
        run.set_output(bad)

    assert is_certain_of(pipeline) == ("chunk", False)


def test_a_stored_answer_that_has_an_id() -> None:
    def pipeline(run: Run, bad: bool) -> None:
        with run.step("order") as step:
            step.set_input("basket")
            step.set_output({"order": str(uuid4()), "total": 3})
        run.set_output(bad)

    assert is_certain_of(pipeline) == ("order", False)


def test_another_one_of_those_that_were_given_is_a_decision() -> None:
    def pipeline(run: Run, bad: bool) -> None:
        with run.step("pick", step_type="select") as step:
            step.set_input({"customers": FIXED})
            step.set_output({"customer": FIXED[bad]})
        run.set_output(FIXED[bad])

    assert is_certain_of(pipeline) == ("pick", True)


def test_other_items_of_those_that_were_given_are_a_decision() -> None:
    def pipeline(run: Run, bad: bool) -> None:
        with run.step("keep", step_type="filter") as step:
            step.set_input_items([{"id": each, "v": 1} for each in FIXED], key="id")
            for each in FIXED:
                step.accept(each) if (each in FIXED[:3]) != bad else step.reject(each, "no")
        run.set_output(bad)

    assert is_certain_of(pipeline) == ("keep", True)


@pytest.mark.parametrize("declared", [True, False])
def test_an_id_that_was_made_up_is_no_setting_of_a_later_step(declared: bool) -> None:
    def pipeline(run: Run, bad: bool) -> None:
        if declared:
            with run.step("start") as step:
                step.set_output(str(uuid4()))
        else:
            XRay("made up").step("start")(lambda: str(uuid4()))()
        rows = [{"id": each, "v": n} for n, each in enumerate(FIXED)]
        with run.step("rank", step_type="rank") as step:
            step.set_input_items(rows, key="id")
            step.accept(FIXED[bad], score=1.0)
        run.set_output(FIXED[bad])

    assert is_certain_of(pipeline) == ("rank", False)
