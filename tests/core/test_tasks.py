"""Which attempt of a task counts: whatever the order, a retry takes a dead attempt's place, and of two at a time one counts."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core.merge import merge_step
from xray_core.tasks import TaskAttempt, counting, is_of_task, may_count

S = 1_000_000


def said(attempt: TaskAttempt, n: int, task: str | None, *, began_s: int, spoke_s: int, unique: str = "p") -> Any:
    """A part of an attempt that counted `n` items, and last spoke at `spoke_s`."""
    return {
        "part": attempt.part(unique), "task": task, "counts": {"rejected": n}, "started_us": began_s * S, "rev": spoke_s * S,
    }  # fmt: skip


def counted(*parts: Any) -> list[int]:
    return [part["counts"]["rejected"] for part in counting(parts)]


FIRST, SECOND = TaskAttempt("t", 0, 1), TaskAttempt("t", 0, 2)


def test_a_retry_takes_the_place_of_an_attempt_whose_worker_died() -> None:
    died = said(FIRST, 700, "running", began_s=0, spoke_s=5)
    retried = said(SECOND, 1_000, "completed", began_s=9, spoke_s=19)
    assert counted(died, retried) == counted(retried, died)[::-1] == [1_000]


def test_an_attempt_that_ended_well_counts_though_it_said_less() -> None:
    died = said(SECOND, 700, "failed", began_s=9, spoke_s=20)
    assert counted(said(FIRST, 10, "completed", began_s=0, spoke_s=5), died) == [10]


def test_while_none_has_ended_the_one_that_said_most_counts() -> None:
    died = said(FIRST, 700, "running", began_s=0, spoke_s=5)
    assert counted(died, said(SECOND, 3, "running", began_s=9, spoke_s=10)) == [700]
    assert counted(died, said(SECOND, 701, "running", began_s=9, spoke_s=30)) == [701]


def test_of_two_attempts_at_a_time_the_one_that_ended_first_counts() -> None:
    slow = said(FIRST, 1, "completed", began_s=0, spoke_s=30)
    speculative = said(SECOND, 2, "completed", began_s=20, spoke_s=29)
    assert counted(slow, speculative) == [2]


def test_a_task_whose_result_was_lost_counts_as_it_was_done_again() -> None:
    lost = said(FIRST, 1, "completed", began_s=0, spoke_s=10)
    again = said(SECOND, 2, "completed", began_s=10, spoke_s=20)
    third = said(TaskAttempt("t", 0, 3), 3, "completed", began_s=15, spoke_s=25)
    assert counted(lost, again) == [2]
    assert counted(third, again, lost) == [2], "it ran beside the second, which ended before it"


def test_the_engine_knows_better_than_the_clock_which_attempt_replaced_which() -> None:
    lost = said(TaskAttempt("t", 3, 1), 1, "completed", began_s=0, spoke_s=10)
    replaced = said(TaskAttempt("t", 4, 1), 2, "completed", began_s=5, spoke_s=20)
    died = said(TaskAttempt("t", 5, 1), 9, "running", began_s=30, spoke_s=31)
    assert counted(lost, replaced, died) == [2]


def test_all_that_one_attempt_says_counts_and_it_has_ended_when_all_of_it_has() -> None:
    one = said(FIRST, 5, "completed", began_s=0, spoke_s=10)
    other = said(FIRST, 6, "completed", began_s=1, spoke_s=11, unique="q")
    died = said(SECOND, 7, "completed", began_s=0, spoke_s=2)
    half = said(SECOND, 1, "running", began_s=0, spoke_s=2, unique="q")
    assert counted(one, died, other, half) == [5, 6]


def test_other_tasks_and_other_parts_count_beside_it() -> None:
    other = said(TaskAttempt("u", 0, 1), 3, "running", began_s=0, spoke_s=1)
    plain = {"part": "a", "counts": {"rejected": 4}}
    near = {"part": "task:x", "counts": {"rejected": 8}}
    parts = [
        plain,
        other,
        near,
        said(FIRST, 1, "running", began_s=0, spoke_s=1),
        said(SECOND, 2, "completed", began_s=0, spoke_s=1),
    ]
    assert merge_step(parts)["counts"] == {"rejected": 17}


def test_what_hangs_on_a_part_counts_when_the_part_does() -> None:
    name = FIRST.part("p")
    assert may_count(name, {name})
    assert not may_count(name, {SECOND.part("p")})
    assert not may_count(name, ()), "an attempt of which nothing is known but a piece"
    assert may_count("a", ())
    assert may_count("task:with~a~hat", ())
    assert [is_of_task(each) for each in (name, "task:x", "", None)] == [True, False, False, False]


def test_a_task_may_have_any_name() -> None:
    for task in ("", "~" * 300, "('read', 3)", "\ud800", "ü\0"):
        name = TaskAttempt(task, 1, 2).part("0a1b2c.3")
        assert is_of_task(name)
        assert len(name) < 60


_part = st.builds(
    lambda task, generation, attempt, unique, n, state, began, spoke: {
        "part": TaskAttempt(task, generation, attempt).part(unique) if task else unique,
        "task": state, "counts": {"accepted": n}, "started_us": began, "rev": spoke,
    },
    st.sampled_from(["", "t", "u"]), st.integers(0, 2), st.integers(0, 2), st.sampled_from("pq"), st.integers(0, 3),
    st.sampled_from([None, "running", "completed", "failed"]), st.none() | st.integers(0, 5), st.integers(0, 5),
)  # fmt: skip


@given(st.lists(_part, max_size=8, unique_by=lambda part: part["part"]), st.randoms())
def test_one_attempt_of_each_task_counts_and_the_same_in_any_order(parts: list[Any], random: Random) -> None:
    kept = {part["part"] for part in counting(parts)}
    shuffled = parts[:]
    random.shuffle(shuffled)
    assert {part["part"] for part in counting(shuffled)} == kept
    attempts = {name.rpartition("~")[0] for name in kept if is_of_task(name)}
    tasks = {part["part"].split("~")[0] for part in parts if is_of_task(part["part"])}
    assert {each.split("~")[0] for each in attempts} == tasks
    assert len(attempts) == len(tasks)
