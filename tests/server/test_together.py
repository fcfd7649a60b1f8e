"""Questions that are asked at the same time: as if one after the other, but for the time that it takes."""

from __future__ import annotations

import threading

import pytest
from xray_server.store.incomplete import note_missing, noting_missing
from xray_server.together import together


def test_answers_come_in_order_and_the_questions_are_under_way_at_the_same_time() -> None:
    both = threading.Barrier(3, timeout=20)

    def ask(answer: int) -> int:
        both.wait()
        return answer

    assert together(lambda: ask(1), lambda: ask(2), lambda: ask(3)) == (1, 2, 3)
    assert together(lambda: 1) == (1,)
    assert together() == ()


def test_what_a_thread_leaves_out_is_noted_where_it_was_asked() -> None:
    with noting_missing() as missing:
        together(lambda: note_missing("shard 1"), lambda: note_missing("shard 2"))
    assert sorted(missing) == ["shard 1", "shard 2"]


@pytest.mark.parametrize("failing", [(0, 1), (1,), (0,)])
def test_the_first_that_failed_is_raised_after_all_have_ended(failing: tuple[int, ...]) -> None:
    ended: list[int] = []

    def ask(number: int) -> None:
        ended.append(number)
        if number in failing:
            raise KeyError(number)

    with pytest.raises(KeyError, match=str(failing[0])):
        together(lambda: ask(0), lambda: ask(1), lambda: ask(2))
    assert sorted(ended) == [0, 1, 2]
