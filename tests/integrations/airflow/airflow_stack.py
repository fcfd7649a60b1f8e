"""A whole Airflow 3 on loopback, at home in a temporary directory: API server, scheduler with LocalExecutor, DAG
processor and triggerer over SQLite. Any version that has a `bin` directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[3]
T = TypeVar("T")


def eventually(check: Callable[[], T | None], *, timeout_s: float, what: str) -> T:
    """The first truthy answer of `check`, asked twice a second."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.5)


class Airflow:
    """Call `start`, then `trigger`; `stop` in any case.

    Args:
        bin_dir: where the `airflow` command is.
        home: becomes AIRFLOW_HOME.
        dags: DAG files, copied into its DAGs folder.
        environ: added to the environment of every process.
    """

    def __init__(self, bin_dir: Path, home: Path, dags: list[Path], **environ: str) -> None:
        self.home = home
        self._command = bin_dir / "airflow"
        self.port = _free_port()
        (home / "dags").mkdir(parents=True)
        for each in dags:
            shutil.copy(each, home / "dags")
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environ = {
            "PATH": f"{bin_dir}:/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of sixty-four characters or so, for this test and no other",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__TRIGGERER__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
            **environ,
        }

    def start(self, *, legacy: bool = False) -> None:
        """Bring everything up. `legacy` is Airflow 2: a scheduler that parses and runs tasks itself, and no REST API."""
        self._legacy = legacy
        if legacy:
            self.environ["AIRFLOW__CORE__EXECUTOR"] = "SequentialExecutor"
        subprocess.run([self._command, "db", "migrate"], env=self.environ, check=True, capture_output=True, timeout=180)
        if legacy:
            self._launch("scheduler")
            return
        self._launch("api-server")
        eventually(lambda: self._ask("GET", "/api/v2/version"), timeout_s=120, what="the API server answers")
        for name in ("dag-processor", "scheduler", "triggerer"):
            self._launch(name)

    def trigger(self, dag_id: str, dag_run_id: str, conf: dict[str, Any] | None = None) -> None:
        """Start a dag run as soon as its DAG is known."""
        if self._legacy:
            command = [
                self._command,
                "dags",
                "trigger",
                dag_id,
                "--run-id",
                dag_run_id,
                "--conf",
                json.dumps(conf or {}),
            ]
            eventually(
                lambda: subprocess.run(command, env=self.environ, capture_output=True).returncode == 0,
                timeout_s=180,
                what=f"{dag_id} is known\n{self.log()}",
            )
            return
        body = {"dag_run_id": dag_run_id, "conf": conf or {}, "logical_date": None}
        self._ask_patiently("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
        self._ask_patiently("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def states(self, dag_id: str, dag_run_id: str) -> dict[str, str]:
        """task id -> state; of mapped tasks, of any instance."""
        found = self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances?limit=100") or {}
        return {each["task_id"]: each["state"] for each in found.get("task_instances", [])}

    def run_state(self, dag_id: str, dag_run_id: str) -> str | None:
        return (self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}") or {}).get("state")

    def mark(self, dag_id: str, dag_run_id: str, task_id: str, state: str) -> None:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
        self._ask_patiently("PATCH", path, {"new_state": state})

    def log(self) -> str:
        """The last lines of every component."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.home.glob("*.out")))

    def stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)  # also what the component left in its group
            except ProcessLookupError:
                pass
            process.wait()

    def _launch(self, name: str) -> None:
        with (self.home / f"{name}.out").open("wb") as out:
            self._processes.append(
                subprocess.Popen(
                    [self._command, name],
                    env=self.environ,
                    stdout=out,
                    stderr=out,
                    cwd=self.home,
                    start_new_session=True,
                )
            )

    def _ask_patiently(self, verb: str, path: str, body: Any) -> Any:
        return eventually(lambda: self._ask(verb, path, body), timeout_s=120, what=f"{verb} {path}\n{self.log()}")

    def _ask(self, verb: str, path: str, body: Any = None) -> Any:
        try:
            if path != "/auth/token" and not hasattr(self, "_token"):
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/auth/token", timeout=30) as answer:
                    self._token = json.load(answer)["access_token"]
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}{path}",
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
                method=verb,
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (OSError, urllib.error.HTTPError):
            return None


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
