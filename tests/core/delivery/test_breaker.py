"""When the sender may try again, over a clock and dice of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.delivery.breaker import BASE_S, CAP_S, Breaker


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(failures=st.integers(1, 40), dice=st.floats(0, 1))
def test_the_wait_is_full_jitter_below_a_doubling_cap(failures: int, dice: float) -> None:
    breaker = Breaker(clock=Clock(), uniform=lambda low, high: low + dice * (high - low))
    for _ in range(failures):
        breaker.failed()
    assert breaker.wait_s() == pytest.approx(dice * min(CAP_S, BASE_S * 2 ** min(failures, 10)))


@given(asked_s=st.floats(0, 3600), dice=st.floats(0, 1))
def test_retry_after_is_a_floor_and_jitter_comes_on_top(asked_s: float, dice: float) -> None:
    breaker = Breaker(clock=Clock(), uniform=lambda low, high: low + dice * (high - low))
    breaker.failed(retry_after_s=asked_s)
    assert breaker.wait_s() >= asked_s - 1e-6
    assert breaker.wait_s() == pytest.approx(asked_s + dice * 2 * BASE_S)
    assert breaker.wait_s(hurry=True) == pytest.approx(asked_s), "not even a flush comes earlier"


def test_it_opens_after_three_failures_probes_when_the_wait_is_over_and_closes_on_success() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock, uniform=lambda low, high: high)
    breaker.failed()
    breaker.failed()
    assert breaker.state == "closed"
    breaker.failed()
    assert breaker.state == "open"
    clock.now_s += breaker.wait_s()
    assert breaker.state == "half_open"
    breaker.succeeded()
    assert (breaker.state, breaker.wait_s()) == ("closed", 0.0)


def test_a_pause_is_long_but_a_flush_looks_again_at_once() -> None:
    breaker = Breaker(clock=Clock(), uniform=lambda low, high: high)
    breaker.paused()
    first_s = breaker.wait_s()
    breaker.paused()
    assert 3.0 < first_s < breaker.wait_s() <= 60.0
    assert breaker.wait_s(hurry=True) == 0.0


def test_an_absurd_retry_after_is_bounded() -> None:
    breaker = Breaker(clock=Clock())
    breaker.failed(retry_after_s=1e12)
    assert breaker.wait_s() < 25 * 3600
