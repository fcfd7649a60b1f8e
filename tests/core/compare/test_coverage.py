"""Which given values can be all that went in or came out, and which tell less.

Tests compare/coverage.py and certainty.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from xray_core.compare import PartedAt
from xray_core.compare.coverage import can_be_all
from xray_core.testing import capture

ROWS = [{"id": f"r{n}", "price": n} for n in range(12)]


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (ROWS, 12),
        ({"limit": 5, "rows": ROWS}, 12),
        ({f"r{n}": n for n in range(12)}, 12),  # a value for each name
        ([*ROWS[:5], {"$more": 7}], 12),  # stored in part, fingerprinted whole
        ({"$type": "DataFrame", "size": 12, "$more": 1}, 12),
        ([0.2, 0.7, 0.4], 3),
        (["what is it?", "where is it?"], 2),
        ({"id": "r1", "price": 3}, 1),
        ({"question": "what is it?"}, None),  # of no items anything is known
        ("prompt", None),
        (17, None),
        ({"fever": 101.3, "unit": "F"}, None),
    ],
    ids=str,
)
def test_values_and_records_can_be_all(value: Any, n: int | None) -> None:
    assert can_be_all(value, n)


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (["r1", "r2"], None),  # ids, it may be
        ([1, 2, 3], 3),
        ([*["r1"] * 5, {"$more": 7}], 12),
        ({"rows": 12}, None),
        ({"n": 12, "shape": [12, 3]}, None),
        ({"n_docs": 3, "total_count": 7}, None),
        ({"question": "what is it?"}, 12),
        ({"ids": [f"r{n}" for n in range(12)]}, 12),
        (ROWS[:11], 12),
        (None, None),
    ],
    ids=str,
)
def test_names_counts_and_what_leaves_items_out_are_less(value: Any, n: int | None) -> None:
    assert not can_be_all(value, n)


def blamed(clean_out: Any, gate_in: Any, *, typed: bool = False) -> PartedAt:
    """A pipeline in which `clean` may have changed values: what is said of it, and of what went into `gate`."""
    with capture() as captured:
        for bad in (False, True):
            with captured.xray.run(input=1, run_id=f"bad {bad}") as run:
                with run.step("load", "retrieve") as step:
                    step.set_output(ROWS)
                with run.step("clean") as step:
                    step.set_input(ROWS)
                    step.set_output(clean_out)
                with run.step("gate", "filter" if typed else None) as step:
                    step.set_input(gate_in)
                    for row in ROWS:
                        step.accept(row["id"]) if row["price"] > 3 * bad else step.reject(row["id"], "small")
        parted = captured.diff("bad False", "bad True").parted_at
    assert parted is not None
    assert parted.path == "gate"
    return parted


@pytest.mark.parametrize("typed", [False, True])
def test_a_blame_rests_on_what_can_be_all_that_went_in(typed: bool) -> None:
    assert blamed(ROWS, ROWS, typed=typed).certain
    for less in ({"rows": 12}, [row["id"] for row in ROWS], {"question": "which?"}):
        parted = blamed(ROWS, less, typed=typed)
        assert not parted.certain
        assert list(parted.not_certain_because) == ["more went into it than what was captured of its input"]


def test_a_count_of_rows_or_a_list_of_ids_clears_no_step() -> None:
    for less in ({"rows": 12}, [row["id"] for row in ROWS]):
        parted = blamed(less, ROWS)
        assert not parted.certain
        assert "clean may differ before it" in parted.not_certain_because[0]
