"""`xray demo` as its reader sees it: the story in under a screen, served until Ctrl-C on a terminal, also where the port is taken.

Tests command.py, demo.py, frameworks.py, flights/pipeline.py, data.py, prefect_flow.py, dagster_defs.py and airflow_dag.py.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from xray_examples.command import NAMES
from xray_examples.demo import Demo
from xray_examples.frameworks import Framework

from xray_core import ConfigurationError
from xray_core.cli import main

XRAY = Path(sys.executable).with_name("xray")
STORY = [
    "the good run answers  AA-33-0614 to LAX",
    "the bad run answers   EV-4240-0614 to BUF",
    "EV-4240-0614 was selected at select",
    "AA-33-0614 was not selected at select",
    "the last selected was EV-4240-0614",
    "the runs first differ at expand_destinations",
]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def demo(place: Path, port: int, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "COLUMNS": "120", "LINES": "50", "HOME": str(place)}
    command = [XRAY, "demo", "--directory", place / "demo", "--port", str(port), *arguments]
    return subprocess.Popen(command, cwd=place, env=environment, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.stack  # the same story is told on a terminal below; each run of it takes in two times 336,776 flights
def test_without_a_terminal_the_demo_tells_the_story_and_exits_0(tmp_path: Path, taken_port: int) -> None:
    told = demo(tmp_path, taken_port, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = told.communicate(timeout=100)
    assert told.returncode == 0, errors.decode()
    text = re.sub(r"\s+", " ", out.decode())
    for part in STORY:
        assert re.sub(r"\s+", " ", part) in text, part
    assert len(out.decode().splitlines()) < 45, "under a screen"
    assert f"port {taken_port} is taken; using another one" in errors.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "home"], "all in one directory"
    link = re.search(r"Look at it: (http://127.0.0.1:(\d+)/\S+)", text)
    assert link is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(link[2]))) != 0, "nothing is left running"


def test_on_a_terminal_the_demo_serves_until_ctrl_c(tmp_path: Path, taken_port: int) -> None:
    ours, theirs = pty.openpty()
    told = demo(tmp_path, taken_port, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        seen = read_until(ours, "Ctrl-C stops it", timeout_s=100)
        text = re.sub(r"\s+", " ", seen)
        for part in STORY:
            assert re.sub(r"\s+", " ", part) in text, part
        assert f"port {taken_port} is taken; using another one" in text
        link = re.search(r"Look at it: (http://127.0.0.1:\d+/\S+)", seen)
        assert link is not None, seen
        assert "BUF" in httpx.get(link[1], timeout=20).text
        told.send_signal(signal.SIGINT)
        read_until(ours, None, timeout_s=30)
        assert told.wait(30) == 0
    finally:
        told.kill()
        told.wait()
        os.close(ours)
    with pytest.raises(httpx.ConnectError):
        httpx.get(link[1], timeout=5)


@pytest.mark.stack
@pytest.mark.timeout(400)
@pytest.mark.parametrize("framework", NAMES)
def test_a_framework_tells_the_same_story(framework: str, tmp_path: Path) -> None:
    told = demo(tmp_path, 0, f"--{framework}", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = told.communicate(timeout=380)
    log = tmp_path / "demo" / f"{framework}.log"
    assert told.returncode == 0, errors.decode() + (log.read_text() if log.exists() else "")
    text = re.sub(r"\s+", " ", out.decode())
    for part in STORY:
        assert re.sub(r"\s+", " ", part) in text, out.decode()
    assert len(out.decode().splitlines()) < 50, "under a screen"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "home"], "all in one directory"


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xray_examples.demo.find_spec", lambda name: None)
    assert main(["demo", "--dagster"]) == 2
    said = capsys.readouterr().err
    assert "the server and the flights and Dagster" in said
    assert "pip install 'xray-pipelines[demo,dagster]'" in said


def test_a_framework_that_fails_leads_to_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Framework("Dagster", {}, [["python", "-c", "import sys; sys.exit('no such table')"]])
    monkeypatch.setattr("xray_examples.demo.framework", lambda *_: failing)
    monkeypatch.setenv("XRAY_API_URL", "http://127.0.0.1:9")  # the demo leaves its own here
    with pytest.raises(ConfigurationError, match=r"failed; see .*dagster\.log"):
        Demo(tmp_path, "dagster").tell(0, until_stopped=False)
    assert "no such table" in (tmp_path / "dagster.log").read_text()


def read_until(terminal: int, text: str | None, *, timeout_s: float) -> str:
    """What a terminal shows, up to a text; with None, up to its end."""
    seen, deadline = "", time.monotonic() + timeout_s
    while text is None or text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{text!r} did not come within {timeout_s} s: {seen}"
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says EIO when the last one who had the terminal open is gone
            piece = b""
        if not piece:
            assert text is None, seen
            break
        seen += piece.decode("utf-8", "replace")
    return seen
