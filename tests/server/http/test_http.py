"""The API through a real server on loopback: posted runs are found, and what is wrong is named.

Tests backends/open.py, cli/commands.py, http/params.py, read_routes.py, write_routes.py, ingest/run_document.py,
pages/api.py and pages/rendering.py.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from xray_server.backends import open_store
from xray_server.cli.commands import main
from xray_server.store import Store

from tests.server.conftest import LoopbackServer
from xray_core.plugins.hookspecs import hookimpl
from xray_core.plugins.host import PluginHost

FULL_RUN: dict[str, Any] = {
    "run_id": "run-1",
    "pipeline": "competitor_selection",
    "input": {"product": "bottle"},
    "output": {"winner": "p7"},
    "status": "completed",
    "error": None,
    "started_at": "2026-01-31T09:30:00",
    "ended_at": "2026-01-31T09:30:02.500Z",
    "duration_ms": 2500.0,
    "metadata": {"model": "v3"},
    "steps": [
        {
            "name": "filter_price",
            "step_type": "filter",
            "input": {"n": 100},
            "output": {"n": 7},
            "input_count": 100,
            "output_count": 7,
            "rejection_rate": 0.93,
            "rejection_counts": {"price_too_high": 90, "price_too_low": 3},
            "sampled_rejections": [
                {
                    "item_id": "p1",
                    "reason": "price_too_high",
                    "details": {"price": 150, "threshold": 100},
                    "timestamp": "2026-01-31T09:30:01Z",
                }
            ],
            "acceptances": [
                {"item_id": "p7", "reason": "in_range", "details": {"price": 20}, "timestamp": "2026-01-31T09:30:01Z"}
            ],
            "decisions": [
                {
                    "decision": "select_best",
                    "selected": "p7",
                    "reason": "highest",
                    "score": 0.9,
                    "alternatives": ["p8", "p9"],
                    "details": {"why": "score"},
                    "timestamp": "2026-01-31T09:30:01Z",
                }
            ],
            "started_at": "2026-01-31T09:30:00Z",
            "ended_at": "2026-01-31T09:30:01Z",
            "duration_ms": 1000,
            "error": None,
            "metadata": {"threshold": 100},
        }
    ],
}


def test_a_run_of_the_documented_shape_is_found_with_every_field_it_was_posted_with(http: httpx.Client) -> None:
    assert http.post("/runs", json=FULL_RUN).status_code == 200
    found = http.get("/runs/run-1").json()
    posted_step, step = FULL_RUN["steps"][0], found["steps"][0]
    for name in ("run_id", "pipeline", "input", "output", "status", "error", "duration_ms", "metadata"):
        assert found[name] == FULL_RUN[name], name
    assert found["started_at"] == "2026-01-31T09:30:00Z"
    assert found["ended_at"] == "2026-01-31T09:30:02.500000Z"
    for name in ("name", "step_type", "input", "output", "input_count", "output_count", "rejection_rate",
                 "rejection_counts", "decisions", "started_at", "ended_at", "duration_ms", "error", "metadata"):  # fmt: skip
        assert step[name] == posted_step[name], name
    assert [s["item_id"] for s in step["sampled_rejections"]] == ["p1"]
    assert step["sampled_rejections"][0]["details"] == {"price": 150, "threshold": 100}
    assert {s["item_id"] for s in step["acceptances"]} == {"p7"}
    assert step["run_id"] == "run-1"
    assert step["ledger"]["rejected"] == 93


def test_the_query_of_the_readme_works_as_it_reads(http: httpx.Client) -> None:
    """`curl "localhost:8000/steps?step_type=filter&rejection_rate_gt=0.9"`"""
    http.post("/runs", json=FULL_RUN)
    http.post("/runs", json={"run_id": "run-2", "pipeline": "p", "steps": [
        {"name": "f", "step_type": "filter", "input_count": 10, "rejection_counts": {"no": 2}}]})  # fmt: skip
    answer = http.get("/steps?step_type=filter&rejection_rate_gt=0.9").json()
    assert [step["name"] for step in answer["steps"]] == ["filter_price"]
    assert answer["next_cursor"] is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/steps?rejection_rate_gt=much", "rejection_rate_gt"),
        ("/steps?no_such=1", "no_such"),
        ("/runs?limit=0", "limit"),
        ("/runs?limit=9999999999999999999999", "limit"),
        ("/runs?since=yesterday", "since"),
        ("/runs?status=' OR 1=1 --", "status"),
        ("/runs?cursor=zzz", "cursor"),
        ("/steps?cursor=%00", "cursor"),
        ("/health?x=1", "x"),
    ],
)
def test_a_bad_query_is_told_which_parameter_is_wrong(http: httpx.Client, path: str, field: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 422
    assert field in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pipeline": "p"}, "run_id"),
        ({"run_id": "r", "pipeline": 5}, "pipeline"),
        ({"run_id": "r", "pipeline": "p", "status": "done"}, "status"),
        ({"run_id": "r", "pipeline": "p", "steps": [{"name": "a"}, {"name": "b", "input_count": "x"}]}, "steps[1].input_count"),
        ({"run_id": "r", "pipeline": "p", "steps": [{"name": "a", "started_at": "noon"}]}, "steps[0].started_at"),
        ({"run_id": "r", "pipeline": "p", "stepz": []}, "stepz"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_posted_run_is_named_by_its_path(http: httpx.Client, body: Any, field: str) -> None:
    answer = http.post("/runs", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["error"]


def test_ingest_takes_what_is_right_and_says_of_each_other_line_what_is_wrong(http: httpx.Client) -> None:
    lines = [
        json.dumps({"v": 1, "kind": "run", "run_id": "r", "part": "a", "rev": 1, "pipeline": "p", "status": "completed"}),
        '{"v": 1, "kind": "spaceship"}',
        '{"v": 1, "kind": "step", "run_id": "r", "step_id": "s", "counts": {"accepted": "many"}}',
        "not json",
        "",
        json.dumps({"v": 1, "kind": "step", "run_id": "r", "step_id": "s", "part": "a", "rev": 1, "name": "f",
                    "counts": {"accepted": 1}}),
    ]  # fmt: skip
    answer = http.post(
        "/ingest", content=gzip.compress("\n".join(lines).encode()), headers={"Content-Encoding": "gzip"}
    ).json()
    assert answer["accepted"] == 2
    assert [refusal["line"] for refusal in answer["refused"]] == [1, 2, 3]
    assert "kind" in answer["refused"][0]["error"]
    assert "counts" in answer["refused"][1]["error"]
    assert http.get("/runs/r").json()["steps"][0]["ledger"]["accepted"] == 1


def test_what_is_not_there_is_a_404_and_the_pages_say_it_in_words(http: httpx.Client) -> None:
    assert http.get("/runs/none").status_code == 404
    assert http.get("/ui/runs/none").status_code == 404
    assert "No runs yet" in http.get("/ui").text


def test_pages_show_the_run_and_escape_what_it_contains(http: httpx.Client) -> None:
    hostile = "<script>alert(1)</script>"  # with a slash, too
    http.post("/runs", json={"run_id": hostile, "pipeline": hostile, "steps": [
        {"name": hostile, "rejection_counts": {hostile: 3}, "error": hostile}]})  # fmt: skip
    for path in ("/ui", f"/ui/runs/{quote(hostile, safe='')}"):
        answer = http.get(path)
        assert answer.status_code == 200
        assert "<script>" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_documentation_page_needs_nothing_from_outside(http: httpx.Client) -> None:
    text = http.get("/docs").text
    assert "/steps" in text
    assert "https://" not in text
    row = text[text.index("<code>limit</code>") :]
    assert "<td>integer from 1 to 1000</td><td>50</td>" in row, "types and defaults"
    assert "<td>list of RunRow</td>" in text, "the fields of answers"
    assert 'action="/runs"' in text, "what can be tried without a script"
    assert http.get("/openapi.json").json()["paths"]["/runs"]["post"]


def test_a_plugin_may_bring_its_own_store_and_others_are_left_to_us(store: Store, tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def xray_make_store(self, url: str) -> Store | None:
            return store if url.startswith("mine:") else None

    plugins = PluginHost(discover=False)
    assert plugins.register(Plugin(), "mine")
    assert open_store("mine://x", plugins=plugins) is store
    ours = open_store(f"sqlite:///{tmp_path}/ours.db", plugins=plugins)
    assert ours is not store
    ours.close()


def test_an_address_that_others_reach_is_refused_without_keys_and_a_taken_port_is_named(
    tmp_path: Path, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    database = f"sqlite:///{tmp_path}/x.db"
    assert main(["serve", "--host", "0.0.0.0", "--port", "0", "--db", database]) == 2
    assert "--insecure" in capsys.readouterr().err
    assert main(["serve", "--port", str(server.port), "--db", database]) == 2
    assert str(server.port) in capsys.readouterr().err


def test_a_record_that_is_refused_is_named_by_its_run_and_sending_it_again_changes_nothing(http: httpx.Client) -> None:
    good = '{"v": 1, "kind": "run", "run_id": "r1", "part": "a", "rev": 1, "pipeline": "p", "status": "completed"}'
    bad = '{"v": 1, "kind": "step", "run_id": "r1", "step_id": "s1", "name": "filter", "counts": {"accepted": -1}}'
    for _ in range(2):
        answer = http.post("/ingest", content=f"{good}\n{bad}").json()
        assert (answer["accepted"], len(answer["refused"])) == (1, 1)
    run = http.get("/runs/r1").json()
    assert run["dropped"] == {"refused: step filter: counts[...]: Expected int >= 0": 1}
    assert (run["status"], run["steps"]) == ("completed", [])
    page = http.get("/ui/runs/r1").text
    assert "A record was refused: step filter" in page


@pytest.mark.parametrize("rate", ["nan", "-1", "inf", "many"])
def test_a_rate_that_is_none_is_refused_at_start_up(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", f"--rate-per-key={rate}", "--host", "192.0.2.1"])
    assert "a number of requests a second, 0 or more" in capsys.readouterr().err
