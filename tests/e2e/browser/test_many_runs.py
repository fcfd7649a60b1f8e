"""Rejections doubled on Tuesday: from the alert to the segment in four clicks, and a limit tried on the page of a step."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from xray_server.records.schema import Record, RunRecord, StepRecord
from xray_server.store import Batch

from tests.e2e.browser.reader import Visitor
from tests.live import Live

HOURS, DOUBLED = 96, 60
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of its own, so that the newest runs are these: hourly ones, of which the last 36 reject DHL's items more often."""
    server = Live(tmp_path_factory.mktemp("many"))
    now_us = time.time_ns() // 1_000
    records = [record for hour in range(HOURS) for record in hourly(hour, now_us - (HOURS - hour) * HOUR_US)]
    assert server.store.write([Batch(records, "default", now_us)]) == [{}]
    yield server
    server.stop()


def hourly(hour: int, at_us: int) -> list[Record]:
    """The run of an hour; from `DOUBLED` on it rejects what DHL carries more often."""
    dhl = 8 if hour >= DOUBLED else 2 + hour % 2
    counts = {"DHL": {"accepted": 10 - dhl, "rejected": dhl}, "UPS": {"accepted": 9, "rejected": 1}}
    return [
        RunRecord(v=1, run_id=f"run-{hour:03}", part="a", rev=1, pipeline="checkout", status="completed", started_us=at_us),
        StepRecord(v=1, run_id=f"run-{hour:03}", step_id=f"slots-{hour:03}", attempt=1, part="a", rev=1, pipeline="checkout",
                   name="slots", step_type="filter", status="completed", started_us=at_us, ended_us=at_us + 1000, duration_us=1000,
                   counts={"accepted": 19 - dhl, "rejected": dhl + 1}, reasons={"rejected": {"no_slot": dhl + 1}},
                   input_count=20, dimensions={"carrier": counts}, metadata={"model": "v3" if hour >= DOUBLED else "v2"}),
    ]  # fmt: skip


def test_from_the_alert_to_the_segment_takes_four_clicks(visit: Callable[..., Visitor], live: Live) -> None:
    rule = {"name": "slots rejects more", "metric": "rejection_rate", "above": 0.4, "step": "slots", "min_items": 10}
    assert live.http.post("/alerts/rules", json=rule).status_code == 200
    now_us = time.time_ns() // 1_000
    assert live.store.write([Batch(hourly(HOURS, now_us - 1_000_000), "default", now_us)]) == [{}]
    reader = visit()
    page = reader.page
    firing = page.get_by_label("Firing")
    page.goto(f"{live.url}/ui/alerts")
    deadline = time.monotonic() + 20
    while not firing.is_visible():
        assert time.monotonic() < deadline, "the rule did not fire"
        page.reload()
    firing.get_by_role("link", name="Step slots rejected").click()  # as the link in the alert's message
    page.get_by_role("link", name="this step in other runs").click()
    bars = page.get_by_label("Rejection rate over time").locator("a")
    expect(bars.first).to_be_visible()
    bars.nth(bars.count() - 13).click()  # three hours a bar: where it rose
    page.get_by_role("link", name="What differs from the time before?").click()
    verdict = page.get_by_label("Verdict")
    expect(verdict).to_contain_text(
        re.compile(r"slots: 1\d\.\d% -> 4\d\.\d% rejected since .* no_slot \+\d+; carrier=DHL: \d+% of the change")
    )
    expect(verdict).to_contain_text(re.compile("It began with run run-0(59|60|61)"))
    expect(page.get_by_label("What else changed")).to_contain_text("metadata.model")
    page.get_by_role("link", name="Open it").click()
    expect(page).to_have_url(re.compile("/ui/runs/run-0(59|60|61)$"))
    assert reader.violations() == []


def test_dragging_over_the_trend_narrows_the_time(visit: Callable[..., Visitor], live: Live) -> None:
    reader = visit()
    page = reader.page
    page.goto(f"{live.url}/ui/steps?pipeline=checkout&name=slots")
    box = page.get_by_label("Rejection rate over time").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60, steps=4)
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("since=.*until="))
    expect(page.get_by_role("link", name="What differs from the time before?")).to_be_visible()
    assert reader.violations() == []


def test_another_limit_is_tried_on_the_page_of_a_step(visit: Callable[..., Visitor], live: Live) -> None:
    with live.xray("gated") as xray, xray.run() as run, run.step("gate", step_type="filter") as step:
        for price in range(100):
            if price > 60:
                step.reject(f"p{price}", "dear", value=price, limit=60)
            else:
                step.accept(f"p{price}", value=price)
        run_id = run.run_id
    reader = visit(viewport={"width": 390, "height": 800})
    page: Any = reader.page
    step_id = live.get(f"/runs/{run_id}")["steps"][0]["step_id"]
    page.goto(f"{live.url}/ui/runs/{run_id}/steps/{step_id}")
    page.get_by_role("link", name="What if the limit were another?").click()
    page.get_by_label("Limit of dear").fill("62")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("region", name="Items that would change").get_by_role("row")).to_have_count(3)
    page.get_by_role("link", name="99").first.click()
    expect(page.get_by_text("rejected 39 → 0")).to_be_visible()
    assert reader.overflow_px() <= 0
    assert reader.violations() == []
