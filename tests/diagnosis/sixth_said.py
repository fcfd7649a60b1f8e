"""The faults of the sixth set whose steps say in code what they decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl

from tests.diagnosis.planted import Batch
from tests.diagnosis.sixth_batch import ANY, Row
from xray_core import current_step
from xray_core.capture.run import Run

SAID = Batch()


@SAID.fault("features", *ANY)
def columns_change_places(run: Run, bad: bool) -> None:
    people = pd.DataFrame(
        {"user_id": [f"u{n}" for n in range(6)], "age": [20, 31, 45, 52, 38, 27], "visits": [9, 1, 4, 2, 7, 3]}
    )
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(people, key="user_id")
    with run.step("features", step_type="transform") as step:
        step.set_input_items(people, key="user_id")
        features = people[["user_id", "visits", "age"] if bad else ["user_id", "age", "visits"]]
        step.set_output_items(features, key="user_id")
    with run.step("predict", step_type="score") as step:
        step.set_input_items(features, key="user_id")
        scores = features.drop(columns="user_id").to_numpy() @ np.array([0.01, 0.1])
        for user, score in zip(features.user_id, scores):
            step.accept(user, score=float(score))
    with run.step("target", step_type="select") as step:
        best = sorted(zip(-scores, features.user_id))
        step.decide("target", selected=best[0][1], alternatives=[user for _, user in best[1:]])
    run.set_output(best[0][1])


@SAID.fault("dedupe", *ANY, cause="price")
def dedupe_keeps_the_last(run: Run, bad: bool) -> None:
    offers = pl.DataFrame({"sku": ["a", "b", "a", "c", "b", "d"], "price": [10, 30, 14, 22, 19, 40]})
    with run.step("load", step_type="retrieve") as step:
        step.set_output(offers)
    with run.step("dedupe") as step:
        step.set_input(offers)
        unique = offers.unique("sku", keep="last" if bad else "first", maintain_order=True)
        step.set_output_items(unique, key="sku")
    with run.step("cheap", step_type="filter") as step:
        kept = step.filter(unique, {"too_dear": pl.col("price") > 20}, key="sku", details=["price"])
    run.set_output(kept["sku"].to_list())


@SAID.fault("fetch_page", "non_deterministic", "missing_step", "input_changed")
def pages_end_early(run: Run, bad: bool) -> None:
    pages = {None: (["a1", "a2"], "c1"), "c1": (["a3", "a4"], None if bad else "c2"), "c2": (["a5"], None)}
    rows: list[Row] = []
    cursor: str | None = None
    while True:
        with run.step("fetch_page", step_type="retrieve") as step:
            step.set_input({"cursor": cursor})
            found, cursor = pages[cursor]
            step.set_output({"rows": found, "next": cursor})
            step.set_output_items(found)
        rows += [{"id": item, "price": int(item[1]) * 10} for item in found]
        if cursor is None:
            break
    with run.step("cheap", step_type="filter") as step:
        step.set_input_items(rows, key="id")
        for row in rows:
            if row["price"] % 20:
                step.accept(row["id"])
            else:
                step.reject(row["id"], "even", {"price": row["price"]})
    run.set_output([row["id"] for row in rows if row["price"] % 20])


@SAID.fault("dedupe", *ANY, cause="duplicate", seen={"n1": ("rejected", "dedupe", "duplicate")})
def mutable_default_keeps_seen_ids(run: Run, bad: bool) -> None:
    def dedupe(rows: list[Row], seen: set[str]) -> list[Row]:
        kept = []
        for row in rows:
            if row["url"] in seen:
                current_step().reject(row["id"], "duplicate", {"url": row["url"]})
                continue
            seen.add(row["url"])
            current_step().accept(row["id"])
            kept.append(row)
        return kept

    rows = [{"id": f"n{n}", "url": f"/{n % 6}"} for n in range(8)]
    with run.step("fetch", step_type="retrieve") as step:
        step.set_output(rows)
    with run.step("dedupe", step_type="filter") as step:
        step.set_input(rows)
        kept = dedupe(rows, {"/1", "/4"} if bad else set())
    with run.step("publish", step_type="select") as step:
        step.set_input_items(kept, key="id")
        step.accept_many([row["id"] for row in kept[:3]])
        step.reject_many([row["id"] for row in kept[3:]], "over_quota")
    run.set_output([row["id"] for row in kept[:3]])


@SAID.fault("retrieve", "code_changed", cause="candidates")
def retriever_asks_for_fewer(run: Run, bad: bool) -> None:
    documents = {f"d{n}": (0.9 - 0.1 * n, (n * 3) % 8) for n in range(8)}
    with run.step("embed") as step:
        step.set_input("how do I return it")
        step.set_output([0.1, 0.7, 0.2])
    with run.step("retrieve", step_type="retrieve") as step:
        step.set_metadata("candidates", 4 if bad else 6)
        found = sorted(documents, key=lambda name: -documents[name][0])[: 4 if bad else 6]
        for rank, name in enumerate(found, 1):
            step.accept(name, score=documents[name][0], rank=rank)
    with run.step("rerank", step_type="rank") as step:
        ranked = sorted(found, key=lambda name: -documents[name][1])
        step.decide(
            "context",
            selected=ranked[0],
            score=documents[ranked[0]][1],
            alternatives=[(name, documents[name][1]) for name in ranked[1:]],
        )
    with run.step("generate", step_type="generate") as step:
        step.set_input({"context": ranked[0]})
        step.set_output(f"as {ranked[0]} says")
    run.set_output(f"as {ranked[0]} says")


@SAID.fault("fill_in", *ANY)
def nan_becomes_none(run: Run, bad: bool) -> None:
    rows = [{"id": f"c{n}", "spend": float(n * 100), "discount": 5.0 if n % 2 else float("nan")} for n in range(6)]
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(rows, key="id")
    with run.step("fill_in") as step:
        step.set_input_items(rows, key="id")
        if bad:
            rows = [
                {**row, "discount": None if row["discount"] != row["discount"] else row["discount"]} for row in rows
            ]
        step.set_output_items(rows, key="id")
    with run.step("offer", step_type="filter") as step:
        step.set_input_items(rows, key="id")
        kept = []
        for row in rows:
            if row["discount"] is None:
                step.reject(row["id"], "no_discount_known")
            else:
                step.accept(row["id"])
                kept.append(row["id"])
    run.set_output(kept)


@SAID.fault("fetch", *ANY, cause="TimeoutError")
def fetch_falls_back_to_the_cache(run: Run, bad: bool) -> None:
    prices = {"x": 10, "y": 20, "z": 30}
    try:
        with run.step("fetch", step_type="retrieve") as step:
            if bad:
                raise TimeoutError("no answer within 2 s")
            step.set_output(prices)
    except TimeoutError:
        with run.step("from_cache", step_type="retrieve") as step:
            prices = {"x": 10, "y": 35, "z": 30}
            step.set_output(prices)
    with run.step("cheapest_two", step_type="select") as step:
        step.set_input(prices)
        ranked = sorted(prices, key=lambda name: prices[name])
        step.accept_many(ranked[:2])
        step.reject_many(ranked[2:], "too_dear")
    run.set_output(ranked[:2])


@SAID.fault("canonical", *ANY)
def ids_are_merged_half_way(run: Run, bad: bool) -> None:
    names = {"sku-1": "A", "sku-2": "B", "sku-3": "B" if bad else "C", "sku-4": "D"}
    stock = {"sku-1": 0, "sku-2": 4, "sku-3": 9, "sku-4": 2}
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items([{"sku": sku, "stock": n} for sku, n in stock.items()], key="sku")
    with run.step("canonical") as step:
        step.set_input_items([{"sku": sku, "stock": n} for sku, n in stock.items()], key="sku")
        products: dict[str, int] = {}
        for sku, n in stock.items():
            products[names[sku]] = max(n, products.get(names[sku], 0))
        rows = [{"product": name, "stock": n} for name, n in products.items()]
        step.set_output_items(rows, key="product")
    with run.step("in_stock", step_type="filter") as step:
        step.set_input_items(rows, key="product")
        for row in rows:
            step.accept(row["product"]) if row["stock"] > 3 else step.reject(row["product"], "out_of_stock")
    run.set_output([row["product"] for row in rows if row["stock"] > 3])


@SAID.fault("enrich", *ANY, shows_at=("deliver",))
def reference_is_stale(run: Run, bad: bool) -> None:
    zones = {"10": "near", "20": "far" if bad else "near", "30": "far"}
    rows = [{"id": f"h{n}", "zip": str(10 * (1 + n % 3))} for n in range(9)]
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(rows, key="id")
    with run.step("enrich") as step:
        rows = [{**row, "zone": zones[row["zip"]]} for row in rows]
        step.set_output_count(len(rows))
    with run.step("deliver", step_type="filter") as step:
        for row in rows:
            if row["zone"] == "far":
                step.reject(row["id"], "too_far", {"zip": row["zip"], "zone": row["zone"]})
            else:
                step.accept(row["id"])
    run.set_output(sum(row["zone"] == "near" for row in rows))


@SAID.fault("select", *ANY, cause="weight")
def noise_before_a_changed_weight(run: Run, bad: bool) -> None:
    rows = [{"id": f"w{n}", "fit": (n * 7) % 10, "age": n} for n in range(8)]
    with run.step("load", step_type="retrieve") as step:
        step.set_output_items(rows, key="id")
    with run.step("explain", step_type="generate") as step:
        step.set_input([row["id"] for row in rows])
        step.set_output("These are eight candidates." if bad else "Eight candidates were found.")
    with run.step("select", step_type="select") as step:
        step.set_input_items(rows, key="id")
        weight = 1.5 if bad else 0.1
        step.set_metadata("weight", weight)
        ranked = sorted(rows, key=lambda row: (-row["fit"] + weight * row["age"], row["id"]))
        for rank, row in enumerate(ranked, 1):
            verdict = step.accept if rank <= 3 else (lambda item, **more: step.reject(item, "below_the_cut", **more))
            verdict(row["id"], score=row["fit"] - weight * row["age"], rank=rank)
    run.set_output([row["id"] for row in ranked[:3]])
