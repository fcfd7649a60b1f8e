"""Dimensions are counted for every item, whoever says it and however; nothing is counted where nobody asks.

Tests capture/dimensions.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.core.capturing import Captured
from xray_core import ConfigurationError
from xray_core.capture.dimensions import MAX_DIMENSIONS, MAX_VALUES
from xray_core.merge import merge_step
from xray_core.settings import load


class Colour(Enum):
    RED = "red"


def counted(work: Callable[[Any], Any], level: str = "sample", **settings: Any) -> dict[str, Any]:
    captured = Captured(**settings)
    with captured.run() as run, run.step("slots", capture=level) as step:
        work(step)
    return captured.step("slots")


@pytest.mark.parametrize("level", ["minimal", "sample", "full"])
def test_every_item_counts_sampled_or_not_at_every_level(level: str) -> None:
    def work(step: Any) -> None:
        step.set_dimensions(["carrier", "country"])
        for n in range(3_000):
            details = {"carrier": ["DHL", "UPS"][n % 2], "country": "DE", "price": n}
            if n % 3:
                step.reject(f"i{n}", "no_slot", details)
            else:
                step.accept(f"i{n}", details=details)

    state = counted(work, level)
    assert state["dimensions"] == {
        "carrier": {"DHL": {"accepted": 500, "rejected": 1_000}, "UPS": {"accepted": 500, "rejected": 1_000}},
        "country": {"DE": {"accepted": 1_000, "rejected": 2_000}},
    }


def test_a_reason_with_a_fast_path_counts_from_when_dimensions_are_set() -> None:
    def work(step: Any) -> None:
        for n in range(1_500):
            step.reject(f"i{n}", "no_slot", {"carrier": "DHL"})
        step.set_dimensions("carrier")
        for n in range(1_500, 1_600):
            step.reject(f"i{n}", "no_slot", {"carrier": "DHL"})

    assert counted(work)["dimensions"] == {"carrier": {"DHL": {"rejected": 100}}}


def test_columns_of_frames_and_details_of_many_are_counted_row_by_row() -> None:
    frame = pd.DataFrame({"id": range(100), "price": range(100), "country": ["DE", "FR"] * 50})

    def work(step: Any) -> None:
        step.set_dimensions(["country"])
        step.filter(frame, {"dear": frame.price >= 50}, key="id")
        step.reject_many(["a", "b"], "gone", {"country": "GB"})
        step.judge(["c", "d"], [None, "gone"], details=[{"country": "GB"}, None])

    assert counted(work)["dimensions"] == {
        "country": {
            "DE": {"accepted": 25, "rejected": 25},
            "FR": {"accepted": 25, "rejected": 25},
            "GB": {"rejected": 2, "accepted": 1},
            "(none)": {"rejected": 1},
        }
    }


def test_values_of_every_kind_have_one_text_and_secrets_none() -> None:
    secret = "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a"
    odd = [1, True, 1.0, "1", None, float("nan"), Colour.RED, np.int64(7), [1], secret]

    def work(step: Any) -> None:
        step.set_dimensions(["v"])
        for n, value in enumerate(odd):
            step.accept(n, details={"v": value})

    found = counted(work)["dimensions"]["v"]
    assert secret not in repr(found)
    assert {value: sum(n.values()) for value, n in found.items() if "redacted" not in value} == {
        "1": 3, "true": 1, "(none)": 2, "red": 1, "7": 1, "<list>": 1,
    }  # fmt: skip


def test_values_and_fields_beyond_the_bounds_are_counted_together() -> None:
    def work(step: Any) -> None:
        step.set_dimensions([f"d{n}" for n in range(MAX_DIMENSIONS + 2)])
        for n in range(MAX_VALUES + 50):
            step.accept(n, details={"d0": n})

    state = counted(work)
    assert len(state["dimensions"]) == MAX_DIMENSIONS
    assert state["dimensions"]["d0"]["(other)"] == {"accepted": 50}
    assert state["dropped"] == {"dimensions": 2}


def test_the_setting_asks_for_them_without_code_and_a_wrong_one_says_what_to_write() -> None:
    def work(step: Any) -> None:
        step.reject("a", "no_slot", {"carrier": "DHL", "country": "DE"})

    assert set(counted(work, dimensions="p/slots=carrier")["dimensions"]) == {"carrier"}
    assert counted(work, dimensions="other/slots=carrier")["dimensions"] == {}
    assert set(counted(work, dimensions="carrier,country")["dimensions"]) == {"carrier", "country"}
    with pytest.raises(ConfigurationError, match="XRAY_DIMENSIONS"):
        load({}, {"XRAY_DIMENSIONS": "slots=carrier"})


@pytest.mark.swallows
@pytest.mark.parametrize("wrong", [None, [], [1], 5, [""]])
def test_what_names_no_fields_is_refused_and_costs_nothing_else(wrong: Any) -> None:
    def work(step: Any) -> None:
        step.set_dimensions(wrong)
        step.accept("a")

    state = counted(work)
    assert (state["dimensions"], state["counts"]) == ({}, {"accepted": 1})


def test_threads_and_parts_add_up() -> None:
    def work(step: Any) -> None:
        step.set_dimensions(["carrier"])

        def some() -> None:
            for n in range(1_000):
                step.reject(n, "late", {"carrier": "DHL"})

        threads = [threading.Thread(target=some) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert counted(work)["dimensions"] == {"carrier": {"DHL": {"rejected": 4_000}}}
    parts = [
        {"part": part, "dimensions": {"c": {"x": {"rejected": n}, part: {"accepted": 1}}}}
        for part, n in (("a", 2), ("b", 3))
    ]
    assert merge_step(parts)["dimensions"] == {"c": {"x": {"rejected": 5}, "a": {"accepted": 1}, "b": {"accepted": 1}}}


def test_what_is_captured_in_the_middle_of_a_capture_is_counted_and_waits_for_nothing() -> None:
    """As in a signal handler, a finaliser or a mapping of the program's own."""
    captured = Captured(dimensions="x")
    with captured.run() as run, run.step("s") as step:

        class Lookup(dict[str, Any]):
            def get(self, *_: Any) -> Any:
                step.reject("inner", "r", {"x": 1})
                return 2

        step.reject("outer", "r", Lookup(x=2))
    assert captured.step("s")["dimensions"] == {"x": {"1": {"rejected": 1}, "2": {"rejected": 1}}}
