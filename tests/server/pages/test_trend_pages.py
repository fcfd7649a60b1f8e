"""The pages of what separates, of one item above another and of figures over time, and how the others lead to them.

Tests pages/trends.py.
"""

from __future__ import annotations

import html
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from xray_server.pages.trends import MAX_BARS, MAX_CHARTS, trends_page
from xray_server.records.schema import Record, RunRecord, StepRecord
from xray_server.store import Batch

from tests.live import Live

RUN = "0199dddd-0000-7000-8000-000000000001"
HOSTILE = "<i>&x"
HOUR_US = 3_600_000_000
NOW_US = time.time_ns() // 1000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One run whose step rejects what comes from DE and declares prices, and hourly runs of another pipeline."""
    server = Live(tmp_path_factory.mktemp("live"))
    chance = random.Random(1)
    with (
        server.xray("shop", capture="full") as xray,
        xray.run(run_id=RUN) as run,
        run.step(HOSTILE, step_type="filter") as step,
    ):
        for n in range(200):
            item = {"country": chance.choice(["DE", "FR"]), HOSTILE: n}
            if item["country"] == "DE":
                step.reject(f"i{n:03}", "no_slot", item, score=n / 200, value=150 + n, limit=100)
            else:
                step.accept(f"i{n:03}", details=item, score=n / 200, value=50)
    assert server.store.write([Batch(hourly(), "default", NOW_US)]) == [{}]
    yield server
    server.stop()


def hourly() -> list[Record]:
    """Two days of a step that takes longer and longer, and fails every tenth time."""
    records: list[Record] = []
    for hour in range(48):
        key = {"v": 1, "run_id": f"run-{hour}", "part": "a", "rev": 1, "pipeline": "hourly"}
        at_us = NOW_US - (48 - hour) * HOUR_US
        about: dict[str, Any] = {
            "status": "failed" if hour % 10 == 9 else "completed",
            "started_us": at_us,
            "ended_us": at_us + 1,
        }
        records += [
            RunRecord(**key, **about),
            StepRecord(**key, **about, step_id="s", attempt=1, name="load", duration_us=1_000 * (hour + 1), input_count=100,
                       counts={"accepted": 90, "rejected": 10}, reasons={"rejected": {"late": 10}}),
        ]  # fmt: skip
    return records


def page(live: Live, path: str, **parameters: Any) -> str:
    """The text of a page, its entities as the reader sees them."""
    answer = live.http.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    assert HOSTILE not in answer.text
    return html.unescape(answer.text)


def test_the_page_of_a_step_leads_to_what_separates_its_rejected_items(live: Live) -> None:
    step_id = live.get(f"/runs/{RUN}")["steps"][0]["step_id"]
    step = page(live, f"/ui/runs/{RUN}/steps/{step_id}", outcome="rejected", reason="no_slot")
    link = re.search(r'href="(/ui/separates\?[^"]+)"', step)
    assert link is not None
    found = page(live, link[1])
    assert "covers 100% of them" in found
    assert re.search(r"<code>country</code> = <code>DE</code>", found)
    assert "in this run" in found
    assert "it has:" in page(live, "/ui/separates", run=RUN, step="none")
    assert "Which fields tell them apart?" in page(live, "/ui/separates")
    assert live.http.get("/ui/separates", params={"run": "none", "step": "s"}).status_code == 404
    assert 'href="/ui/separates"' in page(live, "/ui/compare")


def test_the_page_of_an_item_asks_for_the_one_it_is_held_against(live: Live) -> None:
    item = page(live, f"/ui/runs/{RUN}/items/i000")
    assert f'action="/ui/runs/{RUN}/above"' in item
    rejected, accepted = (
        live.get(f"/runs/{RUN}/items", outcome=outcome)["items"][0]["item_id"] for outcome in ("rejected", "accepted")
    )
    found = page(live, f"/ui/runs/{RUN}/above", a=accepted, b=rejected)
    assert f"{accepted} is above {rejected}: at" in found
    assert "decided here" in found
    assert "Two items of one run." in page(live, f"/ui/runs/{RUN}/above", a="", b="")
    assert "No step says anything of both." in page(live, f"/ui/runs/{RUN}/above", a="nobody", b="none")
    assert live.http.get("/ui/runs/none/above").status_code == 404


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ("rejected", "10.0% of 100"),
        ("items", "<span>100</span>"),
        ("duration", "48 ms"),
        ("failed", ": 100%"),
    ],
)
def test_a_figure_of_each_step_is_drawn_over_time(live: Live, figure: str, words: str) -> None:
    found = page(live, "/ui/trends", figure=figure, since="3d", pipeline="hourly", step="load")
    assert words in found
    assert found.count('class="hit"') == 48


def test_the_end_of_time_is_drawn_too(live: Live) -> None:
    for path, asked in (("/ui/trends", {}), ("/ui/steps", {"pipeline": "hourly", "since": "1970-01-01"})):
        found = live.http.get(path, params={"until": "9999-12-31T23:59:59Z", **asked})
        assert found.status_code == 200
        late = live.http.get(path, params={"until": "9999-12-31T23:59:59-12:00", **asked})
        assert late.status_code == 422
        assert "before the year 10000" in late.text


def test_scores_and_declared_values_are_drawn_of_the_step_that_is_named(live: Live) -> None:
    scores = page(live, "/ui/trends", figure="score", step=HOSTILE)
    assert len(re.findall(r"<bdi>(rejected|accepted)</bdi>", scores)) == 2
    values = page(live, "/ui/trends", figure="value", step=HOSTILE)
    assert "<bdi>rejected: no_slot</bdi>" in values
    assert "from 50 to 50" in values
    assert "Of which step?" in page(live, "/ui/trends", figure="value")
    assert "Nothing to draw." in page(live, "/ui/trends", figure="score", step="load", pipeline="hourly")
    assert live.http.get("/ui/trends", params={"figure": "mood"}).status_code == 422


def test_however_many_steps_and_buckets_there_are_the_page_is_bounded(live: Live) -> None:
    key = {"v": 1, "run_id": "many", "part": "a", "rev": 1, "pipeline": "many"}
    records: list[Record] = [
        StepRecord(**key, step_id=f"s{n}-{day}", attempt=1, name=f"step {n}" + "x" * 300, started_us=NOW_US - day * 24 * HOUR_US,
                   status="completed", duration_us=n, input_count=n, counts={"accepted": n})
        for n in range(40) for day in range(20)
    ]  # fmt: skip
    assert live.store.write([Batch(records, "default", NOW_US)]) == [{}]
    for since_us in (NOW_US - 5 * 24 * HOUR_US, NOW_US - 90 * 24 * HOUR_US, 0):
        found = trends_page(
            live.store, "default", "items", pipeline="many", step=None, since_us=since_us, until_us=NOW_US + 1
        )
        assert 1 <= len(found.charts) <= MAX_CHARTS
        assert sum(len(chart.bars) for chart in found.charts) <= MAX_BARS
        assert found.left_out == 40 - len(found.charts)
        assert found.charts[0].step.startswith("step 39")
    for since in ("20d", "90d", "10000d"):
        assert len(live.http.get("/ui/trends", params={"since": since, "figure": "items"}).content) < 200_000
    turned = {"since": "1d", "until": "2d"}
    assert "Nothing to draw." in page(live, "/ui/trends", **turned)


def test_a_bar_of_the_trend_leads_to_the_time_from_then_on_and_this_to_the_time_before(live: Live) -> None:
    first = page(live, "/ui/steps", pipeline="hourly", name="load")
    assert "What differs from the time before?" not in first
    bars = re.findall(r'<a href="(\?[^"]*since=[^"]+)" tabindex="-1"', first)
    assert len(bars) >= 24
    narrowed = page(live, f"/ui/steps{bars[-5]}")
    (groups,) = re.findall(r'href="(/ui/groups\?[^"]+)"', narrowed)
    found = page(live, groups)
    assert "from <code>since=" in found
    assert re.search(r": (8|9|10) runs", found)
    assert re.search(r'href="/ui/trends\?pipeline=hourly&step=load"', narrowed)
