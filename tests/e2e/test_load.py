"""A minute of four writers and two readers: no error, pages stay as quick as they were, memory stays flat.

`XRAY_TEST_LOAD_S` says for how long; the figures are printed (`pytest -s`).
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import health_of
from tests.server import postgresql
from tests.server.conftest import ServerProcess, start_server

__all__ = ["start_server"]
pytestmark = pytest.mark.stack
LOAD_S = float(os.environ.get("XRAY_TEST_LOAD_S", "60"))
WRITERS, READERS = 4, 2
RUNS_A_SECOND = 4  # of each writer: 160 steps a second in all, several million a week
STEPS = 10
PAGES = ["/ui", "/ui/steps", "/ui/runs/seed-5", "/ui/runs/seed-5/steps/s1", "/runs?limit=20", "/runs/seed-5/items/i1"]
MAX_RATIO = 3.0
MAX_GROWTH_MB = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/xray.db"
        return
    with postgresql.running(settings=postgresql.AS_IN_PRODUCTION) as url, postgresql.schema(url) as own:
        yield own


def lines(run_id: str) -> str:
    """A run of ten steps with verdicts and details."""
    at_us = time.time_ns() // 1000
    common = {"v": 1, "run_id": run_id, "part": "a"}
    records: list[dict[str, Any]] = [
        {**common, "kind": "run", "rev": 1, "pipeline": f"p{hash(run_id) % 5}", "status": "completed", "started_us": at_us,
         "ended_us": at_us + 1, "duration_us": 1, "tags": {"env": "load"}}
    ]  # fmt: skip
    for n in range(STEPS):
        step = {**common, "step_id": f"s{n}", "attempt": 1}
        records += [
            {**step, "kind": "step", "rev": 1, "name": f"step {n}", "step_type": "filter", "pipeline": "p", "index": n,
             "status": "completed", "started_us": at_us + n, "ended_us": at_us + n + 1, "input_count": 20,
             "counts": {"rejected": 10, "accepted": 10}, "reasons": {"rejected": {"too_dear": 10}}},
            {**step, "kind": "verdicts", "chunk": "0", "sets": [
                {"outcome": "rejected", "reason": "too_dear", "n": 10, "ids": [f"i{k}" for k in range(10)]},
                {"outcome": "accepted", "n": 10, "ids": [f"i{k}" for k in range(10, 20)]}]},
            {**step, "kind": "samples", "chunk": "live", "rev": 1, "samples": [
                {"item_id": f"i{k}", "outcome": "rejected", "reason": "too_dear", "details": {"price": k}, "at_us": at_us}
                for k in range(5)]},
        ]  # fmt: skip
    return "\n".join(map(json.dumps, records))


@dataclass
class Load:
    """What the threads saw: problems, runs written, and how long each page took."""

    url: str
    problems: list[str] = field(default_factory=list)
    written: int = 0
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, http: httpx.Client, path: str) -> None:
        began = time.perf_counter()
        answer = http.get(path)
        took_ms = (time.perf_counter() - began) * 1000
        with self.lock:
            self.times_ms.setdefault(path, []).append(took_ms)
            if answer.status_code != 200:
                self.problems.append(f"GET {path}: {answer.status_code}")

    def write(self, http: httpx.Client, run_id: str) -> None:
        answer = http.post("/ingest", content=lines(run_id))
        with self.lock:
            self.written += 1
            if answer.status_code != 200 or answer.json()["refused"]:
                self.problems.append(f"POST: {answer.status_code} {answer.text[:200]}")


@contextmanager
def running(*works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Threads that work until the end of the block."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def writer(load: Load, number: int) -> Callable[[threading.Event], None]:
    def work(stop: threading.Event) -> None:
        with httpx.Client(base_url=load.url, timeout=30) as http:
            next_s, n = time.monotonic(), 0
            while not stop.wait(max(0.0, next_s - time.monotonic())):
                next_s += 1 / RUNS_A_SECOND
                n += 1
                load.write(http, f"w{number}-{n}")

    return work


def reader(load: Load) -> Callable[[threading.Event], None]:
    def work(stop: threading.Event) -> None:
        with httpx.Client(base_url=load.url, timeout=30) as http:
            while not stop.is_set():
                for path in PAGES:
                    load.read(http, path)
                    if stop.wait(0.05):  # a reader reads
                        return

    return work


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_pages_stay_quick_and_memory_flat_while_others_write(
    start_server: Callable[..., ServerProcess], database: str
) -> None:
    server = start_server("--db", database)
    load, idle = Load(server.url), Load(server.url)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        for n in range(300):
            idle.write(http, f"seed-{n}")
        for _ in range(15):
            for path in PAGES:
                idle.read(http, path)
    with running(*(writer(load, n) for n in range(WRITERS)), *(reader(load) for _ in range(READERS))):
        threading.Event().wait(LOAD_S / 3)  # caches fill
        early_mb = rss_mb(server.process.pid)
        threading.Event().wait(LOAD_S * 2 / 3)
        late_mb = rss_mb(server.process.pid)
    assert idle.problems == load.problems == []
    with httpx.Client(base_url=server.url, timeout=30) as http:
        assert http.get("/runs/w0-1").status_code == 200
        assert health_of(http)["status"] == "ok"
    slow = {}
    for path, times in load.times_ms.items():
        idle_p50 = statistics.median(idle.times_ms[path][3:])
        p99 = sorted(times)[int(len(times) * 0.99)]
        print(
            f"{path:30} idle p50 {idle_p50:6.1f} ms  p50 {statistics.median(times):6.1f}  p99 {p99:6.1f} ({len(times)} reads)"
        )
        if p99 > MAX_RATIO * idle_p50:
            slow[path] = (round(idle_p50), round(p99))
    print(f"{load.written} runs in {LOAD_S:g} s; {early_mb:.0f} MB after a third of it, {late_mb:.0f} MB at the end")
    assert load.written >= 0.9 * LOAD_S * RUNS_A_SECOND * WRITERS, "the writers were held up"
    assert late_mb - early_mb < MAX_GROWTH_MB
    assert slow == {}, "idle p50, p99 in ms"
