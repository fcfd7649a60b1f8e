"""Steps that only chose, before a step whose given input names what they chose, leave no doubt; all others do."""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.compare import Diff
from xray_core.testing import capture

IDS = [f"i{n}" for n in range(40)]
TOP = IDS[-5:]


def compared(*, context: Any = None, scored: int = 40, top: str | None = "select", noise: float = 1e-12) -> Diff:
    with capture() as captured:
        for changed in (False, True):
            with captured.xray.run(input={"q": 1}, run_id=f"changed {changed}") as run:
                with run.step("embed", step_type="score") as step:
                    for n, item in enumerate(IDS):
                        step.accept(item, score=n + 1 + noise * changed if n < scored else None)
                with run.step("top", step_type=top) as step:
                    step.set_input_items(IDS)
                    step.decide("best", selected=TOP, alternatives=IDS[:-5])
                with run.step("llm", step_type="generate") as step:
                    step.set_input({"context": TOP} if context is None else context)
                    step.set_output("no" if changed else "yes")
                run.set_output("no" if changed else "yes")
        return captured.diff("changed False", "changed True")


def test_what_was_chosen_from_equal_scores_and_is_named_in_the_input_makes_the_next_step_certain() -> None:
    diff = compared()
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.certain) == ("llm", True)


@pytest.mark.parametrize(
    "options",
    [
        {"context": {"question": "why?"}},  # says nothing of what was chosen
        {"context": {"context": TOP[:-1]}},  # one of them is missing
        {"scored": 39},  # of one item the score is not known
        {"top": "transform"},  # may change what it passes on
        {"top": None},
        {"noise": 1e-6},  # the scores differ
    ],
    ids=str,
)
def test_otherwise_it_is_named_without_certainty(options: dict[str, Any]) -> None:
    diff = compared(**options)
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.certain) == ("llm", False)
