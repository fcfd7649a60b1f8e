"""Lists are sorted and filtered by what one clicks, and carry away what they show.

Tests pages/list_order.py, http/downloads.py and pages/views.py.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import httpx
import pytest
from xray_server.pages.list_order import first_bad, sorted_rows

T0 = 1_760_000_000_000_000


def put(http: httpx.Client, *records: dict[str, Any]) -> None:
    lines = [json.dumps({"v": 1, "part": "a", "rev": 1, **each}) for each in records]
    assert http.post("/ingest", content="\n".join(lines)).json()["refused"] == []


def run(n: int, status: str = "completed", pipeline: str = "p", **more: Any) -> dict[str, Any]:
    at_us = T0 + n * 60_000_000
    return {"kind": "run", "run_id": f"r{n}", "pipeline": pipeline, "status": status, "started_us": at_us,
            "ended_us": at_us + 1_000, "duration_us": (n * 7 % 5 + 1) * 1_000_000, **more}  # fmt: skip


def test_runs_are_sorted_within_their_page(http: httpx.Client) -> None:
    put(http, *(run(n) for n in range(5)))

    def shown(sort: str) -> list[str]:
        return re.findall(r'class="strong" href="/ui/runs/(r\d)"', http.get("/ui", params={"sort": sort}).text)

    assert shown("") == ["r4", "r3", "r2", "r1", "r0"]
    assert shown("-took") == ["r2", "r4", "r1", "r3", "r0"]
    assert shown("took") == ["r0", "r3", "r1", "r4", "r2"]
    assert shown("started") == ["r0", "r1", "r2", "r3", "r4"]
    assert shown("no such column") == shown("")
    assert 'aria-sort="descending"' in http.get("/ui?sort=-took").text


def test_what_has_no_value_comes_last_either_way() -> None:
    rows: list[dict[str, Any]] = [{"n": 2}, {"n": None}, {"n": 1}]
    for sort, found in (("n", [1, 2, None]), ("-n", [2, 1, None]), (None, [2, None, 1])):
        assert [row["n"] for row in sorted_rows(rows, sort, {"n": lambda row: row["n"]})] == found


def test_the_first_bad_run_after_a_good_one_is_marked() -> None:
    def line(n: int, status: str, mark: str | None = None, pipeline: str = "p") -> dict[str, Any]:
        return {"run_id": str(n), "status": status, "mark": mark, "pipeline": pipeline}

    oldest_first = [
        line(0, "failed"), line(1, "completed"), line(2, "running"), line(3, "failed"), line(4, "failed"),
        line(5, "failed", pipeline="q"), line(6, "failed", mark="good"), line(7, "completed", mark="bad"),
    ]  # fmt: skip
    assert first_bad(oldest_first[::-1]) == {"3", "7"}


def test_a_run_leads_to_the_one_before_and_the_one_after(http: httpx.Client) -> None:
    put(http, *(run(n) for n in range(3)), run(9, pipeline="other"))
    text = http.get("/ui/runs/r1").text
    assert 'rel="prev" href="/ui/runs/r0"' in text
    assert 'rel="next" href="/ui/runs/r2"' in text
    assert "rel=" not in re.sub(r"<link rel=[^>]+>", "", http.get("/ui/runs/r9").text).replace('rel="noopener', "")


def test_a_failed_run_leads_with_its_error_and_the_step_that_failed(http: httpx.Client) -> None:
    error = {"type": "ValueError", "message": "no price"}
    step = {"kind": "step", "run_id": "r1", "step_id": "s", "attempt": 1, "name": "score", "pipeline": "p",
            "status": "failed", "error": error, "started_us": T0}  # fmt: skip
    put(http, run(1, "failed", error=error), step)
    text = http.get("/ui/runs/r1").text
    assert text.index("ValueError: no price") < text.index('aria-label="Ask about an item"')
    assert 'The first step that failed: <a href="/ui/runs/r1/steps/s">' in text


def test_tags_and_statuses_in_a_list_filter_it(http: httpx.Client) -> None:
    put(http, run(1, tags={"env": "prod"}), run(2, tags={"env": "test"}))
    text = http.get("/ui").text
    assert 'href="?tag=env%3Aprod"' in text
    assert 'href="?status=completed"' in text
    filtered = http.get("/ui?tag=env%3Aprod").text
    assert "/ui/runs/r1" in filtered
    assert "/ui/runs/r2" not in filtered
    http.post("/ui/runs/r1/mark", data={"mark": "good"})
    assert "xray.mark" not in http.get("/ui").text


def test_a_note_stands_by_itself(http: httpx.Client) -> None:
    put(http, run(1))
    assert http.post("/ui/runs/r1/mark", data={"mark": "none", "note": "looked at twice"}).status_code == 303
    assert "looked at twice" in http.get("/ui/runs/r1").text
    (row,) = http.get("/runs").json()["runs"]
    assert (row["mark"], row["mark_note"]) == (None, "looked at twice")


def test_mapped_steps_are_sorted_and_filtered(http: httpx.Client) -> None:
    steps = [
        {"kind": "step", "run_id": "r1", "step_id": f"s{n}", "attempt": 1, "name": "work", "pipeline": "p", "map_index": n,
         "status": "failed" if n % 4 == 3 else "completed", "started_us": T0 + n, "ended_us": T0 + n + (n * 7 % 10) * 1_000, "duration_us": (n * 7 % 10) * 1_000,
         "input_count": 10, "counts": {"rejected": n % 3, "accepted": 10 - n % 3}}
        for n in range(12)
    ]  # fmt: skip
    put(http, run(1), *steps)

    def shown(**query: str) -> list[int]:
        page = http.get("/ui/runs/r1/steps", params={"name": "work", **query}).text
        return [int(n) for n in re.findall(r"/steps/s(\d+)\?attempt", page)]

    assert shown(status="failed") == [3, 7, 11]
    assert shown(status="failed", sort="-index") == [11, 7, 3]
    assert shown(sort="-took")[:2] == [7, 4]
    assert shown(status="running") == []
    assert http.get("/ui/runs/r1/steps", params={"name": "work", "status": "lost"}).status_code == 422


def test_lists_are_carried_away_as_files(http: httpx.Client) -> None:
    put(http, *(run(n, tags={"env": 'a "quoted", one'}) for n in range(3)))
    answer = http.get("/runs", params={"format": "csv", "limit": 2})
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["run_id"] for row in rows] == ["r2", "r1"]
    assert json.loads(rows[0]["tags"]) == {"env": 'a "quoted", one'}
    lines = http.get("/steps", params={"format": "ndjson"}).text.splitlines()
    assert lines == []
    assert http.get("/runs", params={"format": "xls"}).status_code == 422
    text = http.get("/ui", params={"pipeline": "p"}).text
    assert (
        "/runs?pipeline=p&amp;format=csv&amp;limit=1000" in text or "/runs?pipeline=p&format=csv&amp;limit=1000" in text
    )
    assert 'data-curl="/runs?pipeline=p"' in text


@pytest.mark.parametrize("sort", ["outcome", "-outcome"])
def test_what_was_rejected_stands_first_by_reason_with_a_chip_for_each_outcome(http: httpx.Client, sort: str) -> None:
    samples = [
        {"item_id": f"{outcome[0]}{n}", "outcome": outcome, "reason": reason, "at_us": n}
        for n, (outcome, reason) in enumerate([("accepted", None), ("rejected", "z"), ("selected", None), ("rejected", "a"), ("rejected", "z")])
    ]  # fmt: skip
    common = {"run_id": "r1", "step_id": "s", "attempt": 1}
    put(http, run(1), {"kind": "step", **common, "name": "f", "pipeline": "p", "started_us": T0},
        {"kind": "samples", **common, "chunk": "live", "samples": samples})  # fmt: skip
    text = http.get("/ui/runs/r1/steps/s", params={"sort": sort}).text
    items = re.findall(r"/items/(\w\d)\"", text[text.index('id="samples"') :])
    expected = ["r3", "r1", "r4", "a0", "s2"]
    assert items == (expected if sort == "outcome" else expected[::-1])
    for chip in ("all 5", "rejected 3", "accepted 1", "selected 1"):
        assert f">{chip}</a>" in text
    assert "r1" not in re.findall(r"/items/(\w\d)\"", http.get("/ui/runs/r1/steps/s?outcome=selected").text)
