"""What is said of steps of which only their framework knows: `xray show` and the run's page say the same."""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.cli import render
from xray_core.journey import uncaptured
from xray_core.model import HANDED_OVER, NOT_REACHED, Ledger

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
    assert uncaptured(steps) == ([] if expected is None else [expected])


def test_show_says_that_no_step_of_a_run_was_captured(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"step_id": "s", "ledger": Ledger().as_json(), "attempt": 1, "map_index": None}
    render.run({"run_id": "r", "pipeline": "nightly", "status": "completed", "steps": [{**step("load"), **shown}]})
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 of 1 step was not captured by the process that ran it (load): {WHY}" in said


HANDED = {"n": 3, "to": "DaskTaskRunner", "own": 1, "note": "do this"}


@pytest.mark.parametrize(
    ("about", "n_steps", "expected"),
    [
        (HANDED, 1, "at least 3 of the 3 tasks that this run handed to DaskTaskRunner were not captured: do this"),
        (HANDED, 3, "at least 1 of the 3 tasks that this run handed to DaskTaskRunner was not captured: do this"),
        (HANDED, 4, None),
        (HANDED, 9, None),  # tasks that were called in these: how many of the 3 are among them, nothing tells
        ("3 of an older version", 1, None),
        ({"n": "3", "own": None}, 1, None),
    ],
)
def test_tasks_that_were_handed_to_others_and_are_no_steps_are_counted(
    about: Any, n_steps: int, expected: str | None
) -> None:
    steps = [step(str(n), captured=True) for n in range(n_steps)]
    said = [] if expected is None else [expected]
    assert uncaptured(steps, metadata={HANDED_OVER: about}) == said
    assert (
        uncaptured(steps[:1], metadata={HANDED_OVER: about}, step_count=n_steps) == said
    )  # where some are not looked at


def test_a_run_without_a_step_that_was_captured_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    about = {NOT_REACHED: "none of its steps was captured"}
    assert uncaptured([], metadata=about) == ["none of its steps was captured"]
    assert len(uncaptured([step("a")], metadata=about)) == 1
    render.run({"run_id": "r", "pipeline": "p", "status": "completed", "steps": [], "metadata": about})
    assert "none of its steps was captured" in capsys.readouterr().out
