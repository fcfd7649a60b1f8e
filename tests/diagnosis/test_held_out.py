"""Faults of other domains, in seven batches: each was run once, untouched, when the one before had been mended.

Tests planted.py, first_batch.py, second_batch.py, third_batch.py, fourth_batch.py, fourth_controls.py, fifth_batch.py,
fifth_controls.py, sixth_batch.py, sixth_said.py, sixth_controls.py, seventh_batch.py, seventh_more.py, seventh_beside.py and
seventh_controls.py.
"""

from __future__ import annotations

import pytest

from tests.diagnosis import fifth_batch, fourth_batch
from tests.diagnosis.fifth_batch import CERTAINTY, FIFTH
from tests.diagnosis.fifth_controls import CONTROLS_OF_FIFTH, DIFFER_INSIDE_OF_FIFTH
from tests.diagnosis.first_batch import FIRST
from tests.diagnosis.fourth_batch import FOURTH
from tests.diagnosis.fourth_controls import CONTROLS, DIFFER_INSIDE
from tests.diagnosis.planted import Planted, both, clean, verdict_of
from tests.diagnosis.score import Record, record_control, record_fault
from tests.diagnosis.second_batch import SECOND
from tests.diagnosis.seventh_batch import SEVENTH
from tests.diagnosis.seventh_beside import BESIDE
from tests.diagnosis.seventh_controls import CONTROLS_OF_SEVENTH, DIFFER_INSIDE_OF_SEVENTH
from tests.diagnosis.seventh_more import MORE_OF_SEVENTH
from tests.diagnosis.sixth_batch import SIXTH
from tests.diagnosis.sixth_controls import CONTROLS_OF_SIXTH
from tests.diagnosis.sixth_said import SAID
from tests.diagnosis.third_batch import THIRD
from xray_core.compare import where_parted
from xray_core.testing import _Source

ALL = [*FIRST, *SECOND, *THIRD, *FOURTH, *CONTROLS, *FIFTH, *CONTROLS_OF_FIFTH]
ALL += [*SIXTH, *SAID, *CONTROLS_OF_SIXTH]
ALL += [*SEVENTH, *MORE_OF_SEVENTH, *BESIDE, *CONTROLS_OF_SEVENTH]
NEVER_CERTAIN = fourth_batch.NEVER_CERTAIN | fifth_batch.NEVER_CERTAIN


@pytest.mark.parametrize("planted", [each for each in ALL if each.guilty], ids=lambda each: each.name)
def test_the_fault_is_found_and_no_other_is_certain(planted: Planted, record_property: Record) -> None:
    verdict = verdict_of(planted)
    cause = verdict.cause and not verdict.why
    parted = verdict.diff.parted_at
    record_fault(
        record_property,
        named=parted is not None,
        step=verdict.step,
        cause=cause,
        certain=parted is not None and parted.certain,
        unproven=verdict.falsely_certain or planted.name in NEVER_CERTAIN,
    )
    assert not verdict.falsely_certain, verdict.diff.sentence
    assert parted is None or not parted.certain or planted.name not in NEVER_CERTAIN, verdict.diff.sentence
    assert verdict.step, verdict.diff.sentence
    assert verdict.cause, (verdict.diff.sentence, verdict.diff.changes)
    assert verdict.why == []


@pytest.mark.parametrize("planted", [each for each in ALL if not each.guilty], ids=lambda each: each.name)
def test_where_nothing_is_wrong_nothing_is_blamed(planted: Planted, record_property: Record) -> None:
    right, diff = clean(planted)
    if (
        planted.name in DIFFER_INSIDE | DIFFER_INSIDE_OF_FIFTH | DIFFER_INSIDE_OF_SEVENTH
    ):  # a step is named, and not for the answer
        assert diff.parted_at is not None
        right = diff.outputs_equal is True and diff.parted_at.reached_output is False
        assert "the two runs have the same output" in diff.sentence
    record_control(record_property, clean=right)
    assert right, diff.sentence


@pytest.mark.parametrize("planted", [each for each in ALL if each.guilty], ids=lambda each: each.name)
def test_the_page_of_a_run_names_the_same_step_in_the_same_words(planted: Planted) -> None:
    result, diff = both(planted)
    sides = [result._run(name) for name in ("the-good-run", "the-bad-run")]
    parted = where_parted(sides[0].side, sides[1].side, _Source(sides))
    assert parted == diff.parted_at
    assert parted is not None
    assert diff.sentence.startswith(parted.sentence)


def test_there_are_as_many_as_are_spoken_of() -> None:
    assert len([each for each in ALL if each.guilty]) >= 40
    assert len([each for each in ALL if not each.guilty]) >= 16


def test_each_fault_of_the_fifth_set_says_whether_its_step_may_be_called_certain() -> None:
    assert [*CERTAINTY] == [each.name for each in FIFTH]
