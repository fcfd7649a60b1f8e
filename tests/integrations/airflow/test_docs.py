"""docs/airflow.md from its first line to the answer: in an empty home, from a built wheel, with nothing of the checkout.

Tests what a newcomer does, `airflow dags test` before all.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from tests.integrations.airflow.airflow_stack import ROOT, eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]

PAGE = (ROOT / "docs" / "airflow.md").read_text()


def blocks(heading: str, kind: str = "sh") -> list[str]:
    """The shell commands of a section, or its blocks of another kind."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "newcomer"
    place.mkdir()
    return place


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """What a shell of a new user has. The server's port is one that is free here."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    index = {  # how this machine reaches the package index, and where it keeps what it has fetched
        name: value for name, value in os.environ.items() if re.match(r"(PIP|UV|SSL|REQUESTS)_|.*_proxy$", name, re.IGNORECASE)
    }  # fmt: skip
    return {
        "UV_CACHE_DIR": str(Path.home() / ".cache" / "uv"), **index,
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8",
        "XRAY_API_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip


@pytest.fixture
def shell(home: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A shell that stays open, as the reader's does; what it started ends with it."""
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc"], cwd=home, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield process
    os.killpg(process.pid, 15)
    process.wait(20)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def run(shell: subprocess.Popen[str], commands: str) -> str:
    """What the commands print."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{commands}\necho the-end-of-it $?\n")
    shell.stdin.flush()
    said = []
    for line in shell.stdout:
        if line.startswith("the-end-of-it "):
            assert line.split()[1] == "0", "".join(said)[-4_000:]
            return "".join(said)
        said.append(line)
    raise AssertionError("the shell ended: " + "".join(said)[-4_000:])


def test_a_newcomer_gets_an_answer_from_dags_test(
    home: Path, environment: dict[str, str], shell: subprocess.Popen[str]
) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is missing: pip install uv"
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", str(home), str(ROOT)], check=True, timeout=300)
    (wheel,) = home.glob("*.whl")
    install, dag, ask = blocks("From nothing to an answer")

    # The one difference: the wheel is the one just built, the constraints are ours, and what is in a cache is not fetched.
    assert "'xray-pipelines[airflow,server]' --constraint $CONSTRAINTS" in install
    install = install.replace("'xray-pipelines[airflow,server]'", f"'{wheel}[airflow,server]'")
    install = install.replace("pip install ", f"{uv} pip install --quiet ")
    run(shell, install.replace("$CONSTRAINTS", str(ROOT / "constraints.txt")))
    run(shell, dag)

    port = environment["XRAY_API_URL"].rpartition(":")[2]
    migrate, serve, *rest = ask.splitlines()
    assert serve.startswith("xray serve &")
    run(shell, f"{migrate} > migrate.txt 2>&1")
    run(shell, f"xray serve --port {port} > serve.txt 2>&1 &")
    eventually(lambda: _answers(environment["XRAY_API_URL"]), timeout_s=60, what="the server answers")
    before = datetime.now(timezone.utc)
    said = run(shell, "\n".join(rest))

    shown = [" ".join(line.split()) for line in said.splitlines()]
    assert any(line.startswith("affordable ") and " 5 2 " in f"{line} " for line in shown), said[-3_000:]
    assert any(line.startswith("dear ×2") for line in shown), said[-3_000:]
    answer = next(line for line in shown if line.startswith("o5 "))
    assert "affordable" in answer, said[-3_000:]

    (told,) = httpx.get(f"{environment['XRAY_API_URL']}/runs").json()["runs"]
    assert told["status"] == "completed"
    assert told["origin"]["ids"]["logical_date"].startswith("2024-05-06")
    started = datetime.fromisoformat(told["started_at"].replace("Z", "+00:00"))
    assert before - timedelta(seconds=5) < started < datetime.now(timezone.utc)
    assert told["duration_ms"] < 600_000
    _say_why_with_the_address_in_airflow_cfg(home, environment["XRAY_API_URL"], shell)


def _say_why_with_the_address_in_airflow_cfg(home: Path, url: str, shell: subprocess.Popen[str]) -> None:
    """The page goes on: a task that says what it decides, `[xray]` in airflow.cfg, and what doctor says."""
    (said,) = blocks("Say what you decide", "python")
    imports, task = said.split("\n\n\n")
    dag = home / "airflow" / "dags" / "offers.py"
    quiet = re.search(r"^    @task\n    def affordable.*?\n\n", dag.read_text(), re.DOTALL | re.MULTILINE)
    assert quiet
    dag.write_text(f"{imports}\n" + dag.read_text().replace(quiet[0], textwrap.indent(task, "    ") + "\n"))
    section = blocks("From nothing to an answer", "ini")[0].replace("https://xray.example.com", url)
    with (home / "airflow" / "airflow.cfg").open("a") as file:
        file.write(f"\n{section}")
    doctor = run(shell, "env -u XRAY_API_URL xray doctor --check")
    assert f"server {url}" in doctor
    assert "captured here, dags: all" in doctor
    run(shell, "env -u XRAY_API_URL airflow dags test offers 2024-06-07")
    assert "o3 was rejected at affordable: price_too_high (price 120)" in run(shell, "xray why o3")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
