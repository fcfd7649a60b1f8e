"""`why` finds an item by one spelling, whatever held it: frames, dicts and data classes that nobody spoke of, and the core API."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from xray_core import XRay
from xray_core.capture.step import Step
from xray_core.testing import capture


@dataclasses.dataclass
class Row:
    order_id: Any


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


Ids = Sequence[Any]
HOLDERS: dict[str, Callable[[Ids], Any]] = {
    "dicts": lambda ids: [{"order_id": each} for each in ids],
    "data classes": lambda ids: [Row(each) for each in ids],
    "pandas": lambda ids: pd.DataFrame({"order_id": list(ids)}),
    "pandas, an index": lambda ids: pd.DataFrame({"v": range(len(ids))}, index=pd.Index(list(ids), name="order_id")),
    "polars": lambda ids: pl.DataFrame({"order_id": list(ids)}),
    "pyarrow": lambda ids: pa.table({"order_id": list(ids)}),
}
IDS: dict[str, Ids] = {
    "numbers": [5, 12, 7], "texts of numbers": ["5", "12", "7"], "whole floats": [5.0, 12.0, 7.0],
    "texts": ["o-1", "ö 2", "o|3"],
    "dates": [dt.date(2024, 1, 2), dt.date(2024, 1, 3), dt.date(2024, 1, 4)],
}  # fmt: skip
SAME: list[Ids] = [
    [5, 12, 7], ["5", "12", "7"], [5.0, 12.0, 7.0], [np.int64(5), np.int64(12), np.int64(7)],
    [decimal.Decimal(5), decimal.Decimal("12.0"), decimal.Decimal("7.00")],
]  # fmt: skip


def lose(step: Step, rows: Any, kept: Any) -> None:
    """Without a word of the code: `rows` went in, `kept` came out."""
    step.observe_inputs({"rows": rows})
    step.observe_output(kept)


@pytest.mark.parametrize("kind", IDS)
def test_an_item_that_was_lost_in_any_library_is_found_by_its_id_in_the_core_api(kind: str) -> None:
    ids = IDS[kind]
    holders = list(HOLDERS.items())
    for n, (before, make) in enumerate(holders):
        for after, other in (holders[n], holders[n - 1]):
            with capture() as captured, XRay("p").run() as run:
                with run.step("core") as step:
                    step.accept_many(list(ids))
                with run.step("work") as step:
                    lose(step, make(ids), other(ids[1:]))
            for item, outcome in ((ids[0], "dropped"), (ids[1], "accepted")):
                why = captured.why(item)
                assert (why.outcome, why.certainty) == (outcome, "exact"), (before, after, why.sentence)
                assert [entry.certainty for entry in why.journey] == ["exact", "exact"], (before, after)


def test_one_number_is_one_item_whatever_its_type_in_each_step() -> None:
    with capture() as captured, XRay("p").run() as run:
        for n, ids in enumerate(SAME):
            with run.step(f"step {n}") as step:
                lose(step, [{"order_id": each} for each in ids], pl.DataFrame({"order_id": ["12", "7", "5"]}))
        with run.step("last") as step:
            lose(step, pd.DataFrame({"order_id": [5.0, None, 7.0]}), [{"order_id": 5}])
    assert [entry.outcome for entry in captured.why("5").journey] == ["accepted"] * (len(SAME) + 1)
    assert captured.why(7).step == "last"
    assert captured.why("12").sentence.startswith("12 was dropped without a reason: accepted at step 4")


def test_uuids_and_enums_are_found_by_what_they_stand_for() -> None:
    ids = [uuid.UUID(int=n) for n in (1, 2)]
    with capture() as captured, XRay("p").run() as run:
        with run.step("uuids") as step:
            lose(step, [{"id": each} for each in ids], pd.DataFrame({"id": [str(ids[1])]}))
        with run.step("enums") as step:
            lose(step, [{"id": each} for each in Colour], [{"id": "red"}])
    assert captured.why("00000000-0000-0000-0000-000000000001").step == "uuids"
    assert captured.why("blue").step == "enums"
    assert captured.why("red").outcome == "accepted"
