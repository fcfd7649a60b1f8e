"""Work in the background rests between short turns, and not where nobody else works."""

from __future__ import annotations

import time

from xray_server.turns import SLICE_S, Turns


def work(for_s: float) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        pass


def test_who_worked_long_enough_rests_in_proportion() -> None:
    rests: list[float] = []
    turns = Turns(rests.append, share=0.25)
    turns.begin()
    turns.rest()
    assert rests == []
    work(2 * SLICE_S)
    turns.rest()
    turns.rest()
    (rest,) = rests
    assert rest >= 3 * 2 * SLICE_S


def test_nobody_rests_where_nobody_else_works() -> None:
    rests: list[float] = []
    turns = Turns(rests.append, share=0.05, busy=lambda: False)
    turns.begin()
    work(2 * SLICE_S)
    turns.rest()
    assert rests == []
