"""The controls of the fifth set: eight pairs of runs that differ, and in which nothing is wrong."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

from tests.diagnosis.fifth_batch import STEPS
from tests.diagnosis.planted import Batch
from xray_core.capture.run import Run

CONTROLS_OF_FIFTH = Batch()
Row = dict[str, Any]
# In these a step did put out something else, and the output of the run is the same: that step may be named, and not blamed.
DIFFER_INSIDE_OF_FIFTH: Final = frozenset({"an_agent_that_looks_twice", "a_model_that_says_it_in_other_words"})


@CONTROLS_OF_FIFTH.control()
def ids_as_numbers_and_as_texts(run: Run, bad: bool) -> None:
    """One driver gives numbers, the other texts: an item is the same however its id is spelled."""
    rows = [{"order_id": str(k) if bad else k, "euro": 5 + 3 * k} for k in range(1, 15)]
    with run.step("orders", "retrieve") as step:
        step.set_output_items([row["order_id"] for row in rows])
    with run.step("small", "filter") as step:
        for row in rows:
            if row["euro"] < 20:
                step.reject(row["order_id"], "too_small", value=row["euro"], limit=20)
            else:
                step.accept(row["order_id"], value=row["euro"], limit=20)
    run.set_output({"euro": sum(row["euro"] for row in rows if row["euro"] >= 20)})


@CONTROLS_OF_FIFTH.control()
def a_retry_that_ends_as_always(run: Run, bad: bool) -> None:
    """The first attempt took two orders for doubtful and failed; the second says of all what it always says."""
    orders = [{"id": f"o{k}", "euro": 10 * k} for k in range(10)]
    with run.step("orders", "retrieve") as step:
        step.set_output_items(orders, key="id")
    for attempt in (1, 2) if bad else (1,):
        failing = bad and attempt == 1
        step = run.open_step("check", step_type="filter", step_id=f"{run.run_id}-check", attempt=attempt)
        step.set_input(orders)
        for order in orders[:4] if failing else orders:
            if order["id"] in ({"o1", "o2"} if failing else {"o7"}):
                step.reject(order["id"], "doubtful")
            else:
                step.accept(order["id"])
        step.close("failed" if failing else "completed", error=TimeoutError("no answer") if failing else None)
    run.set_output({"sent": [order["id"] for order in orders if order["id"] != "o7"]})


@CONTROLS_OF_FIFTH.control()
def workers_that_finish_in_another_order(run: Run, bad: bool) -> None:
    found: dict[int, list[int]] = {}
    for shard in (3, 1, 0, 2) if bad else (0, 1, 2, 3):
        with run.open_step("fetch", step_type="retrieve", map_index=shard) as step:
            step.set_input({"shard": shard})
            found[shard] = [shard * 10 + k for k in range(3)]
            step.set_output({"numbers": found[shard]})
    with run.step("gather", "transform") as step:
        numbers = [number for shard in sorted(found) for number in found[shard]]
        step.set_input(numbers)
        step.set_output({"sum": sum(numbers)})
    run.set_output({"sum": sum(numbers)})


@CONTROLS_OF_FIFTH.control()
def an_agent_that_looks_twice(run: Run, bad: bool) -> None:
    found = [{"id": "d1", "text": "open from nine"}, {"id": "d2", "text": "closed on Sunday"}]
    with run.step("plan", "llm") as step:
        step.set_input("when are you open?")
        step.set_output({"query": "opening hours"})
    for query in ["opening hours", "opening times"] if bad else ["opening hours"]:
        with run.step("search", "tool") as step:
            step.set_input({"query": query})
            step.set_output(found)
    with run.step("answer", "llm") as step:
        step.set_input({"question": "when are you open?", "documents": found})
        step.set_output("From nine, not on Sunday.")
    run.set_output("From nine, not on Sunday.")


@CONTROLS_OF_FIFTH.control()
def a_model_that_says_it_in_other_words(run: Run, bad: bool) -> None:
    """Captured without code: the reasons differ, the labels do not."""

    @STEPS.step(step_type="retrieve")
    def tickets() -> list[Row]:
        return [{"id": f"t{k}", "text": f"ticket {k}"} for k in range(6)]

    @STEPS.step(step_type="llm")
    def judge(rows: list[Row]) -> list[Row]:
        words = "The customer seems to be angry" if bad else "Clearly an angry customer"
        return [
            {"id": row["id"], "label": "angry" if k % 3 == 0 else "calm", "why": words} for k, row in enumerate(rows)
        ]

    @STEPS.step(step_type="filter")
    def urgent(labels: dict[str, str]) -> list[str]:
        return [name for name, label in labels.items() if label == "angry"]

    run.set_output(urgent({row["id"]: row["label"] for row in judge(tickets())}))


@CONTROLS_OF_FIFTH.control()
def names_and_times_of_the_run_itself(run: Run, bad: bool) -> None:
    request = "0f8fad5b-d9cb-469f-a165-70867728950e" if bad else "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    file = f"/tmp/tmp{'k3x9a_q1' if bad else 'zz81m2pf'}/part-0.parquet"
    with run.step("export", "retrieve") as step:
        step.set_input({"table": "orders", "request_id": request})
        step.set_output({"path": file, "rows": 120, "duration_ms": 431 if bad else 377})
    with run.step("upload", "sink") as step:
        step.set_input({"path": file, "rows": 120})
        step.set_output({"uploaded": 120, "started_at": datetime.now(timezone.utc).isoformat(), "request_id": request})
    run.set_output({"uploaded": 120})


@CONTROLS_OF_FIFTH.control()
def a_key_that_was_rotated(run: Run, bad: bool) -> None:
    key = "9d1c-after-the-rotation" if bad else "41ab-before-the-rotation"
    rows = [{"sku": f"s{k}", "price": 12 + k} for k in range(6)]
    with run.step("prices", "retrieve") as step:
        step.set_input({"api_key": key, "page": 1})
        step.set_output_items(rows, key="sku")
    with run.step("cheapest", "select") as step:
        step.set_input(rows)
        step.decide("cheapest", selected="s0", score=12, alternatives=[(row["sku"], row["price"]) for row in rows[1:]])
    run.set_output(rows[0])


@CONTROLS_OF_FIFTH.control()
def a_warm_cache_and_a_dict_in_another_order(run: Run, bad: bool) -> None:
    rates = {"USD": 0.91, "GBP": 1.17, "CHF": 1.04}
    rates = dict(reversed(rates.items())) if bad else rates
    with run.step("rates", "retrieve", code_version="r4" if bad else "r3") as step:
        step.set_metadata("result.cache_hits", 3 if bad else 0)
        step.set_output({"rates": rates})
    with run.step("convert", "transform") as step:
        step.set_input({"rates": rates, "dollars": [10, 25, 40]})
        euros = [round(dollars * rates["USD"], 2) for dollars in (10, 25, 40)]
        step.set_output({"euros": euros})
    run.set_output({"euros": euros})
