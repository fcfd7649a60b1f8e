"""`make bench-peers`: what an MLflow server takes in and keeps of the same runs, beside X-Ray's, on this machine, in this run.

MLflow is installed into an environment of its own (`.peers`, 850 MB, once). It gets every run as an OpenTelemetry trace: a
span a step with its counts as attributes, its 20 samples as the span's events; verdicts it has no place for. Both keep to a
SQLite file and answer after the commit; each has the server processes that it starts by itself, X-Ray two.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress

from tests.benchmarks.store import Data, bodies, over_http, serving, size_bytes

PEERS = Path(".peers")
RUNS_A_BODY = 25


def mlflow() -> Path:
    """The interpreter of an environment that has MLflow."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "bin" / "mlflow").exists():
        print("installing MLflow into .peers (some minutes, once)", file=sys.stderr, flush=True)
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "mlflow>=3.6"], check=True)
    return python


def of_mlflow(python: Path, directory: Path, runs: Path, steps: int) -> tuple[float, float]:
    """Steps a second, bytes a step."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = directory / "mlflow.db"
    with open(directory / "mlflow.log", "wb") as log:
        server = subprocess.Popen(
            [python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}", "--port", str(port),
             "--default-artifact-root", str(directory / "artifacts")],
            stdout=log, stderr=log, cwd=directory,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _until_up(f"{address}/health", server)
        empty = size_bytes(f"sqlite:///{database}")
        sender = Path(__file__).with_name("peer_mlflow.py")
        answer = subprocess.run(
            [python, sender, address, runs, str(RUNS_A_BODY)], check=True, stdout=subprocess.PIPE, text=True
        )
        told = json.loads(answer.stdout)
        assert told["steps"] == steps
        return steps / told["seconds"], (size_bytes(f"sqlite:///{database}") - empty) / steps
    finally:
        server.terminate()
        server.wait(60)


def _until_up(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(address, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)  # MLflow takes ten seconds and more to import what it needs
    raise SystemExit("MLflow's server did not start")


def of_xray(directory: Path, data: Data, steps: int) -> tuple[float, float]:
    url = f"sqlite:///{directory}/xray.db"
    with Progress(console=Console(stderr=True)) as bar, serving(url, 2) as address:
        rate = over_http(address, data, steps, bar)
    return rate, size_bytes(url) / steps  # closed: nothing waits in the WAL


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench-peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=4_000)
    steps = parser.parse_args(argv).steps // (8 * RUNS_A_BODY) * 8 * RUNS_A_BODY
    python = mlflow().absolute()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        data = Data(1, time.time_ns() // 1000)
        runs = directory / "runs.ndjson"
        runs.write_bytes(b"\n".join(body for body, _, _ in bodies(data, steps, samples=20)))
        peer_rate, peer_bytes = of_mlflow(python, directory, runs, steps)
        rate, size = of_xray(directory, data, steps)
    print(f"{steps:,} steps with 20 samples each, over HTTP into SQLite, committed before the answer:")
    print(f"MLflow {peer_rate:7,.0f} steps/s {peer_bytes:7,.0f} bytes a step")
    print(f"X-Ray  {rate:7,.0f} steps/s {size:7,.0f} bytes a step, every verdict included")
    print(f"X-Ray takes in {rate / peer_rate:.1f} x as many, and keeps them in {size / peer_bytes:.2f} x the bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
