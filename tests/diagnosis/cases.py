"""Pipelines with one planted fault each. `run(xray, faulty)` captures one run; the rest says what must be found.

Written as a user would write them, with no help to the answers: most declare neither item sets nor counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xray_core import XRay

PRICES = {f"p{n}": 10 + 7 * n % 193 for n in range(60)}


@dataclass(frozen=True)
class Cause:
    """What `why` must say of an item in the faulty run."""

    item_id: str
    outcome: str
    step: str
    reason: str | None = None


@dataclass(frozen=True)
class Case:
    """A pipeline, the step that its fault is in, what kind of difference that is, and what became of some items."""

    name: str
    run: Callable[[XRay, bool], str]
    guilty: str
    kind: str
    causes: Sequence[Cause]
    reordered: bool = False
    flipped: int | None = None


CASES: list[Case] = []


def case(guilty: str, kind: str, *causes: Cause, reordered: bool = False, flipped: int | None = None):  # type: ignore[no-untyped-def]
    def add(function: Callable[[XRay, bool], str]) -> Callable[[XRay, bool], str]:
        CASES.append(Case(function.__name__, function, guilty, kind, causes, reordered, flipped))
        return function

    return add


def _filtered(step: object, items: Sequence[str], limit: int) -> list[str]:
    kept = []
    for item in items:
        if PRICES[item] > limit:
            step.reject(item, "price_too_high", {"price": PRICES[item], "limit": limit})  # type: ignore[attr-defined]
        else:
            step.accept(item)  # type: ignore[attr-defined]
            kept.append(item)
    return kept


@case("filter", "code_changed", Cause("p13", "rejected", "filter", "price_too_high"))
def changed_threshold(xray: XRay, faulty: bool) -> str:
    """Somebody lowered the limit, and says so in the metadata."""
    limit = 90 if faulty else 120
    with xray.run(input={"query": "bottle"}) as run:
        with run.step("retrieve") as step:
            step.set_output_items(list(PRICES))
        with run.step("filter") as step:
            step.set_metadata("limit", limit)
            kept = _filtered(step, list(PRICES), limit)
        with run.step("select") as step:
            best = sorted(kept, key=lambda item: (PRICES[item], item))
            step.decide("cheapest", selected=best[0], alternatives=best[1:])
    return run.run_id


@case("filter", "code_changed", Cause("p1", "rejected", "filter", "price_too_high"))
def inverted_comparison(xray: XRay, faulty: bool) -> str:
    """A filter with its sign turned around: only the code version shows it. No item set, no count, no accepts."""
    with xray.run(input="bottle") as run:
        with run.step("retrieve") as step:
            step.set_output(sorted(PRICES))
        with run.step("filter", code_version="b2" if faulty else "b1") as step:
            for item, price in PRICES.items():
                if (price < 100) == faulty:
                    step.reject(item, "price_too_high", {"price": price})
    return run.run_id


@case("rank", "non_deterministic", Cause("p3", "accepted", "rank"), reordered=True, flipped=0)
def random_tie_break(xray: XRay, faulty: bool) -> str:
    """All have one score; the ranking leaves their order to chance."""
    items = [f"p{n}" for n in range(12)]
    with xray.run() as run:
        with run.step("score") as step:
            for item in items:
                step.accept(item, score=0.5)
        with run.step("rank") as step:
            random.Random(7 if faulty else 8).shuffle(items)
            step.set_output_items(items)
            for rank, item in enumerate(items, 1):
                step.accept(item, rank=rank)
    return run.run_id


@case("expand", "non_deterministic", Cause("f2", "rejected", "filter", "wrong_place"))
def model_that_slips(xray: XRay, faulty: bool) -> str:
    """A language model that writes BUF for BUR; everything after it is right about what it was given."""
    flights = {"f1": "LAX", "f2": "BUR", "f3": "BUF", "f4": "JFK"}
    with xray.run(input={"to": "Los Angeles"}) as run:
        with run.step("expand", step_type="generate", code_version="m3") as step:
            step.set_metadata("model", "m3")
            step.set_input({"to": "Los Angeles"})
            places = ["LAX", "BUF" if faulty else "BUR"]
            step.set_output(places)
        with run.step("filter") as step:
            step.set_input(places)
            for flight, place in flights.items():
                if place in places:
                    step.accept(flight)
                else:
                    step.reject(flight, "wrong_place", {"place": place, "wanted": places})
        with run.step("select") as step:
            step.decide("first", selected="f1", alternatives=["f3" if faulty else "f2"])
    return run.run_id


@case("dedupe", "non_deterministic", Cause("d7", "dropped", "dedupe"), flipped=3)
def greedy_dedupe(xray: XRay, faulty: bool) -> str:
    """A dedupe whose key collides: it loses items and gives no reason."""
    items = [f"d{n}" for n in range(10)]
    with xray.run() as run:
        with run.step("dedupe") as step:
            step.set_input_items(items)
            step.reject("d3", "duplicate", {"of": "d2"})
            kept = [item for item in items if item != "d3" and not (faulty and item in ("d7", "d8", "d9"))]
            step.set_output_items(kept)
        with run.step("store") as step:
            step.accept_many(kept)
    return run.run_id


@case("join", "non_deterministic", Cause("o4", "rejected", "join", "no_customer"), flipped=3)
def join_against_a_stale_table(xray: XRay, faulty: bool) -> str:
    """The right side of a join lags behind: orders without a customer fall out."""
    orders = {f"o{n}": f"c{n % 5}" for n in range(15)}
    customers = {f"c{n}" for n in range(5) if not (faulty and n == 4)}
    with xray.run(input={"day": "2026-01-31"}) as run:
        with run.step("orders", step_type="retrieve") as step:
            step.set_output_items(orders)
        with run.step("join") as step:
            step.set_input_items(orders)
            for order, customer in orders.items():
                if customer in customers:
                    step.accept(order)
                else:
                    step.reject(order, "no_customer", {"customer": customer})
    return run.run_id


@case("branch_b", "non_deterministic", Cause("n3", "errored", "branch_b", "timeout"), flipped=4)
def fan_out_with_a_branch_that_fails(xray: XRay, faulty: bool) -> str:
    """Three branches, merged; in one the service times out."""
    parts = {name: [f"n{n}" for n in range(12) if n % 3 == place] for place, name in enumerate(("b", "a", "c"))}
    with xray.run() as run:
        merged = []
        for name in ("a", "b", "c"):
            with run.step(f"branch_{name}") as step:
                step.set_input_items(parts[name])
                for item in parts[name]:
                    if faulty and name == "b":
                        step.errored(item, "timeout")
                    else:
                        step.accept(item)
                        merged.append(item)
        with run.step("merge") as step:
            step.set_input_items(merged)
            step.set_output_items(sorted(merged))
    return run.run_id


@case("enrich", "non_deterministic", Cause("r2", "rejected", "enrich", "no_data"))
def retry_with_a_poor_fallback(xray: XRay, faulty: bool) -> str:
    """The first try fails, the second answers from a fallback that knows less."""
    items = ["r1", "r2", "r3"]
    with xray.run() as run:
        with run.step("load") as step:
            step.set_output_items(items)
        if faulty:
            first = run.open_step("enrich", step_id="enrich-1", attempt=1)
            first.set_input_items(items)
            first.accept("r1")
            first.close("failed", error=TimeoutError("no answer in 5 s"))
        last = run.open_step("enrich", step_id="enrich-1", attempt=2 if faulty else 1)
        last.set_input_items(items)
        for item in items:
            if faulty and item == "r2":
                last.reject(item, "no_data", {"source": "fallback"})
            else:
                last.accept(item)
        last.close()
    return run.run_id


@case("shard[3]", "non_deterministic", Cause("m3-1", "dropped", "shard"), flipped=4)
def mapped_shard_that_loses_its_items(xray: XRay, faulty: bool) -> str:
    """One of six mapped instances returns nothing and reports success."""
    with xray.run() as run:
        with run.step("split") as step:
            step.set_output_items([f"m{i}-{n}" for i in range(6) for n in range(4)])
        for index in range(6):
            shard = run.open_step("shard", map_index=index)
            items = [f"m{index}-{n}" for n in range(4)]
            shard.set_input_items(items)
            shard.set_output_items([] if faulty and index == 3 else items)
            shard.close()
    return run.run_id


@case("select", "non_deterministic", Cause("s1", "not_selected", "select"), flipped=2)
def select_that_breaks_ties_by_chance(xray: XRay, faulty: bool) -> str:
    """Two candidates with the same score; which is first is chance."""
    order = ["s2", "s1"] if faulty else ["s1", "s2"]
    with xray.run() as run:
        with run.step("score") as step:
            step.accept("s1", score=0.9)
            step.accept("s2", score=0.9)
            step.accept("s3", score=0.1)
        with run.step("select") as step:
            alternatives = [{"id": order[1], "score": 0.9}, {"id": "s3", "score": 0.1}]
            step.decide("best", selected=order[0], score=0.9, alternatives=alternatives)
    return run.run_id


@case("checks > safety", "code_changed", Cause("u5", "rejected", "checks > safety", "unsafe"))
def stricter_rule_inside_a_step(xray: XRay, faulty: bool) -> str:
    """One of several inner checks got stricter; the step around it only adds up."""
    items = [f"u{n}" for n in range(8)]
    with xray.run() as run, run.step("checks") as checks:
        checks.set_input_items(items)
        with run.step("language") as step:
            step.accept_many(items)
        with run.step("safety") as step:
            level = 5 if faulty else 7
            step.set_metadata("level", level)
            safe = [item for item in items if int(item[1:]) < level]
            step.accept_many(safe)
            step.reject_many([item for item in items if item not in safe], "unsafe")
        checks.set_output_items(safe)
    return run.run_id


@case("index", "input_changed", Cause("x12", "dropped", "index"))
def batch_lost_between_two_steps(xray: XRay, faulty: bool) -> str:
    """All documents are embedded; one batch never reaches the index."""
    items = [f"x{n}" for n in range(30)]
    with xray.run() as run:
        with run.step("embed") as step:
            step.accept_many(items)
        with run.step("index") as step:
            arrived = [item for item in items if not (faulty and 10 <= int(item[1:]) < 20)]
            step.set_input_items(arrived)
            step.accept_many(arrived)
    return run.run_id


@case("retrieve", "non_deterministic", Cause("q0", "not_selected", "select"), reordered=True)
def reordered_list(xray: XRay, faulty: bool) -> str:
    """A query without ORDER BY; the first row wins."""
    rows = [f"q{n}" for n in range(6)]
    if faulty:
        rows = rows[3:] + rows[:3]
    with xray.run(input={"table": "q"}) as run:
        with run.step("retrieve") as step:
            step.set_input({"table": "q"})
            step.set_output_items(rows)
        with run.step("select") as step:
            step.set_input_items(rows)
            step.decide("first", selected=rows[0], alternatives=rows[1:])
    return run.run_id


@case("retrieve", "input_changed", Cause("LAX-1", "never_entered", "retrieve"))
def different_request(xray: XRay, faulty: bool) -> str:
    """Nothing is wrong with the pipeline: it was asked something else."""
    to = "SFO" if faulty else "LAX"
    with xray.run(input={"to": to, "day": 3}) as run:
        with run.step("retrieve", step_type="retrieve") as step:
            step.set_output_items([f"{to}-{n}" for n in range(4)])
        with run.step("select") as step:
            step.decide("first", selected=f"{to}-0", alternatives=[f"{to}-{n}" for n in range(1, 4)])
    return run.run_id


@case("moderate", "missing_step", Cause("k2", "accepted", "publish"))
def check_that_was_skipped(xray: XRay, faulty: bool) -> str:
    """A flag turned moderation off."""
    items = ["k1", "k2", "k3"]
    with xray.run() as run:
        with run.step("load") as step:
            step.set_output_items(items)
        if not faulty:
            with run.step("moderate") as step:
                step.reject("k2", "spam")
                step.accept_many(["k1", "k3"])
        with run.step("publish") as step:
            step.accept_many(items if faulty else ["k1", "k3"])
    return run.run_id


@case("filter", "code_changed", Cause("b4321", "rejected", "filter", "too_old"), flipped=500)
def changed_threshold_over_many_items(xray: XRay, faulty: bool) -> str:
    """Five thousand items: their verdicts are fingerprints."""
    oldest = 4_000 if faulty else 4_500
    with xray.run() as run:
        with run.step("retrieve") as step:
            step.set_output_items([f"b{n}" for n in range(5_000)])
        with run.step("filter") as step:
            step.set_metadata("oldest", oldest)
            for n in range(5_000):
                if n >= oldest:
                    step.reject(f"b{n}", "too_old", {"age": n, "oldest": oldest})
                else:
                    step.accept(f"b{n}")
    return run.run_id


@case("score", "non_deterministic", Cause("v1", "not_selected", "select"))
def model_whose_scores_drift(xray: XRay, faulty: bool) -> str:
    """The same items, the same model, other scores."""
    scores = {"v1": 0.6 if faulty else 0.9, "v2": 0.7, "v3": 0.1, "v4": 0.95 if faulty else 0.2}
    with xray.run() as run:
        with run.step("retrieve") as step:
            step.set_output_items(sorted(scores))
        with run.step("score") as step:
            for item, score in scores.items():
                step.accept(item, score=score)
        with run.step("select") as step:
            ranked = sorted(scores, key=lambda item: -scores[item])
            others = [{"id": item, "score": scores[item]} for item in ranked[1:]]
            step.decide("best", selected=ranked[0], score=scores[ranked[0]], alternatives=others)
    return run.run_id


@case("parse", "non_deterministic", Cause("w2", "not_captured", "parse"))
def step_that_fails_half_way(xray: XRay, faulty: bool) -> str:
    """An exception ends a step after some of its items."""
    items = ["w1", "w2", "w3"]
    run = xray.run()
    try:
        with run:
            with run.step("load") as step:
                step.set_output_items(items)
            with run.step("parse") as step:
                step.set_input_items(items)
                step.accept("w1")
                if faulty:
                    raise ValueError("w2 is not JSON")
                step.accept_many(["w2", "w3"])
    except ValueError:
        pass
    return run.run_id
