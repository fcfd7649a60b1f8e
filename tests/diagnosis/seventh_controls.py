"""The controls of the seventh batch: nothing is wrong, or the runs were given something else."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from typing import Any

import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core import XRay, carry
from xray_core.capture.run import Run

CONTROLS_OF_SEVENTH = Batch()
xray = XRay("seventh")
Row = dict[str, Any]
DIFFER_INSIDE_OF_SEVENTH = {"an_extra_step_writes_a_log"}


@CONTROLS_OF_SEVENTH.control()
def a_chat_takes_other_times(run: Run, bad: bool) -> None:
    @xray.step(step_type="retrieve")
    def retrieve(question: str) -> Row:
        began = time.perf_counter()
        return {"docs": [{"id": "d1", "text": "x"}], "took_ms": (time.perf_counter() - began) * 1000}

    @xray.step
    def answer(found: Row) -> Row:
        return {"text": found["docs"][0]["text"], "latency_ms": 12.5 + bad, "request_id": str(uuid.uuid4())}

    run.set_output(answer(retrieve("x?"))["text"])


@CONTROLS_OF_SEVENTH.control()
def a_session_has_its_own_token_and_host(run: Run, bad: bool) -> None:
    with run.step("login") as step:
        step.set_output(
            {"token": "tok_" + uuid.uuid4().hex, "host": f"worker-{int(bad)}", "run_id": run.run_id, "user": "ann"}
        )
    with run.step("orders") as step:
        step.set_input({"user": "ann", "host": f"worker-{int(bad)}"})
        step.set_output([{"id": 1, "eur": 5}])
    run.set_output({"eur": 5})


@CONTROLS_OF_SEVENTH.control()
def a_set_comes_in_another_order(run: Run, bad: bool) -> None:
    names = ["a1", "b2", "c3", "d4"]
    given = names[::-1] if bad else names
    with run.step("allowed", step_type="filter") as step:
        step.set_input_items(given)
        for name in given:
            if name == "c3":
                step.reject(name, "blocked")
            else:
                step.accept(name)
    with run.step("count") as step:
        step.set_input(set(given) - {"c3"})
        step.set_output(3)
    run.set_output(3)


@CONTROLS_OF_SEVENTH.control()
def an_extra_step_writes_a_log(run: Run, bad: bool) -> None:
    @xray.step
    def load() -> list[Row]:
        return [{"id": n, "x": n} for n in range(4)]

    @xray.step
    def log(rows: list[Row]) -> None:
        return None

    @xray.step
    def total(rows: list[Row]) -> int:
        return sum(row["x"] for row in rows)

    rows = load()
    if bad:
        log(rows)
    run.set_output(total(rows))


@CONTROLS_OF_SEVENTH.control()
def a_gather_ends_in_another_order(run: Run, bad: bool) -> None:
    @xray.step
    async def score(customer: str) -> Row:
        await asyncio.sleep(0.001 * (ord(customer) % 3 if bad else -ord(customer) % 3))
        return {"customer_id": customer, "score": ord(customer)}

    @xray.step
    def best(rows: list[Row]) -> str:
        return str(max(rows, key=lambda row: row["score"])["customer_id"])

    async def batch() -> list[Row]:
        return [await each for each in asyncio.as_completed([score(name) for name in "abcdef"])]

    run.set_output(best(asyncio.run(batch())))


@CONTROLS_OF_SEVENTH.control()
def keys_of_a_dict_come_in_another_order(run: Run, bad: bool) -> None:
    @xray.step
    def config() -> Row:
        values = {"a": 1, "b": 2, "c": 3}
        return dict(reversed(values.items())) if bad else values

    @xray.step
    def total(values: Row) -> int:
        return sum(values.values())

    run.set_output(total(config()))


@CONTROLS_OF_SEVENTH.control()
def a_call_is_tried_twice(run: Run, bad: bool) -> None:
    failures = [TimeoutError("busy")] if bad else []

    @xray.step
    def ask(text: str) -> str:
        if failures:
            raise failures.pop()
        return text.upper()

    @xray.step
    def reply(text: str) -> str:
        return f"<{text}>"

    try:
        said = ask("hello")
    except TimeoutError:
        said = ask("hello")
    run.set_output(reply(said))


@CONTROLS_OF_SEVENTH.control()
def pages_are_read_by_threads(run: Run, bad: bool) -> None:
    found: dict[int, list[Row]] = {}

    @xray.step(step_type="retrieve")
    def page(number: int) -> list[Row]:
        return [{"id": number * 2 + n, "x": n} for n in range(2)]

    def read(number: int) -> None:
        found[number] = page(number)

    for number in (3, 1, 2, 0) if bad else (0, 1, 2, 3):
        thread = threading.Thread(target=carry(read), args=(number,))
        thread.start()
        thread.join()

    @xray.step
    def merge(pages: dict[int, list[Row]]) -> list[int]:
        return sorted(row["id"] for rows in pages.values() for row in rows)

    run.set_output(merge(found))


@CONTROLS_OF_SEVENTH.control()
def a_sum_is_taken_in_another_order(run: Run, bad: bool) -> None:
    numbers = [0.1, 0.7, 0.3, 1e6, 0.2]

    @xray.step
    def mean() -> float:
        return sum(numbers[::-1] if bad else numbers) / len(numbers)

    @xray.step
    def alarm(level: float) -> bool:
        return level > 5

    run.set_output(alarm(mean()))


@CONTROLS_OF_SEVENTH.control()
def a_cache_is_warm(run: Run, bad: bool) -> None:
    frame = pd.DataFrame({"user_id": [1, 2, 3], "age": [20, 30, 40]})
    with run.step("features", step_type="retrieve") as step:
        step.set_metadata("cache_hit", bad)
        step.set_input({"users": [1, 2, 3]})
        step.set_output(frame)
    with run.step("adults", step_type="filter") as step:
        kept = step.filter(frame, {"minor": frame["age"] < 25}, key="user_id")
    run.set_output(kept["user_id"].tolist())


@CONTROLS_OF_SEVENTH.fault("load", "input_changed", asked=lambda bad: {"day": f"2026-03-0{1 + bad}"})
def another_day_is_asked_for(run: Run, bad: bool) -> None:
    seeded = random.Random(int(bad))

    @xray.step(step_type="retrieve")
    def load(day: str) -> list[Row]:
        return [{"order_id": f"{day}-{n}", "eur": seeded.randrange(100)} for n in range(9)]

    @xray.step(step_type="filter")
    def large(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["eur"] > 40]

    @xray.step
    def total(rows: list[Row]) -> int:
        return sum(row["eur"] for row in rows)

    run.set_output(total(large(load(f"2026-03-0{1 + bad}"))))


def applicants(bad: bool) -> list[Row]:
    return [{"id": f"m{n}", "grade": n % 6} for n in (range(3, 15) if bad else range(12))]


@CONTROLS_OF_SEVENTH.fault("admit", "input_changed", asked=lambda bad: {"applicants": applicants(bad)})
def other_applicants_are_given(run: Run, bad: bool) -> None:
    given = applicants(bad)
    with run.step("admit", step_type="filter") as step:
        step.set_input_items(given, key="id")
        admitted = [row for row in given if row["grade"] >= 3]
        for row in given:
            if row in admitted:
                step.accept(row["id"], value=row["grade"], limit=3)
            else:
                step.reject(row["id"], "grade_too_low", value=row["grade"], limit=3)
    with run.step("rank", step_type="rank") as step:
        step.set_input_items(admitted, key="id")
        ranked = sorted(admitted, key=lambda row: (-row["grade"], row["id"]))
        step.set_output_items(ranked, key="id")
    run.set_output([row["id"] for row in ranked])
