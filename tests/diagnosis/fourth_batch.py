"""A fourth set: twenty faults, written by somebody who had not read how runs are compared. Its controls: fourth_controls.py.

`NEVER_CERTAIN` names those in which what was captured leaves more than one step open: even the right step may then not be
called certain. In all others it may.

Its score in the first run, untouched: right step 20 of 20, right cause 17, no other step blamed, certain once where it may not
be (`null_keys_meet_in_a_join`), less than certain four times where it might be, nothing blamed in 4 of 8 controls.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Final

import pandas as pd
import polars as pl

from tests.diagnosis.planted import Batch
from xray_core.capture.run import Run

FOURTH = Batch()
Row = dict[str, Any]

NEVER_CERTAIN: Final = frozenset(
    {
        "null_keys_meet_in_a_join",  # the other side of the join was not told as something that went in
        "a_fraud_model_is_swapped_behind_a_step_of_counts",  # `enrich` tells counts alone: the features may differ too
        "accents_are_taken_apart_in_silence",  # neither what `clean` put out nor what `match` compared is told
        "a_country_is_missing_in_a_table",  # of five thousand rows only the ids were told
    }
)


@FOURTH.fault("features", "non_deterministic", cause="spend_7d", seen={"TX4": ("accepted", "block", None)})
def features_of_a_stale_cache(run: Run, bad: bool) -> None:
    payments = [{"payment": f"TX{k}", "card": f"c{k % 6}", "amount": 40 + k * 13 % 90} for k in range(18)]
    with run.step("payments", "retrieve") as step:
        step.set_output_items(payments, key="payment")
    with run.step("features", "enrich") as step:
        step.set_input(payments)
        spend = {f"c{n}": 110 + 20 * n for n in range(6)} | ({"c4": 60} if bad else {"c4": 900})
        rows = [{**payment, "spend_7d": spend[payment["card"]]} for payment in payments]
        step.set_output(rows)
        step.set_metadata("result.cache_hits", 6 if bad else 0)
    with run.step("score", "score") as step:
        risks = {row["payment"]: round(min(1, row["spend_7d"] / 1000), 3) for row in rows}
        for row in rows:
            step.accept(row["payment"], None, {"amount": row["amount"]}, score=risks[row["payment"]])
    with run.step("block", "filter", metadata={"limit": 0.8}) as step:
        for payment, risk in risks.items():
            if risk > 0.8:
                step.reject(payment, "too_risky", value=risk, limit=0.8)
            else:
                step.accept(payment, value=risk, limit=0.8)
    run.set_output(sorted(payment for payment, risk in risks.items() if risk <= 0.8))


@FOURTH.fault("join", "non_deterministic")
def null_keys_meet_in_a_join(run: Run, bad: bool) -> None:
    """pandas joins None to None: three orders of nobody meet two customers without a number."""
    orders = pd.DataFrame({"order": [f"o{k}" for k in range(24)], "euro": [10 + k for k in range(24)]})
    orders["customer"] = [None if k % 8 == 3 else f"k{k % 5}" for k in range(24)]
    customers = pd.DataFrame({"customer": ["k0", "k1", None, "k2", None, "k3", "k4"], "land": list("abcdefg")})
    with run.step("orders", "retrieve") as step:
        step.set_output_items(orders, key="order")
    with run.step("customers", "retrieve") as step:
        step.set_output_items(customers, key="customer")
    with run.step("join", "transform") as step:
        step.set_input_items(orders, key="order")
        right = customers if bad else customers.dropna(subset=["customer"])
        joined = orders.merge(right, on="customer", how="left")
        step.set_output_items(joined, key="order")
    with run.step("revenue", "aggregate") as step:
        total = int(joined.euro.sum())
        step.set_input_items(joined, key="order")
        step.set_output({"euro": total})
    run.set_output({"euro": total})


@FOURTH.fault("read", "non_deterministic", cause="order")
def files_in_the_order_of_the_disk(run: Run, bad: bool) -> None:
    days = ["11-03", "11-01", "11-02"] if bad else ["11-01", "11-02", "11-03"]
    rows = [{"row": f"{day}/{k}", "customer": f"c{k}", "mail": f"c{k}@{day}.example"} for day in days for k in range(8)]
    with run.step("read", "retrieve", metadata={"pattern": "s3://crm/*.csv"}) as step:
        step.set_output_items(rows, key="row")
    latest = {row["customer"]: row for row in rows}
    with run.step("latest", "dedupe") as step:
        step.set_input_items(rows, key="row")
        for row in rows:
            if latest[row["customer"]] is row:
                step.accept(row["row"])
            else:
                step.reject(row["row"], "superseded")
        step.set_output_items(list(latest.values()), key="row")
    with run.step("mail", "sink") as step:
        step.set_input_items(list(latest.values()), key="row")
    run.set_output(sorted(row["mail"] for row in latest.values()))


@FOURTH.fault("parse", "non_deterministic", cause="weight", seen={"P5": ("rejected", "carrier", "too_heavy")})
def pounds_are_read_as_kilograms(run: Run, bad: bool) -> None:
    lines = [f"P{k};{(12.0 + k) * (2.2 if k % 5 == 0 else 1):.1f}{'lb' if k % 5 == 0 else 'kg'}" for k in range(14)]
    with run.step("manifest", "load") as step:
        step.set_output(lines)
    rows = []
    with run.step("parse", "transform") as step:
        step.set_input(lines)
        for line in lines:
            parcel, weight = line.split(";")
            factor = 1 / 2.2 if weight.endswith("lb") and not bad else 1
            rows.append({"parcel": parcel, "weight": round(float(weight[:-2]) * factor, 1)})
        step.set_output(rows)
    with run.step("group"):
        rows = sorted(rows, key=lambda row: row["parcel"])
    with run.step("carrier", "filter") as step:
        for row in rows:
            if row["weight"] > 30:
                step.reject(row["parcel"], "too_heavy", value=row["weight"], limit=30)
            else:
                step.accept(row["parcel"], value=row["weight"], limit=30)
    run.set_output([row["parcel"] for row in rows if row["weight"] <= 30])


@FOURTH.fault("score", "code_changed", cause="model")
def a_fraud_model_is_swapped_behind_a_step_of_counts(run: Run, bad: bool) -> None:
    frame = pl.DataFrame({"tx": [f"t{k}" for k in range(1500)], "amount": [k * 37 % 997 for k in range(1500)]})
    with run.step("read", "retrieve") as step:
        step.set_output_items(frame["tx"])
    with run.step("enrich", "transform", capture="minimal") as step:
        frame = frame.with_columns(night=pl.col("amount") % 7 == 0)
        step.set_input_count(1500)
        step.set_output_count(frame.height)
    model = "fraud-2026-11.onnx" if bad else "fraud-2026-10.onnx"
    with run.step("score", "score", metadata={"model": model}) as step:
        frame = frame.with_columns(risk=pl.col("amount") / 1000 + pl.when("night").then(0.1 + 0.05 * bad).otherwise(0))
        step.accept_many(frame["tx"], score=frame["risk"])
    with run.step("flag", "filter") as step:
        kept = step.filter(frame, {"too_risky": pl.col("risk") > 0.95}, key="tx")
    run.set_output({"passed": kept.height})


@FOURTH.fault("decode", "non_deterministic", seen={"a1": ("rejected", "geocode", "no_match")})
def a_file_of_addresses_is_decoded_as_latin_1(run: Run, bad: bool) -> None:
    places = ["Bern", "Zürich", "Basel", "Genève", "Lugano", "Köniz", "Chur", "Delémont"]
    raw = "\n".join(places).encode()
    with run.step("fetch", "load") as step:
        step.set_output({"bytes": len(raw), "body": raw})
    with run.step("decode", "transform") as step:
        step.set_input({"body": raw})
        read = raw.decode("latin-1" if bad else "utf-8").split("\n")
        step.set_output({"lines": read})
    with run.step("geocode", "lookup") as step:
        for k, place in enumerate(read):
            if place in places:
                step.accept(f"a{k}", details={"query": place})
            else:
                step.reject(f"a{k}", "no_match", {"query": place})
    run.set_output({"found": sum(place in places for place in read)})


@FOURTH.fault(
    "clean",
    "non_deterministic",
    shows_at=("match",),
    seen={"m1": ("rejected", "match", "not_on_list"), "m2": ("accepted", "match", None)},
)
def accents_are_taken_apart_in_silence(run: Run, bad: bool) -> None:
    """`clean` puts out NFD instead of NFC, which looks the same; it tells how many rows it had."""
    members = {f"m{k}": name for k, name in enumerate(["Ana", "Zoë", "Pat", "José", "Uwe", "Renée", "Max"])}
    with run.step("members", "load") as step:
        step.set_output([{"id": member, "name": name} for member, name in members.items()])
    with run.step("clean", "transform") as step:
        cleaned = {who: unicodedata.normalize("NFD" if bad else "NFC", name) for who, name in members.items()}
        step.set_output_count(len(cleaned))
    with run.step("match", "filter") as step:
        step.set_input_items(list(cleaned))
        hits = [member for member, name in cleaned.items() if name in members.values()]
        step.accept_many(hits)
        step.reject_many([member for member in cleaned if member not in hits], "not_on_list")
    run.set_output({"discount_for": hits})


@FOURTH.fault("request", "non_deterministic", cause="now")
def midnight_fills_the_budgets_of_the_ads(run: Run, bad: bool) -> None:
    now = "2026-11-30T00:04:10+00:00" if bad else "2026-11-29T23:51:40+00:00"
    ads = [{"ad": f"ad{k}", "bid": 5 - 0.5 * k, "spent": 0.0 if bad else 100 - 9 * k, "budget": 85} for k in range(6)]
    with run.step("request", "load") as step:
        step.set_output({"user": "u7", "slot": "top", "now": now})
    with run.step("campaigns", "retrieve") as step:
        step.set_output([{"ad": ad["ad"], "bid": ad["bid"], "budget": ad["budget"]} for ad in ads])
    with run.step("pacing", "filter") as step:
        step.set_input({"now": now, "ads": [ad["ad"] for ad in ads]})
        alive = [ad for ad in ads if ad["spent"] <= ad["budget"]]
        step.accept_many([ad["ad"] for ad in alive])
        step.reject_many([ad["ad"] for ad in ads if ad not in alive], "budget_spent")
    with run.step("auction", "select") as step:
        step.decide("highest_bid", selected=alive[0]["ad"], alternatives=[ad["ad"] for ad in alive[1:]])
    run.set_output(alive[0]["ad"])


@FOURTH.fault("agent > plan", "non_deterministic", cause="quer")
def an_agent_plans_another_search(run: Run, bad: bool) -> None:
    task = {"messages": [{"role": "user", "content": "Which of our suppliers is late?"}], "temperature": 0}
    queries = ["late deliveries 2025" if bad else "late deliveries", "suppliers"]
    found = [["d9", "d4"] if bad else ["d1", "d4"], ["s1", "s2"]]
    with run.step("agent", "generate") as agent:
        agent.set_input(task)
        with run.step("plan", "generate", metadata={"model": "m-large"}) as step:
            step.set_input(task)
            step.set_output({"tool": "search", "queries": queries})
        for query, documents in zip(queries, found):
            with run.step("search", "retrieve") as step:
                step.set_input({"query": query, "k": 2})
                step.set_output_items(documents)
        answer = {"supplier": "Nordwind" if bad else "Holt & Sons", "sources": found[0]}
        with run.step("answer", "generate", metadata={"model": "m-large"}) as step:
            step.set_input({**task, "context": found})
            step.set_output(answer)
        agent.set_output(answer)
    run.set_output(answer)


@FOURTH.fault("load", "non_deterministic")
def a_resumed_load_starts_at_a_wrong_mark(run: Run, bad: bool) -> None:
    """The first attempt stops after thirty rows in both runs; the checkpoint of the bad one says thirty-six."""
    names = [f"n{k}" for k in range(60)]
    parts = [names[:30], names[36 if bad else 30 :]]
    for attempt, part in enumerate(parts, 1):
        step = run.open_step_unwritten(
            "load", step_id=f"{run.run_id}-load", attempt=attempt, step_type="retrieve"
        ).open()
        for name in part:
            step.accept(name)
        failed = attempt == 1
        step.close("failed" if failed else "completed", error=ConnectionError("reset by peer") if failed else None)
    loaded = [name for part in parts for name in part]
    with run.step("invoice", "sink") as step:
        step.set_input_items(loaded)
        step.set_output({"sent": len(loaded)})
    run.set_output({"sent": len(loaded)})


@FOURTH.fault("score[2]", "code_changed", shows_at=("score",))
def one_worker_of_four_has_an_old_image(run: Run, bad: bool) -> None:
    shards = [[{"id": f"u{n}", "visits": n % 9} for n in range(k, 48, 4)] for k in range(4)]
    with run.step("read", "retrieve") as step:
        step.set_output([row for shard in shards for row in shard])
    loyal: list[str] = []
    for k, shard in enumerate(shards):
        old = bad and k == 2
        step = run.open_step_unwritten(
            "score",
            step_type="score",
            step_id=f"{run.run_id}-score-{k}",
            map_index=k,
            code_version="churn:1.8" if old else "churn:1.9",
        ).open()
        step.set_input(shard)
        scores = {row["id"]: round(1 - row["visits"] / (6 if old else 9), 3) for row in shard}
        for who, score in scores.items():
            step.accept(who, score=score)
        step.set_output(scores)
        step.close("completed")
        loyal += [who for who, score in scores.items() if score < 0.3]
    with run.step("target", "filter") as step:
        step.set_input_items(sorted(row["id"] for shard in shards for row in shard))
        step.accept_many(sorted(loyal))
        step.reject_many(sorted({row["id"] for shard in shards for row in shard} - {*loyal}), "likely_to_leave")
    run.set_output(sorted(loyal))


@FOURTH.fault(
    "sanctions",
    "non_deterministic",
    cause="unknown_country",
    seen={"p4033": ("rejected", "sanctions", "unknown_country")},
)
def a_country_is_missing_in_a_table(run: Run, bad: bool) -> None:
    countries = {f"p{k}": "XK" if k % 311 == 301 else ("KP" if k % 100 == 7 else "FR") for k in range(5000)}
    with run.step("read", "retrieve") as step:
        step.set_output_items(list(countries))
    listed = [payee for payee, country in countries.items() if country == "KP"]
    unknown = [payee for payee, country in countries.items() if country == "XK" and bad]
    passed = sorted({*countries} - {*listed} - {*unknown})
    with run.step("sanctions", "filter") as step:
        step.set_input_items(list(countries))
        step.reject_many(listed, "listed", [{"country": "KP"}] * len(listed))
        step.reject_many(unknown, "unknown_country", [{"country": "XK"}] * len(unknown))
        step.accept_many(passed)
    with run.step("pay", "sink") as step:
        step.set_input_items(passed)
        step.set_output({"paid": len(passed)})
    run.set_output({"paid": len(passed)})


@FOURTH.fault(
    "cutoff", "code_changed", "non_deterministic", cause="640", seen={"A4": ("rejected", "cutoff", "score_too_low")}
)
def new_applicants_and_a_limit_that_moved(run: Run, bad: bool) -> None:
    """The four new ones fall for lack of consent; the limit takes two of the old ones."""
    people = [{"id": f"A{k}", "score": 590 + 10 * (k * 7 % 12), "consent": k % 9 != 2} for k in range(30)]
    people += [{"id": f"A{k}", "score": 700, "consent": False} for k in range(30, 34)] if bad else []
    with run.step("applications", "retrieve") as step:
        step.set_output_items(people, key="id")
    with run.step("consent", "filter") as step:
        step.set_input_items(people, key="id")
        step.reject_many([one["id"] for one in people if not one["consent"]], "no_consent")
        asked = [one for one in people if one["consent"]]
        step.accept_many([one["id"] for one in asked])
    limit = 640 if bad else 620
    with run.step("cutoff", "filter") as step:
        step.set_input_items(asked, key="id")
        for one in asked:
            if one["score"] < limit:
                step.reject(one["id"], "score_too_low", value=one["score"], limit=limit)
            else:
                step.accept(one["id"], value=one["score"], limit=limit)
    run.set_output({"approved": [one["id"] for one in asked if one["score"] >= limit]})


@FOURTH.fault(
    "calibrate", "non_deterministic", cause="no_calibration", seen={"r2": ("rejected", "calibrate", "no_calibration")}
)
def leading_zeros_are_lost_and_totals_are_cut(run: Run, bad: bool) -> None:
    """Two faults at once. The first one that counts is the join; the totals are rounded down besides."""
    readings = [
        {"id": f"r{k}", "serial": f"{'0' if k % 4 == 2 else ''}{700 + k}", "volt": 1.3 + k / 7} for k in range(12)
    ]
    with run.step("readings", "retrieve") as step:
        step.set_output(readings)
    with run.step("calibrate", "join") as step:
        step.set_input(readings)
        table = {row["serial"].lstrip("0") if bad else row["serial"]: 1.02 for row in readings}
        matched = []
        for row in readings:
            if row["serial"] in table:
                step.accept(row["id"])
                matched.append(row | {"volt": row["volt"] * table[row["serial"]]})
            else:
                step.reject(row["id"], "no_calibration", {"serial": row["serial"]})
        step.set_output(matched)
    with run.step("totals", "aggregate") as step:
        step.set_input(matched)
        total = sum((math.floor if bad else round)(row["volt"]) for row in matched)
        step.set_output({"volt": total})
    run.set_output({"volt": total})


@FOURTH.fault("rank", "non_deterministic")
def another_case_that_the_next_step_undoes(run: Run, bad: bool) -> None:
    """`normalise` writes capitals today, which `match` does not mind. What changed the answer is how `rank` weighs."""
    titles = ["Blue lamp", "Lamp, blue", "Blue desk lamp", "Lamp", "Desk"]
    with run.step("catalogue", "retrieve") as step:
        step.set_output(titles)
    with run.step("normalise", "transform") as step:
        step.set_input(titles)
        words = [title.upper() if bad else title.lower() for title in titles]
        step.set_output(words)
    with run.step("match", "filter") as step:
        step.set_input(words)
        hits = [
            {"id": f"L{k}", "words": len(word.split())} for k, word in enumerate(words) if "lamp" in word.casefold()
        ]
        step.set_output(hits)
    with run.step("rank", "rank") as step:
        step.set_input(hits)
        ranked = sorted(hits, key=lambda hit: hit["words"] if bad else -hit["words"])
        for n, hit in enumerate(ranked):
            step.accept(hit["id"], score=round(1 / (n + 1), 3), rank=n + 1)
        step.set_output([hit["id"] for hit in ranked])
    with run.step("top", "select") as step:
        step.decide("first", selected=ranked[0]["id"], alternatives=[hit["id"] for hit in ranked[1:]])
    run.set_output(ranked[0]["id"])


@FOURTH.fault("consent", "missing_step")
def the_step_that_asks_for_consent_is_gone(run: Run, bad: bool) -> None:
    people = [{"mail": f"p{k}@example.org", "opted_in": k % 4 != 1} for k in range(20)]
    with run.step("audience", "retrieve") as step:
        step.set_output_items(people, key="mail")
    if not bad:
        with run.step("consent", "filter") as step:
            step.set_input_items(people, key="mail")
            step.reject_many([one["mail"] for one in people if not one["opted_in"]], "opted_out")
            people = [one for one in people if one["opted_in"]]
            step.accept_many([one["mail"] for one in people])
    with run.step("render", "transform") as step:
        step.set_input_items(people, key="mail")
        step.set_output_items(people, key="mail")
    with run.step("send", "sink") as step:
        step.set_input_items(people, key="mail")
    run.set_output({"sent": len(people)})


@FOURTH.fault("convert", "non_deterministic", cause="price")
def a_step_has_a_new_name_and_a_rate_is_old(run: Run, bad: bool) -> None:
    offers = [{"sku": f"S{k} ", "usd": 20 + 3 * k} for k in range(9)]
    with run.step("offers", "retrieve") as step:
        step.set_output(offers)
    with run.step("tidy" if bad else "clean", "transform") as step:
        step.set_input(offers)
        offers = [{**offer, "sku": offer["sku"].strip()} for offer in offers]
        step.set_output(offers)
    with run.step("convert", "transform") as step:
        step.set_input(offers)
        rate = 0.97 if bad else 0.86
        priced = [{"sku": offer["sku"], "price": round(offer["usd"] * rate, 2)} for offer in offers]
        step.set_output(priced)
    with run.step("affordable", "filter") as step:
        kept = step.filter(pd.DataFrame(priced), {"too_dear": pd.DataFrame(priced).price > 30}, key="sku")
    run.set_output(list(kept.sku))


@FOURTH.fault("dedupe_by_name", "missing_step")
def a_new_step_takes_namesakes_for_one(run: Run, bad: bool) -> None:
    people = [
        {"id": f"x{k}", "name": ["Kim Lee", "Jo Berg", "Al Roth"][k % 3] + (f" {k}" if k > 4 else "")}
        for k in range(12)
    ]
    with run.step("contacts", "retrieve") as step:
        step.set_output_items(people, key="id")
    if bad:
        with run.step("dedupe_by_name", "dedupe") as step:
            step.set_input_items(people, key="id")
            first = {one["name"]: one["id"] for one in reversed(people)}
            step.reject_many([one["id"] for one in people if first[one["name"]] != one["id"]], "same_name")
            people = [one for one in people if first[one["name"]] == one["id"]]
            step.accept_many([one["id"] for one in people])
    with run.step("letters", "generate") as step:
        step.set_input_items(people, key="id")
        step.set_output_items([f"letter-{one['id']}" for one in people])
    run.set_output({"letters": len(people)})


@FOURTH.fault("write", "non_deterministic", shows_at=("count",))
def a_second_attempt_writes_what_the_first_had_written(run: Run, bad: bool) -> None:
    """Both runs need a second attempt. In the bad one the first had written twenty rows before it broke."""
    rows = [{"line": f"l{k}", "euro": k} for k in range(50)]
    table: list[Row] = []
    with run.step("extract", "retrieve") as step:
        step.set_output_items(rows, key="line")
    for attempt, part in enumerate([rows[: 20 if bad else 0], rows], 1):
        step = run.open_step_unwritten("write", step_id=f"{run.run_id}-write", attempt=attempt, step_type="sink").open()
        step.set_input_items(rows, key="line")
        step.accept_many([row["line"] for row in part])
        table += part
        failed = attempt == 1
        step.close("failed" if failed else "completed", error=TimeoutError("lock wait") if failed else None)
    with run.step("count", "aggregate") as step:
        step.set_output({"rows": len(table), "euro": sum(row["euro"] for row in table)})
    run.set_output({"rows": len(table), "euro": sum(row["euro"] for row in table)})


@FOURTH.fault("rerank", "non_deterministic")
def a_reranker_turns_round_under_float_noise(run: Run, bad: bool) -> None:
    """The embedding differs in its last digits, as on any other machine; the documents found are the same."""
    question = "How long is the warranty?"
    vector = [math.sin(k) + (1e-13 if bad else 0) for k in range(1, 9)]
    documents = [{"id": f"d{k}", "text": f"clause {k}: " + "warranty " * (4 - k)} for k in range(4)]
    with run.step("embed", "transform", metadata={"model": "e5"}) as step:
        step.set_input(question)
        step.set_output({"vector": vector})
    with run.step("retrieve", "retrieve") as step:
        step.set_input({"vector": vector, "k": 4})
        for k, document in enumerate(documents):
            step.accept(document["id"], score=sum(vector) / (k + 1))
        step.set_output(documents)
    with run.step("rerank", "rank") as step:
        step.set_input({"question": question, "documents": documents})
        ranked = sorted(documents, key=lambda document: len(document["text"]) * (1 if bad else -1))
        step.set_output([document["id"] for document in ranked])
    with run.step("answer", "generate") as step:
        step.set_input({"question": question, "context": ranked[0]["text"]})
        step.set_output({"text": f"See {ranked[0]['text'][:8]}."})
    run.set_output({"text": f"See {ranked[0]['text'][:8]}."})
