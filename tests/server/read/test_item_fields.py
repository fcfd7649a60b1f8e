"""Fields of items before and after a step, from the SDK to the pages: shown on the item's way, counted as verdicts nowhere."""

from __future__ import annotations

import re

import pytest

from tests.live import Live
from xray_core.cli import main


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture(scope="module")
def repriced(live: Live) -> str:
    """A run in which p1's price goes from 80 to 150, and p1 is rejected for it."""
    rows = [{"id": f"p{n}", "price": 80, "old": n} for n in range(3)]
    with live.xray("fields") as xray, xray.run() as run:
        with run.step("reprice") as step:
            step.set_input_items(rows, key="id", fields=["price", "old"])
            made = [{"id": row["id"], "price": 150 if row["id"] == "p1" else 80, "new": "<b>"} for row in rows]
            step.set_output_items(made, key="id", fields=["price", "new"])
        with run.step("cheap") as step:
            step.reject("p1", "price_too_high", {"price": 150})
            step.accept_many(["p0", "p2"])
    return run.run_id


def test_the_item_page_and_the_command_line_show_an_item_changing_on_its_way(
    live: Live, repriced: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_API_URL", live.url)
    answer = live.why(repriced, "p1")
    sentence = "p1 was rejected at cheap: price_too_high (price 150); reprice changed price 80 -> 150"
    assert answer["sentence"] == sentence
    assert answer["journey"][0]["changed"] == {"price": [80, 150]}
    page = live.http.get(f"/ui/runs/{repriced}/items/p1").text
    assert sentence in words(page).replace("&gt;", ">")
    assert "price 80 → 150 old 1 gone new &lt;b&gt; new" in words(page)
    assert "price 80 old 0 gone" in words(live.http.get(f"/ui/runs/{repriced}/items/p0").text)
    assert main(["why", "p1", "--run", repriced]) == 0
    shown = capsys.readouterr().out
    assert sentence in " ".join(shown.split())
    assert re.search(r"^reprice +accepted.* price 80 -> 150 ", shown, re.MULTILINE)


def test_they_are_counted_and_listed_as_verdicts_nowhere(live: Live, repriced: str) -> None:
    reprice, cheap = live.http.get(f"/runs/{repriced}").json()["steps"]
    assert (reprice["sample_count"], len(reprice["item_fields"]), cheap["sample_count"]) == (0, 6, 3)
    found = live.http.get("/decisions", params={"pipeline": "fields", "details.price_gte": 80}).json()
    assert [each["item_id"] for each in found["decisions"]] == ["p1"]
    assert found["estimate"]["total"] == 1
    page = words(live.http.get(f"/ui/runs/{repriced}/steps/{reprice['step_id']}").text)
    assert "No details were kept." in page
    assert live.http.get(f"/runs/{repriced}/diff/{repriced}").json()["flipped_count"] == 0
