"""Faults of other domains, in two batches: the second was run once, untouched, when the first had been mended.

Tests planted.py, first_batch.py and second_batch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.diagnosis.first_batch import FIRST
from tests.diagnosis.planted import Planted, clean, verdict_of
from tests.diagnosis.score import PROPERTY
from tests.diagnosis.second_batch import SECOND

Record = Callable[[str, Any], None]
BOTH = [*FIRST, *SECOND]


@pytest.mark.parametrize("planted", [each for each in BOTH if each.guilty], ids=lambda each: each.name)
def test_the_fault_is_found_and_no_other_is_certain(planted: Planted, record_property: Record) -> None:
    verdict = verdict_of(planted)
    cause = verdict.cause and not verdict.why
    record_property(
        PROPERTY,
        {"control": False, "step": verdict.step, "cause": cause, "falsely_certain": verdict.falsely_certain},
    )
    assert not verdict.falsely_certain, verdict.diff.sentence
    assert verdict.step, verdict.diff.sentence
    assert verdict.cause, (verdict.diff.sentence, verdict.diff.changes)
    assert verdict.why == []


@pytest.mark.parametrize("planted", [each for each in BOTH if not each.guilty], ids=lambda each: each.name)
def test_where_nothing_is_wrong_nothing_is_blamed(planted: Planted, record_property: Record) -> None:
    right, diff = clean(planted)
    record_property(PROPERTY, {"control": True, "clean": right})
    assert right, diff.sentence


def test_there_are_as_many_as_are_spoken_of() -> None:
    assert len([each for each in BOTH if each.guilty]) >= 25
    assert len([each for each in BOTH if not each.guilty]) >= 10
