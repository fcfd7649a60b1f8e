"""A sixth set: 26 faults, written without a look at how runs are compared. Further ones: sixth_said.py, sixth_controls.py.

Its score in the first run, untouched: right step 15 of 26, right cause 13, another step blamed eleven times, certain once where it
was another one (`arguments_are_swapped`: the inner step, for what the one around it gave it), nothing blamed in 7 of 10 controls.
Put right after it, since nothing that is captured could tell: three that show in the next step alone, where an object that cannot
be read or a count is all that came out; a time that an adapter does not keep; what a retriever that only accepts never had.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import reduce
from typing import Any, Final

import numpy as np
import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core import XRay, carry
from xray_core.capture.run import Run

SIXTH = Batch()
STEPS: Final = XRay("sixth")
Row = dict[str, Any]
ANY: Final = ("non_deterministic", "code_changed", "input_changed")


# ---------------------------------------------------------------- frames, without further code
@SIXTH.fault("normalise", *ANY, cause="not in the same order")
def category_order_is_lost(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> pd.DataFrame:
        levels = ["low", "high", "urgent", "low", "medium", "high"]
        return pd.DataFrame({"ticket_id": [f"t{n}" for n in range(6)], "priority": levels})

    @STEPS.step
    def normalise(tickets: pd.DataFrame) -> pd.DataFrame:
        order = None if bad else ["urgent", "high", "medium", "low"]
        return tickets.assign(priority=pd.Categorical(tickets.priority, categories=order, ordered=True))

    @STEPS.step(step_type="rank")
    def queue(tickets: pd.DataFrame) -> pd.DataFrame:
        return tickets.sort_values(["priority", "ticket_id"])

    @STEPS.step(step_type="select")
    def next_three(tickets: pd.DataFrame) -> pd.DataFrame:
        return tickets.head(3)

    run.set_output(next_three(queue(normalise(load()))).ticket_id.tolist())


@SIXTH.fault("parse", *ANY)
def times_are_kept_in_utc(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> list[Row]:
        return [{"order_id": f"o{n}", "at": f"2026-03-{1 + n // 3:02}T{(7 * n) % 24:02}:30:00Z"} for n in range(9)]

    @STEPS.step
    def parse(orders: list[Row]) -> pd.DataFrame:
        frame = pd.DataFrame(orders)
        frame["at"] = pd.to_datetime(frame["at"])
        return frame if bad else frame.assign(at=frame["at"].dt.tz_convert("America/Los_Angeles"))

    @STEPS.step
    def per_day(orders: pd.DataFrame) -> list[Row]:
        days = orders.groupby(orders["at"].dt.strftime("%d")).size()
        return [{"day_id": f"d{day}", "n": int(n)} for day, n in days.items()]

    run.set_output(per_day(parse(load())))


@SIXTH.fault("clean", *ANY)
def index_is_kept_after_the_filter(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> pd.DataFrame:
        return pd.DataFrame({"sku": [f"s{n}" for n in range(8)], "price": [5.0, -1, 7, 9, -1, 4, 8, 6]})

    @STEPS.step(step_type="filter")
    def clean(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[rows.price > 0]
        return rows if bad else rows.reset_index(drop=True)

    @STEPS.step
    def discount(rows: pd.DataFrame) -> pd.DataFrame:
        rates = pd.Series([0.5, 0.1, 0.1, 0.2, 0.3, 0.1])
        return rows.assign(price=(rows.price * (1 - rates)).fillna(rows.price).reindex(rows.index))

    @STEPS.step(step_type="filter")
    def affordable(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows.price < 5]

    run.set_output(affordable(discount(clean(load()))).sku.tolist())


@SIXTH.fault("per_customer", *ANY)
def groups_without_a_key_are_dropped(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> pd.DataFrame:
        regions = ["n", "s", None, "n", None, "e", "s", "e"]
        return pd.DataFrame(
            {"order_id": [f"o{n}" for n in range(8)], "region": regions, "total": [float(n * 10) for n in range(8)]}
        )

    @STEPS.step
    def per_customer(orders: pd.DataFrame) -> pd.DataFrame:
        sums = orders.groupby("region", dropna=bad).total.sum().reset_index()
        return sums.assign(region_id=sums.region.fillna("none"))

    @STEPS.step
    def share(sums: pd.DataFrame) -> pd.DataFrame:
        return sums.assign(share=(sums.total / sums.total.sum()).round(3))

    @STEPS.step(step_type="filter")
    def large(sums: pd.DataFrame) -> pd.DataFrame:
        return sums[sums.share > 0.3]

    run.set_output(large(share(per_customer(load()))).region_id.tolist())


# ---------------------------------------------------------------- plain values, without further code
@SIXTH.fault("score", *ANY)
def rows_are_scored_in_place(run: Run, bad: bool) -> None:
    weights = {"clicks": 1.0, "age": 0.9 if bad else -0.5}

    @STEPS.step(step_type="retrieve")
    def load() -> list[Row]:
        return [{"id": f"v{n}", "clicks": (n * 7) % 10, "age": (n * 3) % 8} for n in range(8)]

    @STEPS.step(step_type="score")
    def score(rows: list[Row]) -> None:
        for row in rows:
            row["score"] = sum(weight * row[name] for name, weight in weights.items())

    @STEPS.step(step_type="rank")
    def rank(rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: (-row["score"], row["id"]))

    @STEPS.step(step_type="select")
    def top(rows: list[Row]) -> list[Row]:
        return rows[:3]

    rows = load()
    score(rows)
    run.set_output([row["id"] for row in top(rank(rows))])


@SIXTH.fault("load_rates", *ANY)
def lookup_table_is_emptied(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> list[Row]:
        return [{"id": f"i{n}", "amount": 40 + 9 * n, "currency": ("EUR", "JPY")[n % 2]} for n in range(8)]

    @STEPS.step
    def load_rates() -> dict[str, float]:
        try:
            if bad:
                raise TimeoutError
            return {"EUR": 1.1, "JPY": 0.01}
        except TimeoutError:
            return {}

    @STEPS.step
    def convert(rows: list[Row], rates: dict[str, float]) -> list[Row]:
        return [{**row, "usd": round(row["amount"] * rates.get(row["currency"], 1.0), 2)} for row in rows]

    @STEPS.step(step_type="filter")
    def large(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["usd"] > 60]

    run.set_output([row["id"] for row in large(convert(load(), load_rates()))])


@SIXTH.fault("plan", *ANY)
def arguments_are_swapped(run: Run, bad: bool) -> None:
    climb = {("depot", "a"): 5, ("a", "depot"): 2, ("depot", "b"): 3, ("b", "depot"): 9}

    @STEPS.step
    def leg(start: str, end: str) -> int:
        return climb[start, end]

    @STEPS.step
    def plan(stops: list[str]) -> list[Row]:
        return [{"stop_id": stop, "cost": leg(stop, "depot") if bad else leg("depot", stop)} for stop in stops]

    @STEPS.step(step_type="select")
    def cheapest(stops: list[Row]) -> Row:
        return min(stops, key=lambda stop: stop["cost"])

    run.set_output(cheapest(plan(["a", "b"]))["stop_id"])


@SIXTH.fault("embed", *ANY)
def embeddings_are_quantised(run: Run, bad: bool) -> None:
    random = np.random.default_rng(5)
    vectors, query = random.normal(size=(40, 16)), random.normal(size=16)

    @STEPS.step
    def embed(texts: list[str]) -> np.ndarray:
        found = vectors[: len(texts)]
        return np.round(found * 2) / 2 if bad else found

    @STEPS.step(step_type="score")
    def similarity(embedded: np.ndarray) -> list[Row]:
        return [{"doc_id": f"d{n}", "score": float(score)} for n, score in enumerate(embedded @ query)]

    @STEPS.step(step_type="rank")
    def rank(documents: list[Row]) -> list[Row]:
        return sorted(documents, key=lambda document: -document["score"])[:5]

    run.set_output([each["doc_id"] for each in rank(similarity(embed([f"text {n}" for n in range(40)])))])


@dataclass
class Scaler:
    mean: float = 0.0

    @STEPS.step
    def fit(self, rows: list[Row], trim: int) -> None:
        values = sorted(row["value"] for row in rows)[: len(rows) - trim]
        self.mean = sum(values) / len(values)

    @STEPS.step(step_type="filter")
    def unusual(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["value"] > 1.5 * self.mean]


@SIXTH.fault("fit", *ANY)
def fit_leaves_its_state_in_self(run: Run, bad: bool) -> None:
    rows = [{"id": f"m{n}", "value": (n * n) % 23 + 1} for n in range(12)]
    rows[5]["value"] = 400
    scaler = Scaler()
    scaler.fit(rows, 0 if bad else 1)
    run.set_output([row["id"] for row in scaler.unusual(rows)])


@SIXTH.fault("make_filter", *ANY, shows_at=("keep",))
def predicate_closes_over_another_limit(run: Run, bad: bool) -> None:
    limits = {"price": 70 if bad else 50}

    @STEPS.step(step_type="retrieve")
    def load() -> list[Row]:
        return [{"id": f"p{n}", "price": 12 * n} for n in range(8)]

    @STEPS.step
    def make_filter(field: str) -> Callable[[Row], bool]:
        limit = limits[field]
        return lambda row: row[field] <= limit

    @STEPS.step(step_type="filter")
    def keep(rows: list[Row], predicate: Callable[[Row], bool]) -> list[Row]:
        return [row for row in rows if predicate(row)]

    run.set_output([row["id"] for row in keep(load(), make_filter("price"))])


@SIXTH.fault("fill", *ANY, shows_at=("totals",))
def table_is_filled_twice(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def load() -> list[tuple[str, int]]:
        return [(f"k{n}", n * 10) for n in range(5)]

    @STEPS.step
    def fill(rows: list[tuple[str, int]]) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE sales (shop, total)")
        for _ in range(2 if bad else 1):
            connection.executemany("INSERT INTO sales VALUES (?, ?)", rows)
        return connection

    @STEPS.step
    def totals(connection: sqlite3.Connection) -> list[Row]:
        found = connection.execute("SELECT shop, sum(total) FROM sales GROUP BY shop ORDER BY shop")
        return [{"shop_id": shop, "total": total} for shop, total in found]

    @STEPS.step(step_type="filter")
    def large(shops: list[Row]) -> list[Row]:
        return [shop for shop in shops if shop["total"] >= 40]

    connection = fill(load())
    run.set_output([shop["shop_id"] for shop in large(totals(connection))])
    connection.close()


@SIXTH.fault("window", *ANY)
def window_is_shorter(run: Run, bad: bool) -> None:
    today = datetime(2026, 3, 1, tzinfo=timezone.utc)

    @STEPS.step
    def window() -> dict[str, datetime]:
        return {"since": today - timedelta(days=7 if bad else 30), "until": today}

    @STEPS.step(step_type="retrieve")
    def events(since: datetime, until: datetime) -> list[Row]:
        all_of_them = [{"event_id": f"e{n}", "at": today - timedelta(days=3 * n)} for n in range(12)]
        return [event for event in all_of_them if since <= event["at"] <= until]

    @STEPS.step
    def count(found: list[Row]) -> int:
        return len(found)

    run.set_output(count(events(**window())))


@SIXTH.fault("total", *ANY)
def discount_is_applied_before_tax(run: Run, bad: bool) -> None:
    @dataclass(frozen=True)
    class Line:
        line_id: str
        net: float
        quantity: int = 1

    @STEPS.step(step_type="retrieve")
    def load() -> tuple[Line, ...]:
        return tuple(Line(f"l{n}", 9.99 + n, 1 + n % 3) for n in range(5))

    @STEPS.step
    def with_quantity(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        return tuple(replace(line, net=round(line.net * line.quantity, 2)) for line in lines)

    @STEPS.step
    def total(lines: tuple[Line, ...], discount: float) -> float:
        net = reduce(lambda before, line: before + line.net, lines, 0.0)
        return round((net - discount) * 1.19 if bad else net * 1.19 - discount, 2)

    @STEPS.step
    def needs_approval(amount: float) -> bool:
        return amount > 140

    run.set_output(needs_approval(total(with_quantity(load()), 10.0)))


# ---------------------------------------------------------------- generators, async, threads
@SIXTH.fault("keep > score > batches", *ANY, cause="output.size")
def last_batch_is_forgotten(run: Run, bad: bool) -> None:
    @STEPS.step(step_type="retrieve")
    def read() -> Iterator[Row]:
        for n in range(10):
            yield {"id": f"r{n}", "x": n}

    @STEPS.step
    def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
        batch: list[Row] = []
        for row in rows:
            batch.append(row)
            if len(batch) == 4:
                yield batch
                batch = []
        if batch and not bad:
            yield batch

    @STEPS.step(step_type="score")
    def score(parts: Iterable[list[Row]]) -> Iterator[Row]:
        for part in parts:
            for row in part:
                yield {**row, "score": row["x"] % 3}

    @STEPS.step(step_type="filter")
    def keep(rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if row["score"]]

    run.set_output([row["id"] for row in keep(score(batches(read())))])


@SIXTH.fault("enrich", *ANY)
def gather_swaps_results(run: Run, bad: bool) -> None:
    stock = {f"s{n}": (n * 5) % 7 for n in range(6)}

    async def stock_of(sku: str) -> tuple[str, int]:
        for _ in range(stock[sku]):
            await asyncio.sleep(0)
        return sku, stock[sku]

    @STEPS.step(step_type="retrieve")
    async def load() -> list[Row]:
        return [{"sku": sku} for sku in stock]

    @STEPS.step
    async def enrich(rows: list[Row]) -> list[Row]:
        tasks = [asyncio.ensure_future(stock_of(row["sku"])) for row in rows]
        if bad:
            found = sorted([await each for each in tasks], key=lambda pair: pair[1])
        else:
            found = [await each for each in tasks]
        return [{**row, "stock": n} for row, (_, n) in zip(rows, found)]

    @STEPS.step(step_type="filter")
    async def available(rows: list[Row]) -> AsyncIterator[Row]:
        for row in rows:
            if row["stock"] > 2:
                yield row

    async def pipeline() -> list[str]:
        return [row["sku"] async for row in available(await enrich(await load()))]

    run.set_output(asyncio.run(pipeline()))


@SIXTH.fault("score_part", *ANY)
def one_part_fails_silently(run: Run, bad: bool) -> None:
    @STEPS.step
    def score_part(part: list[int]) -> list[Row]:
        try:
            if bad and 5 in part:
                raise ConnectionError("no answer")
            return [{"id": f"q{n}", "score": (n * 11) % 13} for n in part]
        except ConnectionError:
            return []

    @STEPS.step
    def merge(parts: list[list[Row]]) -> list[Row]:
        return [row for part in parts for row in part]

    @STEPS.step(step_type="select")
    def best(rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: -row["score"])[:6]

    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(carry(score_part), [[0, 1, 2], [3, 4, 5], [6, 7, 8]]))
    run.set_output([row["id"] for row in best(merge(parts))])
