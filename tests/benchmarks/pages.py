"""Pages: server time and bytes per page for a run of 1,000 steps, in a store of N steps.

`python -m tests.benchmarks.pages [N]` (default 20,000; 1,000,000 takes minutes to fill). The bar: 100 ms and 200 kB.
The first line is the floor: an answer of one line through the same server. CPU time is of server and client together, and is
what to compare on a machine that does other things too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.process.serve import spare_the_collector
from xray_server.records.schema import decode_record
from xray_server.store import Batch

from tests.benchmarks.machine import REFERENCE_US, slowness
from tests.live import Live

ROUNDS = 15
STEPS_PER_RUN = 10


def main(steps: int = 20_000) -> None:
    with tempfile.TemporaryDirectory() as directory:
        live = Live(Path(directory))
        _fill(live.store, steps)
        spare_the_collector()  # as `xray serve` does
        slow = slowness()
        print(
            f"{steps + 6_000:,} steps stored; median of {ROUNDS}; a span of OpenTelemetry's takes {slow * REFERENCE_US:.0f} us here"
        )
        for name, path in [
            ("floor", "/runs/none"),
            ("runs", "/ui"),
            ("run of 10 steps", "/ui/runs/run-5"),
            ("run of 1,000 steps", "/ui/runs/names"),
            ("its timeline", "/ui/runs/names?view=timeline"),
            ("run of 5,000 mapped", "/ui/runs/mapped"),
            ("group of 5,000", "/ui/runs/mapped/steps?name=work"),
            ("step", "/ui/runs/names/steps/s7"),
            ("item", "/ui/runs/names/items/i7"),
            ("compare 10 steps", "/ui/compare?a=run-5&b=run-6"),
            ("steps", "/ui/steps?name=step%203&rejection_rate_gt=0.4"),
            ("search", "/ui/search?q=step%203"),
        ]:
            times_ms, cpu_ms = [], []
            size = 0
            for _ in range(ROUNDS):
                began, busy = time.perf_counter(), time.process_time()
                size = len(live.http.get(path).content)
                times_ms.append((time.perf_counter() - began) * 1000)
                cpu_ms.append((time.process_time() - busy) * 1000)
            print(
                f"{name:22} {statistics.median(times_ms):7.1f} ms  {statistics.median(cpu_ms):7.1f} ms of CPU  "
                f"({statistics.median(cpu_ms) / slow:5.1f} where it takes {REFERENCE_US:.0f})  {size / 1000:7.1f} kB"
            )
        live.stop()


def _fill(store: SQLiteStore, steps: int) -> None:
    batch = [
        _run("names", 0), *(_step("names", n, f"step {n}") for n in range(1000)),
        _run("mapped", 1), *(_step("mapped", n, "work", map_index=n) for n in range(5000)),
    ]  # fmt: skip
    for place in range(steps // STEPS_PER_RUN):
        run_id = f"run-{place}"
        batch.append(_run(run_id, place))
        batch.extend(_step(run_id, n, f"step {n}", place=place) for n in range(STEPS_PER_RUN))
        if len(batch) > 20_000:
            _write(store, batch)
            batch = []
    _write(store, batch)


def _write(store: SQLiteStore, records: list[dict[str, object]]) -> None:
    decoded = [decode_record(msgspec.json.encode(record)) for record in records]
    assert store.write([Batch(decoded, received_us=1)]) == [{}]


def _run(run_id: str, place: int) -> dict[str, object]:
    at_us = 1_760_000_000_000_000 + place * 1_000_000
    return {"v": 1, "kind": "run", "run_id": run_id, "part": "a", "rev": 1, "pipeline": f"p{place % 5}", "status": "completed",
            "started_us": at_us, "ended_us": at_us + 900_000, "duration_us": 900_000, "input": {"n": place % 3}}  # fmt: skip


def _step(run_id: str, n: int, name: str, place: int = 0, **more: object) -> dict[str, object]:
    at_us = 1_760_000_000_000_000 + place * 1_000_000 + n * 90
    return {"v": 1, "kind": "step", "run_id": run_id, "step_id": f"s{n}", "attempt": 1, "part": "a", "rev": 1, "pipeline": f"p{place % 5}",
            "name": name, "step_type": "filter", "index": n, "status": "completed", "started_us": at_us, "ended_us": at_us + 90,
            "duration_us": 90, "input_count": 1000, "counts": {"accepted": 500 + n % 90, "rejected": 500 - n % 90},
            "reasons": {"rejected": {"too_dear": 300, "too_late": 200 - n % 90}}, "metadata": {"threshold": 100},
            "sampling": {"rate": 0.01, "per_reason": 20, "seed": "0"}, **more}  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
