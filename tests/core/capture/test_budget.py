"""Looking at what a step was given and gave back costs 5 ms of CPU time, whatever it was: nothing larger is begun."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.core.capturing import Captured
from xray_core.capture.budget import LEAST_S, Budget, OverBudgetError

N = 100_000


def frame() -> pd.DataFrame:
    return pd.DataFrame({"id": np.arange(N), **{f"c{n}": np.arange(N) / 3 for n in range(8)}, "t": ["text"] * N})


LARGE: dict[str, Callable[[], Any]] = {
    "pandas": frame,
    "polars": lambda: pl.from_pandas(frame()),
    "dicts": lambda: [{"id": n, "price": n / 3, "name": f"n{n}"} for n in range(N)],
    "dicts of lists": lambda: [{"id": n, "tags": ["a", "b"]} for n in range(3_000)],
    "numbers": lambda: list(range(10 * N)),
    "ids": lambda: [f"id-{n}" for n in range(2 * N)],
    "sentences": lambda: [f"sentence number {n}" for n in range(2 * N)],
    "nested": lambda: {"a": [{"x": list(range(20))} for _ in range(1_500)]},
    "deep": lambda: [[[[n] * 9] * 9] * 9 for n in range(300)],
    "an array": lambda: np.ones((3_000, 1_000)),
    "by id": lambda: {f"id{n}": {"v": n} for n in range(2 * N)},
    "a text": lambda: "x" * 50_000_000,
    "bytes": lambda: b"x" * 50_000_000,
    "wide": lambda: pd.DataFrame({f"item{n}_id": [n] for n in range(2_000)}),
    "less wide": lambda: pd.DataFrame({f"item{n}_id": [n] for n in range(500)}),
    "parts": lambda: [[{"id": n + 1_000 * part} for n in range(1_000)] for part in range(500)],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_short_step_is_looked_at_for_five_milliseconds_whatever_goes_through_it(name: str) -> None:
    """CPU time of the thread, the least of five, against three times the bound: the machine may be busy."""
    value = LARGE[name]()
    took = []
    gc.disable()
    try:
        for _ in range(5):
            captured = Captured()
            with captured.run() as run:
                step = run.open_step("s")
                began = time.thread_time()
                step.observe_inputs({"rows": value})
                step.observe_output(value)
                step.close()
                took.append(time.thread_time() - began)
    finally:
        gc.enable()
    assert min(took) < 3 * LEAST_S, [f"{1e3 * each:.1f} ms" for each in took]


def test_what_is_spent_is_spent_and_a_long_step_has_two_percent() -> None:
    now = 0.0
    budget = Budget(lambda: now)
    with pytest.raises(OverBudgetError):
        budget.tick()
    with budget.look():
        budget.tick(0.005)
        now = 0.003
    with budget.look(share=0.5):
        budget.tick(0.001)
        with pytest.raises(OverBudgetError):
            budget.tick(0.0011)
    with budget.look(10.0):
        budget.tick(0.197)
        with pytest.raises(OverBudgetError):
            budget.tick(0.198)
