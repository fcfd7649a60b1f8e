"""The pages of all items of a step and of one item over time.

Tests pages/items.py, http/downloads.py and many_routes.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from xray_server.records.schema import RunRecord, StepRecord, VerdictSet, VerdictsRecord
from xray_server.store import Batch, Store

from tests.live import Live
from xray_core import verdicts

HOSTILE = "<b>&\"'"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def run_id(live: Live) -> str:
    run_id = str(uuid4())
    with live.xray("shop") as xray, xray.run(run_id=run_id) as run, run.step("gate", "filter") as step:
        for n in range(150):
            step.reject(f"i{n:03}", "dear", {"price": n}, value=n, limit=-1)
        step.reject(HOSTILE, "late")
        step.accept("kept")
    return run_id


def test_the_page_of_a_step_leads_to_all_its_items_page_by_page(live: Live, run_id: str) -> None:
    run = live.get(f"/runs/{run_id}")
    step_id = run["steps"][0]["step_id"]
    step = live.http.get(f"/ui/runs/{run_id}/steps/{step_id}", params={"outcome": "rejected"}).text
    assert f'/ui/runs/{run_id}/items?step={step_id}&amp;outcome=rejected"' in step
    page = live.http.get(f"/ui/runs/{run_id}/items", params={"step": "gate", "reason": "dear"}).text
    assert "150 items were decided for dear at gate." in page.replace("\n", " ")
    assert "i099" in page
    assert "i100" not in page
    more = page.split('class="pager"><a href="')[1].split('"')[0].replace("&amp;", "&")
    further = live.http.get(f"/ui/runs/{run_id}/items{more}").text
    assert "i100" in further
    assert "i149" in further
    assert "i099" not in further


def test_what_users_named_is_escaped_in_both_pages(live: Live, run_id: str) -> None:
    page = live.http.get(f"/ui/runs/{run_id}/items", params={"reason": "late"}).text
    assert HOSTILE not in page
    assert "&lt;b&gt;" in page
    history = live.http.get("/ui/items/%3Cb%3E%26%22%27", params={"outcome": "rejected", "step": ""}).text
    assert HOSTILE not in history
    assert run_id[:8] in history


def test_the_item_page_leads_to_the_item_over_time(live: Live, run_id: str) -> None:
    assert '/ui/items/kept">over time' in live.http.get(f"/ui/runs/{run_id}/items/kept").text
    history = live.http.get("/ui/items/kept").text
    assert "accepted" in history
    assert "No run that fits" in live.http.get("/ui/items/kept", params={"outcome": "errored"}).text


def test_items_are_saved_whole_as_csv_and_ndjson(live: Live, run_id: str) -> None:
    answer = live.http.get(f"/runs/{run_id}/items", params={"step": "gate", "format": "csv"})
    assert answer.headers["content-disposition"] == f'attachment; filename="items-{run_id}.csv"'
    assert answer.text.splitlines()[0].startswith("item_id,fingerprint,step,")
    assert len(answer.text.splitlines()) == 153
    assert '"{""price"":' in answer.text
    lines = live.http.get(f"/runs/{run_id}/items", params={"format": "ndjson", "outcome": "accepted"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert lines.text.count("\n") == 1
    empty = live.http.get(f"/runs/{run_id}/items", params={"format": "csv", "outcome": "errored"})
    assert (empty.status_code, empty.text) == (200, "\n")


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_a_file_of_many_items_is_sent_as_it_is_made(http: httpx.Client, store: Store, kind: str) -> None:
    """Row 44: of a million items some thousands are in memory."""
    n = 45_000
    blob = verdicts.encode(array("Q", range(0, n << 24, 1 << 24)))
    sets = [VerdictSet("rejected", n, "x", fp40=blob), VerdictSet("accepted", 1, None, ["named"])]
    store.write(
        [
            Batch(
                [
                    RunRecord(v=1, run_id="many"),
                    StepRecord(v=1, run_id="many", step_id="s", name="s"),
                    VerdictsRecord(1, "many", "s", sets),
                ]
            )
        ]
    )
    with http.stream("GET", "/runs/many/items", params={"format": kind, "fingerprints": True}) as answer:
        assert "content-length" not in answer.headers
        lines = list(answer.iter_lines())
    assert len(lines) == len(set(lines)) == n + 1 + (kind == "csv")
    assert sum("named" in line for line in lines) == 1
    assert http.get("/runs/none/items", params={"format": kind}).status_code == 404


def test_a_run_that_is_not_there_and_a_wrong_parameter_are_said(live: Live, run_id: str) -> None:
    assert live.http.get("/ui/runs/none/items").status_code == 404
    assert live.http.get("/runs/none/items").status_code == 404
    assert live.http.get(f"/ui/runs/{run_id}/items?step=none").status_code == 404
    wrong = live.http.get(f"/runs/{run_id}/items?outcome=maybe")
    assert (wrong.status_code, wrong.json()["detail"][0]["field"]) == (422, "outcome")


def test_the_step_page_leads_to_another_limit_and_its_two_ends(live: Live, run_id: str) -> None:
    step_id = live.get(f"/runs/{run_id}")["steps"][0]["step_id"]
    assert f"/ui/runs/{run_id}/whatif?step={step_id}" in live.http.get(f"/ui/runs/{run_id}/steps/{step_id}").text
    page = live.http.get(f"/ui/runs/{run_id}/whatif", params={"step": "gate"}).text
    assert "gate had a limit of -1" in page
    assert "limit=0.0&amp;reason=dear" in page
    assert "limit=149.0&amp;reason=dear" in page
    tried = live.http.get(f"/ui/runs/{run_id}/whatif", params={"step": "gate", "limit": "2.5", "reason": ""}).text
    assert "rejected 150 → 147" in tried
    none = live.http.get(f"/ui/runs/{run_id}/whatif", params={"step": "gate", "reason": "late"}).text
    assert "declared no values" in none or "do not tell" in none
