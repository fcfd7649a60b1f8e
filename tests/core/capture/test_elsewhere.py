"""Runs and steps told of by another process than the one they happened in: explicit times, segments, corrected ends.

Tests run.py and recorder.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tests.core.capturing import Captured
from xray_core.merge import merge_run, merge_step, newest
from xray_core.model import Origin, epoch_us

NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)


def test_a_step_told_of_afterwards_has_the_times_it_had() -> None:
    captured = Captured()
    step = captured.run().open_step("late", started_at=NOON)
    step.close("completed", ended_at=NOON + timedelta(seconds=3))
    seen = captured.step("late")
    assert (seen["started_us"], seen["ended_us"]) == (epoch_us(NOON), epoch_us(NOON) + 3_000_000)
    assert seen["duration_us"] == 3_000_000


def test_a_run_detached_by_one_process_and_closed_by_another_lasts_from_the_first_to_the_last() -> None:
    captured = Captured()
    captured.run(run_id="r", part="scheduler", started_at=NOON).open().detach()
    assert not captured.recorder.has_open_steps()
    captured.run(run_id="r", part="scheduler", started_at=NOON).close("failed", ended_at=NOON + timedelta(minutes=1))
    assert len({record["part"] for record in captured.of_kind("run")}) == 1
    last = newest(*captured.of_kind("run"))
    assert (last["status"], last["started_us"], last["duration_us"]) == ("failed", epoch_us(NOON), 60_000_000)


def test_a_step_in_segments_lasts_from_its_first_start_not_just_as_long_as_its_last_segment() -> None:
    parts = [
        {"part": "a", "status": "running", "started_us": 1_000, "rev": 1},
        {"part": "b", "status": "completed", "started_us": 5_000, "ended_us": 6_000, "duration_us": 1_000, "rev": 1},
    ]
    assert merge_step(parts)["duration_us"] == 5_000


def test_an_error_that_was_overcome_is_not_what_ended_it() -> None:
    parts = [
        {"part": "a", "status": "skipped", "error": {"type": "Skipped"}, "rev": 1},
        {"part": "b", "status": "completed", "rev": 1},
    ]
    assert merge_run(parts)["error"] is None
    assert merge_run(parts[:1])["error"] == {"type": "Skipped"}


def test_what_is_said_of_a_run_that_another_process_owns_arrives_and_claims_nothing_about_its_end() -> None:
    captured = Captured()
    run = captured.run(run_id="r").attached()
    run.open_step("s").close()
    assert captured.of_kind("run") == []
    run.set_metadata("rows", 7)
    run.close("failed")
    (said,) = captured.of_kind("run")
    assert (said["metadata"], said["status"], said["ended_us"]) == ({"rows": 7}, None, None)
    owner = {"part": "owner", "status": "completed", "rev": 1, "started_us": 1}
    assert merge_run([owner, said])["status"] == "completed"


def test_an_attached_step_is_silent_about_what_it_was_made_with() -> None:
    captured = Captured()
    run = captured.run().attached()
    step = run.open_step_unwritten(
        "s", step_id="theirs", origin=Origin("airflow", "task"), metadata={"a": 1}, upstream=["t"]
    ).attached()
    step.snapshot()
    assert not captured.of_kind("step")
    step.reject("x", "r")
    step.snapshot()
    assert captured.of_kind("step")[-1]["counts"] == {"rejected": 1}
