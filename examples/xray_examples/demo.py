"""`make demo`: a good run, a bad run, and why the traveller was sent to Buffalo. Uses what a user has: the SDK and `xray`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from examples.flights.data import Flight, all_flights
from examples.flights.pipeline import PIPELINE, Request, rebook
from xray_core import ApiError, XRay
from xray_core.cli import main as xray_command
from xray_core.query.http_reader import HttpReader
from xray_core.settings import load

GOOD_SEED, BAD_SEED = 7, 14
GOOD_FLIGHT = "AA-33-0614"
DIRECTORY = Path(os.environ.get("DEMO_DIR", ".demo"))
START_TIMEOUT_S = 60


def main() -> int:
    DIRECTORY.mkdir(exist_ok=True)
    shutil.rmtree(DIRECTORY / "spool", ignore_errors=True)
    port = _port(int(os.environ.get("PORT", "8000")))
    server = _start_server(port)
    # as by default for Ctrl-C: whoever stops the demo with SIGTERM stops its server too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _tell_the_story(f"http://127.0.0.1:{port}", server)
        if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("ONCE") != "1":
            print("\nThe server keeps running; Ctrl-C stops it.")
            server.wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.terminate()
        server.wait()
    return 0


def _tell_the_story(api_url: str, server: subprocess.Popen[bytes]) -> None:
    os.environ.update(XRAY_API_URL=api_url, XRAY_SPOOL_DIR=str(DIRECTORY / "spool"))
    _say("reading 336,776 flights ...")
    all_flights()
    _wait_for(api_url, server)
    answers = []
    with XRay(PIPELINE) as xray:
        for label, seed in (("good run", GOOD_SEED), ("bad run", BAD_SEED)):
            answers.append(
                rebook(xray, Request(), seed, on_step=lambda name, s, run=label: _say(f"{run}: {name} {s:.2f} s"))
            )  # type: ignore[misc]  # a default argument binds the label
        if not xray.flush(30):
            raise SystemExit(f"the server did not confirm the runs; see {DIRECTORY / 'server.log'}")
    _say("")
    (_, right), (bad_run, wrong) = answers
    assert right is not None
    assert wrong is not None
    request = Request()
    print(f"A traveller asks for {request.to}, {request.day}, {request.earliest}-{request.latest}.")
    print(f"  the good run answers  {_shown(right)}")
    print(f"  the bad run answers   {_shown(wrong)}\n")
    print(f"$ xray show {bad_run[:18]}")
    xray_command(["show", bad_run])
    for item in (wrong.id, GOOD_FLIGHT):
        print(f"\n$ xray why {item} --brief")
        xray_command(["why", item, "--run", bad_run, "--brief"])
    print("\n$ xray diff last --baseline --brief")
    xray_command(["diff", bad_run, "--baseline", "--brief"])
    print(f"\nLook at it: {api_url}/ui/runs/{bad_run}")


def _shown(flight: Flight) -> str:
    return f"{flight.id} to {flight.dest}, leaves {flight.origin} at {flight.departs}"


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
                print(f"port {port} is taken; using another one (PORT=... chooses)", file=sys.stderr)
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise SystemExit("no port is free on 127.0.0.1")


def _start_server(port: int) -> subprocess.Popen[bytes]:
    log = (DIRECTORY / "server.log").open("wb")
    command = [
        sys.executable,
        "-m",
        "xray_server",
        "serve",
        "--port",
        str(port),
        "--db",
        f"sqlite:///{DIRECTORY}/xray.db",
    ]
    # its own session: Ctrl-C reaches this process, which then stops the server in order
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def _wait_for(api_url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with HttpReader(load({"api_url": api_url})) as reader:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                reader.get("health")
                return
            except ApiError:
                time.sleep(0.1)  # the server is still starting
    raise SystemExit(f"the server did not start; see {DIRECTORY / 'server.log'}")


if __name__ == "__main__":
    raise SystemExit(main())
