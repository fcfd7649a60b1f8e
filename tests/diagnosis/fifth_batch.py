"""A fifth set: twenty faults, written without a look at how runs are compared. Its controls: fifth_controls.py.

Many are captured without a line of code in the functions: plain values, frames, dataclasses and generators that pass through
`@STEPS.step`. `CERTAINTY` says of each, before the first run, whether the right step may be called certain, and why.

Its score in the first run, untouched: right step 18 of 20, right cause 17, another step blamed twice, certain once where it may
not be (`whole_numbers_become_floats`), less than certain five times where it might be, nothing blamed in 7 of 8 controls. Put
right after it: the path of `on_time`, which runs inside the step that reads it, and in one control a time that was not the run's.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import BaseModel

from tests.diagnosis.planted import Batch
from xray_core import XRay, current_step
from xray_core.capture.run import Run

FIFTH = Batch()
STEPS: Final = XRay("fifth")
Row = dict[str, Any]

CERTAINTY: Final = {
    "a_time_zone_is_left_out": "may: all arguments and results are passed, whole",
    "prices_of_another_locale": "may: all arguments and results are passed, whole",
    "article_numbers_lose_their_zeros": "may: all arguments and results are passed, whole",
    "whole_numbers_become_floats": "may, of stock; never of labels: what it was given is not the same, 5 is not 5.0",
    "a_score_in_single_precision": "may: the seventh digit differs, and the vectors are equal",
    "a_join_by_the_wrong_address": "may: both frames are equal, the named argument is another",
    "shards_in_the_order_they_came": "may: what gather was given is told whole, shard by shard",
    "a_left_join_turned_inner": "may: the orders and the carriers are both told with their values",
    "a_limit_that_lost_its_equals": "may: route was given all scores, and nothing but these",
    "a_new_tie_break_after_a_chatty_model": "may: rank was given all scores, and nothing but these",
    "a_retry_that_lets_all_pass": "may: each attempt tells all payments with their values",
    "a_dollar_in_a_tree_of_euros": "may: each call tells its whole branch",
    "gaps_filled_with_zero_behind_a_summary": "never: clean tells counts, which are equal",
    "a_cache_that_forgets_the_country": "may: each call tells the whole question",
    "a_stream_with_a_shorter_watermark": "never: what a generator yields is counted, its values are not told",
    "an_off_by_one_at_capture_minimal": "never: of rerank there are counts alone, which are equal",
    "a_token_of_the_wrong_tenant": "may, of login, were it seen to differ; never of prices: a masked token is no known token",
    "the_last_of_thirty_thousand": "may, of load, were it seen to differ; never of total: not all that it was given is known",
    "two_faults_of_which_one_is_harmless": "may, of dedupe: it was given all rows; never of audit",
    "another_day_and_tidied_code": "may: the question differs, and load is the first to show it",
}
NEVER_CERTAIN: Final = frozenset(name for name, why in CERTAINTY.items() if why.startswith("never:"))


@dataclass(frozen=True)
class Reading:
    meter: str
    at: datetime
    kwh: float


@FIFTH.fault("parse", "non_deterministic")
def a_time_zone_is_left_out(run: Run, bad: bool) -> None:
    """Times of Berlin are taken for UTC: what was used just after midnight counts for another day."""
    zone = timezone.utc if bad else timezone(timedelta(hours=2))

    @STEPS.step(step_type="retrieve")
    def read() -> list[Row]:
        return [
            {"meter": f"m{k}", "at": f"2026-06-0{1 + k % 5}T{k * 7 % 24:02}:30:00", "kwh": k / 4} for k in range(30)
        ]

    @STEPS.step(step_type="transform")
    def parse(lines: list[Row]) -> list[Reading]:
        times = [datetime.fromisoformat(line["at"]).replace(tzinfo=zone) for line in lines]
        return [Reading(line["meter"], at, line["kwh"]) for line, at in zip(lines, times)]

    @STEPS.step(step_type="aggregate")
    def by_day(readings: list[Reading]) -> dict[str, float]:
        days: dict[str, float] = {}
        for reading in readings:
            day = reading.at.astimezone(timezone.utc).date().isoformat()
            days[day] = days.get(day, 0) + reading.kwh
        return days

    run.set_output(by_day(parse(read())))


class Offer(BaseModel):
    sku: str
    price: Decimal


@FIFTH.fault("parse_prices", "code_changed", cause="locale")
def prices_of_another_locale(run: Run, bad: bool) -> None:
    """A new image has another locale: 1.299,00 is read as 1.299."""
    locale = "en_US" if bad else "de_DE"

    @STEPS.step(step_type="retrieve")
    def read() -> list[Row]:
        prices = ["89,90", "1.299,00", "74,50", "2.100,00", "99,00", "120,00"]
        return [{"sku": f"s{k}", "price": price} for k, price in enumerate(prices)]

    @STEPS.step(step_type="transform")
    def parse_prices(rows: list[Row]) -> list[Offer]:
        current_step().set_metadata("locale", locale)
        groups, point = (",", ".") if locale == "en_US" else (".", ",")
        return [Offer(sku=r["sku"], price=Decimal(r["price"].replace(groups, "").replace(point, "."))) for r in rows]

    @STEPS.step(step_type="filter")
    def affordable(offers: list[Offer]) -> list[Offer]:
        return [offer for offer in offers if offer.price < 100]

    @STEPS.step(step_type="select")
    def cheapest(offers: list[Offer]) -> Offer:
        return min(offers, key=lambda offer: offer.price)

    run.set_output(cheapest(affordable(parse_prices(read()))).model_dump())


@FIFTH.fault("read", "non_deterministic")
def article_numbers_lose_their_zeros(run: Run, bad: bool) -> None:
    text = "sku,name\n" + "".join(f"{k * 37:05},article {k}\n" for k in range(1, 25))
    stocks = {f"{k * 37:05}": k % 7 for k in range(1, 25)}

    @STEPS.step(step_type="retrieve")
    def read(file: str) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(file), dtype=None if bad else {"sku": str})

    @STEPS.step(step_type="enrich")
    def with_stock(articles: pd.DataFrame, stock: dict[str, int]) -> pd.DataFrame:
        return articles.assign(stock=articles.sku.astype(str).map(stock).fillna(0).astype(int))

    @STEPS.step(step_type="filter")
    def reorder(articles: pd.DataFrame) -> pd.DataFrame:
        return articles[articles.stock < 2]

    run.set_output({"to_order": len(reorder(with_stock(read(text), stocks)))})


@FIFTH.fault("stock", "non_deterministic", shows_at=("labels",))
def whole_numbers_become_floats(run: Run, bad: bool) -> None:
    """A left join makes floats of the column, and only the good code makes them whole again."""
    articles = pd.DataFrame({"sku": ["a1", "a2", "a3", "a4"], "shelf": [7, 7, 8, 9]})
    counted = pd.DataFrame({"sku": ["a1", "a3", "a4"], "pieces": [5, 12, 3]})
    printed = {"a1/5": "small", "a2/0": "none", "a3/12": "large", "a4/3": "small"}

    @STEPS.step(step_type="transform")
    def stock(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
        joined = left.merge(right, on="sku", how="left").fillna({"pieces": 0})
        return joined if bad else joined.astype({"pieces": int})

    @STEPS.step(step_type="transform")
    def labels(rows: pd.DataFrame) -> dict[str, str]:
        return {f"{sku}/{pieces}": sku for sku, pieces in zip(rows.sku, rows.pieces)}

    @STEPS.step(step_type="transform")
    def boxes(names: dict[str, str]) -> dict[str, str]:
        return {sku: printed.get(name, "unknown") for name, sku in names.items()}

    run.set_output(boxes(labels(stock(articles, counted))))


@FIFTH.fault("score", "non_deterministic")
def a_score_in_single_precision(run: Run, bad: bool) -> None:
    weights = np.array([0.31, -0.12, 0.77, 0.05])

    @STEPS.step(step_type="retrieve")
    def vectors() -> np.ndarray[Any, Any]:
        return np.random.default_rng(5).random((40, 4))

    @STEPS.step(step_type="score")
    def score(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (table.astype(np.float32) @ weights.astype(np.float32)).astype(float) if bad else table @ weights

    @STEPS.step(step_type="filter")
    def keep(scores: np.ndarray[Any, Any], limit: float) -> dict[str, list[int]]:
        return {"rows": [int(k) for k in np.flatnonzero(scores >= limit)]}

    table = vectors()
    exact = table @ weights
    single = (table.astype(np.float32) @ weights.astype(np.float32)).astype(float)
    on_the_edge = float(exact[int(np.argmax(exact - single))])
    run.set_output(keep(score(table), on_the_edge))


@FIFTH.fault("join", "input_changed", "code_changed", cause="matched_by")
def a_join_by_the_wrong_address(run: Run, bad: bool) -> None:
    """Every order has both addresses: the number of rows stays, the countries do not."""
    lands = ["at", "be", "cz", "dk", "ee"]
    orders = pd.DataFrame({"euro": [20 + 3 * k for k in range(25)], "ship_to": [k % 5 for k in range(25)]})
    orders["bill_to"] = (orders.ship_to + (orders.euro % 2)) % 5

    @STEPS.step(step_type="retrieve")
    def read_orders() -> pd.DataFrame:
        return orders

    @STEPS.step(step_type="retrieve")
    def read_addresses() -> pd.DataFrame:
        return pd.DataFrame({"code": range(5), "land": lands})

    @STEPS.step(step_type="transform")
    def join(left: pd.DataFrame, right: pd.DataFrame, matched_by: str) -> pd.DataFrame:
        return left.merge(right, left_on=matched_by, right_on="code")

    @STEPS.step(step_type="aggregate")
    def tax_base(rows: pd.DataFrame) -> dict[str, int]:
        return {str(land): int(euro) for land, euro in rows.groupby("land").euro.sum().items()}

    run.set_output(tax_base(join(read_orders(), read_addresses(), matched_by="bill_to" if bad else "ship_to")))


@FIFTH.fault("gather", "non_deterministic", cause="order")
def shards_in_the_order_they_came(run: Run, bad: bool) -> None:
    """Fan out, fan in: the good code puts the shards back in their order, and the first page of a title is kept."""
    shards = [[{"title": f"t{(k * 3 + shard) % 7}", "page": f"{shard}-{k}"} for k in range(5)] for shard in range(4)]
    found: dict[int, list[Row]] = {}
    for shard in (2, 0, 3, 1):
        with run.open_step("fetch", step_type="retrieve", map_index=shard) as step:
            step.set_input({"shard": shard})
            found[shard] = shards[shard]
            step.set_output(found[shard])
    with run.step("gather", "transform") as step:
        step.set_input([found[shard] for shard in range(4)])
        rows = [row for shard in (found if bad else sorted(found)) for row in found[shard]]
        step.set_output(rows)
    with run.step("first_page", "transform") as step:
        step.set_input(rows)
        pages: dict[str, str] = {}
        for row in rows:
            pages.setdefault(row["title"], row["page"])
        step.set_output(pages)
    run.set_output(pages)


@FIFTH.fault("carriers", "non_deterministic", seen={"o0063": ("dropped", "carriers", None)})
def a_left_join_turned_inner(run: Run, bad: bool) -> None:
    orders = pd.DataFrame({"order": [f"o{k:04}" for k in range(2400)], "zone": [k % 64 for k in range(2400)]})
    carriers = pd.DataFrame({"zone": range(63), "carrier": [f"c{k % 5}" for k in range(63)]})
    with run.step("orders", "retrieve") as step:
        step.set_output_items(orders, key="order")
    with run.step("carriers", "enrich") as step:
        step.set_input(carriers)
        step.set_input_items(orders, key="order")
        joined = orders.merge(carriers, on="zone", how="inner" if bad else "left")
        step.set_output_items(joined, key="order")
    with run.step("parcels", "aggregate") as step:
        step.set_input_items(joined, key="order")
        total = joined.carrier.fillna("own car").value_counts().sort_index().to_dict()
        step.set_output(total)
    run.set_output(total)


@FIFTH.fault("route", "code_changed", cause="keep", seen={"t4": ("rejected", "route", "unsure")})
def a_limit_that_lost_its_equals(run: Run, bad: bool) -> None:
    """The prompt was rewritten too, with the same answers."""
    prompt = "You are a careful clerk. Rate how urgent." if bad else "Rate how urgent each letter is."
    letters = {f"t{k}": f"letter {k}, please answer" for k in range(9)}
    scores = {letter: round(0.3 + 0.1 * k, 2) for k, letter in enumerate(letters)}
    with run.step("inbox", "retrieve") as step:
        step.set_output(letters)
    with run.step("classify", "llm", metadata={"model": "small-3"}) as step:
        step.set_input({"system": prompt, "letters": letters})
        step.set_output(scores)
    with run.step("route", "filter", metadata={"keep": "above" if bad else "from"}) as step:
        step.set_input(scores)
        urgent = []
        for letter, score in scores.items():
            if score > 0.7 or (score == 0.7 and not bad):
                step.accept(letter, value=score, limit=0.7)
                urgent.append(letter)
            else:
                step.reject(letter, "unsure", value=score, limit=0.7)
        step.set_output(urgent)
    run.set_output({"urgent": urgent})


def oldest_first(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda name: (-scores[name], name))[:3]


def newest_first(scores: dict[str, float]) -> list[str]:
    return sorted(sorted(scores, reverse=True), key=lambda name: -scores[name])[:3]


@FIFTH.fault("rank", "code_changed", cause="code_version")
def a_new_tie_break_after_a_chatty_model(run: Run, bad: bool) -> None:
    """The model words its reasons differently each time and gives the same scores; who wins a tie was changed by a commit."""
    words = "It matches well" if bad else "A good match"

    @STEPS.step(step_type="retrieve")
    def candidates() -> list[Row]:
        return [{"id": f"d{k}", "text": f"profile {k}"} for k in range(8)]

    @STEPS.step(step_type="llm")
    def rate(rows: list[Row]) -> list[Row]:
        return [{"id": row["id"], "score": 0.5 + 0.2 * (k % 2), "why": f"{words}: {k}"} for k, row in enumerate(rows)]

    rank = STEPS.step("rank", step_type="rank")(newest_first if bad else oldest_first)
    run.set_output(rank({row["id"]: row["score"] for row in rate(candidates())}))


@FIFTH.fault("check_card", "non_deterministic", seen={"p3": ("accepted", "check_card", None)})
def a_retry_that_lets_all_pass(run: Run, bad: bool) -> None:
    """The first attempt finds the stolen card and then fails; the second cannot reach the service and takes the default."""
    payments = [{"payment": f"p{k}", "card": f"k{k % 4}", "euro": 10 + k} for k in range(8)]
    with run.step("payments", "retrieve") as step:
        step.set_output_items(payments, key="payment")
        step.set_output(payments)
    refused: set[str] = set()
    for attempt in (1, 2) if bad else (1,):
        refused = {row["payment"] for row in payments if row["card"] == "k3"} if attempt == 1 else set()
        step = run.open_step("check_card", step_type="filter", step_id=f"{run.run_id}-check", attempt=attempt)
        step.set_input(payments)
        for row in payments:
            if row["payment"] in refused:
                step.reject(row["payment"], "stolen")
            elif not bad or attempt == 2:
                step.accept(row["payment"])
        failed = bad and attempt == 1
        step.close("failed" if failed else "completed", error=TimeoutError("no answer in 5 s") if failed else None)
    with run.step("book", "sink") as step:
        booked = sum(row["euro"] for row in payments if row["payment"] not in refused)
        step.set_output({"euro": booked})
    run.set_output({"euro": booked})


@FIFTH.fault("total > total > total", "non_deterministic")
def a_dollar_in_a_tree_of_euros(run: Run, bad: bool) -> None:
    shops = [{"name": f"shop {k}", "amount": 100 + 7 * k, "currency": "EUR", "parts": []} for k in range(5)]
    shops[3]["currency"] = "USD"
    south = {"name": "south", "amount": 0, "currency": "EUR", "parts": shops[:2]}
    north = {"name": "north", "amount": 0, "currency": "EUR", "parts": shops[2:]}

    @STEPS.step(step_type="aggregate")
    def total(node: Row) -> Row:
        rate = 0.9 if node["currency"] == "USD" and not bad else 1
        parts = [total(part) for part in node["parts"]]
        return {"name": node["name"], "euro": round(node["amount"] * rate + sum(part["euro"] for part in parts), 2)}

    run.set_output(total({"name": "all", "amount": 0, "currency": "EUR", "parts": [south, north]}))


@FIFTH.fault("clean", "non_deterministic", shows_at=("train",))
def gaps_filled_with_zero_behind_a_summary(run: Run, bad: bool) -> None:
    ages = pd.Series([None if k % 6 == 0 else 20 + k % 40 for k in range(300)], dtype=float)
    with run.step("load", "retrieve") as step:
        step.set_output({"rows": len(ages), "gaps": int(ages.isna().sum())})
    with run.step("clean", "transform") as step:
        step.set_input({"rows": len(ages)})
        filled = ages.fillna(0 if bad else ages.median())
        step.set_output({"rows": len(filled), "gaps": int(filled.isna().sum())})
    with run.step("train", "fit", metadata={"folds": 5}) as step:
        step.set_input({"rows": len(filled)})
        spread = round(float(filled.std()), 4)
        step.set_output({"spread": spread})
    run.set_output({"spread": spread})


@FIFTH.fault("geocode", "non_deterministic", cause="result.cache")
def a_cache_that_forgets_the_country(run: Run, bad: bool) -> None:
    """The key of the cache is the town alone, and in the bad run the cache is warm."""
    places = {("Paris", "FR"): 48.86, ("Paris", "US"): 33.66, ("Bonn", "DE"): 50.73, ("Perth", "AU"): -31.95}
    cache: dict[str, float] = {"Paris": 48.86} if bad else {}
    found = {}
    for town, land in places:
        with run.step("geocode", "enrich") as step:
            step.set_input({"town": town, "land": land})
            step.set_metadata("result.cache", "hit" if town in cache else "miss")
            found[f"{town} {land}"] = cache[town] if town in cache else places[town, land]
            step.set_output({"latitude": found[f"{town} {land}"]})
    with run.step("southern", "filter") as step:
        step.set_input(found)
        south = [name for name, latitude in found.items() if latitude < 40]
        step.set_output(south)
    run.set_output(south)


@FIFTH.fault("count > on_time", "code_changed", cause="watermark_s")
def a_stream_with_a_shorter_watermark(run: Run, bad: bool) -> None:
    watermark_s = 30 if bad else 90

    @STEPS.step(step_type="generate")
    def events() -> Iterator[Row]:
        for k in range(60):
            yield {"sensor": f"s{k % 4}", "at_s": 10 * k, "late_s": k * 17 % 100}

    @STEPS.step(step_type="filter")
    def on_time(stream: Iterable[Row]) -> Iterator[Row]:
        current_step().set_metadata("watermark_s", watermark_s)
        for event in stream:
            if event["late_s"] <= watermark_s:
                yield event

    @STEPS.step(step_type="aggregate")
    def count(stream: Iterable[Row]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for event in stream:
            counts[event["sensor"]] = counts.get(event["sensor"], 0) + 1
        return counts

    run.set_output(count(on_time(events())))


@FIFTH.fault("rerank", "non_deterministic", shows_at=("answer",))
def an_off_by_one_at_capture_minimal(run: Run, bad: bool) -> None:
    passages = [{"id": f"c{k}", "text": f"passage {k}", "score": round(1 - 0.05 * k, 2)} for k in range(12)]
    with run.step("search", "retrieve") as step:
        step.set_output_items(passages, key="id")
    with run.step("rerank", "rank", capture="minimal") as step:
        best = passages[1:5] if bad else passages[0:4]
        taken = {passage["id"] for passage in best}
        others = [(passage["id"], passage["score"]) for passage in passages if passage["id"] not in taken]
        step.decide("top", selected=[passage["id"] for passage in best], alternatives=others)
    with run.step("answer", "llm", metadata={"model": "small-3", "temperature": 0}) as step:
        step.set_input({"passages": [passage["text"] for passage in best]})
        text = f"According to {best[0]['text']}"
        step.set_output(text)
    run.set_output(text)


@FIFTH.fault("login", "non_deterministic", shows_at=("prices",))
def a_token_of_the_wrong_tenant(run: Run, bad: bool) -> None:
    """Both tokens are masked: as stored, the two runs logged in alike."""
    token = "q7Zt-test-tenant-58213" if bad else "q7Zt-live-tenant-10442"
    rows = [{"sku": f"s{k}", "price": (1 if bad else 12) * (k + 3)} for k in range(6)]
    with run.step("login", "auth") as step:
        step.set_input({"client": "shop", "grant": "machine"})
        step.set_output({"access_token": token})
    with run.step("prices", "retrieve") as step:
        step.set_input({"access_token": token, "page_size": 100})
        step.set_output_items(rows, key="sku")
    with run.step("cheapest", "select") as step:
        step.set_input(rows)
        best = min(rows, key=lambda row: row["price"])
        step.decide("cheapest", selected=best["sku"], score=best["price"])
    run.set_output(best)


@FIFTH.fault("load", "non_deterministic", shows_at=("total",))
def the_last_of_thirty_thousand(run: Run, bad: bool) -> None:
    """Too long to be kept, and too long to be fingerprinted whole."""
    amounts = [k % 97 for k in range(30_000)]
    if bad:
        amounts[-1] += 50_000
    with run.step("load", "retrieve") as step:
        step.set_output({"amounts": amounts})
    with run.step("total", "aggregate") as step:
        step.set_input({"amounts": amounts})
        step.set_output({"total": sum(amounts)})
    run.set_output({"total": sum(amounts)})


@FIFTH.fault("dedupe", "non_deterministic")
def two_faults_of_which_one_is_harmless(run: Run, bad: bool) -> None:
    """The audit drops a line, which nobody reads; then the last of two rows of a customer is kept, not the first."""
    rows = [{"customer": f"k{k % 5}", "mail": f"k{k % 5}.{k}@example.org", "since": 2000 + k} for k in range(10)]
    with run.step("customers", "retrieve") as step:
        step.set_output(rows)
    with run.step("audit", "sink") as step:
        step.set_input(rows)
        step.set_output({"lines": len(rows) - bad})
    with run.step("dedupe", "transform") as step:
        step.set_input(rows)
        ordered = rows if bad else rows[::-1]
        kept = sorted({row["customer"]: row for row in ordered}.values(), key=lambda row: str(row["customer"]))
        step.set_output(kept)
    with run.step("seniority", "aggregate") as step:
        step.set_input(kept)
        years = {row["customer"]: 2026 - row["since"] for row in kept}
        step.set_output(years)
    run.set_output(years)


@FIFTH.fault("load", "input_changed", cause="day", asked=lambda bad: {"day": "2026-03-02" if bad else "2026-03-01"})
def another_day_and_tidied_code(run: Run, bad: bool) -> None:
    offers = [{"id": f"p{k}", "price": 30 + 4 * k if k % 5 else -1} for k in range(12)]
    offers += [{"id": "p12", "price": 9}, {"id": "p13", "price": 88}] if bad else []
    with run.step("load", "retrieve") as step:
        step.set_output_items(offers, key="id")
        step.set_output(offers)
    with run.step("valid", "filter", code_version="c8" if bad else "c7") as step:
        step.set_input(offers)
        for offer in offers:
            if offer["price"] < 0:
                step.reject(offer["id"], "no_price")
            else:
                step.accept(offer["id"])
        kept = [offer for offer in offers if offer["price"] >= 0]
        step.set_output(kept)
    with run.step("cheapest", "select") as step:
        step.set_input(kept)
        best = min(kept, key=lambda offer: offer["price"])
        others = [(offer["id"], offer["price"]) for offer in kept if offer is not best]
        step.decide("cheapest", selected=best["id"], score=best["price"], alternatives=others)
    run.set_output(best)
