"""Two groups of runs: the page, the command, the client and the errors of wrong groups, on one server.

Tests pages/groups.py, http/many_params.py and many_routes.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from xray_server.store import Batch

from tests.live import Live
from tests.server.backends.contract.test_groups import HOUR_US, T0, runs_of
from xray_core import Client
from xray_core.cli import main

SPLIT = "2025-10-11T00:30:00"  # 40 of 80 hourly runs are before it
ASKED = {"pipeline": "checkout", "a": f"until={SPLIT}", "b": f"since={SPLIT}", "by": "carrier,country"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    records = runs_of(
        lambda run, d: 0.7 if run >= 43 and d["country"] == "DE" else 0.15,
        metadata=lambda run: {"model": "<v3>" if run >= 40 else "v2"},
    )
    assert server.store.write([Batch(records, "default", T0 + 100 * HOUR_US)]) == [{}]
    yield server
    server.stop()


def test_the_page_leads_from_the_change_to_the_run_with_which_it_began(live: Live) -> None:
    page = live.http.get("/ui/groups", params=ASKED).text
    assert re.search(r"slots: 1\d\.\d% -&gt; \d\d\.\d% rejected since 2025-10-11 0\d:53 \(p &lt; 1e-6\); ", page)
    assert re.search(r"country=DE: \d+% of the change", page)
    assert re.search(r'It began with run <a href="/ui/runs/run%2004[234]">', page)
    assert "&lt;v3&gt;" in page
    assert "<v3>" not in page
    assert 'href="/ui/groups"' in live.http.get("/ui/compare").text
    empty = live.http.get("/ui/groups")
    assert empty.status_code == 200
    assert "Many runs against many." in empty.text


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"a": "since"}, "a", "since=14d,until=4d"),
        ({"b": "colour=red"}, "b", "colour"),
        ({"b": "since=yesterdayish"}, "b", "since"),
        ({"a": "since=1d,since=2d"}, "a", "each once"),
        ({"by": "a,b,c,d,e"}, "by", "at most 4"),
        ({"runs": "1"}, "runs", "greater"),
    ],
)
def test_a_group_that_cannot_be_read_is_named(live: Live, wrong: dict[str, str], field: str, words: str) -> None:
    answer = live.http.get("/groups/diff", params={**ASKED, **wrong})
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, field)
    assert words in answer.json()["error"]
    assert live.http.get("/ui/groups", params={**ASKED, **wrong}).status_code == 422


def test_the_command_and_the_client_say_the_same(
    live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_API_URL", live.url)
    monkeypatch.setenv("COLUMNS", "160")
    arguments = [f"--{name}={value}" for name, value in ASKED.items()]
    assert main(["compare", *arguments]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("slots: 1")
    assert "country=DE: " in shown
    assert "slots: metadata.model was v2, is <v3> (0% -> 100%)" in shown
    assert "A: until=2025-10-11T00:30:00: 40 runs, 2025-10-09 08:53 to 2025-10-10 23:53" in shown
    assert main(["compare", "--a=until=2000-01-01", "--b=since=2000-01-01"]) == 0
    assert "nothing to compare" in capsys.readouterr().out
    assert main(["compare", "--a=until", "--b=since=1d"]) == 2
    with Client(live.url) as client:
        found = client.compare(ASKED["a"], ASKED["b"], pipeline="checkout", by=["country"])
        assert (found.lead, found.certainty) == ("slots", "exact")
        assert found.segment is not None
        assert found.segment["found"]["words"] == "country=DE"
