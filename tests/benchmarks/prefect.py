"""What the Prefect adapter costs a task: batches with and without it, interleaved. Target below 0.3 ms.

The adapter cannot be taken off once it is on, so each batch is a process of its own, against one Prefect server; its spool
is real and its X-Ray server is away. The medians of the batches are compared, by the clock and by the CPU of the
caller's thread, which a busy machine disturbs less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from tests.benchmarks.machine import slowness, verdict

TARGET_MS = 0.3
ROUNDS = 7
TASKS = 1200
BATCH = f"""
import sys, time
if sys.argv[1] == "with":
    import xray_prefect
    xray_prefect.enable()
from prefect import flow, task

@task
def nothing(rows):
    return rows

@flow
def batch(n):
    rows = [1, 2, 3]
    for _ in range(20):
        nothing(rows)
    time.sleep(2)  # what a process does once (imports of the sender's, first connections) is no task's cost
    began = time.perf_counter(), time.thread_time()
    for _ in range(n):
        nothing(rows)
    ended = time.perf_counter(), time.thread_time()
    return [(b - a) / n * 1e3 for a, b in zip(began, ended)]

print(*batch({TASKS}))
"""


def main() -> None:
    settings = {
        "PREFECT_HOME": tempfile.mkdtemp(prefix="xray-bench-"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "XRAY_SPOOL_DIR": tempfile.mkdtemp(prefix="xray-bench-"),
        "XRAY_API_URL": "http://127.0.0.1:9",
    }
    os.environ.update(settings)
    from prefect.settings import get_current_settings
    from prefect.testing.utilities import prefect_test_harness

    took: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    with prefect_test_harness(server_startup_timeout=200):
        environment = {**os.environ, "PREFECT_API_URL": str(get_current_settings().api.url)}
        slow = []
        for n in range(ROUNDS):
            slow.append(slowness())
            for way in sorted(took, reverse=bool(n % 2)):
                took[way].append(_batch(way, environment))
    for way, each in took.items():
        print(way, [f"{a:.2f}/{b:.2f}" for a, b in each])
    for at, clock in enumerate(("by the clock", "CPU of the caller")):
        with_ms, without_ms = (statistics.median(each[at] for each in took[way]) for way in ("with", "without"))
        added = statistics.median(a[at] - b[at] for a, b in zip(took["with"], took["without"]))
        print(
            f"a task {without_ms:.3f} ms, with X-Ray {with_ms:.3f} ms   x{with_ms / without_ms:.3f}   +{added:.3f} ms   {clock}"
        )
    print("the caller's CPU: " + verdict(added, TARGET_MS, statistics.median(slow)))


def _batch(way: str, environment: dict[str, str]) -> tuple[float, float]:
    """Milliseconds a task, by the clock and of CPU, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BATCH, way], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    wall_ms, cpu_ms = map(float, done.stdout.split()[-2:])
    return wall_ms, cpu_ms


if __name__ == "__main__":
    main()
