"""The health page knows each client's version and what it delivered.

Tests http/senders.py and cells.py.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import httpx
from xray_server.http.cells import CELLS, Cells, room
from xray_server.http.senders import MAX_SENDERS, Senders

from tests.live import Live, health_of

LINE = json.dumps({"v": 1, "kind": "run", "part": "a", "rev": 1, "run_id": "r", "pipeline": "p"})


def test_each_client_is_told_with_its_version_and_what_it_delivered(tmp_path: Path) -> None:
    live = Live(tmp_path)
    with live.xray("shop") as xray, xray.run() as run, run.step("filter") as step:
        step.reject("a", "late")
    live.http.post("/ingest", content=f"{LINE}\nnonsense", headers={"User-Agent": "my-own/1.0"})
    health = health_of(live.http)
    (client,) = health["clients"]
    assert (client["sdk"], client["pid"]) == (f"xray-core/{metadata.version('xray-pipelines')}", os.getpid())
    other, ours = health["senders"]
    assert (other["client"], other["delivered"], other["refused"], other["pid"]) == ("my-own/1.0", 1, 1, None)
    assert ours["client"] == f"xray-core/{metadata.version('xray-pipelines')}"
    assert (ours["pid"], ours["address"], ours["refused"]) == (os.getpid(), "127.0.0.1", 0)
    assert ours["delivered"] >= 3
    page = live.http.get("/ui/health").text
    assert ours["client"] in page
    assert "my-own/1.0" in page
    live.stop()


def heard(senders: Senders, agent: str, project: str = "one", *, delivered: int = 1) -> None:
    """A request of a client."""
    request = httpx.Request("POST", "http://x/", headers={"User-Agent": agent})
    request.client = None  # type: ignore[attr-defined]
    senders.heard(request, project, delivered=delivered)  # type: ignore[arg-type]


def test_clients_are_of_a_project_and_bounded() -> None:
    senders = Senders()
    for n in range(MAX_SENDERS + 5):
        heard(senders, f"a/{n}", delivered=n)
    assert senders.report("two") == []
    shown = senders.report("one")
    assert len(shown) == 100
    assert shown[0]["client"] == f"a/{MAX_SENDERS + 4}"
    assert len(senders._known) == MAX_SENDERS


def test_each_process_tells_what_all_of_them_heard() -> None:
    shared = room(3)
    several = [Senders(Cells(shared, number)) for number in range(3)]
    for n in range(10):
        heard(several[n % 2], "both/1", delivered=n)
    heard(several[2], "third/1")
    heard(several[2], "x" * 200, "two")
    for senders in several:
        found = {each["client"]: each for each in senders.report("one")}
        assert {name: (each["requests"], each["delivered"]) for name, each in found.items()} == {
            "both/1": (10, 45),
            "third/1": (1, 1),
        }
        assert [each["client"] for each in senders.report("two")] == ["x" * 200]
    heard(several[0], '\\"' * 100)  # twice as long where it is written down: there may be no room for it
    assert len(several[1].report("one")) in (2, 3)


def test_of_more_clients_than_there_are_cells_the_others_know_those_heard_of_last() -> None:
    shared = room(2)
    one, other = (Senders(Cells(shared, number)) for number in range(2))
    for n in range(CELLS + 50):
        heard(one, f"a/{n}")
    known = {each["client"] for each in other.report("one")}
    assert f"a/{CELLS + 49}" in known
    assert len(known) == 100
    heard(one, "a/0")
    assert other.report("one")[0]["client"] == "a/0"
    assert Senders(Cells(shared, 0)).report("one") == []  # a process that takes another's place begins anew
    assert other.report("one") == []
