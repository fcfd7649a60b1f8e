"""What is said of steps of which only their framework knows: `xray show` and the run's page say the same."""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.cli import render
from xray_core.journey import uncaptured
from xray_core.model import NOT_REACHED, Ledger

WHY = "X-Ray was not enabled there"


def step(name: str, *, status: str = "completed", captured: bool = False) -> dict[str, Any]:
    return {"name": name, "status": status, "metadata": {"rows": 3, **({} if captured else {NOT_REACHED: WHY})}}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([step("a", captured=True), step("b", status="skipped", captured=True)], None),
        ([{"name": "a", "status": "completed", "metadata": None}], None),
        (
            [step("a"), step("b", captured=True)],
            f"1 of 2 steps was not captured by the process that ran it (a): {WHY}",
        ),
        (
            [step("a"), step("a"), step("b", status="failed"), step("c", status="skipped", captured=True)],
            f"3 of 3 steps were not captured by the process that ran them (a, b): {WHY}",
        ),
        (
            [step(name) for name in "abcdefg"],
            f"7 of 7 steps were not captured by the process that ran them (a, b, c, d and 3 more): {WHY}",
        ),
    ],
)
def test_steps_that_were_not_captured_where_they_ran_are_counted_named_and_explained(
    steps: list[dict[str, Any]], expected: str | None
) -> None:
    assert uncaptured(steps) == expected


def test_show_says_that_no_step_of_a_run_was_captured(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"step_id": "s", "ledger": Ledger().as_json(), "attempt": 1, "map_index": None}
    render.run({"run_id": "r", "pipeline": "nightly", "status": "completed", "steps": [{**step("load"), **shown}]})
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 of 1 step was not captured by the process that ran it (load): {WHY}" in said
