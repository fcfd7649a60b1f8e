"""Runs that still wait in the spool of this machine are said in `why` and `diff`, by the client and the commands.

Tests query/waiting.py and spool/waiting_runs.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live
from xray_core import Client, XRay
from xray_core.cli import main
from xray_core.settings import load
from xray_core.spool import directory_for, waiting_runs


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    server = Live(tmp_path)
    monkeypatch.setenv("XRAY_API_URL", server.url)
    yield server
    server.stop()


def runs(live: Live, *run_ids: str, pipeline: str = "nightly", delivered: bool = True) -> None:
    """Runs that are on the server, or that a process left in the spool."""
    with XRay(pipeline, api_url=live.url, shutdown_timeout_s=5 if delivered else 0) as client:
        for run_id in run_ids:
            with client.run(run_id=run_id) as run, run.step("filter") as step:
                step.reject("p1", "late")
                step.accept("p2")
        if delivered:
            client.flush(timeout_s=30)
        client.close(5 if delivered else 0)


def test_nothing_is_said_where_nothing_waits(live: Live) -> None:
    runs(live, "first", "second")
    with Client(live.url) as client:
        assert "wait" not in client.why("p1").sentence
        assert "wait" not in client.diff("second").sentence
        assert list(client.diff("second").waiting) == []


def test_a_baseline_may_be_older_than_a_run_that_waits(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    runs(live, "first", "second")
    runs(live, "third", delivered=False)
    runs(live, "other", pipeline="weekly", delivered=False)
    with Client(live.url) as client:
        diff = client.diff("second")
        assert diff.sentence.endswith("; the baseline may be older: 1 run waits on this machine")
        assert list(diff.waiting) == ["third"]
        assert "wait" not in client.diff("first", "second").sentence
    assert main(["diff", "second", "--baseline", "--json"]) == 0
    answered = capsys.readouterr()
    assert json.loads(answered.out)["waiting"] == ["third"]
    assert "`xray sync` delivers them" in answered.err
    assert main(["diff", "second", "--baseline", "--markdown"]) == 0
    assert "the baseline may be older: 1 run waits on this machine" in capsys.readouterr().out


def test_the_newest_run_may_be_one_that_waits(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    runs(live, "first")
    runs(live, "second", "third", delivered=False)
    with Client(live.url) as client:
        why = client.why("p1")
        assert why.sentence == (
            "p1 was rejected at filter: late; this may not be the newest run: 2 runs wait on this machine"
        )
        assert sorted(why.waiting) == ["second", "third"]
        assert "wait" not in client.why("p1", "first").sentence
    assert main(["why", "p1", "--brief"]) == 0
    assert "2 runs wait on this machine" in capsys.readouterr().out.replace("\n", " ")
    assert main(["sync"]) == 0
    assert main(["why", "p1", "--brief"]) == 0
    assert "wait" not in capsys.readouterr().out


def test_a_run_of_which_a_part_waits_is_named(live: Live) -> None:
    runs(live, "first", "second")
    runs(live, "second", delivered=False)  # another process of it
    with Client(live.url) as client:
        assert client.why("p1", "second").sentence.endswith("; a part of second waits on this machine")
        assert client.diff("first", "second").sentence.endswith("; a part of second waits on this machine")
        assert "wait" not in client.why("p1", "first").sentence


def test_what_is_in_the_spool_beside_runs_is_passed_over(live: Live) -> None:
    settings = load({"api_url": live.url})
    assert waiting_runs(settings) == []
    directory = directory_for(settings.spool_dir, settings.api_url)
    directory.mkdir(parents=True)
    (directory / "counts-1.seg").write_bytes(b"not a segment")
    (directory / "notes.txt").write_text("mine")
    assert waiting_runs(settings) == []
    runs(live, "left", delivered=False)
    assert [each.run_id for each in waiting_runs(settings)] == ["left"]
