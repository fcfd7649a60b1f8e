"""Decisions, trends, and one item across runs.

Tests http/explain_params.py, explain_routes.py, read/sample_search.py and trends.py.
"""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import pytest

from tests.live import Live
from xray_core import XRay


def priced(xray: XRay, prices: dict[str, float], **options: Any) -> str:
    with xray.run(**options) as run, run.step("filter", step_type="filter") as step:
        for item, price in prices.items():
            if price > 100:
                step.reject(item, "price_too_high", {"price": price, "shop": {"city": "Ulm", "open": "09:30"}})
            else:
                step.accept(item, details={"price": price})
    return run.run_id


@pytest.fixture(scope="module")
def shop(live: Live) -> str:
    pipeline = f"shop-{uuid4()}"
    with live.xray(pipeline, sample_rate=1.0) as xray:
        for n in range(3):
            priced(xray, {f"a{n}": 110.0, f"b{n}": 140, f"c{n}": 160.5, f"d{n}": 20})
    return pipeline


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ({"details.price_gt": 100, "details.price_lt": 150}, "ab"),
        ({"details.price_gte": 140, "details.price_lte": 160.5}, "bc"),
        ({"details.price": 110}, "a"),
        ({"details.shop.city": "Ulm"}, "abc"),
        ({"details.shop.open_lt": "10:00"}, "abc"),
        ({"details.shop.city_exists": "false"}, "d"),
        ({"outcome": "accepted"}, "d"),
        ({"reason": "price_too_high", "details.price_lt": 120}, "a"),
        ({"step": "filter", "item": "b1"}, "b"),
        ({"step": "other"}, ""),
        ({"until": "2001-01-01"}, ""),
    ],
)
def test_decisions_are_found_by_what_is_in_their_details(
    live: Live, shop: str, query: dict[str, Any], items: str
) -> None:
    answer = live.get("/decisions", pipeline=shop, **query)
    assert {each["item_id"][0] for each in answer["decisions"]} == set(items)
    assert answer["next_cursor"] is None
    assert answer["estimate"]["complete"] is True


def test_pages_of_decisions_hold_each_once(live: Live, shop: str) -> None:
    seen: list[tuple[str, str]] = []
    cursor = None
    while True:
        page = live.get("/decisions", pipeline=shop, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [(each["run_id"], each["item_id"]) for each in page["decisions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 12


def test_an_estimate_that_stopped_early_says_so_and_the_pages_go_on(live: Live, shop: str) -> None:
    first = live.get("/decisions", pipeline=shop, limit=1, estimate_ms=0)
    assert first["estimate"]["complete"] is False
    everything = live.get("/decisions", pipeline=shop, estimate_ms=0)
    assert everything["estimate"]["complete"] is True, "the page was not full, so the search went on to the end"
    second = live.get("/decisions", pipeline=shop, limit=1, cursor=first["next_cursor"])
    assert first["decisions"] + second["decisions"] == everything["decisions"][:2]


def test_a_search_looks_into_about_as_many_steps_as_its_page_wants_and_asks_for_each_once(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the steps match. What comes after a page's last step is known without asking for steps again."""
    pipeline = f"wanted-{uuid4()}"
    with live.xray(pipeline, sample_rate=1.0) as xray, xray.run() as run:
        for n in range(1_000):
            with run.step(f"s{n}", step_type="filter") as step:
                step.reject(f"i{n}", "late", {"of_ten": n % 10})
    asked: list[int] = []
    sampled_steps = live.store.sampled_steps

    def counted(*args: Any, limit: int, **options: Any) -> Any:
        asked.append(limit)
        return sampled_steps(*args, limit=limit, **options)

    def not_again(*args: Any, **options: Any) -> Any:
        raise AssertionError("the steps were asked for once more")

    monkeypatch.setattr(live.store, "sampled_steps", counted)
    monkeypatch.setattr(live.store, "steps", not_again)
    tenth = {"pipeline": pipeline, "limit": 50, "details.of_ten": 0}
    page = live.get("/decisions", **tenth, estimate_ms=0)
    assert len(page["decisions"]) == 50
    assert asked == [50, 150, 375], "30 of 50 were missing after 200 steps: 300 more, and a quarter"
    rest = live.get("/decisions", **tenth, cursor=page["next_cursor"])
    items = [each["item_id"] for each in page["decisions"] + rest["decisions"]]
    assert items == [f"i{n}" for n in reversed(range(0, 1_000, 10))]


def test_the_estimated_total_is_within_its_error(live: Live) -> None:
    pipeline = f"estimate-{uuid4()}"
    with live.xray(pipeline, sample_rate=0.05) as xray:
        for _ in range(5):
            priced(xray, {f"i{n}": 101 + n % 100 for n in range(4_000)})
    answer = live.get("/decisions", pipeline=pipeline, limit=1, estimate_ms=1000, **{"details.price_gt": 150})
    estimate = answer["estimate"]
    truth = 5 * 4_000 / 2
    assert estimate["sampled"] < 1_500
    assert abs(estimate["total"] - truth) < 5 * estimate["standard_error"]
    assert estimate["standard_error"] == pytest.approx(math.sqrt(10_000 * 19), rel=0.3)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/decisions", {"colour": "red"}, "colour"),
        ("/decisions", {"outcome": "maybe"}, "outcome"),
        ("/decisions", {"details.": "1"}, "details."),
        ("/decisions", {"details.price_exists": "perhaps"}, "details.price_exists"),
        ("/decisions", {"limit": "0"}, "limit"),
        ("/decisions", {"estimate_ms": "60000"}, "estimate_ms"),
        ("/decisions", {"cursor": "nonsense"}, "cursor"),
        ("/trends", {"bucket": "week"}, "bucket"),
        ("/trends", {"since": "yesterday"}, "since"),
        ("/items/a", {"limit": "1000"}, "limit"),
        ("/items/a", {"cursor": "x.y"}, "cursor"),
    ],
)
def test_a_wrong_parameter_is_named(live: Live, path: str, query: dict[str, str], field: str) -> None:
    answer = live.http.get(path, params=query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["field"] == field


def test_trends_add_up_and_a_resend_changes_nothing(live: Live) -> None:
    pipeline = f"trend-{uuid4()}"
    body = {
        "run_id": str(uuid4()), "pipeline": pipeline, "started_at": "2026-01-31T09:30:00Z",
        "steps": [{"name": "filter", "input_count": 10, "output_count": 6, "rejection_counts": {"old": 3, "big": 1},
                   "started_at": "2026-01-31T09:30:00Z"}],
    }  # fmt: skip
    for hour in ("09", "09", "10"):
        run = {**body, "run_id": f"{pipeline}-{hour}"}
        run["steps"] = [{**body["steps"][0], "started_at": f"2026-01-31T{hour}:30:00Z"}]
        assert live.http.post("/runs", json=run).status_code == 200
    query = {"pipeline": pipeline, "since": "2026-01-31", "until": "2026-02-01"}
    by_hour = live.get("/trends", **query)["trends"]
    assert [(each["at"], each["items_in"], each["rejection_rate"]) for each in by_hour] == [
        ("2026-01-31T09:00:00Z", 10, 0.4),
        ("2026-01-31T10:00:00Z", 10, 0.4),
    ]
    (day,) = live.get("/trends", bucket="day", step="filter", **query)["trends"]
    assert (day["at"], day["steps"], day["items_in"], day["reasons"]) == (
        "2026-01-31T00:00:00Z", 2, 20, {"old": 6, "big": 2},
    )  # fmt: skip
    ledger = day["ledger"]
    assert ledger["input"] == sum(ledger[k] for k in ("accepted", "rejected", "not_selected", "errored", "unaccounted"))


def test_an_item_is_found_in_every_run_that_holds_it(live: Live) -> None:
    item = f"item-{uuid4()}"
    pipeline = f"across-{uuid4()}"
    with live.xray(pipeline) as xray:
        ids = [priced(xray, {item: 110, "other": 5}), priced(xray, {"other": 5}), priced(xray, {item: 20})]
    answer = live.get(f"/items/{item}")
    assert {run["run_id"]: (run["outcome"], run["reason"], run["step"]) for run in answer["runs"]} == {
        ids[0]: ("rejected", "price_too_high", "filter"),
        ids[2]: ("accepted", None, "filter"),
    }
    assert answer["next_cursor"] is None
    first = live.get(f"/items/{item}", limit=1, pipeline=pipeline)
    second = live.get(f"/items/{item}", limit=1, cursor=first["next_cursor"])
    assert [run["run_id"] for run in first["runs"] + second["runs"]] == [ids[2], ids[0]]
    assert live.get(f"/items/{item}", pipeline="another")["runs"] == []
