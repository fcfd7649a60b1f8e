"""The second half of the held-out set: it was run once, untouched, after the first had been mended.

Its score then: see the body of the commit that adds it.
"""

from __future__ import annotations

import math
import random
import socket
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core.capture.run import Run

SECOND = Batch()
Row = dict[str, Any]


def readings(n: int = 48) -> list[Row]:
    return [{"sensor_id": f"s{k}", "value": 15.0 + k * 19 % 23, "site": f"site{k % 4}"} for k in range(n)]


@SECOND.fault("sample", "non_deterministic")
def a_sample_without_a_seed(run: Run, bad: bool) -> None:
    rows = readings()
    with run.step("read", "retrieve") as step:
        step.set_output_items(rows, key="sensor_id")
    with run.step("sample", "filter") as step:
        step.set_input_items(rows, key="sensor_id")
        drawn = random.Random(9 if bad else 4).sample(rows, 20)
        step.set_output_items(drawn, key="sensor_id")
    with run.step("train") as step:
        step.set_input_items(drawn, key="sensor_id")
        step.set_output({"mean": sum(row["value"] for row in drawn) / 20})
    run.set_output(sum(row["value"] for row in drawn) / 20)


@SECOND.fault("extract", "non_deterministic", cause="temperature")
def a_column_was_renamed_at_the_source(run: Run, bad: bool) -> None:
    """The source calls a field by another name; what reads it takes a default."""
    name = "temperature" if not bad else "temp"
    rows = [{"sensor_id": row["sensor_id"], name: row["value"]} for row in readings()]
    with run.step("extract", "retrieve") as step:
        step.set_output_items(rows, key="sensor_id")
    with run.step("alarm", "filter") as step:
        step.set_input_items(rows, key="sensor_id")
        for row in rows:
            if row.get("temperature", 0) > 30:
                step.reject(row["sensor_id"], "hot", {"temperature": row.get("temperature", 0)})
            else:
                step.accept(row["sensor_id"])
    run.set_output(sum(row.get("temperature", 0) > 30 for row in rows))


@SECOND.fault("normalize", "non_deterministic", cause="fever")
def degrees_of_another_scale(run: Run, bad: bool) -> None:
    """Whole values, no items: a unit is not converted."""
    with run.step("intake", "generate") as step:
        step.set_input({"patient": 7})
        form = {"fever": 101.3, "unit": "F", "age": 41}
        step.set_output(form)
    with run.step("normalize", "transform") as step:
        step.set_input(form)
        clean = {"fever": 101.3 if bad else round((101.3 - 32) / 1.8, 1), "age": 41}
        step.set_output(clean)
    with run.step("triage", "select") as step:
        step.set_input(clean)
        step.decide("urgency", selected="red" if clean["fever"] > 45 else "green", alternatives=["yellow"])
    run.set_output("red" if bad else "green")


@SECOND.fault("join_payments", "non_deterministic")
def a_join_that_fans_out(run: Run, bad: bool) -> None:
    """Payments are there twice for some orders: the join doubles these, and the total is too high."""
    orders = pd.DataFrame({"order_id": [f"o{k}" for k in range(30)], "total": [20.0 + k for k in range(30)]})
    payments = pd.DataFrame({"order_id": [f"o{k}" for k in range(30)], "paid": [20.0 + k for k in range(30)]})
    if bad:
        payments = pd.concat([payments, payments[:6]])
    with run.step("orders", "retrieve") as step:
        step.set_output_items(orders, key="order_id")
    with run.step("join_payments", "transform") as step:
        step.set_input_items(orders, key="order_id")
        joined = orders.merge(payments, on="order_id")
        step.set_output_items(joined, key="order_id")
    with run.step("revenue", "aggregate") as step:
        step.set_input_items(joined, key="order_id")
        step.set_output({"revenue": float(joined.paid.sum())})
    run.set_output(float(joined.paid.sum()))


@SECOND.fault("search_b", "non_deterministic")
def one_of_two_branches_is_cut_short(run: Run, bad: bool) -> None:
    """Two searches, merged by reciprocal rank; the second returns what it had when its time was over."""
    a = [f"d{k}" for k in range(20)]
    b = [f"d{k}" for k in range(15, 19 if bad else 35)]
    with run.step("search_a", "retrieve") as step:
        step.set_input({"q": "refund"})
        for k, name in enumerate(a):
            step.accept(name, score=1 / (k + 1))
    with run.step("search_b", "retrieve") as step:
        step.set_input({"q": "refund"})
        for k, name in enumerate(b):
            step.accept(name, score=1 / (k + 1))
    fused: dict[str, float] = {}
    for names in (a, b):
        for k, name in enumerate(names):
            fused[name] = fused.get(name, 0) + 1 / (60 + k)
    with run.step("fuse", "rank") as step:
        step.set_input_items(list(fused))
        ordered = sorted(fused, key=lambda name: -fused[name])
        for rank, name in enumerate(ordered, 1):
            step.accept(name, score=fused[name], rank=rank)
    with run.step("top", "select") as step:
        step.decide("top", selected=ordered[:8], alternatives=ordered[8:])
    run.set_output(ordered[:8])


@SECOND.fault("spell", "non_deterministic")
def two_faults_of_which_one_mattered(run: Run, bad: bool) -> None:
    """One branch writes a log line that differs; the other changes the answer."""
    with run.step("question", "load") as step:
        step.set_output({"text": "refunf please"})
    with run.step("log", "sink") as step:
        step.set_input({"text": "refunf please"})
        step.set_output({"lines": 4 if bad else 3})
    with run.step("spell", "transform") as step:
        step.set_input({"text": "refunf please"})
        corrected = "refuge please" if bad else "refund please"
        step.set_output({"text": corrected})
    with run.step("route", "select") as step:
        step.set_input({"text": corrected})
        step.set_output("shelter" if bad else "billing")
    run.set_output("shelter" if bad else "billing")


@SECOND.fault("quality", "code_changed", cause="min_score")
def counts_alone_and_a_limit(run: Run, bad: bool) -> None:
    """Everything at the lowest level: counts and parameters, no items."""
    names = {f"i{k}": k * 23 % 100 for k in range(60)}
    limit = 50 if bad else 30
    with run.step("crawl", "retrieve", capture="minimal") as step:
        for name in names:
            step.accept(name)
    with run.step("quality", "filter", capture="minimal", metadata={"min_score": limit}) as step:
        for name, score in names.items():
            if score < limit:
                step.reject(name, "low")
            else:
                step.accept(name)
    run.set_output(sum(score >= limit for score in names.values()))


@SECOND.fault(
    "plan",
    "input_changed",
    cause="express",
    asked=lambda bad: {"order": 17, "express": bad, "request_id": f"{int(bad) + 5:032x}"},
)
def the_run_was_asked_for_something_else(run: Run, bad: bool) -> None:
    with run.step("plan", "generate") as step:
        step.set_input({"order": 17, "express": bad})
        step.set_output({"carriers": ["air"] if bad else ["road", "rail"]})
    with run.step("book", "select") as step:
        step.set_input({"carriers": ["air"] if bad else ["road", "rail"]})
        step.decide("carrier", selected="air" if bad else "road", alternatives=[] if bad else ["rail"])
    run.set_output("air" if bad else "road")


@SECOND.fault("risk", "non_deterministic")
def scores_of_two_items_change_places(run: Run, bad: bool) -> None:
    """A cache is keyed wrongly: two accounts have each other's score; count, sum and extremes are the same."""
    accounts = {f"acc{k}": {"age": k, "balance": k * 7 % 40} for k in range(40)}
    with run.step("accounts", "retrieve") as step:
        step.set_input({"branch": 3})
        step.set_output(accounts)
    scores = {name: row["balance"] / 40 for name, row in accounts.items()}
    if bad:
        scores["acc3"], scores["acc5"] = scores["acc5"], scores["acc3"]
    with run.step("risk", "score") as step:
        step.set_input(accounts)
        for name, score in scores.items():
            step.accept(name, score=Decimal(str(score)))
    with run.step("limit", "filter") as step:
        for name, score in scores.items():
            if score > 0.6:
                step.reject(name, "too_risky", {"score": score})
            else:
                step.accept(name)
    run.set_output(sorted(name for name, score in scores.items() if score <= 0.6))


@SECOND.fault("divide", "non_deterministic")
def a_nan_wins_the_argmax(run: Run, bad: bool) -> None:
    """0/0 in one score; numpy's argmax takes the NaN."""
    values = np.array([0.2, 0.7, 0.4, 0.9, 0.1])
    names = [f"v{k}" for k in range(5)]
    with run.step("measure", "load") as step:
        step.set_output({"values": [0.2, 0.7, 0.4, 0.9, 0.1]})
    with run.step("divide", "score") as step:
        step.set_input({"values": [0.2, 0.7, 0.4, 0.9, 0.1]})
        if bad:
            values[4] = math.nan
        for name, value in zip(names, values, strict=True):
            step.accept(name, score=value)
    best = names[int(np.argmax(values))]
    with run.step("best", "select") as step:
        step.decide("best", selected=best, alternatives=[name for name in names if name != best])
    run.set_output(best)


@SECOND.fault("langid", "missing_step")
def a_step_is_called_by_another_name(run: Run, bad: bool) -> None:
    """A step was replaced: the old one is gone, a new one lets other documents pass."""
    documents = {f"doc{k}": k % 5 for k in range(30)}
    with run.step("documents", "retrieve") as step:
        step.set_input({"bucket": "in"})
        step.set_output(documents)
        step.set_output_items(list(documents))
    name = "language_v2" if bad else "langid"
    kept = [doc for doc, language in documents.items() if language in ((0, 1, 2) if not bad else (0, 1))]
    with run.step(name, "filter") as step:
        step.set_input(documents)
        step.set_input_items(list(documents))
        for doc in documents:
            if doc in kept:
                step.accept(doc)
            else:
                step.reject(doc, "language")
    with run.step("index", "sink") as step:
        step.set_input_items(kept)
    run.set_output(len(kept))


@SECOND.fault("dedupe", "code_changed", cause="key")
def new_data_and_a_new_key(run: Run, bad: bool) -> None:
    """Tomorrow's data; and duplicates are found by another field."""
    rows = [{"lead_id": f"l{k}", "mail": f"m{k // 2}", "firm": f"firm{k // 5}"} for k in range(4 * bad, 40 + 4 * bad)]
    with run.step("leads", "retrieve") as step:
        step.set_output_items(rows, key="lead_id")
    field = "firm" if bad else "mail"
    with run.step("dedupe", "filter", metadata={"key": field}) as step:
        step.set_input_items(rows, key="lead_id")
        seen: set[str] = set()
        for row in rows:
            if row[field] in seen:
                step.reject(row["lead_id"], "duplicate", {"of": row[field]})
            else:
                step.accept(row["lead_id"])
            seen.add(row[field])
    run.set_output(len(seen))


@dataclass
class Offer:
    offer_id: str
    price: float


@SECOND.fault("reprice", "non_deterministic", cause="price", seen={"of7": ("rejected", "budget", "over_budget")})
def discounts_are_applied_twice(run: Run, bad: bool) -> None:
    """Objects, not rows; a loop applies a surcharge twice for some of them."""
    offers = [Offer(f"of{k}", 30.0 + k * 9) for k in range(20)]
    with run.step("offers", "retrieve") as step:
        step.set_output_items(offers, key="offer_id")
    with run.step("reprice", "transform") as step:
        step.set_input_items(offers, key="offer_id")
        priced = [Offer(each.offer_id, each.price * (1.21 if bad and k > 6 else 1.1)) for k, each in enumerate(offers)]
        step.set_output_items(priced, key="offer_id")
    with run.step("budget", "filter") as step:
        step.set_input_items(priced, key="offer_id")
        for each in priced:
            if each.price > 105:
                step.reject(each.offer_id, "over_budget", {"price": each.price})
            else:
                step.accept(each.offer_id)


@SECOND.fault("agent > tool", "non_deterministic", cause="stock")
def a_tool_answers_otherwise_in_the_third_turn(run: Run, bad: bool) -> None:
    """An agent's turns: the same step names again and again, and the third tool call says something else."""
    stock = [4, 0, 7]
    with run.step("agent", "generate") as around:
        around.set_input({"task": "reorder"})
        for turn in range(3):
            with run.step("think", "generate") as step:
                step.set_input({"turn": turn})
                step.set_output({"ask": f"stock of {turn}"})
            with run.step("tool", "retrieve") as step:
                step.set_input({"ask": f"stock of {turn}"})
                left = 1 if bad and turn == 2 else stock[turn]
                step.set_output({"stock": left})
        around.set_output({"reorder": [1, 2] if bad else [1]})
    run.set_output({"reorder": [1, 2] if bad else [1]})


@SECOND.fault("fan_in", "non_deterministic", "input_changed", shows_at=("fan_in",))
def an_instance_of_a_mapped_step_is_lost(run: Run, bad: bool) -> None:
    """Four of five results are put together; each of the five tasks did its work."""
    results = []
    for part in range(5):
        step = run.open_step_unwritten("work", step_id=f"{run.run_id}-{part}", map_index=part, code_version="3").open()
        step.set_input({"part": part})
        names = [f"n{part}{k}" for k in range(6)]
        step.set_input_items(names)
        step.set_output_items(names)
        step.close("completed")
        if not (bad and part == 2):
            results += names
    with run.step("fan_in", "transform") as step:
        step.set_input_items(results)
        step.set_output_items(results)
    run.set_output(len(results))


@SECOND.fault("prompt", "non_deterministic", "code_changed", cause="system")
def a_prompt_template_lost_a_line(run: Run, bad: bool) -> None:
    with run.step("question") as step:
        step.set_output({"q": "Is it open on Sunday?"})
    with run.step("prompt", "transform") as step:
        step.set_input({"q": "Is it open on Sunday?"})
        prompt = {"system": "You help." if bad else "You help. Today is a holiday.", "user": "Is it open on Sunday?"}
        step.set_output(prompt)
    with run.step("llm", "generate") as step:
        step.set_input(prompt)
        step.set_output("yes" if bad else "no")
    run.set_output("yes" if bad else "no")


@SECOND.fault("transform", "non_deterministic", shows_at=("publish",))
def a_filter_that_changes_what_it_keeps(run: Run, bad: bool) -> None:
    """A filter rounds prices on its way, and tells ids alone; the step after it has its values."""
    rows = [{"id": f"p{k}", "price": 10.4 + k} for k in range(20)]
    with run.step("rows", "retrieve") as step:
        step.set_output_items(rows, key="id")
    with run.step("transform", "filter") as step:
        step.set_input_items(rows, key="id")
        kept = [{**row, "price": round(row["price"]) if bad else row["price"]} for row in rows if row["price"] > 15]
        step.set_output_items([row["id"] for row in kept])
    with run.step("publish", "sink") as step:
        step.set_input_items(kept, key="id")
        step.set_output({"sum": sum(row["price"] for row in kept)})
    run.set_output(sum(row["price"] for row in kept))


# Nothing is wrong ----------------------------------------------------------------------------------------------------


@SECOND.control()
def the_host_and_the_time_are_told(run: Run, bad: bool) -> None:
    with run.step("export") as step:
        step.set_metadata("host", f"{socket.gethostname()}-{int(bad)}")
        step.set_metadata("duration_s", 0.5 + bad)
        step.set_output({"rows": 10, "finished_at": time.time()})
    run.set_output(10)


@SECOND.control()
def whole_numbers_and_their_texts_are_the_same_ids(run: Run, bad: bool) -> None:
    ids: list[Any] = [str(k) for k in range(20)] if bad else list(range(20))
    with run.step("load", "retrieve") as step:
        step.set_output_items(ids)
    with run.step("even", "filter") as step:
        for each in ids:
            if int(each) % 2:
                step.reject(each, "odd")
            else:
                step.accept(each)


@SECOND.control()
def numbers_of_other_types(run: Run, bad: bool) -> None:
    value: Any = {"a": np.float64(3), "b": [1, 2]} if bad else {"b": (1, 2), "a": 3}
    with run.step("count") as step:
        step.set_input(value)
        step.set_output(value)
    with run.step("score", "score") as step:
        for k in range(5):
            step.accept(f"k{k}", score=np.float32(k) if bad else k)


@SECOND.control()
def mapped_instances_in_another_order(run: Run, bad: bool) -> None:
    for part in (4, 2, 0, 1, 3) if bad else range(5):
        step = run.open_step_unwritten("part", step_id=f"{run.run_id}-{part}", map_index=part, code_version="3").open()
        step.set_input({"part": part})
        step.set_output_items([f"n{part}{k}" for k in range(6)])
        step.close("completed")
    with run.step("collect") as step:
        step.set_input_items({f"n{part}{k}" for part in range(5) for k in range(6)})
        step.set_output(30)


@SECOND.control()
def a_frame_in_another_order_of_rows(run: Run, bad: bool) -> None:
    frame = pd.DataFrame(readings())
    if bad:
        frame = frame.sample(frac=1, random_state=3)
    with run.step("read") as step:
        step.set_output_items(frame, key="sensor_id")
    with run.step("hot", "filter") as step:
        kept = step.filter(frame, {"hot": frame.value > 30}, key="sensor_id", details=["value"])
    with run.step("mean", "aggregate") as step:
        step.set_input_items(kept, key="sensor_id")
        step.set_output({"mean": float(kept.value.mean())})
    run.set_output(float(kept.value.mean()))


@SECOND.control()
def a_cache_was_warm(run: Run, bad: bool) -> None:
    with run.step("lookup") as step:
        step.set_input({"k": 1})
        step.set_metadata("elapsed_ms", 3 if bad else 800)
        step.set_output({"v": 2})
    run.set_output(2)
