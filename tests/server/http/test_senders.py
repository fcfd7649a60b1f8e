"""The health page knows each client's version and what it delivered.

Tests http/senders.py.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import httpx
from xray_server.http.senders import MAX_SENDERS, Senders

from tests.live import Live

LINE = json.dumps({"v": 1, "kind": "run", "part": "a", "rev": 1, "run_id": "r", "pipeline": "p"})


def test_each_client_is_told_with_its_version_and_what_it_delivered(tmp_path: Path) -> None:
    live = Live(tmp_path)
    with live.xray("shop") as xray, xray.run() as run, run.step("filter") as step:
        step.reject("a", "late")
    live.http.post("/ingest", content=f"{LINE}\nnonsense", headers={"User-Agent": "my-own/1.0"})
    other, ours = live.get("/health")["senders"]
    assert (other["client"], other["delivered"], other["refused"], other["pid"]) == ("my-own/1.0", 1, 1, None)
    assert ours["client"] == f"xray-core/{metadata.version('xray-pipelines')}"
    assert (ours["pid"], ours["address"], ours["refused"]) == (os.getpid(), "127.0.0.1", 0)
    assert ours["delivered"] >= 3
    page = live.http.get("/ui/health").text
    assert ours["client"] in page
    assert "my-own/1.0" in page
    live.stop()


def test_clients_are_of_a_project_and_bounded() -> None:
    senders = Senders()
    for n in range(MAX_SENDERS + 5):
        request = httpx.Request("POST", "http://x/", headers={"User-Agent": f"a/{n}"})
        request.client = None  # type: ignore[attr-defined]
        senders.heard(request, "one", delivered=n)  # type: ignore[arg-type]
    assert senders.report("two") == []
    shown = senders.report("one")
    assert len(shown) == 100
    assert shown[0]["client"] == f"a/{MAX_SENDERS + 4}"
    assert len(senders._known) == MAX_SENDERS
