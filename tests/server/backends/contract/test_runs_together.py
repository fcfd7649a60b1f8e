"""Several runs together: flip rates against known ones, the odd run out, and one item above another. All stores.

Tests read/stability.py, side_by_side.py and above.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from xray_server.errors import UnknownRunError
from xray_server.read.above import above
from xray_server.read.side_by_side import side_by_side
from xray_server.read.stability import stability
from xray_server.records.schema import decode_record
from xray_server.store import Batch, Store

from tests.core.capturing import Captured

PROJECT = "default"
ITEMS = [f"i{n}" for n in range(1_500)]  # more than are kept by name


def keep(store: Store, work: Callable[[Any], None], run_id: str = "r", given: Any = None, **settings: Any) -> None:
    captured = Captured(**settings)
    with captured.run("rank", run_id=run_id) as run:
        run.set_input(given)
        work(run)
    records = [decode_record(json.dumps(record).encode()) for record in captured.sink.records]
    assert store.write([Batch(records, PROJECT, 1)]) == [{}]


def flipping(chance: random.Random, rate: float) -> Callable[[Any], None]:
    """A filter that always says the same, then a reranker that says no by chance of its own."""

    def work(run: Any) -> None:
        kept = ITEMS[: len(ITEMS) // 2 + 500]
        with run.step("filter") as step:
            step.accept_many(kept)
            step.reject_many(ITEMS[len(kept) :], "far")
        with run.step("rerank") as step:
            for item in kept:
                if chance.random() < rate:
                    step.reject(item, "low")
                else:
                    step.accept(item)

    return work


def test_the_flip_rate_is_the_one_that_was_planted_and_at_the_step_where_it_was(store: Store) -> None:
    chance = random.Random(3)
    for run in range(8):
        keep(store, flipping(chance, 0.1), f"run {run}", {"q": "shoes"})
    keep(store, flipping(chance, 0.9), "other input", {"q": "hats"})
    found = stability(store, PROJECT, "rank", same_input=True)
    assert len(found["runs"]) == 8
    filter_, rerank = found["steps"]
    assert (filter_["step"], filter_["flipped"], filter_["flip_rate"]) == ("filter", 0, 0)
    expected = 2 * 0.1 * 0.9  # that two runs differ
    assert abs(rerank["flip_rate"] - expected) < max(0.03, 4 * rerank["error"])
    assert (rerank["items"], rerank["certainty"]) == (1_250, "exact")
    assert found["items"][0]["step"] == "rerank"
    assert found["sentence"].startswith("rank: over 8 runs of the same input, rerank decides 1")
    assert found["inputs"] == 2
    every = stability(store, PROJECT, "rank", same_input=False)
    assert len(every["runs"]) == 9
    assert "(their inputs may differ)" in every["sentence"]
    assert [each["step"] for each in stability(store, PROJECT, "rank", same_input=True, step="filter")["steps"]] == [
        "filter"
    ]


def test_a_pipeline_that_always_says_the_same_is_stable_and_one_run_is_nothing_to_compare(store: Store) -> None:
    for run in range(2):
        keep(store, flipping(random.Random(1), 0.2), f"run {run}", {"q": 1})
        found = stability(store, PROJECT, "rank", same_input=True)
        assert ("nothing to compare" in found["sentence"]) == (run == 0)
    assert found["sentence"] == "rank is stable: over 2 runs of the same input no item's verdict changed at any step"
    assert stability(store, PROJECT, "none", same_input=False)["certainty"] == "not_captured"


def test_of_several_runs_the_one_unlike_the_others_is_named_with_the_step_where_that_began(store: Store) -> None:
    def gate(limit: int) -> Callable[[Any], None]:
        def work(run: Any) -> None:
            for name, bound in (("first", 90), ("gate", limit)):
                with run.step(name) as step:
                    for n in range(100):
                        if n > bound:
                            step.reject(f"i{n}", "high")
                        else:
                            step.accept(f"i{n}")

        return work

    for run, limit in {"a": 50, "b": 50, "c": 40, "d": 50}.items():
        keep(store, gate(limit), run)
    found = side_by_side(store, PROJECT, ["a", "b", "c", "d"])
    assert found["sentence"] == "run c is the odd one out: first at gate"
    assert [row["odd"] for row in found["steps"]] == [[], [2]]
    assert [cell["kind"] for cell in found["steps"][1]["runs"]] == ["A", "A", "B", "A"]
    assert [cell["ledger"]["accepted"] for cell in found["steps"][1]["runs"]] == [51, 51, 41, 51]
    assert [run["odd_steps"] for run in found["runs"]] == [0, 0, 1, 0]
    assert side_by_side(store, PROJECT, ["a", "b"])["first"] is None
    assert "in 2 ways: none is the odd one out" in side_by_side(store, PROJECT, ["a", "c"])["sentence"]
    keep(store, lambda run: run.step("another").__enter__().close(), "e")
    lacking = side_by_side(store, PROJECT, ["a", "b", "e"])
    assert [row["step"] for row in lacking["steps"]][:2] == ["first", "gate"] or lacking["steps"][0][
        "step"
    ] == "another"
    assert lacking["sentence"].startswith("run e is the odd one out")
    with pytest.raises(UnknownRunError):
        side_by_side(store, PROJECT, ["a", "none"])


def ranked(run: Any) -> None:
    with run.step("filter") as step:
        for item in "abcd":
            if item == "d":
                step.reject(item, "sold_out")
            else:
                step.accept(item)
    with run.step("score") as step:
        for item, score, recency in (("a", 0.9, 0.8), ("b", 0.7, 0.2), ("c", 0.5, 0.2)):
            step.accept(item, details={"recency": recency, "text": 0.5}, score=score)
    with run.step("select") as step:
        step.decide("best", selected="a", score=0.9, alternatives=[("b", 0.7), ("c", 0.5)])


def test_why_one_item_is_above_another_is_the_step_that_parted_them(store: Store) -> None:
    keep(store, ranked, capture="full")
    filtered = above(store, PROJECT, "r", "c", "d")
    assert (filtered["above"], filtered["decided_at"]["step"]) == ("a", "filter")
    assert filtered["sentence"] == "c is above d: at filter c was accepted, d was rejected for sold_out"
    chosen = above(store, PROJECT, "r", "a", "b")
    assert (chosen["above"], chosen["decided_at"]["step"]) == ("a", "select")
    assert chosen["sentence"] == (
        "a is above b: at select a was selected (score 0.9, rank 1), b was not selected (score 0.7, rank 2)"
    )
    components = next(step["components"] for step in chosen["steps"] if step["step"] == "score")
    assert [(each["name"], each["a"], each["b"]) for each in components] == [("recency", 0.8, 0.2)]
    ranks = above(store, PROJECT, "r", "c", "b")
    assert ranks["above"] == "b"
    assert ranks["sentence"].startswith(
        "c is not above b; b is above c: at select b was not selected (score 0.7, rank 2)"
    )


def test_what_was_not_captured_puts_no_item_above_another(store: Store) -> None:
    keep(store, lambda run: run.step("s").__enter__().close())
    found = above(store, PROJECT, "r", "x", "y")
    assert (found["above"], found["certainty"]) == (None, "not_captured")
    assert found["sentence"].startswith("nothing that was captured puts x above y or below")
