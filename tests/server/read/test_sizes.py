"""What came out of a task is no count of items because it has a length: no ledger, no rate, no flag, and a baseline.

Through the SDK, the server, the pages and the command line.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.live import Live
from xray_core import XRay
from xray_core.cli import main

ROWS = [f"row {n}" for n in range(2_000)]  # sentences: no ids
TASKS: dict[str, Any] = {
    "count_rows": 2_000, "load": None, "stats": {"mean": 1.0, "n": 2_000}, "prompt": "\n".join(ROWS), "model": ("answer", 0.5),
    "embed": [[0.1, 0.2]] * 2_000, "report": {"answer": "x", "tokens": 3, "sources": []},
}  # fmt: skip


def tasks(xray: XRay) -> str:
    with xray.run() as run:
        with run.step("select", "select") as step:
            step.observe_inputs({"ranked": [[i, i] for i in range(18)]})
            step.decide("cheapest", selected="f0", alternatives=[f"f{i}" for i in range(1, 18)])
            step.observe_output({key: key for key in "abcdefg"})
        for name, result in TASKS.items():
            with run.step(name, "transform") as step:
                step.observe_inputs({"rows": ROWS, "limit": 3})
                step.observe_output(result)
    return run.run_id


@pytest.fixture(scope="module")
def runs(live: Live) -> list[str]:
    with live.xray("sizes") as xray:
        return [tasks(xray), tasks(xray)]


def test_only_what_was_decided_is_counted_whatever_came_out(live: Live, runs: list[str]) -> None:
    select, *others = live.get(f"/runs/{runs[0]}")["steps"]
    assert (select["ledger"]["input"], select["ledger"]["accepted"], select["ledger"]["not_selected"]) == (18, 1, 17)
    for step in others:
        ledger = step["ledger"]
        assert {ledger[name] for name in ("input", "accepted", "rejected", "unaccounted", "selected")} == {None}, step
        assert (step["rejection_rate"], ledger["flags"], step["items"]) == (None, [], {}), step
        assert step["input"]["rows"]["size"] == 2_000
    shown = live.get("/steps", pipeline="sizes", step_type="transform")["steps"]
    assert {step["rejection_rate"] for step in shown} == {None}


def test_the_pages_and_the_command_line_show_no_count_where_there_is_none(
    live: Live, runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XRAY_API_URL", live.url)
    assert main(["show", runs[0]]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^select .*18 +1 ", shown, re.MULTILINE)
    for name in TASKS:
        assert re.search(rf"^{name} +[^0-9%]*\u2013 +\u2013 *$", shown, re.MULTILINE), shown
    page = live.http.get(f"/ui/runs/{runs[0]}").text
    assert "unaccounted" not in page
    assert "-100" not in page


def test_such_a_run_is_a_baseline(live: Live, runs: list[str]) -> None:
    diff = live.get(f"/runs/{runs[1]}/diff/baseline")
    assert (diff["baseline"]["run_id"], diff["parted_at"]) == (runs[0], None)
