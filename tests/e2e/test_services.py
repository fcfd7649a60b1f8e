"""docs/services.md as it is written: the unit files, the supervisord program and the container's entry point, started for real.

systemd's own reader judges the units, what they start is started with their environment and nothing else; supervisord is the real
one; process 1 is process 1 of a pid namespace.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import Live
from tests.missing import missing, need_modules

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGE = (ROOT / "docs" / "services.md").read_text()
SUPERVISOR = "supervisor==4.3.0"

FLOW = """
from prefect import flow, task

@task
def cheap(offers):
    return [offer for offer in offers if offer["price"] <= 100]

@flow
def offers():
    cheap([{"id": f"o{n}", "price": 40 * n} for n in range(1, 6)])

if __name__ == "__main__":
    offers()
"""
JOB = """
from dagster import job, op

@op
def load():
    return [{"id": f"o{n}", "price": 40 * n} for n in range(1, 6)]

@op
def cheap(offers):
    return [offer for offer in offers if offer["price"] <= 100]

@job
def offers_job():
    cheap(load())
"""
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def offers_dag():
    @task
    def load():
        return [{"id": f"o{n}", "price": 40 * n} for n in range(1, 6)]

    @task
    def cheap(offers):
        return [offer for offer in offers if offer["price"] <= 100]

    cheap(load())

offers_dag()
"""
# A service that lives until it is asked to end, and says so. It loads what `xray run` waits for.
SERVER = """
import os, pathlib, signal, sys, threading
import dagster
from xray_core import autoload

stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
enabled = any(each["framework"] == "dagster" and each["enabled"] for each in autoload.report())
place = pathlib.Path(sys.argv[1])
place.with_suffix(".tmp").write_text(f"{os.getpid()} {enabled}")
place.with_suffix(".tmp").rename(place)
stopped.wait()
place.with_suffix(".stopped").touch()
sys.exit(7)
"""


def blocks(kind: str, containing: str) -> list[str]:
    """The blocks of one kind in the page that contain a text."""
    return [
        each for each in re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if containing in each
    ]


def eventually(check: Callable[[], Any], what: str, timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)  # looks again until the deadline
    return found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def supervisor() -> Path:
    """A folder with supervisord; kept for the next time."""
    uv = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    place = Path(tempfile.gettempdir()) / "xray-test-supervisor"
    if uv is None:
        missing("uv: make .venv/.dev installs it")
    if not (place / "supervisor").exists():
        done = subprocess.run(
            [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(place), SUPERVISOR, "setuptools<81"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            missing(f"supervisord: pip install supervisor: {done.stderr[-300:]}")
    return place


@pytest.mark.parametrize("name", ["prefect-worker.service", "xray-sync.service"])
def test_systemd_reads_the_units_without_a_complaint(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze: apt-get install systemd")
    (unit,) = blocks("systemd", f"/{name}\n")
    file = tmp_path / name
    file.write_text(unit.replace("/opt/pipelines/.venv/bin", str(BIN)).replace("User=pipelines", "User=root"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_the_unit_starts_is_captured_with_what_the_unit_gives_it_and_no_more(live: Live, tmp_path: Path) -> None:
    """No HOME, no environment that was activated: a service of systemd has neither."""
    (unit,) = blocks("systemd", "/prefect-worker.service\n")
    given = dict(line.split("=", 2)[1:] for line in unit.splitlines() if line.startswith("Environment="))
    environment = {
        **given, "PATH": given["PATH"].replace("/opt/pipelines/.venv/bin", str(BIN)), "XRAY_API_URL": live.url,
        "XRAY_SPOOL_DIR": given["XRAY_SPOOL_DIR"].replace("%S", str(tmp_path / "var-lib")),
    }  # fmt: skip
    (tmp_path / "job.py").write_text(JOB)
    start = re.search(r"^ExecStart=(.*) -- ", unit, re.MULTILINE)
    assert start
    xray = start[1].replace("/opt/pipelines/.venv/bin", str(BIN)).split()
    done = subprocess.run(
        [*xray, "--", "dagster", "job", "execute", "-f", "job.py"], env=environment, cwd=tmp_path, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    (run,) = live.get("/runs", pipeline="offers_job")["runs"]
    assert live.why(run["run_id"], "o5")["step"] == "cheap"


@pytest.mark.parametrize("name", ["prefect", "dagster", "airflow"])
def test_a_program_of_supervisord_is_captured(name: str, supervisor: Path, live: Live, tmp_path: Path) -> None:
    need_modules(name)
    for file, text in (("flow.py", FLOW), ("job.py", JOB), ("dags/offers_dag.py", DAG)):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    command, pipeline = {
        "prefect": ("python flow.py", "offers"),
        "dagster": ("dagster job execute -f job.py", "offers_job"),
        "airflow": ('sh -c "airflow db migrate && airflow dags test offers_dag"', "offers_dag"),
    }[name]
    with Supervised(supervisor, tmp_path, live.url, command, name):
        run = eventually(
            lambda: next((each for each in live.get("/runs", pipeline=pipeline)["runs"] if each["status"] == "completed"), None),
            f"the run of {name}\n" + "".join(each.read_text()[-3_000:] for each in tmp_path.glob("*.log")),
            timeout_s=200,
        )  # fmt: skip
        why = eventually(lambda: _dropped(live.why(run["run_id"], "o5")), "why o5")
        assert why["step"] == "cheap"


def _dropped(why: dict[str, Any]) -> dict[str, Any] | None:
    return why if why["outcome"] == "dropped" else None


def test_supervisord_stops_the_program_itself_with_its_own_signal(supervisor: Path, live: Live, tmp_path: Path) -> None:
    """There is no process of X-Ray's between the two: the pid is the program's, and so are the signal and the exit code."""
    (tmp_path / "server.py").write_text(SERVER)
    said = tmp_path / "said"
    with Supervised(supervisor, tmp_path, live.url, f"python server.py {said}", "server") as control:
        eventually(said.exists, "the program starts")
        pid, enabled = said.read_text().split()
        assert (control("pid", "worker").strip(), enabled) == (pid, "True")
        assert "stopped" in control("stop", "worker")
        assert said.with_suffix(".stopped").exists()


class Supervised:
    """supervisord with the page's program, whose command is another one under the same `xray run`."""

    def __init__(self, supervisor: Path, place: Path, url: str, command: str, name: str) -> None:
        (page,) = blocks("ini", "[program:worker]")
        section = page.split("[program:xray-sync]")[0]
        section = section.replace("prefect worker start --pool work", command).replace("user=pipelines\n", "")
        section = section.replace("/opt/pipelines/.venv/bin", str(BIN)).replace("https://xray.example.com", url)
        section = section.replace("/var/lib/xray", str(place / "spool"))
        parser = configparser.RawConfigParser()
        parser.read_string(section)
        extra = f',HOME="{place}",PREFECT_SERVER_ANALYTICS_ENABLED="false",PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="180",AIRFLOW__CORE__DAGS_FOLDER="{place}/dags",AIRFLOW__CORE__LOAD_EXAMPLES="False"'
        parser["program:worker"]["environment"] += extra
        parser["program:worker"].update(
            directory=str(place), autorestart="false", startsecs="0", stdout_logfile=str(place / "out.log"), redirect_stderr="true"
        )  # fmt: skip
        parser["supervisord"] = {"logfile": str(place / "supervisord.log"), "pidfile": str(place / "supervisord.pid"), "nodaemon": "true"}  # fmt: skip
        socket = f"{tempfile.mkdtemp(prefix='xray-')}/{name}.sock"  # a socket's path may not be long
        parser["unix_http_server"] = {"file": socket}
        parser["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        parser["supervisorctl"] = {"serverurl": f"unix://{socket}"}
        self._file = place / "supervisord.conf"
        with self._file.open("w") as file:
            parser.write(file)
        self._environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(supervisor)}

    def __enter__(self) -> Callable[..., str]:
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._file)]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)
        return self._control

    def _control(self, *words: str) -> str:
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self._file), *words]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60).stdout

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


@pytest.fixture
def container(live: Live, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start a command as process 1 with the environment that the page's image has."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root and unshare: apt-get install util-linux")
    (image,) = blocks("dockerfile", "ENTRYPOINT")
    variables = dict(each.split("=", 1) for each in re.findall(r"\S+=\S+", image.split("ENV ")[1].splitlines()[0]))
    environment = {
        **variables, "PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(tmp_path), "XRAY_API_URL": live.url,
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }  # fmt: skip

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command], env=environment, cwd=tmp_path,
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    return run


def test_the_images_entry_point_and_command_are_captured_as_process_1(
    container: Callable[..., subprocess.CompletedProcess[str]], live: Live, tmp_path: Path
) -> None:
    (image,) = blocks("dockerfile", "ENTRYPOINT")
    entry, command = (json.loads(image.split(f"\n{name} ")[1].splitlines()[0]) for name in ("ENTRYPOINT", "CMD"))
    (tmp_path / "flow.py").write_text(FLOW + "    import os; print('pid', os.getpid())\n")
    done = container(*entry, *command)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "pid 1"), done.stderr[-3_000:]
    (run,) = live.get("/runs", pipeline="offers")["runs"]
    assert live.why(run["run_id"], "o5")["step"] == "cheap"


def test_a_script_that_ends_with_exec_hands_on_the_exit_code_and_captures(
    container: Callable[..., subprocess.CompletedProcess[str]], live: Live, tmp_path: Path
) -> None:
    (line,) = blocks("sh", 'exec xray run -- "$@"')
    script = tmp_path / "entrypoint.sh"
    script.write_text(f"#!/bin/sh\necho prepared\n{line}")
    script.chmod(0o755)
    (tmp_path / "other.py").write_text(FLOW + "    import os, sys; print('pid', os.getpid()); sys.exit(3)\n")
    done = container(str(script), "python", "other.py")
    assert (done.returncode, done.stdout.splitlines()[0], done.stdout.splitlines()[-1]) == (3, "prepared", "pid 1")
    assert len(live.get("/runs", pipeline="offers")["runs"]) == 1
