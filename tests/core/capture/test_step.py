"""Steps: every item counted, every verdict kept, nothing of the user's disturbed.

Tests step.py, step_items.py, step_values.py, verdict_log.py, bucket.py, decisions.py and values.py.
"""

from __future__ import annotations

import asyncio
import enum
import sys
import threading
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.capturing import Captured
from xray_core import carry, current_run, current_step
from xray_core.bounds import MAX_LINE_BYTES
from xray_core.capture import context
from xray_core.capture.step import Step
from xray_core.verdicts import fingerprint


def test_every_outcome_is_counted_and_the_ledger_adds_up() -> None:
    captured = Captured()
    with captured.run() as run, run.step("filter", "filter") as step:
        step.set_input_count(10)
        step.reject("a", "too_late", {"departs": 12})
        step.reject_many(["b", "c"], "cancelled")
        step.accept("d", "fits", score=0.5)
        step.errored("e", "no_price")
        step.decide("best", selected="f", score=0.9, alternatives=["g", {"id": "h", "score": 0.1}])
        assert step.ledger.as_json() == {
            "input": 10, "accepted": 2, "rejected": 3, "not_selected": 2, "errored": 1, "unaccounted": 0, "selected": 1,
            "flags": [], "undecided": 2, "distinct_in": None, "distinct_out": None, "duplicated": None, "nulls": None,
            "inferred": False,
        }  # fmt: skip
    assert (step.ledger.undecided, step.ledger.unaccounted, step.ledger.flags) == (0, 2, ("unaccounted",))
    seen = captured.step("filter")
    assert seen["counts"] == {"rejected": 3, "accepted": 1, "errored": 1, "selected": 1, "not_selected": 2}
    assert seen["reasons"]["rejected"] == {"too_late": 1, "cancelled": 2}
    assert seen["status"] == "completed"
    assert seen["decisions"][0]["selected"] == "f"
    assert captured.verdicts("rejected")[0] == ["a", "b", "c"]


def test_item_ids_may_be_ints_uuids_and_any_text() -> None:
    captured = Captured()
    number = uuid.uuid4()
    with captured.run() as run, run.step("s") as step:
        for item in (7, number, "né", "\ud800", "x" * 5_000):
            step.reject(item, "r")  # type: ignore[arg-type]  # UUIDs are accepted too
    ids, _ = captured.verdicts("rejected")
    assert ids[:4] == ["7", str(number), "né", "\\ud800"]
    assert len(ids[4]) == 256


@pytest.mark.swallows
def test_an_item_without_a_readable_id_still_counts_and_the_step_says_so() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.reject(object(), "odd")  # type: ignore[arg-type]
        step.accept(None)  # type: ignore[arg-type]
    seen = captured.step("s")
    assert seen["counts"] == {"rejected": 1, "accepted": 1}
    assert seen["dropped"] == {"verdicts_without_id": 1, "null_ids": 1}


def test_reasons_may_be_enum_members_and_are_bounded_in_number() -> None:
    class Why(enum.Enum):
        LATE = "late"

    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.reject("a", Why.LATE)  # type: ignore[arg-type]
        step.reject("b", Why.LATE)  # type: ignore[arg-type]
        for i in range(1_500):
            step.reject(f"x{i}", f"reason {i}")
    reasons = captured.step("s")["reasons"]["rejected"]
    assert reasons["late"] == 2
    assert len(reasons) <= 1_001
    assert sum(reasons.values()) == 1_502
    assert reasons["(other reasons)"] > 0


def test_large_steps_keep_a_fingerprint_of_every_item() -> None:
    captured = Captured()
    items = [f"item-{i}" for i in range(70_000)]
    with captured.run() as run, run.step("s") as step:
        for item in items:
            step.reject(item, "r")
    ids, prints = captured.verdicts("rejected")
    assert len(ids) == 1_000
    kept = set(prints)
    assert set(ids) | {item for item in items if fingerprint(item) in kept} == set(items)
    assert len(ids) + len(prints) == 70_000


def test_a_rare_outcome_is_known_by_name_however_many_items_fell_before_it() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        for i in range(30_000):
            step.reject(f"x{i}", "common")
        step.accept("needle")
        for i in range(15):
            for j in range(1_000):
                step.reject(f"y{i}-{j}", f"reason {i}")
    assert captured.verdicts("accepted")[0] == ["needle"]
    assert len(captured.verdicts("rejected")[0]) <= 10_000


def test_eight_threads_rejecting_on_one_step_lose_no_count_while_it_is_snapshotted() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:

        def work(worker: int) -> None:
            for i in range(5_000):
                step.reject(f"{worker}-{i}", f"reason {i % 3}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            captured.recorder.snapshot_open()
        for thread in threads:
            thread.join()
    assert captured.step("s")["counts"] == {"rejected": 40_000}
    ids, prints = captured.verdicts("rejected")
    assert len(ids) + len(prints) == 40_000


def test_an_exception_marks_step_and_run_failed_and_goes_on_untouched() -> None:
    for raised in (ValueError("bad price"), KeyboardInterrupt(), SystemExit(3)):
        captured = Captured()
        with pytest.raises(type(raised)) as caught, captured.run() as run, run.step("s"):
            raise raised
        assert caught.value is raised
        step, run_record = captured.step("s"), captured.of_kind("run")[-1]
        assert step["status"] == run_record["status"] == "failed"
        assert step["error"]["type"] == type(raised).__name__
        assert "test_step.py" in step["error"]["traceback"]


def test_steps_nest_and_asyncio_tasks_keep_their_own_current_step() -> None:
    captured = Captured()

    async def work(run: Any, name: str) -> None:
        async with run.step(name) as step:
            await asyncio.sleep(0)
            assert current_step() is step
            with run.step(f"{name}-inner"):
                await asyncio.sleep(0)
                current_step().reject(name, "r")

    async def main() -> None:
        async with captured.run() as run:
            assert current_run() is run
            await asyncio.gather(*(work(run, f"t{i}") for i in range(5)))

    asyncio.run(main())
    for i in range(5):
        inner = captured.step(f"t{i}-inner")
        assert inner["parent_id"] == captured.step(f"t{i}")["step_id"]
        assert inner["counts"] == {"rejected": 1}


def test_outside_any_step_the_current_step_takes_every_call_and_does_nothing() -> None:
    step = current_step()
    assert not step
    step.reject("a", "r", {"x": 1})
    step.set_input_items([1])
    with step.step("inner") as inner:
        inner.accept("a")


def test_carry_takes_the_step_into_a_thread() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s"):
        thread = threading.Thread(target=carry(lambda: current_step().reject("a", "r")))
        thread.start()
        thread.join()
    assert captured.step("s")["counts"] == {"rejected": 1}


def test_capture_level_minimal_keeps_counts_and_reasons_only() -> None:
    captured = Captured(capture="minimal")
    with captured.run() as run, run.step("s") as step:
        for i in range(50):
            step.reject(str(i), "r", {"x": i})
        step.snapshot()
        step.accept("z")
        step.set_input_items(["a", "b"])
    assert captured.step("s")["counts"] == {"rejected": 50, "accepted": 1}
    assert captured.step("s")["reasons"]["rejected"] == {"r": 50}
    assert not captured.of_kind("verdicts")
    assert not captured.samples()


def test_capture_level_full_keeps_every_detail() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s", capture="full") as step:
        for i in range(1_700):
            step.reject(str(i), "r", {"x": i})
    samples = captured.samples()
    assert sorted(s["details"]["x"] for s in samples) == list(range(1_700))
    assert {s["weight"] for s in samples} == {1.0}


def test_item_sets_are_counted_and_make_the_counts_of_the_step() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.set_input_items([{"id": i} for i in range(5)], key="id")
        step.set_output_items([1, 3])
    seen = captured.step("s")
    assert (seen["input_count"], seen["output_count"]) == (5, 2)
    assert captured.verdicts("in")[0] == ["0", "1", "2", "3", "4"]
    assert captured.verdicts("out")[0] == ["1", "3"]


@pytest.mark.swallows
def test_an_iterator_given_as_items_is_left_unread() -> None:
    captured = Captured()
    numbers = iter([1, 2, 3])
    with captured.run() as run, run.step("s") as step:
        step.set_input_items(numbers)
    assert list(numbers) == [1, 2, 3]
    assert captured.step("s")["dropped"] == {"items_in": 1}


def test_the_wall_clock_may_jump_without_turning_time_around() -> None:
    captured = Captured()
    times = iter([86_400_000_000, 86_400_000_000, *([0] * 100)])
    captured.recorder.now_us = lambda: next(times)
    with captured.run() as run, run.step("s"):
        pass
    seen = captured.step("s")
    assert seen["ended_us"] >= seen["started_us"]
    assert 0 <= seen["duration_us"] < 60_000_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rejected", "accepted", "errored", "selected", "snapshot"]),
            st.integers(0, 50),
            st.sampled_from(["r1", "r2", None]),
        ),
        max_size=60,
    ),
    st.sampled_from(["minimal", "sample", "full"]),
)
def test_counts_are_exact_under_any_order_and_level(calls: list[tuple[str, int, str | None]], capture: str) -> None:
    captured = Captured()
    expected: dict[str, int] = {}
    with captured.run() as run, run.step("s", capture=capture) as step:
        for outcome, item, reason in calls:
            if outcome == "snapshot":
                step.snapshot()
                continue
            if outcome == "rejected":
                step.reject(item, reason or "r0", {"i": item})
            elif outcome == "accepted":
                step.accept(item, reason)
            elif outcome == "errored":
                step.errored(item, reason)
            else:
                step.decide("d", selected=item, reason=reason)
            expected[outcome] = expected.get(outcome, 0) + 1
        assert sum(expected.values()) == sum(
            getattr(step.ledger, outcome) or 0 for outcome in ("accepted", "rejected", "errored")
        )
    seen = captured.step("s")
    assert seen["counts"] == expected
    for outcome, n in expected.items():
        assert sum(seen["reasons"][outcome].values()) == n
        ids, _ = captured.verdicts(outcome)
        assert len(ids) == (0 if capture == "minimal" else n)


def test_several_outputs_are_observed_one_by_one_and_compared_together() -> None:
    def outputs_of(*pairs: tuple[str, object]) -> dict[str, Any]:
        captured = Captured()
        with captured.run() as run, run.step("split") as step:
            for name, value in pairs:
                step.observe_output(value, name=name)
        return captured.step("split")

    first = outputs_of(("kept", [1, 2]), ("dropped", [3]))
    assert first["output"] == {"kept": {"$type": "list", "size": 2}, "dropped": {"$type": "list", "size": 1}}
    assert first["output_count"] is None, "with several outputs a count would be a guess"
    reordered = outputs_of(("dropped", [3]), ("kept", [2, 1]))
    assert reordered["output_fp"]["unordered"] == first["output_fp"]["unordered"]
    assert reordered["output_fp"]["exact"] != first["output_fp"]["exact"]
    assert outputs_of(("kept", [1, 2]), ("dropped", [4]))["output_fp"] != first["output_fp"]


def test_code_entered_piecewise_finds_its_own_step_again() -> None:
    captured = Captured()
    with captured.run() as run:
        outer = run.step("outer").open()
        tokens = context.enter((run, outer))
        inner = outer.step("inner")
        inner.__enter__()
        paused = context.leave(tokens)
        assert not current_step()
        tokens = context.enter(paused)
        assert current_step() is inner
        inner.__exit__(None, None, None)
        assert current_step() is outer
        context.leave(tokens)
        outer.close()


def test_what_is_said_after_the_end_does_not_replace_what_was_written_at_the_end() -> None:
    captured = Captured()
    with captured.run() as run:
        with run.step("filter") as step:
            step.observe_input([0.5, 1.5])
            step.reject(1, "odd")
        step.set_metadata("late", True)
        step.reject(2, "late")
        step.snapshot()  # as the background thread may, which had the step in its hands when it ended
    (told,) = [record for record in captured.of_kind("step") if record["status"] == "completed"]
    assert (told["input"], told["counts"]) == ({"$type": "list", "size": 2}, {"rejected": 1})
    assert step.ledger.input == 1, "a size is no count"


def test_a_step_that_was_made_before_its_time_begins_when_it_is_opened_and_in_the_process_that_opens_it() -> None:
    captured = Captured()
    now = iter(range(1_000_000_000, 2_000_000_000, 1_000_000))
    recorder = captured.recorder
    recorder.now_ns = recorder.clock_ns = lambda: next(now)  # a tick is a millisecond
    with captured.run() as run:
        early = run.open_step_unwritten("early", metadata={"known": 1})
        assert not captured.of_kind("step")
        for _ in range(100):
            recorder.now_us()
        recorder.part = "child"  # as after a fork
        early.open_now()
        early.close()
    opened, closed = captured.of_kind("step")
    assert opened["started_us"] > 1_100_000
    assert (closed["started_us"], closed["duration_us"] < 50_000) == (opened["started_us"], True)
    assert opened["part"] == closed["part"]
    assert (opened["part"].partition(".")[0], opened["metadata"]) == ("child", {"known": 1})


@pytest.mark.swallows
@pytest.mark.parametrize("level", ["minimal", "sample", "full"])
def test_an_item_is_counted_once_whatever_its_score_rank_details_or_sampler_raise(level: Any) -> None:
    class Number(int):
        def __float__(self) -> float:
            raise RuntimeError("no number")

    class Lookup(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise RuntimeError("no value")

    captured = Captured(dimensions="x")
    with captured.run() as run, run.step("s", capture=level) as step:
        step.accept("a", score=Number(3))
        step.reject("b", "r", Lookup(x=1), rank=Number(3))
        step.reject("c", "r", {"x": np.arange(3)})
        step.accept_many(["d"], score=[Number(3)])
    assert captured.step("s")["counts"] == {"accepted": 2, "rejected": 2}
    assert captured.step("s")["dimensions"]["x"] == {
        "(none)": {"accepted": 2, "rejected": 1},
        "<numpy.ndarray>": {"rejected": 1},
    }
    if level != "minimal":
        assert captured.verdicts("accepted")[0] == ["a", "d"]
        assert captured.verdicts("rejected")[0] == ["b", "c"]


def test_an_empty_reason_is_none() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.accept("a", "")
        step.accept("b")
        step.reject("c", "")
    assert captured.step("s")["reasons"] == {"accepted": {"": 2}, "rejected": {"": 1}}
    assert {each["reason"] for record in captured.of_kind("verdicts") for each in record["sets"]} == {None}


def test_the_last_samples_count_also_when_the_clock_went_back() -> None:
    captured = Captured()
    now_ns = [1_800_000_000_000_000_000]
    captured.recorder.now_ns = lambda: now_ns[0]
    with captured.run() as run, run.step("s") as step:
        step.reject("a", "r", {"x": 1})
        step.snapshot()
        now_ns[0] -= 86_400_000_000_000
        step.reject("b", "r", {"x": 2})
    assert {sample["item_id"]: sample["details"] for sample in captured.samples()} == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_record_of_long_names_is_no_longer_than_a_line_of_the_wire() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        for reason in range(10):
            step.reject_many([f"{reason}-{n}-".ljust(256, "\U0001d11e") for n in range(1_000)], str(reason))
    assert max(len(payload) for _, payload in captured.sink.payloads) < MAX_LINE_BYTES
    assert len(set(captured.verdicts("rejected")[0])) == 10_000


def test_a_selected_mapping_keeps_the_score_that_it_has() -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.decide("best", selected={"id": "a", "score": 5.0}, alternatives=[{"id": "b", "score": 4.0}])
    seen = captured.step("s")
    assert seen["decisions"][0]["score"] == 5.0
    assert seen["scores"]["selected"]["max"] == [5.0, "a"]


def test_a_flush_in_the_middle_of_a_flush_takes_no_item_twice() -> None:
    """As from a signal handler: between any two lines of `drain`."""
    lines = 0
    while lines < 60:
        captured = Captured()
        with captured.run() as run, run.step("s") as step:
            step.accept_many(range(1_500))
            step.reject("a", "r", value=5)
            seen = _flush_at_line(lines, step)
        assert captured.step("s")["counts"] == {"accepted": 1_500, "rejected": 1}
        ids, prints = captured.verdicts("accepted")
        assert len(ids) + len(prints) == 1_500
        assert captured.verdicts("rejected")[0] == ["a"]
        if not seen:
            break
        lines += 1
    assert 10 < lines < 60


def _flush_at_line(number: int, step: Step) -> bool:
    """Flush, and flush once more before this line of the writing down; whether there is such a line."""
    left = number

    def at_each_line(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_name not in ("drain", "_drain") or not frame.f_code.co_filename.endswith("verdict_log.py"):
            return None
        if event == "line":
            left -= 1
            if left == -1:
                sys.settrace(None)
                step.snapshot()
        return at_each_line

    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        step.snapshot()
    finally:
        sys.settrace(before)
    return left < 0


def test_a_step_that_is_entered_again_after_its_end_stays_as_it_ended_and_is_let_go_of() -> None:
    captured = Captured()
    with captured.run() as run:
        step = run.step("s")
        for item in ("a", "b"):
            with step:
                step.reject(item, "r")
        assert not current_step()
        captured.recorder.snapshot_open()
        assert step not in captured.recorder.open_things
    assert captured.step("s")["counts"] == {"rejected": 1}
    assert captured.recorder.counters == {"after_the_end": 1}
