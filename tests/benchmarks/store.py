"""The stores: ingest rate, bytes a step and the latency of every query of the API, on skewed data with samples.

`make bench-store ARGS="--steps 10000000 --store sqlite"`. Loads through the store (time spent writing alone), waits until what stores
do in the background is done (a database that was just filled is not one that is used), starts the real server on it and asks over
HTTP; `--http-steps` are sent to it as the SDK would, gzip'd, with 20 samples a step.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from xray_server.backends import open_store
from xray_server.ingest.ndjson import decode
from xray_server.store import Batch, Store

from tests.server import clickhouse, postgresql
from xray_core import verdicts
from xray_core.model import new_id

KINDS = ["sqlite", "postgresql", "clickhouse"]
STEPS_A_RUN = 8
DAYS = 30
DAY_US = 86_400_000_000
PIPELINES = [f"pipeline_{i}" for i in range(20)]
STEPS = ["retrieve", "filter_price", "filter_stock", "filter_policy", "score", "rank", "select", "transform"]
TYPES = ["retrieve", "filter", "filter", "filter", "score", "rank", "select", "transform"]
REASONS = ["price_too_high", "out_of_stock", "blocked", "duplicate", "too_far", "stale", "low_score", "unsafe", "no_image",
           "wrong_size", "language", "rare_reason"]  # fmt: skip
WEIGHTS = [1 / (i + 1) for i in range(len(REASONS))]
CATALOGUE = 50_000
PATTERNS = 2_000  # different runs: 16,000 different steps
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
_SOME_SECOND = (
    1_700_000_000  # no run lasts beyond its second, so that replacing these ten digits moves all of its times
)


class Data:
    """Runs of eight steps over thirty days: few pipelines make most of them, few reasons most rejections."""

    def __init__(self, seed: int, now_us: int) -> None:
        self.random = random.Random(seed)
        self.now_us = now_us
        self.hashes = [verdicts.hash64(f"item-{i}") for i in range(CATALOGUE)]

    def run(self, at_us: int, *, samples: int, items: int = 60) -> list[dict[str, Any]]:
        rng = self.random
        run_id, pipeline = new_id(), rng.choices(PIPELINES, [1 / (i + 1) for i in range(20)])[0]
        failed = rng.random() < 0.03
        records: list[dict[str, Any]] = [{
            "v": 1, "kind": "run", "run_id": run_id, "part": "p", "rev": 2, "pipeline": pipeline, "started_us": at_us,
            "ended_us": at_us + 900_000, "duration_us": 900_000, "status": "failed" if failed else "completed",
            "tags": {"env": rng.choice(["prod", "prod", "prod", "test"])}, "input": {"query": f"q{rng.randrange(10_000)}"},
            "code_version": "a1b2c3d",
        }]  # fmt: skip
        left = [rng.randrange(CATALOGUE) for _ in range(items)]
        for k, (name, kind) in enumerate(zip(STEPS, TYPES)):
            step_id, started = new_id(), at_us + k * 100_000
            share = rng.betavariate(0.6, 2) if kind == "filter" else 0.0
            fallen = left[: int(len(left) * share)]
            passed = left[len(fallen) :]
            reasons: dict[str, list[int]] = {}
            for item in fallen:
                reasons.setdefault(rng.choices(REASONS, WEIGHTS)[0], []).append(item)
            key = {"v": 1, "run_id": run_id, "step_id": step_id, "attempt": 1, "part": "p"}
            records.append({
                **key, "kind": "step", "rev": 2, "pipeline": pipeline, "name": name, "step_type": kind, "index": k,
                "status": "failed" if failed and k == 7 else "completed", "started_us": started, "ended_us": started + 90_000,
                "duration_us": int(rng.lognormvariate(11, 1.5)), "counts": {"rejected": len(fallen), "accepted": len(passed)},
                "reasons": {"rejected": {why: len(of) for why, of in reasons.items()}},
                "input_count": len(left), "output_count": len(passed), "metadata": {"threshold": rng.randrange(100)},
            })  # fmt: skip
            if fallen:
                sets = [
                    {"outcome": "rejected", "reason": why, "n": len(of), "ids": [f"item-{i}" for i in of]}
                    for why, of in reasons.items()
                ]
                records.append({**key, "kind": "verdicts", "chunk": "0", "sets": sets})
            if samples:
                records.append({**key, "kind": "samples", "chunk": "live", "rev": 1, "samples": [
                    {"item_id": f"item-{item}", "outcome": "rejected", "reason": why, "weight": 1.5, "at_us": started,
                     "details": {"price": rng.randrange(300), "threshold": 100, "shop": f"shop-{item % 97}"}}
                    for why, item in [(rng.choices(REASONS, WEIGHTS)[0], rng.randrange(CATALOGUE)) for _ in range(samples)]
                ]})  # fmt: skip
            left = passed
        return records


def bodies(
    data: Data, steps: int, *, samples: int, runs_a_body: int = 120, days: float = DAYS
) -> Iterator[tuple[bytes, int, int]]:
    """(NDJSON, steps in it, when its first run started), oldest first, over the last `days`."""
    runs = max(1, steps // STEPS_A_RUN)
    patterns = [Pattern(data.run(_SOME_SECOND * 1_000_000, samples=samples)) for _ in range(min(runs, PATTERNS))]
    for first in range(0, runs, runs_a_body):
        lines, at_s = [], 0
        for i in range(first, min(first + runs_a_body, runs)):
            at_s = (data.now_us - int((1 - i / runs) * days * DAY_US)) // 1_000_000
            lines.append(data.random.choice(patterns).at(at_s))
        yield b"\n".join(lines), min(runs_a_body, runs - first) * STEPS_A_RUN, at_s * 1_000_000


class Pattern:
    """A run to be sent again and again under other ids, at other seconds: making each anew takes longer than storing it."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._ids = {record[key].encode() for record in records for key in ("run_id", "step_id") if key in record}
        self._text = b"\n".join(json.dumps(record).encode() for record in records)

    def at(self, second: int) -> bytes:
        text = self._text.replace(b"%d" % _SOME_SECOND, b"%d" % second)
        for each in self._ids:
            text = text.replace(each, new_id().encode())
        return text


def load(store: Store, data: Data, steps: int, samples: int, bar: Progress) -> tuple[float, float]:
    """Seconds and CPU seconds of this process spent in `write`."""
    task = bar.add_task("loading", total=steps)
    seconds = cpu_s = 0.0
    for body, n, at_us in bodies(data, steps, samples=samples):
        records = decode(body).records
        began, began_cpu = time.perf_counter(), time.process_time()
        store.write([Batch(records, "default", at_us)])
        seconds += time.perf_counter() - began
        cpu_s += time.process_time() - began_cpu
        bar.advance(task, n)
    return seconds, cpu_s


def rest() -> float:
    """Wait until the machine has nothing to do, at most ten minutes; seconds."""
    began, idle = time.monotonic(), 0
    while idle < 3 and time.monotonic() - began < 600:
        before = _busy_s()
        time.sleep(2)  # what was busy is read over so long a time: shorter ones show pauses between two merges
        idle = idle + 1 if _busy_s() - before < 0.2 else 0
    return time.monotonic() - began


def _busy_s() -> float:
    """CPU seconds of the whole machine since it started, but for idle ones."""
    user, nice, system, _idle, _iowait, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(others[:2])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(url: str, workers: int) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "xray_server", "serve", "--port", "0", "--workers", str(workers), "--db", url],
        stdout=subprocess.PIPE, text=True, env={k: v for k, v in os.environ.items() if not k.startswith("XRAY_")},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the server did not start"
        yield found[0]
    finally:
        process.terminate()
        process.wait(60)


def over_http(address: str, data: Data, steps: int, clients: int, bar: Progress) -> float:
    """Steps a second that so many clients get 2xx for, 20 samples a step, of the last hour, as what is sent now would be;
    bodies are made before the clock runs."""
    packed = [
        (gzip.compress(body, 1), n) for body, n, _ in bodies(data, steps, samples=20, runs_a_body=25, days=1 / 24)
    ]
    task = bar.add_task("over HTTP", total=steps)
    waiting, lock = iter(packed), threading.Lock()

    def send() -> None:
        with httpx.Client(base_url=address, timeout=120) as client:
            while True:
                with lock:
                    body, n = next(waiting, (None, 0))
                if body is None:
                    return
                while client.post("/ingest", content=body, headers={"Content-Encoding": "gzip"}).status_code == 429:
                    time.sleep(0.5)
                bar.advance(task, n)

    threads = [threading.Thread(target=send) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(n for _, n in packed) / (time.perf_counter() - began)


def questions(client: httpx.Client) -> dict[str, str]:
    runs = client.get("/runs?limit=50").json()["runs"]
    run = next(each["run_id"] for each in runs if each["status"] == "completed")
    same = [each["run_id"] for each in runs if each["pipeline"] == runs[0]["pipeline"]]
    return {
        "newest runs": "/runs",
        "runs of a pipeline": "/runs?pipeline=pipeline_3",
        "failed runs": "/runs?status=failed&since=7d",
        "runs by tag": "/runs?tag=env:test",
        "runs by text": f"/runs?q={run[:8]}",
        "one run": f"/runs/{run}",
        "filter steps, rate > .9, 24 h": "/steps?step_type=filter&rejection_rate_gt=0.9&since=24h",
        "steps of a name, a pipeline": "/steps?name=filter_price&pipeline=pipeline_7",
        "steps by reason": "/steps?reason=rare_reason",
        "failed steps": "/steps?status=failed",
        "slow steps": "/steps?duration_ms_gt=10000",
        "why": f"/runs/{run}/items/item-7",
        "item across runs": "/items/item-7?limit=20",
        "two runs compared": f"/runs/{same[0]}/diff/{same[-1]}",
        "price 100-150 in 24 h": "/decisions?reason=price_too_high&details.price_gt=100&details.price_lt=150&since=24h",
        "trend by reason, 7 d": "/trends?pipeline=pipeline_0&since=7d",
        "health": "/health",
    }


def ask(address: str, times: int = 15) -> dict[str, tuple[float, float]]:
    """Question -> median and worst, ms."""
    answers = {}
    with httpx.Client(base_url=address, timeout=120) as client:
        for words, path in questions(client).items():
            took = []
            for _ in range(times):
                began = time.perf_counter()
                answer = client.get(path)
                took.append((time.perf_counter() - began) * 1000)
                assert answer.status_code == 200, (path, answer.text)
            answers[words] = (statistics.median(took), max(took))
    return answers


def size_bytes(url: str) -> int:
    if url.startswith("clickhouse://"):
        with closing(open_store(url)) as store:
            return int(store.health().details["bytes"])
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return sum(each.stat().st_size for each in path.parent.glob(path.name + "*"))
    import psycopg

    with psycopg.connect(url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        row = db.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench-store", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=2, help="a step, of what is loaded (default: %(default)s)")
    parser.add_argument("--http-steps", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=4, help="that send at the same time")
    parser.add_argument("--workers", type=int, default=2, help="processes of the server (default: %(default)s)")
    parser.add_argument("--store", choices=KINDS, action="append")
    parser.add_argument("--directory", type=Path, default=None, help="where the databases are made, and removed again")
    arguments = parser.parse_args(argv or [])
    out = Console(width=110)
    directory = Path(tempfile.mkdtemp(prefix="xray-bench-", dir=arguments.directory))
    results: dict[str, dict[str, tuple[float, float]]] = {}
    numbers = count()
    try:
        for kind in arguments.store or KINDS:
            with ExitStack() as opened:
                url = f"sqlite:///{directory}/xray.db"
                if kind == "postgresql":
                    url = opened.enter_context(postgresql.running(settings=postgresql.AS_IN_PRODUCTION))
                if kind == "clickhouse":
                    (node,) = opened.enter_context(clickhouse.nodes(1, on_disk=True))
                    url = f"{node.url}?control=sqlite:///{directory}/control.db"
                data = Data(next(numbers), time.time_ns() // 1000)
                empty = size_bytes(url) if kind == "postgresql" else 0
                with Progress(*COLUMNS, console=Console(stderr=True)) as bar:
                    with closing(open_store(url)) as store:
                        seconds, cpu_s = load(store, data, arguments.steps, arguments.samples, bar)
                        rested_s = rest()
                    bytes_a_step = (size_bytes(url) - empty) / arguments.steps
                    with serving(url, arguments.workers) as address:
                        results[kind] = ask(address)
                        rate = over_http(address, data, arguments.http_steps, arguments.clients, bar)
                out.print(
                    f"{kind}: {arguments.steps:,} steps loaded, {arguments.samples} samples each: "
                    f"{arguments.steps / seconds:,.0f} steps/s ({cpu_s / arguments.steps * 1e6:.0f} us CPU a step here), at rest {rested_s:.0f} s later, "
                    f"{bytes_a_step:.0f} bytes a step with verdicts and samples; over HTTP to {arguments.workers} processes, 20 samples a step: {rate:,.0f} steps/s"
                )
        out.print(f"\n{'median (worst), ms':34}" + "".join(f"{kind:>20}" for kind in results))
        for words in next(iter(results.values())):
            out.print(
                f"{words:34}" + "".join(f"{of[words][0]:>11.1f} ({of[words][1]:>5.0f})" for of in results.values())
            )
        out.print(f"\nload average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
