"""What has not ended, or failed, is accused of nothing and called exact nowhere.

Tests pages/formatting.py and the ledger of running and failed steps.
"""

from __future__ import annotations

import re

import httpx
import pytest
from xray_server.pages.formatting import ago, completeness

N = 1_000


def post(http: httpx.Client, run_id: str, status: str, **run: object) -> None:
    step = {
        "name": "filter",
        "step_type": "filter",
        "step_id": "s",
        "input_count": N,
        "rejection_counts": {"late": 100},
    }
    if status == "failed":
        step["error"] = "ValueError: no such airport"
    if status == "running":
        step["started_at"] = "2026-01-01T00:00:00Z"
    else:
        step["ended_at"] = "2026-01-01T00:00:01Z"
    body = {
        "run_id": run_id,
        "pipeline": f"of-{run_id}",
        "status": status,
        "steps": [step],
        "started_at": "2026-01-01T00:00:00Z",
        **run,
    }
    assert http.post("/runs", json=body).status_code == 200


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize(("status", "mark"), [("running", "so far"), ("failed", "until it failed")])
def test_a_running_or_failed_step_is_not_accused_of_losing_items(http: httpx.Client, status: str, mark: str) -> None:
    post(http, "r", status)
    run = http.get("/runs/r").json()
    ledger = run["steps"][0]["ledger"]
    assert run["flagged_steps"] == 0
    assert run["flags"] == []
    assert (ledger["undecided"], ledger["unaccounted"], ledger["flags"]) == (N - 100, 0, [])
    for path in (
        "/ui",
        "/ui?pipeline=of-r",
        "/ui/runs/r",
        "/ui/runs/r/steps/s",
        "/ui/runs/r/steps?name=filter",
        "/ui/steps",
    ):
        page = http.get(path)
        assert page.status_code == 200
        said = words(page.text)
        assert "unaccounted" not in said, path
        assert "what became" not in said, path
        assert "not add up" not in said, path
        assert " exact " not in said, path
        assert mark in said, path


def test_a_step_that_ended_well_is_still_asked_where_its_items_went(http: httpx.Client) -> None:
    post(http, "r", "completed")
    assert http.get("/runs/r").json()["flagged_steps"] == 1
    assert "900 items went in and nothing says what became of them" in words(http.get("/ui/runs/r").text)
    assert " exact " in words(http.get("/ui/runs/r").text)


def test_a_comparison_with_a_run_that_failed_is_not_exact(http: httpx.Client) -> None:
    post(http, "a", "completed")
    post(http, "b", "failed")
    said = words(http.get("/ui/compare?a=a&b=b").text)
    assert "until it failed" in said
    assert " exact " not in said


def test_counts_of_what_was_refused_are_incomplete() -> None:
    assert completeness(("completed", None), ("completed", {"metadata": 3}))[0] == "exact"
    assert completeness(("completed", {"clamped.counts": 1}))[0] == "incomplete"
    assert completeness(("running", {"refused: too large": 1}))[0] == "incomplete"
    assert completeness(("running", None), ("failed", None))[0] == "so far"


def test_a_time_to_come_is_said_as_such(http: httpx.Client) -> None:
    now_s = 1_767_225_600.0  # 2026-01-01
    times = {"2026-01-04T00:00:00Z": "in 3 days", "2026-01-01T05:00:00Z": "in 5 h", "2025-12-31T23:59:59Z": "just now",
             "2026-01-01T00:00:30Z": "just now", "2025-12-30T00:00:00Z": "2 days ago", "2099-01-01T00:00:00Z": "2099-01-01"}  # fmt: skip
    assert {iso: ago(iso, now_s) for iso in times} == times
    http.post(
        "/runs", json={"run_id": "r", "pipeline": "p", "status": "completed", "started_at": "2099-01-01T00:00:00Z"}
    )
    assert "the clock of its machine is ahead" in words(http.get("/ui/runs/r").text)
