"""The controls of the fourth set: eight pairs of runs that differ, and in which nothing is wrong."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core.capture.run import Run

CONTROLS = Batch()
Row = dict[str, Any]
# In these a step did put out something else, and the output of the run is the same: that step may be named, and not blamed.
DIFFER_INSIDE: Final = frozenset(
    {
        "new_offers_that_all_fall",
        "capitals_that_the_next_step_undoes",
        "a_step_with_a_new_name",
        "rows_that_say_when_they_were_read",
    }
)


@CONTROLS.control()
def a_sum_in_another_order(run: Run, bad: bool) -> None:
    rows = [{"id": f"h{k}", "rooms": k % 4 + 1, "parts": [0.1 * k, 0.7, 0.3, 0.013 * k]} for k in range(10)]
    with run.step("homes", "retrieve") as step:
        step.set_output_items(rows, key="id")
    with run.step("score", "score") as step:
        scores = {row["id"]: sum(reversed(row["parts"]) if bad else row["parts"]) for row in rows}
        for home, score in scores.items():
            step.accept(home, score=score)
        step.set_output(scores)
    best = max(scores, key=lambda home: scores[home])
    with run.step("pick", "select") as step:
        step.decide("best", selected=best, score=scores[best], alternatives=sorted({*scores} - {best}))
    run.set_output({"home": best, "score": round(scores[best], 4)})


@CONTROLS.control()
def new_offers_that_all_fall(run: Run, bad: bool) -> None:
    offers = [{"sku": f"q{k}", "stock": k % 3, "price": 10 + k} for k in range(15)]
    offers += [{"sku": f"q{k}", "stock": 0, "price": 5} for k in range(15, 21)] if bad else []
    frame = pd.DataFrame(offers)
    with run.step("offers", "retrieve") as step:
        step.set_output_items(frame, key="sku")
    with run.step("in_stock", "filter") as step:
        kept = step.filter(frame, {"sold_out": frame.stock == 0}, key="sku")
    with run.step("cheapest", "select") as step:
        best = kept.sort_values("price").iloc[0]
        others = kept[kept.sku != best.sku]
        step.decide("cheapest", selected=best.sku, score=best.price, alternatives=list(zip(others.sku, others.price)))
    run.set_output(str(best.sku))


@CONTROLS.control()
def larger_batches_and_tidied_code(run: Run, bad: bool) -> None:
    texts = {f"c{k}": f"comment {k}" for k in range(20)}
    size = 10 if bad else 4
    names = list(texts)
    with run.step("read", "retrieve") as step:
        step.set_output_items(names)
    with run.step("toxicity", "score", metadata={"batch_size": size}, code_version="b2" if bad else "b1") as step:
        for start in range(0, 20, size):
            for name in names[start : start + size]:
                step.accept(name, score=len(texts[name]) / 100)
    with run.step("publish", "sink") as step:
        step.set_input_items(names)
    run.set_output({"published": 20})


@CONTROLS.control()
def capitals_that_the_next_step_undoes(run: Run, bad: bool) -> None:
    mails = [f"Person{k}@Example.org" for k in range(7)]
    with run.step("form", "load") as step:
        step.set_output(mails)
    with run.step("trim", "transform") as step:
        step.set_input(mails)
        trimmed = [mail.upper() if bad else mail for mail in mails]
        step.set_output(trimmed)
    with run.step("lower", "transform") as step:
        step.set_input(trimmed)
        lowered = [mail.lower() for mail in trimmed]
        step.set_output(lowered)
    with run.step("subscribe", "sink") as step:
        step.set_input(lowered)
        step.set_output({"subscribed": len(lowered)})
    run.set_output(lowered)


@CONTROLS.control()
def a_fetch_that_needs_a_second_attempt(run: Run, bad: bool) -> None:
    rates = {"EUR": 1.0, "CHF": 0.94, "USD": 1.16}
    for attempt in (1, 2) if bad else (1,):
        step = run.open_step_unwritten("rates", step_id=f"{run.run_id}-rates", attempt=attempt, step_type="load").open()
        step.set_input({"url": "https://rates.example/daily"})
        if bad and attempt == 1:
            step.close("failed", error=TimeoutError("read timed out"))
            continue
        step.set_output(rates)
        step.close("completed")
    with run.step("convert", "transform") as step:
        step.set_input({"rates": rates, "amount": 100})
        step.set_output({"chf": 94.0})
    run.set_output({"chf": 94.0})


@CONTROLS.control()
def a_step_with_a_new_name(run: Run, bad: bool) -> None:
    documents = [{"doc": f"d{k}", "text": f" page {k} "} for k in range(6)]
    with run.step("crawl", "retrieve") as step:
        step.set_output(documents)
    with run.step("strip_blanks" if bad else "clean", "transform") as step:
        step.set_input(documents)
        documents = [{**document, "text": document["text"].strip()} for document in documents]
        step.set_output(documents)
    with run.step("index", "sink") as step:
        step.set_input(documents)
        step.set_output({"indexed": 6})
    run.set_output({"indexed": 6})


@CONTROLS.control()
def shards_that_end_in_another_order(run: Run, bad: bool) -> None:
    shards: dict[int, list[Row]] = {k: [{"id": f"w{n}", "n": n % 5} for n in range(k, 30, 3)] for k in range(3)}
    done: list[Row] = []
    for k in (2, 0, 1) if bad else (0, 1, 2):
        step = run.open_step_unwritten(
            "count", step_type="transform", step_id=f"{run.run_id}-count-{k}", map_index=k
        ).open()
        step.set_input_items(shards[k], key="id")
        step.set_output({"sum": sum(row["n"] for row in shards[k])})
        step.close("completed")
        done += shards[k]
    with run.step("merge", "aggregate") as step:
        step.set_input_items(done, key="id")
        step.set_output({"sum": sum(row["n"] for row in done)})
    run.set_output({"sum": sum(row["n"] for row in done)})


@CONTROLS.control()
def rows_that_say_when_they_were_read(run: Run, bad: bool) -> None:
    read_at = "2026-11-29T02:00:07+00:00" if bad else "2026-11-28T02:00:03+00:00"
    rows = [{"meter": f"M{k}", "kwh": 100 + k * 17 % 60, "read_at": read_at} for k in range(11)]
    with run.step("read", "retrieve") as step:
        step.set_output_items(rows, key="meter")
    with run.step("plausible", "filter") as step:
        step.set_input_items(rows, key="meter")
        for row in rows:
            if row["kwh"] > 150:
                step.reject(row["meter"], "too_much", {"kwh": row["kwh"], "read_at": read_at})
            else:
                step.accept(row["meter"])
    kept = [row for row in rows if row["kwh"] <= 150]
    with run.step("bill", "aggregate") as step:
        step.set_input_items(kept, key="meter")
        step.set_output({"kwh": sum(row["kwh"] for row in kept)})
    run.set_output({"kwh": sum(row["kwh"] for row in kept)})
