"""Runs side by side, stability, and one item over another: pages, commands and client on one server.

Tests pages/groups.py and cli/tables.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.live import Live
from xray_core import Client
from xray_core.cli import main

RUNS = [f"0199cccc-0000-7000-8000-00000000000{n}" for n in range(4)]
HOSTILE = "<i>&x"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Four runs of one input; the third rejects an item that the others take."""
    server = Live(tmp_path_factory.mktemp("live"))
    with server.xray("rank", capture="full") as xray:
        for place, run_id in enumerate(RUNS):
            with xray.run(run_id=run_id, input={"q": 1}) as run, run.step(HOSTILE) as step:
                for item, score in (("p1", 0.9), ("p2", 0.5), (HOSTILE, 0.1)):
                    if place == 2 and item == "p2":
                        step.reject(item, "low", {"recency": 0.1}, score=score)
                    else:
                        step.accept(item, details={"recency": score}, score=score)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _server(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_API_URL", live.url)
    monkeypatch.setenv("COLUMNS", "160")


def test_the_pages_name_the_odd_run_and_the_item_that_flips_and_escape_both(live: Live) -> None:
    beside = live.http.get("/ui/runs-side-by-side", params={"runs": ",".join(RUNS)}).text
    assert "is the odd one out: first at &lt;i&gt;&amp;x" in beside
    assert beside.count('<b class="flag">odd</b>') == 1
    stable = live.http.get("/ui/stability", params={"pipeline": "rank", "same_input": "true"}).text
    assert 'href="/ui/items/p2"' in stable
    assert "50.0%" in stable or "50%" in stable
    for page in (beside, stable):
        assert HOSTILE not in page
    for path in ("/ui/runs-side-by-side", "/ui/stability"):
        assert live.http.get(path).status_code == 200
        assert f'href="{path}"' in live.http.get("/ui/compare").text
    assert live.http.get("/ui/runs-side-by-side", params={"runs": RUNS[0]}).status_code == 422
    assert live.http.get("/diff", params={"runs": f"{RUNS[0]},none"}).status_code == 404


def test_the_commands_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *RUNS]) == 0
    shown = capsys.readouterr().out
    assert f"run {RUNS[2]} is the odd one out" in shown
    assert "3 -> 2 odd" in shown
    assert main(["diff", *RUNS, "--exit-code"]) == 3
    assert main(["diff", *RUNS[:3], "--markdown"]) == 2
    capsys.readouterr()
    assert main(["stability", "--pipeline", "rank", "--same-input"]) == 0
    assert "1 of 3 items flip" in capsys.readouterr().out
    assert main(["why", "p1", "--over", "p2", "--run", RUNS[2]]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        f"p1 is above p2: at {HOSTILE} p1 was accepted (score 0.9), p2 was rejected for low (score 0.5)"
    )
    assert main(["why", "p1", "--over", "nobody", "--run", RUNS[2], "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["above"] is None


def test_the_client_says_the_same(live: Live) -> None:
    with Client(live.url) as client:
        assert client.side_by_side(*RUNS)["first"] == HOSTILE
        assert client.stability("rank", same_input=True)["steps"][0]["flipped"] == 1
        assert client.above(RUNS[0], "p2", "p1")["above"] == "b"
