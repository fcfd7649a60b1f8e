"""Faults of pipelines in other domains, and runs in which nothing is wrong: written without a look at how they are found.

They were the first half of a held-out set: what they showed to be wrong was mended.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import polars as pl

from tests.diagnosis.planted import Batch
from xray_core import current_step
from xray_core.capture.run import Run

FIRST = Batch()
Row = dict[str, Any]


def customers(n: int = 50) -> pd.DataFrame:
    return pd.DataFrame(
        {"customer_id": [f"c{k}" for k in range(n)], "spend": [10.0 + k * 13 % 97 for k in range(n)], "age": range(n)}
    )


@FIRST.fault("join_features", "non_deterministic", cause="tenure", seen={"c3": ("not_selected", "campaign", None)})
def churn_with_a_stale_feature_table(run: Run, bad: bool) -> None:
    """The join finds half of its feature rows; the rest is filled with 0, and others are called."""
    people = customers()
    with run.step("load", "retrieve") as step:
        step.set_output_items(people, key="customer_id")
    with run.step("join_features", "transform") as step:
        step.set_input_items(people, key="customer_id")
        tenure = pd.Series([k * 7 % 40 if not bad or k % 2 else 0 for k in range(50)], name="tenure")
        joined = people.assign(tenure=tenure)
        step.set_output_items(joined, key="customer_id")
    with run.step("predict", "score") as step:
        step.set_input_items(joined, key="customer_id")
        scores = joined.spend / 100 + joined.tenure / 40
        step.accept_many(joined.customer_id, score=scores)
    with run.step("campaign", "select") as step:
        ranked = joined.assign(score=scores).sort_values(["score", "customer_id"], ascending=False)
        step.decide(
            "call", selected=list(ranked.customer_id[:10]), alternatives=list(ranked.customer_id[10:]), reason="risk"
        )
    run.set_output(list(ranked.customer_id[:10]))


@FIRST.fault("window", "code_changed", cause="tz")
def log_window_in_local_time(run: Run, bad: bool) -> None:
    """The time zone of the window moved: other events are in it."""
    events = [{"event_id": f"e{k}", "minute": k * 17 % 300} for k in range(80)]
    with run.step("read", "retrieve") as step:
        step.set_output_items(events, key="event_id")
    shift = 60 if bad else 0
    with run.step("window", "filter", metadata={"tz": "Europe/Berlin" if bad else "UTC"}) as step:
        step.set_input_items(events, key="event_id")
        inside = []
        for event in events:
            if 60 <= event["minute"] + shift < 180:
                step.accept(event["event_id"])
                inside.append(event)
            else:
                step.reject(event["event_id"], "outside_window", {"minute": event["minute"]})
    with run.step("count") as step:
        step.set_input_items(inside, key="event_id")
        step.set_output({"events": len(inside)})
    run.set_output(len(inside))


@FIRST.fault("chunk", "code_changed", cause="size")
def support_bot_cuts_other_chunks(run: Run, bad: bool) -> None:
    """Another chunk size, so other chunks are found and another answer is written."""
    size = 3 if bad else 4
    documents = {f"doc{d}": [f"{d}.{k}" for k in range(12)] for d in range(6)}
    with run.step("documents", "retrieve") as step:
        step.set_output_items(documents)
    chunks = [f"{d}#{k}" for d, sentences in documents.items() for k in range(len(sentences) // size)]
    with run.step("chunk", "transform") as step:
        step.set_metadata("size", size)
        step.set_input(documents)
        step.set_output(chunks)
    with run.step("search", "retrieve") as step:
        found = sorted(chunks, key=lambda chunk: sum(map(ord, chunk)) * 31 % 17)[:5]
        step.set_input({"question": "how do I get my money back"})
        for rank, chunk in enumerate(found, 1):
            step.accept(chunk, score=1 / rank)
    with run.step("write", "generate") as step:
        step.set_input({"context": found})
        step.set_output(f"see {found[0]}")
    run.set_output(f"see {found[0]}")


@FIRST.fault("score", "code_changed", cause="model")
def fraud_model_rolled_out(run: Run, bad: bool) -> None:
    """The new model scores all payments higher; more are held back."""
    payments = pl.DataFrame(
        {"payment_id": [f"t{k}" for k in range(60)], "amount": [5.0 + k * 29 % 211 for k in range(60)]}
    )
    with run.step("payments", "retrieve") as step:
        step.set_output_items(payments, key="payment_id")
    with run.step("score", "score", metadata={"model": "fraud-8" if bad else "fraud-7"}) as step:
        step.set_input_items(payments, key="payment_id")
        scored = payments.with_columns(risk=pl.col("amount") / 220 + (0.2 if bad else 0.0))
        step.set_output_items(scored, key="payment_id")
    with run.step("hold", "filter") as step:
        kept = step.filter(scored, {"risky": pl.col("risk") > 0.7}, key="payment_id", details=["risk"])
    run.set_output(kept.height)


@FIRST.fault("convert", "non_deterministic", shows_at=("flag_large",))
def rates_of_yesterday(run: Run, bad: bool) -> None:
    """The currency table is old. The step tells which items passed and nothing of their values."""
    orders = {f"o{k}": 40 + k * 31 % 170 for k in range(40)}
    with run.step("orders") as step:
        step.set_output_items(list(orders))
    with run.step("convert", "transform") as step:
        step.set_input_items(list(orders))
        converted = {order: amount * (1.4 if bad else 1.1) for order, amount in orders.items()}
        step.set_output_items(list(orders))
    with run.step("flag_large", "filter") as step:
        step.set_input_items(list(converted))
        large = [order for order, amount in converted.items() if amount > 150]
        for order in converted:
            if order in large:
                step.reject(order, "needs_approval", {"amount": converted[order], "limit": 150})
            else:
                step.accept(order)
    run.set_output(large)


@FIRST.fault("fetch_page[3]", "non_deterministic", seen={"p3-7": ("never_entered", "fetch_page", None)})
def one_page_of_a_mapped_fetch_is_cut(run: Run, bad: bool) -> None:
    """The retry of the fourth page gets half of it, and nobody looks."""
    everything: list[str] = []
    for page in range(5):
        rows = [f"p{page}-{k}" for k in range(10)]
        again = page == 3
        if again:
            first = run.open_step_unwritten(
                "fetch_page", step_id=f"{run.run_id}-{page}", step_type="retrieve", map_index=page, code_version="1"
            ).open()
            first.close("failed", error=TimeoutError("page 3"))
        step = run.open_step_unwritten(
            "fetch_page",
            step_id=f"{run.run_id}-{page}",
            step_type="retrieve",
            map_index=page,
            attempt=2 if again else 1,
            code_version="1",
        ).open()
        got = rows[:5] if bad and again else rows
        step.set_input({"page": page})
        step.set_output_items(got)
        step.close("completed")
        everything += got
    with run.step("merge") as step:
        step.set_input_items(everything)
        step.set_output_items(everything)
    run.set_output(len(everything))


@FIRST.fault("enrich > weather", "non_deterministic", cause="wind")
def weather_service_answers_in_knots(run: Run, bad: bool) -> None:
    """One of two steps inside another returns other units."""
    flights = [{"flight_id": f"f{k}", "gate": k % 7} for k in range(30)]
    with run.step("flights", "retrieve") as step:
        step.set_output_items(flights, key="flight_id")
    with run.step("enrich") as around:
        around.set_input_items(flights, key="flight_id")
        with run.step("geo", "transform") as step:
            step.set_input_items(flights, key="flight_id")
            placed = [{**flight, "lat": flight["gate"] * 1.5} for flight in flights]
            step.set_output_items(placed, key="flight_id")
        with run.step("weather", "transform") as step:
            step.set_input_items(placed, key="flight_id")
            blown = [{**flight, "wind": (flight["gate"] + 3) * (1.94 if bad else 1.0)} for flight in placed]
            step.set_output_items(blown, key="flight_id")
        around.set_output_items(blown, key="flight_id")
    with run.step("delay_risk", "filter") as step:
        step.set_input_items(blown, key="flight_id")
        for flight in blown:
            if flight["wind"] > 8:
                step.reject(flight["flight_id"], "too_windy", {"wind": flight["wind"]})
            else:
                step.accept(flight["flight_id"])


@FIRST.fault("sort", "non_deterministic")
def ties_break_by_chance(run: Run, bad: bool) -> None:
    """Candidates with the same score come in another order, so another one is called first."""
    people = [(f"cv{k}", k % 4) for k in range(24)]
    with run.step("candidates", "retrieve") as step:
        step.set_output([name for name, _ in people])
    with run.step("sort", "rank") as step:
        step.set_input(people)
        ordered = sorted(people, key=lambda each: (-each[1], each[0] if not bad else each[0][::-1]))
        for rank, (name, score) in enumerate(ordered, 1):
            step.accept(name, score=score, rank=rank)
        step.set_output([name for name, _ in ordered])
    with run.step("invite", "select") as step:
        step.set_input([name for name, _ in ordered])
        step.decide("first", selected=ordered[0][0], alternatives=[name for name, _ in ordered[1:]])
    run.set_output(ordered[0][0])


@FIRST.fault("toxicity", "code_changed", cause="threshold", seen={"m9": ("rejected", "toxicity", "toxic")})
def moderation_limit_hidden_in_details(run: Run, bad: bool) -> None:
    """The limit moved; it stands nowhere but beside each verdict."""
    messages = {f"m{k}": k * 11 % 100 / 100 for k in range(40)}
    limit = 0.5 if bad else 0.9990
    with run.step("inbox", "retrieve") as step:
        step.set_output(messages)
        step.set_output_items(list(messages))
    with run.step("toxicity", "filter") as step:
        step.set_input(messages)
        passed = []
        for name, score in messages.items():
            if score > limit or name == "m9":
                step.reject(name, "toxic", {"score": score, "threshold": limit})
            else:
                step.accept(name, None, {"score": score, "threshold": limit})
                passed.append(name)
    with run.step("publish") as step:
        step.set_input_items(passed)
    run.set_output(passed)


@FIRST.fault("embed", "non_deterministic")
def vectors_are_given_to_the_wrong_texts(run: Run, bad: bool) -> None:
    """Answers of a pool come as they are ready, and are matched to the texts by place: the sums of all are the same."""
    texts = [{"id": f"s{k}", "text": f"text {k * 37 % 50}"} for k in range(30)]
    with run.step("texts", "retrieve") as step:
        step.set_output_items(texts, key="id")
    with run.step("embed", "transform") as step:
        step.set_input_items(texts, key="id")
        numbers = [float(len(text["text"]) * 7 + int(text["text"][5:])) for text in texts]
        if bad:
            numbers[4], numbers[11] = numbers[11], numbers[4]
        vectors = [{"id": text["id"], "x": number} for text, number in zip(texts, numbers, strict=True)]
        step.set_output_items(vectors, key="id")
    with run.step("near", "filter") as step:
        step.set_input_items(vectors, key="id")
        for vector in vectors:
            if vector["x"] > 75:
                step.reject(vector["id"], "far", {"x": vector["x"]})
            else:
                step.accept(vector["id"])


@FIRST.fault("geocode", "non_deterministic", seen={"a5": ("errored", "geocode", "quota")})
def geocoder_runs_out_of_quota(run: Run, bad: bool) -> None:
    """Some addresses fail, are counted as errors, and go no further."""
    addresses = [f"a{k}" for k in range(20)]
    with run.step("addresses", "retrieve") as step:
        step.set_output_items(addresses)
    placed = []
    with run.step("geocode") as step:
        step.set_input(addresses)
        step.set_input_items(addresses)
        for k, address in enumerate(addresses):
            if bad and k % 3 == 2:
                step.errored(address, "quota")
            else:
                step.accept(address)
                placed.append(address)
        step.set_output(placed)
    with run.step("route", "rank") as step:
        step.set_input(placed)
        for k, address in enumerate(sorted(placed)):
            step.accept(address, rank=k + 1)
    run.set_output(sorted(placed))


@FIRST.fault("list_tickets", "non_deterministic")
def the_last_page_is_the_first_again(run: Run, bad: bool) -> None:
    """Off by one in the pages: some tickets come twice, others never."""
    tickets = [f"t{k}" for k in range(30)]
    pages = [tickets[0:10], tickets[10:20], tickets[0:10] if bad else tickets[20:30]]
    found = [ticket for page in pages for ticket in page]
    with run.step("list_tickets", "retrieve") as step:
        step.set_input({"board": "ops"})
        step.set_output_items(found)
    with run.step("triage", "filter") as step:
        step.set_input_items(found)
        for ticket in found:
            if int(ticket[1:]) % 4:
                step.accept(ticket)
            else:
                step.reject(ticket, "no_owner")
    with run.step("post", "sink") as step:
        step.set_input_items([ticket for ticket in found if int(ticket[1:]) % 4])


@FIRST.fault("read_config", "non_deterministic", cause="most")
def a_cache_keeps_an_old_limit(run: Run, bad: bool) -> None:
    """What a step reads from a cache is old; the step that uses it is not to blame."""
    with run.step("read_config", "load") as step:
        step.set_input({"key": "limits"})
        limits = {"most": 60 if bad else 90}
        step.set_output(limits)
    with run.step("items", "retrieve") as step:
        step.set_input({"list": "open"})
        rows = {f"r{k}": k * 3 for k in range(35)}
        step.set_output(rows)
    with run.step("limit", "filter") as step:
        step.set_input({"limits": limits, "rows": rows})
        for name, size in rows.items():
            if size > limits["most"]:
                step.reject(name, "too_large", {"size": size, "most": limits["most"]})
            else:
                step.accept(name)


@FIRST.fault("sanitize", "non_deterministic", "input_changed", shows_at=("rate",))
def a_step_that_says_nothing_loses_rows(run: Run, bad: bool) -> None:
    """The step between tells nothing; the one after it must not be blamed with certainty."""
    rows = [f"r{k}" for k in range(30)]
    with run.step("extract", "retrieve") as step:
        step.set_output_items(rows)
    with run.step("sanitize"):
        kept = rows[:22] if bad else rows
    with run.step("rate", "score") as step:
        for name in kept:
            step.accept(name, score=int(name[1:]) % 9)
    with run.step("best", "select") as step:
        ordered = sorted(kept, key=lambda name: (-(int(name[1:]) % 9), name))
        step.decide("best", selected=ordered[:5], alternatives=ordered[5:])


@FIRST.fault("retrieve", "non_deterministic", shows_at=("rerank",))
def a_rerank_whose_input_is_but_the_question(run: Run, bad: bool) -> None:
    """The retriever tells counts alone; what is given as the input of the next step is not all that it was given."""
    found = [f"d{k}" for k in range(5 if bad else 0, 25 if bad else 20)]
    with run.step("retrieve", "retrieve", capture="minimal") as step:
        step.set_input({"question": "q"})
        step.set_output_count(len(found))
    with run.step("rerank", "rank") as step:
        step.set_input({"question": "q"})
        ordered = sorted(found, key=lambda name: int(name[1:]) * 7 % 31)
        for rank, name in enumerate(ordered, 1):
            step.accept(name, rank=rank)
    with run.step("answer", "generate") as step:
        step.set_input({"question": "q", "documents": ordered[:3]})
        step.set_output(" ".join(ordered[:3]))
    run.set_output(" ".join(ordered[:3]))


# Nothing is wrong ----------------------------------------------------------------------------------------------------


@FIRST.control()
def sums_in_another_order(run: Run, bad: bool) -> None:
    values = [0.1 * k for k in range(40)]
    random.Random(int(bad)).shuffle(values)
    with run.step("total", "aggregate") as step:
        step.set_output({"total": sum(values), "mean": sum(values) / len(values)})
    with run.step("check", "filter") as step:
        for k in range(20):
            step.accept(f"k{k}", score=sum(values) / (k + 1))


@FIRST.control()
def files_in_a_temporary_directory(run: Run, bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with run.step("download") as step:
            step.set_output({"path": f"{folder}/a.parquet", "rows": 40})
        with run.step("load") as step:
            step.set_input({"path": f"{folder}/a.parquet"})
            step.set_output_items([f"r{k}" for k in range(40)])
    run.set_output(40)


@FIRST.control()
def threads_finish_as_they_like(run: Run, bad: bool) -> None:
    names = [f"u{k}" for k in range(30)]
    with run.step("check_links", "filter") as step:
        step.set_input_items(names)
        with ThreadPoolExecutor(4) as pool:
            for name, good in pool.map(lambda name: (name, int(name[1:]) % 5 != 0), names if not bad else names[::-1]):
                if good:
                    step.accept(name)
                else:
                    step.reject(name, "dead")
    with run.step("keep") as step:
        step.set_output_items({name for name in names if int(name[1:]) % 5})


@FIRST.control(asked=lambda bad: {"trace": uuid.uuid4().hex, "q": "x"})
def ids_of_the_run_in_what_it_writes(run: Run, bad: bool) -> None:
    with run.step("write") as step:
        step.set_input({"rows": 3})
        step.set_output({"written": 3, "request_id": str(uuid.uuid4())})
    run.set_output({"written": 3, "run": run.run_id})


@FIRST.control()
def coroutines_overtake_each_other(run: Run, bad: bool) -> None:
    async def one(name: str, ahead: int) -> None:
        for _ in range(ahead):
            await asyncio.sleep(0)
        current_step().accept(name, score=int(name[1:]))

    async def all_of_them() -> None:
        with run.step("fetch_all", "score"):
            await asyncio.gather(*(one(f"x{k}", (k * 5 + 3 * bad) % 7) for k in range(20)))

    asyncio.run(all_of_them())
    with run.step("sum") as step:
        step.set_input({"n": 20})
        step.set_output(190)
    run.set_output(190)


@FIRST.control()
def a_second_try_that_works(run: Run, bad: bool) -> None:
    names = [f"v{k}" for k in range(12)]
    attempt = 1
    if bad:
        failed = run.open_step_unwritten(
            "call", step_id=f"{run.run_id}-call", step_type="score", code_version="7"
        ).open()
        for name in names[:5]:
            failed.accept(name, score=1)
        failed.close("failed", error=ConnectionError("reset"))
        attempt = 2
    step = run.open_step_unwritten(
        "call", step_id=f"{run.run_id}-call", step_type="score", code_version="7", attempt=attempt
    ).open()
    for name in names:
        step.accept(name, score=1)
    step.close("completed")
    run.set_output("done")
