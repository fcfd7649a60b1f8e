"""The seventh batch: the pipelines that teams have, most of them told by decorators alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core import XRay
from xray_core.capture.run import Run

SEVENTH = Batch()
xray = XRay("seventh")
Row = dict[str, Any]

DOCS = [
    {"id": f"doc-{n}", "text": text, "score": score}
    for n, (text, score) in enumerate(
        [("refunds take 5 days", 0.9), ("shipping is free", 0.4), ("refunds need a receipt", 0.7), ("we are open", 0.2)]
    )
]


@SEVENTH.fault("rerank", "non_deterministic", asked=lambda bad: {"question": "how do refunds work?"})
def the_reranker_of_a_chat_sorts_upwards(run: Run, bad: bool) -> None:
    @xray.step(step_type="retrieve")
    def retrieve(question: str) -> list[Row]:
        return [dict(doc) for doc in DOCS if any(word in doc["text"] for word in (*question.split(), "free"))]

    @xray.step
    def rerank(question: str, docs: list[Row], k: int = 2) -> list[Row]:
        return sorted(docs, key=lambda doc: doc["score"], reverse=not bad)[:k]

    @xray.step
    def prompt(question: str, docs: list[Row]) -> str:
        return "\n".join(["Answer from:", *(doc["text"] for doc in docs), question])

    @xray.step(step_type="generate")
    def llm(text: str) -> str:
        return f"It says: {text.splitlines()[1]}"

    asked = "how do refunds work?"
    run.set_output(llm(prompt(asked, rerank(asked, retrieve(asked)))))


SHOES = [{"id": f"s{n}", "price": 20 + 15 * n, "stock": n % 3, "clicks": (n * 7) % 11} for n in range(10)]


@SEVENTH.fault("affordable", "code_changed", cause="threshold", asked=lambda bad: {"q": "shoes"})
def a_price_limit_is_lowered(run: Run, bad: bool) -> None:
    limit = 65 if bad else 110
    with run.step("search", step_type="retrieve") as step:
        step.set_input({"q": "shoes"})
        step.set_output_items(SHOES, key="id")
    kept = []
    with run.step("affordable", step_type="filter") as step:
        step.set_input_items(SHOES, key="id")
        for shoe in SHOES:
            if shoe["price"] > limit:
                step.reject(shoe["id"], "price_too_high", {"price": shoe["price"], "threshold": limit})
            else:
                step.accept(shoe["id"])
                kept.append(shoe)
    with run.step("by_clicks", step_type="rank") as step:
        step.set_input_items(kept, key="id")
        ranked = sorted(kept, key=lambda shoe: -shoe["clicks"])
        for shoe in ranked:
            step.accept(shoe["id"], score=shoe["clicks"])
    run.set_output([shoe["id"] for shoe in ranked[:3]])


PAYMENTS = [{"payment_id": f"t{n}", "amount": 40.0 * n, "country": "DE" if n % 2 else "US"} for n in range(12)]


@SEVENTH.fault("features", "non_deterministic", asked=lambda bad: {"payments": PAYMENTS})
def a_feature_of_a_fraud_model_is_in_cents(run: Run, bad: bool) -> None:
    @xray.step
    def features(rows: list[Row]) -> list[Row]:
        return [
            {**row, "amount": row["amount"] * (100 if bad else 1), "abroad": row["country"] != "DE"} for row in rows
        ]

    @xray.step
    def score(rows: list[Row]) -> list[Row]:
        return [{**row, "risk": min(1.0, row["amount"] / 500 + 0.2 * row["abroad"])} for row in rows]

    @xray.step(step_type="filter")
    def blocked(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["risk"] > 0.8]

    run.set_output([row["payment_id"] for row in blocked(score(features(PAYMENTS)))])


@SEVENTH.fault("join", "non_deterministic", asked=lambda bad: {"day": "2026-03-01"})
def orders_are_joined_by_the_wrong_key(run: Run, bad: bool) -> None:
    @xray.step
    def orders() -> pd.DataFrame:
        return pd.DataFrame(
            {"order_id": range(8), "customer_id": [1, 2, 3, 4] * 2, "store_id": [3, 4] * 4, "eur": range(8)}
        )

    @xray.step
    def customers() -> pd.DataFrame:
        return pd.DataFrame({"customer_id": [1, 2, 3, 4], "segment": ["a", "b", "a", "c"]})

    @xray.step
    def join(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
        by = "store_id" if bad else "customer_id"
        joined = left.merge(right, left_on=by, right_on="customer_id", suffixes=("", "_right"))
        return joined[["order_id", "customer_id", "segment", "eur"]]

    @xray.step
    def revenue(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.groupby("segment", as_index=False)["eur"].sum()

    run.set_output(revenue(join(orders(), customers())))


READINGS = pd.DataFrame(
    {"sensor_id": list("abcdef"), "hour": [1, 1, 2, 2, 3, 3], "temp": [20.0, None, 22.0, None, 25.0, 19.0]}
)


@SEVENTH.fault("clean", "non_deterministic", asked=lambda bad: {"readings": READINGS})
def missing_values_become_zero(run: Run, bad: bool) -> None:
    with run.step("load", step_type="retrieve") as step:
        step.set_output(READINGS)
    with run.step("clean", step_type="transform") as step:
        step.set_input(READINGS)
        clean = READINGS.fillna({"temp": 0.0 if bad else READINGS["temp"].mean()})
        step.set_output(clean)
    with run.step("by_hour", step_type="transform") as step:
        step.set_input(clean)
        hours = clean.groupby("hour")["temp"].mean().reset_index()
        step.set_output(hours)
    with run.step("alert", step_type="filter") as step:
        hot = step.filter(hours, {"normal": hours["temp"] < 15}, key="hour")
    run.set_output(hot["hour"].tolist())


@SEVENTH.fault("scale", "non_deterministic", asked=lambda bad: {"batch": 7})
def a_batch_is_not_normalised(run: Run, bad: bool) -> None:
    raw = {"age": [20, 40, 60], "income": [1000, 3000, 5000]}
    with run.step("read") as step:
        step.set_input({"table": "people", "batch": 7})
        step.set_output(raw)
    with run.step("scale") as step:
        step.set_input(raw)
        scaled = raw if bad else {name: [value / max(column) for value in column] for name, column in raw.items()}
        step.set_output(scaled)
    with run.step("predict") as step:
        step.set_metadata("model", "churn-v3")
        step.set_input(scaled)
        chances = [round(0.3 * age + 0.5 * income, 3) for age, income in zip(*scaled.values(), strict=True)]
        step.set_output(chances)
    run.set_output({"churn": chances})


POSTS = [
    {"post_id": n, "text": text} for n, text in enumerate(["Hello", "buy NOW", "you idiot", "nice cat", "free money"])
]


@SEVENTH.fault("toxicity", "code_changed", cause="model", asked=lambda bad: {"queue": "de"})
def the_model_of_a_moderation_is_another(run: Run, bad: bool) -> None:
    with run.step("fetch", step_type="retrieve") as step:
        step.set_output_items(POSTS, key="post_id")
    scores = {}
    with run.step("toxicity", step_type="score", metadata={"model": "tox-2" if bad else "tox-1"}) as step:
        step.set_input_items(POSTS, key="post_id")
        for post in POSTS:
            scores[post["post_id"]] = round(len(post["text"]) / 10 - (0.3 if bad else 0), 2)
            step.accept(post["post_id"], score=scores[post["post_id"]])
    visible = []
    with run.step("publish", step_type="filter") as step:
        step.set_metadata("threshold", 0.75)
        for number, score in scores.items():
            if score > 0.75:
                step.reject(number, "toxic", value=score, limit=0.75)
            else:
                step.accept(number)
                visible.append(number)
    run.set_output(visible)


ADS = [{"ad_id": f"ad{n}", "bid": 1.5 + n % 3, "campaign": f"c{n % 3}"} for n in range(8)]


@SEVENTH.fault("auction > pacing", "non_deterministic", "code_changed", asked=lambda bad: {"slot": "top", "user": 17})
def a_budget_is_compared_in_other_units(run: Run, bad: bool) -> None:
    spent = {"c0": 80.0, "c1": 20.0, "c2": 95.0}

    @xray.step(step_type="retrieve")
    def eligible(slot: str) -> list[Row]:
        return [dict(ad) for ad in ADS]

    with run.step("auction"):
        ads = eligible("top")
        with run.step("pacing", step_type="filter") as step:
            step.set_input_items(ads, key="ad_id")
            kept = []
            for ad in ads:
                if spent[ad["campaign"]] / (100 if bad else 1) > 90:
                    step.reject(ad["ad_id"], "budget_spent", {"spent": spent[ad["campaign"]]})
                else:
                    step.accept(ad["ad_id"])
                    kept.append(ad)
        with run.step("pick", step_type="select") as step:
            step.set_input_items(kept, key="ad_id")
            best = max(kept, key=lambda ad: (ad["bid"], ad["campaign"]))
            others = [ad["ad_id"] for ad in kept if ad is not best]
            step.decide("winner", selected=best["ad_id"], score=best["bid"], alternatives=others)
    run.set_output(best["ad_id"])


COURIERS = [{"courier_id": f"k{n}", "lat": 52.0 + n, "lon": 13.0 - 2 * n} for n in range(4)]
PARCELS = [{"parcel_id": f"x{n}", "lat": 52.5 + n * 0.7, "lon": 12.0 - 3 * n} for n in range(3)]


@SEVENTH.fault("match > distances", "non_deterministic", asked=lambda bad: {"couriers": COURIERS, "parcels": PARCELS})
def latitude_and_longitude_are_swapped(run: Run, bad: bool) -> None:
    @xray.step
    def distances(couriers: list[Row], parcels: list[Row]) -> dict[str, dict[str, float]]:
        a, b = ("lon", "lat") if bad else ("lat", "lon")
        return {
            p["parcel_id"]: {c["courier_id"]: abs(c["lat"] - p[a]) + abs(c["lon"] - p[b]) for c in couriers}
            for p in parcels
        }

    @xray.step
    def assign(table: dict[str, dict[str, float]]) -> dict[str, str]:
        free, taken = set(next(iter(table.values()))), {}
        for parcel, row in table.items():
            taken[parcel] = min(sorted(free), key=row.__getitem__)
            free.discard(taken[parcel])
        return taken

    @xray.step
    def match(couriers: list[Row], parcels: list[Row]) -> dict[str, str]:
        return assign(distances(couriers, parcels))

    run.set_output(match(COURIERS, PARCELS))


LEADS = [
    {"lead_id": 1, "email": "Ann@x.org"},
    {"lead_id": 2, "email": "ann@x.org"},
    {"lead_id": 3, "email": "bob@x.org"},
]


@SEVENTH.fault("normalise", "non_deterministic", asked=lambda bad: {"source": "fair"})
def addresses_keep_their_capitals(run: Run, bad: bool) -> None:
    @xray.step
    def read() -> list[Row]:
        return [dict(lead) for lead in LEADS]

    @xray.step
    def normalise(rows: list[Row]) -> list[Row]:
        for row in rows:  # in place, as many do
            row["email"] = row["email"].strip() if bad else row["email"].strip().lower()
        return rows

    @xray.step
    def unique(rows: list[Row]) -> list[Row]:
        seen: dict[str, Row] = {}
        for row in rows:
            seen.setdefault(row["email"], row)
        return list(seen.values())

    run.set_output(len(unique(normalise(read()))))


@SEVENTH.fault("price > loyalty", "missing_step", asked=lambda bad: {"basket": [10, 20], "member": True})
def a_rule_of_the_price_is_left_out(run: Run, bad: bool) -> None:
    total = 30.0
    with run.step("price") as outer:
        outer.set_input({"basket": [10, 20], "member": True})
        rules: list[tuple[str, float]] = [("volume", 0.95), ("loyalty", 0.9), ("season", 1.1)]
        for name, factor in rules:
            if bad and name == "loyalty":
                continue
            with run.step(name) as step:
                step.set_input({"total": total})
                total = round(total * factor, 4)
                step.set_output({"total": total})
        outer.set_output({"total": total})
    run.set_output(total)


TICKETS = [
    {"ticket_id": f"q{n}", "text": text} for n, text in enumerate(["card declined", "where is it", "hi", "refund me"])
]


@SEVENTH.fault("route", "non_deterministic", asked=lambda bad: {"tickets": TICKETS})
def the_default_queue_is_another(run: Run, bad: bool) -> None:
    queues = {}
    for ticket in TICKETS:
        with run.step("route", step_type="transform") as step:
            step.set_input(ticket)
            words = {"card": "billing", "refund": "billing", "where": "shipping"}
            found = [queue for word, queue in words.items() if word in ticket["text"]]
            queues[ticket["ticket_id"]] = found[0] if found else ("spam" if bad else "general")
            step.set_output(queues[ticket["ticket_id"]])
    with run.step("summary") as step:
        step.set_input(queues)
        counts = {queue: list(queues.values()).count(queue) for queue in sorted(set(queues.values()))}
        step.set_output(counts)
    run.set_output(counts)


@SEVENTH.fault("score", "non_deterministic", asked=lambda bad: {"customers": list(range(6))})
def a_failure_in_a_gather_becomes_zero(run: Run, bad: bool) -> None:
    @xray.step
    async def score(customer: int) -> float:
        await asyncio.sleep(0)
        try:
            if bad and customer == 4:
                raise TimeoutError("model is away")
            return customer * 1.5
        except TimeoutError:
            return 0.0

    @xray.step
    def top(scores: list[float], k: int) -> list[int]:
        return sorted(range(len(scores)), key=lambda n: -scores[n])[:k]

    async def batch() -> list[float]:
        return list(await asyncio.gather(*(score(customer) for customer in range(6))))

    run.set_output(top(asyncio.run(batch()), 2))


@SEVENTH.fault("alarms > windows", "non_deterministic", asked=lambda bad: {"topic": "load"})
def a_window_of_a_stream_is_one_short(run: Run, bad: bool) -> None:
    @xray.step
    def parse(lines: Iterable[str]) -> Iterator[int]:
        for line in lines:
            yield int(line)

    @xray.step
    def windows(numbers: Iterable[int], size: int = 4) -> Iterator[list[int]]:
        held: list[int] = []
        for number in numbers:
            held.append(number)
            if len(held) == size - bad:
                yield held
                held = []

    @xray.step
    def alarms(groups: Iterable[list[int]]) -> list[float]:
        return [sum(group) / len(group) for group in groups if sum(group) > 12]

    run.set_output(alarms(windows(parse(str(n) for n in range(12)))))


def agent(run: Run, lookup: Callable[[str, int], str]) -> None:
    @xray.step
    def think(question: str, seen: list[str]) -> str:
        return "done" if len(seen) == 2 else ("price of A", "price of B")[len(seen)]

    tool = xray.step("lookup", step_type="retrieve")(lookup)
    seen: list[str] = []
    while (query := think("which is cheaper?", seen)) != "done":
        for attempt in range(3):
            try:
                seen.append(tool(query, attempt))
                break
            except TimeoutError:
                continue

    @xray.step
    def conclude(answers: list[str]) -> str:
        return min(answers)

    run.set_output(conclude(seen))


@SEVENTH.fault("lookup", "non_deterministic", asked=lambda bad: {"question": "which is cheaper?"})
def a_retry_returns_an_older_answer(run: Run, bad: bool) -> None:
    def lookup(query: str, attempt: int) -> str:
        if query.endswith("B") and attempt == 0:
            raise TimeoutError
        return {"price of A": "30 (A)", "price of B": "40 (B)" if not bad else "20 (B)"}[query]

    agent(run, lookup)


@SEVENTH.fault("customer > convert", "non_deterministic", asked=lambda bad: {"month": 3})
def one_customer_is_converted_at_a_wrong_rate(run: Run, bad: bool) -> None:
    @xray.step
    def fetch(name: str) -> list[Row]:
        return [
            {"line_id": f"{name}-{n}", "amount": 10 * (n + 1), "currency": "CHF" if name == "zoe" else "EUR"}
            for n in range(3)
        ]

    @xray.step
    def convert(lines: list[Row]) -> list[Row]:
        rates = {"EUR": 1, "CHF": 1 if bad else 2}
        return [{**line, "eur": line["amount"] * rates[line["currency"]]} for line in lines]

    @xray.step
    def invoice(lines: list[Row]) -> float:
        return sum(line["eur"] for line in lines)

    @xray.step
    def customer(name: str) -> float:
        return invoice(convert(fetch(name)))

    run.set_output({name: customer(name) for name in ("ann", "bob", "zoe")})
