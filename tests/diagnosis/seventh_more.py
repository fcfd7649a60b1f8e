"""The rest of the seventh batch: configuration, caches, votes, windows of time, pages and templates."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from tests.diagnosis.planted import Batch
from xray_core import XRay, current_step
from xray_core.capture.run import Run

MORE_OF_SEVENTH = Batch()
xray = XRay("seventh")
Row = dict[str, Any]


@MORE_OF_SEVENTH.fault("config", "non_deterministic", asked=lambda bad: {"config": "rules.json"})
def the_threshold_in_a_file_is_another(run: Run, bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.json"
        path.write_text(json.dumps({"minimum": 7 if bad else 3}))

        @xray.step
        def config(file: str) -> Row:
            return dict(json.loads(Path(file).read_text()))

        @xray.step
        def load() -> list[Row]:
            return [{"id": n, "rating": n} for n in range(10)]

        @xray.step(step_type="filter")
        def good(rows: list[Row], rules: Row) -> list[Row]:
            return [row for row in rows if row["rating"] >= rules["minimum"]]

        rules = config(str(path))
        run.set_output(good(load(), rules))


@MORE_OF_SEVENTH.fault("flags", "non_deterministic", asked=lambda bad: {"user": 5})
def a_feature_flag_is_on(run: Run, bad: bool) -> None:
    hotels = [{"hotel_id": f"h{n}", "stars": n % 5, "price": 50 + n * 9 % 40} for n in range(8)]
    with run.step("flags") as step:
        step.set_input({"user": 5})
        flags = {"new_ranker": bad, "dark_mode": True}
        step.set_output(flags)
    with run.step("hotels", step_type="retrieve") as step:
        step.set_output_items(hotels, key="hotel_id")
    with run.step("rank", step_type="rank") as step:
        step.set_input_items(hotels, key="hotel_id")
        by = "price" if flags["new_ranker"] else "stars"
        ranked = sorted(hotels, key=lambda hotel: (-hotel[by], hotel["hotel_id"]))
        step.set_output_items(ranked, key="hotel_id")
        for hotel in ranked[:3]:
            step.accept(hotel["hotel_id"], score=hotel[by])
    run.set_output([hotel["hotel_id"] for hotel in ranked[:3]])


@MORE_OF_SEVENTH.fault("enrich", "non_deterministic", asked=lambda bad: {"feed": "a"})
def a_cache_has_the_wrong_key(run: Run, bad: bool) -> None:
    cache: dict[Any, str] = {}

    @xray.step
    def load() -> list[Row]:
        return [{"sku": f"k{n}", "category": "ab"[n % 2], "brand_no": n} for n in range(6)]

    @xray.step
    def enrich(rows: list[Row]) -> list[Row]:
        return [
            {**row, "brand": cache.setdefault(row["category" if bad else "sku"], f"brand {row['brand_no']}")}
            for row in rows
        ]

    @xray.step
    def count(rows: list[Row]) -> dict[str, int]:
        return dict(Counter(row["brand"] for row in rows))

    run.set_output(count(enrich(load())))


@MORE_OF_SEVENTH.fault("vote", "non_deterministic", "code_changed", asked=lambda bad: {"claims": 6})
def a_vote_needs_one_more(run: Run, bad: bool) -> None:
    claims = [f"claim-{n}" for n in range(6)]
    votes: Counter[str] = Counter()
    for model, modulus in (("tree", 2), ("linear", 3), ("rules", 4)):
        with run.step(model, step_type="score") as step:
            step.set_input_items(claims)
            for n, claim in enumerate(claims):
                step.accept(claim, score=float(n % modulus == 0))
                votes[claim] += n % modulus == 0
    paid = []
    with run.step("vote", step_type="filter") as step:
        step.set_input(dict(votes))
        for claim in claims:
            if votes[claim] >= 2 + bad:
                step.accept(claim, score=votes[claim])
                paid.append(claim)
            else:
                step.reject(claim, "too_few_votes", {"votes": votes[claim]})
    run.set_output(paid)


@MORE_OF_SEVENTH.fault("last_day", "code_changed", cause="since", asked=lambda bad: {"events": "clicks"})
def a_window_begins_in_another_zone(run: Run, bad: bool) -> None:
    events = pd.DataFrame(
        {
            "event_id": [f"e{n}" for n in range(10)],
            "at": pd.date_range("2026-03-01", periods=10, freq="4h"),
            "user": list("ab") * 5,
        }
    )
    with run.step("read", step_type="retrieve") as step:
        step.set_output(events)
    with run.step("last_day", step_type="filter") as step:
        since = pd.Timestamp("2026-03-01 14:00") + pd.Timedelta(hours=5 if bad else 0)
        step.set_metadata("since", str(since))
        recent = step.filter(events, {"too_old": events["at"] < since}, key="event_id", details=["at"])
    with run.step("per_user") as step:
        step.set_input(recent)
        counts = recent.groupby("user").size().to_dict()
        step.set_output(counts)
    run.set_output(counts)


@MORE_OF_SEVENTH.fault("fetch > page", "missing_step", asked=lambda bad: {"since": "2026-03-01"})
def the_last_page_is_not_read(run: Run, bad: bool) -> None:
    @xray.step
    def page(number: int) -> list[Row]:
        return [{"issue_id": number * 3 + n, "open": n % 2 == 0} for n in range(3)]

    @xray.step
    def fetch(pages: int) -> list[Row]:
        return [row for number in range(pages - bad) for row in page(number)]

    @xray.step(step_type="filter")
    def still_open(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["open"]]

    run.set_output(len(still_open(fetch(4))))


@MORE_OF_SEVENTH.fault("render", "non_deterministic", asked=lambda bad: {"user": "Ann", "order": "o-7"})
def a_template_names_the_wrong_variable(run: Run, bad: bool) -> None:
    known = {"name": "Ann", "order": "o-7", "state": "late"}
    with run.step("facts", step_type="retrieve") as step:
        step.set_input({"user": "Ann", "order": "o-7"})
        step.set_output(known)
    with run.step("render") as step:
        step.set_input(known)
        template = (
            "Write to {name} about {order}, it is {order}" if bad else "Write to {name} about {order}, it is {state}"
        )
        text = template.format(**known)
        step.set_output(text)
    with run.step("llm", step_type="generate") as step:
        step.set_metadata("model", "small-1")
        step.set_input({"prompt": text, "temperature": 0})
        mail = f"Dear {text.split()[2]}: {text.split()[-1]}"
        step.set_output(mail)
        step.set_metadata("tokens", len(text))
    run.set_output(mail)


@MORE_OF_SEVENTH.fault("score", "code_changed", cause="weights", asked=lambda bad: {"job": "baker"})
def two_weights_are_swapped(run: Run, bad: bool) -> None:
    people = [{"id": f"p{n}", "years": n, "near": (9 - n) % 5} for n in range(8)]

    @xray.step(step_type="retrieve")
    def candidates(job: str) -> list[Row]:
        return [dict(person) for person in people]

    @xray.step(step_type="score")
    def score(rows: list[Row]) -> list[Row]:
        weights = {"years": 0.2, "near": 0.8} if bad else {"years": 0.8, "near": 0.2}
        current_step().set_metadata("weights", weights)
        return [{**row, "fit": round(sum(row[name] * by for name, by in weights.items()), 3)} for row in rows]

    @xray.step(step_type="select")
    def shortlist(rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: -row["fit"])[:3]

    run.set_output([row["id"] for row in shortlist(score(candidates("baker")))])
