"""0.1 and today's version, in any order of upgrading: clients, spools, servers, databases and answers. docs/compatibility.md promises it."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.compatibility.old import NOWHERE, capture, code_of_0_1, serving
from tests.compatibility.record import RECORDED
from tests.live import Live, health_of
from tests.server.conftest import LoopbackServer
from xray_core.cli import main as xray_command

ANSWERS: Final[dict[str, Any]] = json.loads((RECORDED / "answers.json").read_text())
# 0.1 said 0, or true, where it did not know; 0.2 says null (CHANGELOG.md).
MAY_BE_NULL: Final = {
    "input", "accepted", "rejected", "not_selected", "errored", "selected", "unaccounted",
    "input_count", "output_count", "rejection_rate", "inputs_equal", "outputs_equal",
}  # fmt: skip


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


def holds_the_whole_run(url: str, run_id: str) -> None:
    """Everything that the pipeline said is answered, as 0.1 answered it."""
    with httpx.Client(base_url=url, timeout=20) as ask:
        run = ask.get(f"/runs/{run_id}").json()
        assert (run["status"], run["pipeline"], run["tags"], run["metadata"]) == (
            "completed", "offers", {"team": "shop"}, {"model": "v3"},
        )  # fmt: skip
        steps = {step["name"]: step for step in run["steps"]}
        assert steps["filter"]["ledger"]["accepted"] + steps["filter"]["ledger"]["rejected"] == 80
        assert steps["filter"]["rejection_counts"] == {"price_too_high": 29}
        assert steps["many"]["ledger"]["rejected"] == 2_000
        assert steps["many"]["ledger"]["errored"] == 1
        assert (steps["notify"]["status"], steps["notify"]["error"]["message"]) == ("failed", "no answer")
        assert steps["select"]["decisions"][0]["selected"] == "p0"
        why = {item: ask.get(f"/runs/{run_id}/items/{item}").json() for item in ("p79", "x7", "p0", "p2", "nobody")}
    assert why["p79"]["outcome"] == "rejected"
    assert "rejected at filter: price_too_high (price 129; limit 100)" in why["p79"]["sentence"]
    assert (why["x7"]["outcome"], why["p0"]["outcome"], why["p2"]["outcome"]) == (
        "rejected",
        "selected",
        "not_selected",
    )
    assert why["nobody"]["outcome"] == "never_entered"


def test_a_spool_that_0_1_left_behind_is_delivered_whole(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(RECORDED / "spool.tar.gz") as archive:
        archive.extractall(tmp_path / "left", filter="data")
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(tmp_path / "left" / "spool"))
    assert xray_command(["sync", "--from", NOWHERE, "--to", live.url, "--yes"]) == 0
    assert "21 records delivered" in capsys.readouterr().out
    holds_the_whole_run(live.url, "waiting")


def test_what_a_client_of_0_1_sends_is_taken_whole(live: Live) -> None:
    body = (RECORDED / "ingest.ndjson").read_bytes()
    answer = live.http.post("/ingest", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["refused"]) == (200, [])
    assert answer.json()["accepted"] == body.count(b"\n")
    holds_the_whole_run(live.url, "sent")


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Today's server on the database of 0.1's."""
    database = tmp_path_factory.mktemp("upgraded") / "xray.db"
    database.write_bytes(gzip.decompress((RECORDED / "xray.db.gz").read_bytes()))
    store = SQLiteStore(database)
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
    server.stop()
    store.close()


def test_a_database_of_0_1_is_brought_up_to_date_with_all_that_it_holds(upgraded: httpx.Client) -> None:
    holds_the_whole_run(str(upgraded.base_url).rstrip("/"), "good")


@pytest.mark.parametrize("path", [path for path in ANSWERS if path != "/trends?pipeline=offers"])
def test_an_answer_has_every_field_that_0_1_gave_it(upgraded: httpx.Client, path: str) -> None:
    if path == "/health":
        now: Any = health_of(upgraded)
    else:
        answer = upgraded.get(path)
        assert answer.status_code == 200, answer.text
        now = answer.json()
    assert list(missing(ANSWERS[path], now, path)) == []


def test_trends_have_every_field_that_0_1_gave_them(upgraded: httpx.Client) -> None:
    then = ANSWERS["/trends?pipeline=offers"]
    answer = upgraded.get("/trends", params={"pipeline": "offers", "since": then["since"], "until": then["until"]})
    assert list(missing(then, answer.json(), "")) == []


def missing(then: Any, now: Any, path: str) -> Iterator[str]:
    """The fields of an answer of 0.1 that today's lacks, or has in another type."""
    if isinstance(then, dict):
        if not isinstance(now, dict):
            yield f"{path}: {type(now).__name__}"
            return
        for name, value in then.items():
            if name not in now:
                yield f"{path}/{name}"
            elif not (now[name] is None and name in MAY_BE_NULL):
                yield from missing(value, now[name], f"{path}/{name}")
    elif isinstance(then, list):
        if not isinstance(now, list) or len(now) < len(then):
            yield f"{path}: {now}"
            return
        for n, (one, other) in enumerate(zip(then, now)):
            yield from missing(one, other, f"{path}/{n}")
    elif then is not None and type(then) is not type(now) and not {type(then), type(now)} <= {int, float}:
        yield f"{path}: {then!r} was {type(then).__name__}, is {now!r}"


# ------------------------------------------------------------------ real code of both, out of the history


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return code_of_0_1(tmp_path / "code")


@pytest.mark.stack
@pytest.mark.parametrize("newer", ["the server", "the client"])
def test_a_client_and_a_server_of_either_version_understand_each_other(code: Path, newer: str, tmp_path: Path) -> None:
    server, client = (None, code) if newer == "the server" else (code, None)
    with serving(server, tmp_path / "xray.db") as url:
        for kind in ("good", "bad"):
            capture(client, kind, kind, {"XRAY_API_URL": url, "XRAY_SPOOL_DIR": str(tmp_path / "spool")})
        holds_the_whole_run(url, "good")
        parted = httpx.get(f"{url}/runs/good/diff/bad", timeout=20).json()["parted_at"]
        assert (parted["step"], parted["kind"]) == ("filter", "code_changed")
    assert list((tmp_path / "spool").rglob("quarantine/*")) == []


@pytest.mark.stack
def test_what_is_new_is_refused_by_a_server_of_0_1_only_where_it_must_be_and_kept_for_the_upgrade(
    code: Path, tmp_path: Path
) -> None:
    with serving(code, tmp_path / "xray.db") as url:
        capture(None, "new", "new", {"XRAY_API_URL": url, "XRAY_SPOOL_DIR": str(tmp_path / "spool")})
        holds_the_whole_run(url, "new")
        dear = httpx.get(f"{url}/runs/new/items/o2999", timeout=20).json()
        assert dear["outcome"] == "rejected"
        assert "rejected at gate: too_dear" in dear["sentence"]
    kept = [json.loads(path.read_bytes().split(b"\n")[1]) for path in (tmp_path / "spool").rglob("quarantine/*")]
    assert kept != [], "fields of items as they went in"
    for each in kept:
        assert each["kind"] == "samples"
        assert "in" in {sample["outcome"] for sample in each["samples"]}


@pytest.mark.stack
def test_a_spool_of_today_is_delivered_to_a_server_of_0_1(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"XRAY_API_URL": NOWHERE, "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "XRAY_SHUTDOWN_TIMEOUT_S": "0"}
    capture(None, "waiting", "good", away)
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(tmp_path / "spool"))
    with serving(code, tmp_path / "xray.db") as url:
        assert xray_command(["sync", "--from", NOWHERE, "--to", url, "--yes"]) == 0
        holds_the_whole_run(url, "waiting")
