"""Rows 38 and 39: what waits on this machine is named by the commands, and one command delivers it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import Live
from xray_core import XRay
from xray_core.cli import main

SHORT = """
from xray_core import XRay
xray = XRay("short")
with xray.run() as run, run.step("filter") as step:
    step.reject("p1", "late")
"""


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    server = Live(tmp_path)
    monkeypatch.setenv("XRAY_API_URL", server.url)
    yield server
    server.stop()


def _nobody() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _left_behind(api_url: str) -> None:
    """A run whose process ends before anything is sent."""
    with XRay("p", api_url=api_url, shutdown_timeout_s=0) as client:
        with client.run() as run, run.step("filter") as step:
            step.reject("p1", "late")
        client.close(0)


def test_row_38_records_for_another_address_are_named_and_one_command_delivers_them(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _nobody()
    _left_behind(old)
    assert main(["sync"]) == 2
    assert f"xray sync --from {old} --to NEW" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    assert f"xray sync --from {old} --to NEW" in capsys.readouterr().out.replace("\n", "")
    assert main(["sync", "--from", old]) == 2  # nobody is there to be asked
    assert "--yes" in capsys.readouterr().err
    assert main(["sync", "--from", old, "--to", live.url, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == 0
    assert live.get("/runs")["runs"][0]["pipeline"] == "p"
    assert main(["sync"]) == 0


def test_row_38_an_address_for_which_nothing_waits_is_an_error_that_lists_the_others(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _nobody()
    _left_behind(old)
    assert main(["sync", "--from", "http://typo:1", "--yes"]) == 2
    assert old in capsys.readouterr().err


def test_row_39_the_commands_say_how_many_records_wait_here_and_for_which_server(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    _left_behind(live.url)
    assert main(["show", "last"]) == 1
    err = capsys.readouterr().err
    assert "records wait on this machine for" in err
    assert live.url in err
    assert main(["sync"]) == 0
    assert main(["show", "last"]) == 0
    assert "wait" not in capsys.readouterr().err


def test_row_39_a_short_program_delivers_what_another_left_behind(live: Live) -> None:
    _left_behind(live.url)
    subprocess.run([sys.executable, "-c", SHORT], check=True, timeout=60)
    assert {run["pipeline"] for run in live.get("/runs")["runs"]} == {"p", "short"}
