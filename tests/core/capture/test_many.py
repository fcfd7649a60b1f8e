"""Many items at once: what a loop would leave, whatever library holds them, and nothing recorded wrongly.

Tests capture/bulk.py and scores.py.
"""

from __future__ import annotations

import decimal
import random
import time
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.capturing import Captured
from xray_core.capture import bulk

RUN = "0190a0a0-0000-7000-8000-000000000001"


def told(work: Any, capture: str = "sample", **options: Any) -> dict[str, Any]:
    """What a step leaves: counts, verdict sets and samples, apart from times."""
    captured = Captured(**options)
    with captured.run(run_id=RUN) as run, run.step("s", capture=capture) as step:
        work(step)
    state = captured.step("s")
    samples = [
        {name: each[name] for name in ("item_id", "outcome", "reason", "details", "score", "rank", "weight")}
        for each in captured.samples()
    ]
    sets: dict[tuple[str, str], list[Any]] = {}
    for record in captured.of_kind("verdicts"):
        for each in record["sets"]:
            sets.setdefault((each["outcome"], each["reason"] or ""), []).append(each.get("ids") or each["fp40"])
    return {
        "counts": state["counts"], "reasons": state["reasons"], "sums": state["sums"], "scores": state["scores"],
        "score_sums": state["score_sums"], "orders": state["orders"],
        "dropped": state["dropped"], "sets": sets, "samples": sorted(samples, key=lambda s: (s["item_id"], s["outcome"])),
    }  # fmt: skip


def looped(ids: list[Any], reasons: list[Any], details: list[Any], scores: list[Any]) -> Any:
    def work(step: Any) -> None:
        for item, reason, detail, score in zip(ids, reasons, details, scores):
            if reason is None:
                step.accept(item, details=detail, score=score)
            else:
                step.reject(item, reason, detail, score=score)

    return work


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 6_000),
    kinds=st.integers(1, 30),
    rare=st.booleans(),
    scored=st.booleans(),
    capture=st.sampled_from(["sample", "sample", "full", "minimal"]),
    max_samples=st.sampled_from([10, 100, 1_000]),
    seed=st.integers(0, 1_000),
)
def test_judging_leaves_what_a_loop_of_rejects_leaves(
    rows: int, kinds: int, rare: bool, scored: bool, capture: str, max_samples: int, seed: int
) -> None:
    chance = random.Random(seed)
    names = [None, *(f"reason {i}" for i in range(kinds))]
    reasons = [chance.choice(names[:2] if rare and chance.random() < 0.99 else names) for _ in range(rows)]
    ids = [f"item-{chance.randrange(10 * rows + 1)}" for _ in range(rows)]
    details = [{"x": i} for i in range(rows)]
    scores = [chance.choice([None, chance.random(), 3]) if scored else None for _ in range(rows)]
    options = {"max_samples_per_step": max_samples, "sample_rate": 0.05}
    at_once = told(lambda step: step.judge(ids, reasons, details=details, score=scores), capture, **options)
    assert at_once == told(looped(ids, reasons, details, scores), capture, **options)


def test_blocks_leave_what_one_block_leaves_and_names_go_to_the_items_that_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = [f"reason {i % 23}" if i % 7 else None for i in range(40_000)]
    ids = list(range(40_000))
    loop = told(looped(ids, reasons, [None] * 40_000, [None] * 40_000))
    whole = told(lambda step: step.judge(ids, reasons))
    monkeypatch.setattr(bulk, "BLOCK_ROWS", 1_000)
    assert told(lambda step: step.judge(ids, reasons)) == whole == loop


def test_verdicts_one_by_one_and_at_once_go_together() -> None:
    def mixed(step: Any) -> None:
        for i in range(1_500):
            step.reject(i, "r")
        step.reject_many(range(1_500, 3_000), "r")
        for i in range(3_000, 3_500):
            step.reject(i, "r")

    assert told(mixed) == told(looped(list(range(3_500)), ["r"] * 3_500, [None] * 3_500, [None] * 3_500))


COLUMNS: dict[str, Any] = {
    "list": ["a", "b"], "set": {"a": 1, "b": 2}.keys(), "generator": lambda: (i for i in "ab"), "map": lambda: map(str, "ab"),
    "numpy": np.array(["a", "b"]), "objects": np.array(["a", "b"], object), "Series": pd.Series(["a", "b"], index=[7, 7]),
    "Index": pd.Index(["a", "b"]), "Categorical": pd.Series(["a", "b"]).astype("category"), "polars": pl.Series(["a", "b"]),
    "pyarrow": pa.array(["a", "b"]), "chunked": pa.table({"id": ["a", "b"]})["id"],
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_every_call_reads_every_kind_of_column(name: str) -> None:
    column = COLUMNS[name]
    read = column if callable(column) else lambda: column
    wanted = {"counts": {"rejected": 2}, "sets": {("rejected", "x"): [["a", "b"]]}}
    seen = told(lambda step: step.reject_many(read(), "x"))
    assert {key: seen[key] for key in wanted} == wanted
    assert told(lambda step: step.accept_many(read()))["sets"] == {("accepted", ""): [["a", "b"]]}
    assert told(lambda step: step.judge(read(), ["x", None]))["counts"] == {"rejected": 1, "accepted": 1}
    decided = told(lambda step: step.decide("d", selected=read(), alternatives=[]))
    assert decided["sets"] == {("selected", ""): [["a", "b"]]}
    decided = told(lambda step: step.decide("d", selected="z", alternatives=read()))
    assert decided["sets"][("not_selected", "")] == [["a", "b"]]


FRAME = pd.DataFrame({"id": ["a", "b", "c"], "price": [1, 2, 3]})
REFUSED: dict[str, Any] = {
    "a frame": FRAME, "a polars frame": pl.from_pandas(FRAME), "a table": pa.table({"id": ["a"]}), "a lazy frame": pl.from_pandas(FRAME).lazy(),
    "a text": "p10", "a mask": FRAME.price > 1, "a numpy mask": np.array([True]), "a list of booleans": [True, False], "a number": 5,
}  # fmt: skip


@pytest.mark.swallows
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_list_of_ids_is_refused_and_nothing_is_recorded(name: str) -> None:
    given = REFUSED[name]
    calls: dict[str, Any] = {
        "reject_many": lambda step: step.reject_many(given, "x"),
        "accept_many": lambda step: step.accept_many(given),
        "judge": lambda step: step.judge(given, ["x"]),
    }
    for call, work in calls.items():
        seen = told(work)
        assert (seen["counts"], seen["dropped"]) == ({}, {call: 1}), call
    if name in ("a mask", "a numpy mask", "a list of booleans", "a lazy frame"):
        for work in (lambda step: step.decide("d", given), lambda step: step.decide("d", alternatives=given)):
            seen = told(work)
            assert (seen["counts"], seen["dropped"]) == ({}, {"decide": 1})


@pytest.mark.swallows
def test_one_odd_id_and_null_ids_cost_their_own_verdicts_alone() -> None:
    ids = ["a", None, object(), "d", float("nan")]
    seen = told(lambda step: step.judge(ids, ["x", "x", None, "x", None]))
    assert seen["counts"] == {"rejected": 3, "accepted": 2}
    assert seen["sets"] == {("rejected", "x"): [["a", "d"]]}
    assert seen["dropped"] == {"null_ids": 2, "verdicts_without_id": 1}
    assert seen["counts"] == told(looped(ids, ["x", "x", None, "x", None], [None] * 5, [None] * 5))["counts"]
    decided = told(lambda step: step.decide("d", selected="a", alternatives=["b", 3.0, None, [1], ("e", 0.5)]))
    assert decided["counts"] == {"selected": 1, "not_selected": 5}
    assert decided["sets"][("not_selected", "")] == [["b", "3", "e"]]


@pytest.mark.swallows
def test_reasons_or_details_of_another_length_cost_no_verdict_that_is_right() -> None:
    assert told(lambda step: step.judge(["a", "b"], ["x"]))["counts"] == {}
    seen = told(lambda step: step.reject_many(["a", "b"], "x", FRAME))
    assert (seen["counts"], seen["dropped"]) == ({"rejected": 2}, {"details": 2})
    seen = told(lambda step: step.reject_many(["a", "b"], "x", score=[1.0]))
    assert (seen["counts"], seen["dropped"]) == ({"rejected": 2}, {"scores": 2})


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME), pa.table({"id": ["a", "b", "c"], "price": [1, 2, 3]})])
def test_details_are_one_row_for_each_id_and_scores_a_column(frame: Any) -> None:
    seen = told(lambda step: step.reject_many(frame["id"], "x", frame, score=frame["price"]))
    assert [(s["item_id"], s["details"], s["score"]) for s in seen["samples"]] == [
        ("a", {"id": "a", "price": 1}, 1), ("b", {"id": "b", "price": 2}, 2), ("c", {"id": "c", "price": 3}, 3),
    ]  # fmt: skip
    assert seen["scores"] == {"rejected": {"min": [1, "a"], "max": [3, "c"]}}


@pytest.mark.parametrize("nothing", [None, float("nan"), "", np.nan, pd.NA, pd.NaT])
def test_no_reason_is_an_accept(nothing: Any) -> None:
    assert told(lambda step: step.judge(["a", "b"], [nothing, "x"]))["counts"] == {"accepted": 1, "rejected": 1}


def test_reasons_come_as_numpy_and_polars_make_them() -> None:
    prices = np.array([5, 15, 25])
    reasons = np.select([prices > 20, prices > 10], ["too_dear", "dear"], default=None)
    wanted = {"accepted": {"": 1}, "rejected": {"dear": 1, "too_dear": 1}}
    assert told(lambda step: step.judge(["a", "b", "c"], reasons))["reasons"] == wanted
    frame = pl.DataFrame({"id": ["a", "b", "c"], "price": prices})
    made = frame.select(
        pl.when(pl.col("price") > 20).then(pl.lit("too_dear")).when(pl.col("price") > 10).then(pl.lit("dear"))
    )
    assert told(lambda step: step.judge(frame["id"], made.to_series()))["reasons"] == wanted
    assert told(lambda step: step.judge(frame["id"], pd.Series(reasons).astype("category")))["reasons"] == wanted


@pytest.mark.parametrize(
    "top", [FRAME, pl.from_pandas(FRAME), pa.table({"id": ["a", "b", "c"], "price": [1, 2, 3]}), FRAME.set_index("id")]
)
def test_a_decision_takes_a_frame_of_candidates_in_which_the_selected_may_stand(top: Any) -> None:
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.decide("cheapest", selected="a", alternatives=top, score="price")
    (decision,) = captured.step("s")["decisions"]
    assert decision["selected"] == "a"
    assert decision["alternatives"] == [{"item_id": "b", "score": 2}, {"item_id": "c", "score": 3}]
    assert captured.step("s")["counts"] == {"selected": 1, "not_selected": 2}


@pytest.mark.parametrize(
    ("score", "number"),
    [
        (np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(3), 3), (decimal.Decimal("0.5"), 0.5), (pa.scalar(0.5), 0.5),
        (np.array(0.5), 0.5), (True, 1),
    ],
)  # fmt: skip
def test_scores_of_every_library_count_as_scores(score: Any, number: float) -> None:
    seen = told(lambda step: step.accept("a", score=score))
    assert seen["scores"] == {"accepted": {"min": [number, "a"], "max": [number, "a"]}}
    assert seen["samples"][0]["score"] == number
    assert told(lambda step: step.accept_many(["a"], score=[score]))["scores"] == seen["scores"]
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        step.decide("d", selected="a", score=score, alternatives=[("b", score)])
    (decision,) = captured.step("s")["decisions"]
    assert (decision["score"], decision["alternatives"]) == (number, [{"item_id": "b", "score": number}])


@pytest.mark.parametrize("score", [float("nan"), np.nan, decimal.Decimal("NaN"), "0.5", pd.NA, object()])
def test_what_is_no_number_is_no_score_and_is_counted(score: Any) -> None:
    seen = told(lambda step: step.accept("a", score=score))
    assert (seen["scores"], seen["dropped"], seen["samples"][0]["score"]) == ({}, {"scores": 1}, None)
    assert told(lambda step: step.accept_many(["a"], score=[score]))["dropped"] == {"scores": 1}


def test_a_rank_may_be_a_whole_float() -> None:
    seen = told(lambda step: step.accept("a", rank=pd.Series([3, 4]).rank().iloc[0]))
    assert seen["samples"][0]["rank"] == 1
    assert told(lambda step: step.accept("a", rank=1.5))["dropped"] == {"ranks": 1}


def test_a_reason_of_its_own_for_each_row_takes_no_time_for_each_pair_of_rows() -> None:
    """50,000 rows: at the square of that it would be minutes."""
    captured = Captured()
    with captured.run() as run, run.step("s") as step:
        began_s = time.process_time()
        step.judge(list(range(50_000)), [f"reason {n}" for n in range(50_000)])
        took_s = time.process_time() - began_s
    assert captured.step("s")["counts"] == {"rejected": 50_000}
    assert took_s < 10
