"""The commands about many items and runs, against a real server.

Tests cli/many.py and tables.py.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.server.conftest import LoopbackServer
from xray_core import Client, XRay
from xray_core.cli import main

RUNS = [f"0199bbbb-0000-7000-8000-00000000000{n}" for n in range(3)]


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with three runs of a gate whose limit falls from 30 to 10; an item's number is its price."""
    place = tmp_path_factory.mktemp("server")
    store = SQLiteStore(place / "xray.db")
    server = LoopbackServer(store)
    client = XRay("checkout", api_url=server.url, spool_dir=str(place / "spool"))
    for run_id, limit in zip(RUNS, (30, 20, 10)):
        with client.run(run_id=run_id, capture="full") as run, run.step("gate", "filter") as step:
            for price in range(40):
                if price > limit:
                    step.reject(f"p{price:02}", "price_too_high", {"price": price}, value=price, limit=limit)
                else:
                    step.accept(f"p{price:02}", score=price / 100, value=price)
    assert client.flush(10)
    client.close()
    yield server.url
    server.stop()
    store.close()


@pytest.fixture(autouse=True)
def _server(api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_API_URL", api_url)
    monkeypatch.setenv("COLUMNS", "160")


def test_all_items_of_a_step_are_listed_and_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["items", RUNS[0], "--step", "gate", "--reason", "price_too_high", "--limit", "4"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("9 items were decided for price_too_high at gate\n")
    assert "p31" in shown
    assert "price 31" in shown
    assert "p35" not in shown
    assert "--cursor" in shown
    assert main(["items", "last", "--step", "gate", "--outcome", "rejected", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["item_id"] for row in rows] == [f"p{n}" for n in range(11, 40)]
    assert {(row["limit"], row["value"]) for row in rows} == {("10.0", f"{n}.0") for n in range(11, 40)}
    assert main(["items", "last", "--step", "gate", "--ndjson"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 40
    assert main(["items", RUNS[1], "--json", "--limit", "2"]) == 0
    assert [each["item_id"] for each in json.loads(capsys.readouterr().out)["items"]] == ["p00", "p01"]


def test_a_step_that_is_not_there_is_named_beside_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--csv"]):
        assert main(["items", "last", "--step", "gates", *more]) == 1
        assert "has no step 'gates'; it has: gate" in capsys.readouterr().err


def test_one_item_over_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["item", "p15", "--rejected", "--since", "1h"]) == 0
    shown = capsys.readouterr().out
    assert RUNS[2] in shown
    assert RUNS[1] not in shown
    assert "price_too_high" in shown
    assert main(["item", "p15", "--json", "--limit", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1
    assert main(["item", "p15", "--outcome", "errored"]) == 1
    assert "no run that fits holds p15" in capsys.readouterr().out


def test_decisions_are_searched_by_conditions_on_details(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decisions", "price>=38", "price<39", "--step", "gate"]) == 0
    shown = capsys.readouterr().out
    assert "p38" in shown
    assert "p39" not in shown
    assert "3 samples match; they are all: 3 items" in shown
    assert main(["decisions", "--item", "p39", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["decisions"]) == 3
    assert main(["decisions", "price"]) == 2
    assert "no condition on details" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], "47.5% of 120"),
        (["--by", "reason"], "price_too_high  "),
        (["--figure", "items", "--bucket", "day"], "120 in, 63 out"),
        (["--figure", "duration", "--step", "gate"], "on average of 3"),
        (["--figure", "failed"], "0 of 3 failed"),
        (["--figure", "value", "--step", "gate"], "checkout/gate rejected price_too_high  "),
        (["--figure", "value", "--step", "gate"], "28.2456 on average of 57, 11 to 39"),
        (["--figure", "score", "--step", "gate"], "checkout/gate accepted  "),
    ],
)
def test_trends_draw_a_line_a_step_or_a_reason(
    asked: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trends", "--pipeline", "checkout", "--since", "2h", *asked]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("checkout/gate")
    assert expected in shown


def test_the_python_client_asks_the_same(api_url: str) -> None:
    with Client(api_url) as client:
        page = client.run_items(RUNS[0], "gate", outcome="rejected", limit=4)
        assert ([each.item_id for each in page], page.certainty) == (["p31", "p32", "p33", "p34"], "exact")
        assert page.total["items"] == 9
        assert len(client.to_pandas("run_items", run=RUNS[0], rows=1_000)) == 40
        assert [run.run_id for run in client.items("p25", outcome="rejected")] == [RUNS[2], RUNS[1]]


def test_what_another_limit_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", RUNS[1], "--step", "gate", "--limit", "22"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("gate with a limit of 22 in place of 20: 2 more of 40 items would pass it\n")
    assert "p22      22  rejected  accepted" in shown
    assert main(["whatif", RUNS[1], "--step", "gate"]) == 0
    shown = capsys.readouterr().out
    assert "gate had a limit of 20, rejected what is above it: 19 of 40 items" in shown
    assert "p21" in shown
    assert main(["whatif", RUNS[1], "--step", "gate", "--limit", "5", "--item", "p07", "--json"]) == 0
    assert [each["now"] for each in json.loads(capsys.readouterr().out)["items"]] == ["rejected"]
    assert main(["whatif", RUNS[1], "--step", "gates", "--limit", "5"]) == 1
    with Client() as client:
        assert client.whatif(RUNS[1], "gate", 22).changes == {
            "pass": 2, "fail": 0, "not_known": 0, "rejected": {"was": 19, "now": 17}
        }  # fmt: skip


def test_scores_and_values_over_time_are_of_one_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trends", "--figure", "score"]) == 2
    assert "say --step NAME" in capsys.readouterr().err
    with Client() as client:
        (point,) = client.trends(step="gate", bucket="day", numbers=True, since="1d")
        assert point.values["rejected"]["price_too_high"]["n"] == 57
        assert point.scores["accepted"]["max"] == 0.3
