"""Each planted fault is found, by compare and by why; where nothing is wrong, nothing is blamed.

The score is printed when they have run. A case that fails stays visible: none is skipped or expected to fail.

Tests compare/blame.py and evidence.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.diagnosis.cases import CASES, Case
from tests.diagnosis.score import Record, record_control, record_fault
from tests.live import Live


def named(case: Case) -> str:
    return case.name


def captured(live: Live, case: Case, *faulty: bool) -> list[str]:
    with live.xray(f"diagnosis.{case.name}") as xray:
        return [case.run(xray, each) for each in faulty]


def problems_of_fault(live: Live, case: Case) -> list[str]:
    """What compare and why get wrong about a planted fault."""
    good, bad = captured(live, case, False, True)
    diff = live.get(f"/runs/{good}/diff/{bad}")
    parted: Any = diff["parted_at"] or {}
    found = [
        f"{what}: {got!r}, not {wanted!r}"
        for what, got, wanted in (
            ("step", parted.get("path"), case.guilty),
            ("kind", parted.get("kind"), case.kind),
            ("reordered", parted.get("reordered"), case.reordered),
            ("flipped", diff["flipped_count"] if case.flipped is not None else None, case.flipped),
        )
        if got != wanted
    ]
    if parted.get("certain") and parted.get("path") != case.guilty:
        found.append(f"certain of {parted['path']}")
    for cause in case.causes:
        why = live.why(bad, cause.item_id)
        step = why["step"] if ">" not in cause.step else why["journey"][-1]["path"]
        if (why["outcome"], step, why["reason"]) != (cause.outcome, cause.step, cause.reason):
            found.append(f"why {cause.item_id}: {why['sentence']}")
    return found


def problems_of_control(live: Live, case: Case) -> list[str]:
    """What is blamed though the same thing ran twice."""
    found = []
    for faulty in (False, True):
        first, second = captured(live, case, faulty, faulty)
        diff = live.get(f"/runs/{first}/diff/{second}")
        if diff["parted_at"] is not None or diff["flipped_count"] or diff["changes"]:
            found.append(f"blamed: {diff['sentence']}")
    return found


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_planted_fault_is_found(live: Live, case: Case, record_property: Record) -> None:
    problems = problems_of_fault(live, case)
    record_fault(
        record_property,
        named="step: None" not in " ".join(problems),
        step=not any(problem.startswith("step:") for problem in problems),
        cause=not problems,
        certain=any(problem.startswith("certain") for problem in problems),
    )
    assert problems == []


@pytest.mark.parametrize("case", CASES, ids=named)
def test_where_nothing_is_wrong_nothing_is_blamed(live: Live, case: Case, record_property: Record) -> None:
    problems = problems_of_control(live, case)
    record_control(record_property, clean=not problems)
    assert problems == []
