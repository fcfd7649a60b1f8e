"""The controls of the sixth set."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from tests.diagnosis.planted import Batch
from tests.diagnosis.sixth_batch import STEPS, Row
from xray_core import carry, current_step
from xray_core.capture.run import Run

CONTROLS_OF_SIXTH = Batch()


@CONTROLS_OF_SIXTH.control()
def sets_come_in_another_order(run: Run, bad: bool) -> None:
    tags = ["red", "blue", "green", "black"]

    @STEPS.step(step_type="retrieve")
    def load() -> dict[str, set[str]]:
        return {name: set(tags) for name in (reversed(tags) if bad else tags)}

    @STEPS.step
    def flatten(found: dict[str, set[str]]) -> list[str]:
        return sorted({tag for each in found.values() for tag in each})

    run.set_output(flatten(load()))


@CONTROLS_OF_SIXTH.control(asked=lambda bad: {"job": "nightly", "request_id": str(uuid.uuid4())})
def tokens_and_times_are_new(run: Run, bad: bool) -> None:
    with run.step("login") as step:
        step.set_output(
            {"access_token": uuid.uuid4().hex, "expires_at": time.time() + 3600, "trace_id": uuid.uuid4().hex[:16]}
        )
    with run.step("fetch", step_type="retrieve") as step:
        step.set_input(
            {
                "path": "/orders",
                "headers": {"Authorization": f"Bearer {uuid.uuid4().hex}", "X-Request-Id": str(uuid.uuid4())},
            }
        )
        step.set_output([{"id": "o1", "total": 5}, {"id": "o2", "total": 7}])
    with run.step("keep", step_type="filter") as step:
        step.accept("o1")
        step.reject("o2", "too_dear", {"total": 7, "checked_at": time.time()})
    run.set_output(["o1"])


@CONTROLS_OF_SIXTH.control()
def another_host_and_folder(run: Run, bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with run.step("download") as step:
            path = os.path.join(folder, "orders.csv")
            step.set_metadata("host", f"worker-{bad}.{socket.gethostname()}")
            step.set_metadata("pid", os.getpid() + bad)
            step.set_output({"path": path, "bytes": 120})
        with run.step("read", step_type="retrieve") as step:
            step.set_input({"path": path})
            step.set_output_items([{"id": f"o{n}", "n": n} for n in range(5)], key="id")
        with run.step("odd", step_type="filter") as step:
            for n in range(5):
                step.accept(f"o{n}") if n % 2 else step.reject(f"o{n}", "even")
    run.set_output(["o1", "o3"])


@CONTROLS_OF_SIXTH.control()
def equal_values_of_other_types(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> Any:
        rows = [{"id": n, "price": 2.5 * n} for n in range(6)]
        return tuple({"id": np.int64(row["id"]), "price": Decimal(str(row["price"]))} for row in rows) if bad else rows

    @STEPS.step(step_type="filter")
    def cheap(rows: Any) -> list[Any]:
        return [row for row in rows if row["price"] < 8]

    @STEPS.step
    def total(rows: list[Any]) -> Any:
        return sum(row["price"] for row in rows)

    run.set_output(float(total(cheap(load()))))


@CONTROLS_OF_SIXTH.control()
def threads_end_in_another_order(run: Run, bad: bool) -> None:
    numbers = list(range(30))
    if bad:
        random.Random(3).shuffle(numbers)

    def judge(n: int) -> int:
        current_step().accept(f"n{n}", score=n / 7) if n % 3 else current_step().reject(f"n{n}", "third", {"n": n})
        return n

    with run.step("judge", step_type="filter") as step:
        step.set_input_items([f"n{n}" for n in sorted(numbers)])
        with ThreadPoolExecutor(1) as pool:
            done = list(pool.map(carry(judge), numbers))
    with run.step("collect") as step:
        kept = sorted(n for n in done if n % 3)
        step.set_output(kept)
    run.set_output(len(kept))


@CONTROLS_OF_SIXTH.control()
def pandas_becomes_polars(run: Run, bad: bool) -> None:
    columns = {
        "sku": [f"s{n}" for n in range(20)],
        "price": [1.5 * n for n in range(20)],
        "stock": [n % 4 for n in range(20)],
    }
    frame = pl.DataFrame(columns) if bad else pd.DataFrame(columns)
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(frame, key="sku")
    with run.step("in_stock", step_type="filter") as step:
        kept = step.filter(frame, {"none_left": frame["stock"] == 0}, key="sku", details=["stock"])
    with run.step("value") as step:
        step.set_input_items(kept, key="sku")
        step.set_output(float((kept["price"] * kept["stock"]).sum()))
    run.set_output(len(kept))


@CONTROLS_OF_SIXTH.control()
def second_attempt_gives_the_same(run: Run, bad: bool) -> None:
    for attempt in range(2 if bad else 1):
        try:
            with run.step("fetch", step_type="retrieve") as step:
                if bad and not attempt:
                    raise TimeoutError("no answer")
                step.set_output_items([{"id": f"f{n}", "v": n} for n in range(4)], key="id")
        except TimeoutError:
            continue
    with run.step("keep", step_type="filter") as step:
        step.set_input_items([{"id": f"f{n}", "v": n} for n in range(4)], key="id")
        step.accept_many(["f0", "f1"])
        step.reject_many(["f2", "f3"], "late")
    run.set_output(["f0", "f1"])


@CONTROLS_OF_SIXTH.control()
def durations_and_cache_hits_differ(run: Run, bad: bool) -> None:
    with run.step("features") as step:
        step.set_metadata("elapsed_ms", 812.4 if bad else 15.1)
        step.set_metadata("started", time.time())
        step.set_output({"rows": 3, "took_s": 0.8124 if bad else 0.0151, "values": [1, 2, 3]})
    with run.step("score", step_type="score") as step:
        for item, score in zip("abc", (1, 2, 3)):
            step.accept(item, score=score)
    run.set_output({"best": "c"})


@CONTROLS_OF_SIXTH.control()
def async_answers_arrive_in_another_order(run: Run, bad: bool) -> None:
    @STEPS.step
    async def ask(n: int) -> Row:
        for _ in range(10 - n if bad else n):
            await asyncio.sleep(0)
        return {"id": f"a{n}", "answer": n * n}

    @STEPS.step
    async def collect(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["answer"] % 2]

    async def pipeline() -> list[Row]:
        return await collect(list(await asyncio.gather(*map(ask, range(8)))))

    run.set_output(asyncio.run(pipeline()))


@CONTROLS_OF_SIXTH.control()
def sums_differ_in_the_last_digit(run: Run, bad: bool) -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.7]

    @STEPS.step
    def total(parts: list[float]) -> float:
        return sum(reversed(parts)) if bad else sum(parts)

    @STEPS.step
    def stream(amount: float) -> Iterator[Row]:
        for n in range(4):
            yield {"id": f"x{n}", "share": amount * n / 3}

    @STEPS.step(step_type="filter")
    def keep(rows: Iterator[Row]) -> list[Row]:
        return [row for row in rows if row["share"] > 0.9]

    run.set_output(len(keep(stream(total(values)))))
