"""What the Prefect adapter costs a task: the same task with and without it, interleaved. Target below 0.3 ms.

Twice: a task of three numbers, in which no items are found, and one of twenty records, which are read on both sides.

All in one flow run of one process, since two processes that do the same differ by more than the adapter costs: what is put
around Prefect's task engine is taken off and put back between stretches of a hundred tasks, and the two stretches of a pair
are compared. A stretch ends when Prefect's thread for events has told all of them: a write to the spool hands the GIL to that
thread, which then only does earlier what it would do later. The garbage collector runs between the stretches: a full
collection takes a fifth of a second, and would fall into one stretch and not the other. The spool is real and the X-Ray
server is away.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.machine import slowness, verdict

TARGET_MS = 0.3
PAIRS = 40
TASKS = 100
SEAMS = ("start", "run_context")

PASSED: dict[str, list[Any]] = {
    "three numbers": [1, 2, 3],
    "20 records": [{"id": f"order-{n}", "price": 10.5 * n, "country": "DE", "open": n % 2 == 0} for n in range(20)],
}

Cost = tuple[float, float]  # milliseconds a task: of the caller's CPU, by the clock


def main() -> None:
    os.environ.update(
        {
            "PREFECT_HOME": tempfile.mkdtemp(prefix="xray-bench-"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PREFECT_CLIENT_MAX_RETRIES": "20",  # its server answers 503 while it writes what thousands of tasks told
            "XRAY_SPOOL_DIR": tempfile.mkdtemp(prefix="xray-bench-"),
            "XRAY_API_URL": "http://127.0.0.1:9",
        }
    )
    import xray_prefect

    xray_prefect.enable()
    from prefect.testing.utilities import prefect_test_harness

    slow = slowness()
    with prefect_test_harness(server_startup_timeout=200):
        for name, pairs in measured(PASSED).items():
            show(name, pairs, slow)


def show(name: str, pairs: list[tuple[Cost, Cost]], slow: float) -> None:
    """What a task costs with X-Ray and without, as medians over the pairs."""
    for at, clock in enumerate(("CPU of the caller", "by the clock")):
        with_ms, without_ms = (statistics.median(pair[way][at] for pair in pairs) for way in (0, 1))
        more = [pair[0][at] - pair[1][at] for pair in pairs]
        low, added, high = statistics.quantiles(more, n=4)
        print(
            f"{name:14} a task {without_ms:.3f} ms, with X-Ray {with_ms:.3f} ms   x{with_ms / without_ms:.3f}   "
            f"+{added:.3f} ms (half of {PAIRS} pairs from {low:.3f} to {high:.3f})   {clock}"
        )
        if not at:  # by the clock the program, its other threads and Prefect's server share this machine's cores
            print(f"{name}, {clock}: " + verdict(added, TARGET_MS, slow))


def measured(passed: dict[str, list[Any]]) -> dict[str, list[tuple[Cost, Cost]]]:
    """(with, without) of each pair of stretches of tasks that are given a list; which comes first takes turns.

    Of all lists in one flow run: to begin another one fails while Prefect's server is behind.
    """
    from prefect import flow, task
    from prefect.events.worker import EventsWorker

    @task  # type: ignore[untyped-decorator]
    def nothing(rows: list[Any]) -> list[Any]:
        return rows

    def stretch(rows: list[Any]) -> Cost:
        for _ in range(10):
            nothing(rows)
        EventsWorker.instance().wait_until_empty()
        gc.collect()
        gc.disable()
        began = time.thread_time(), time.perf_counter()
        for _ in range(TASKS):
            nothing(rows)
        EventsWorker.instance().wait_until_empty()
        ended = time.thread_time(), time.perf_counter()
        gc.enable()
        return (ended[0] - began[0]) / TASKS * 1e3, (ended[1] - began[1]) / TASKS * 1e3

    def without(rows: list[Any]) -> Cost:
        with taken_off():
            return stretch(rows)

    found: dict[str, list[tuple[Cost, Cost]]] = {}

    @flow  # type: ignore[untyped-decorator]
    def batch() -> None:
        for name, rows in passed.items():
            stretch(rows), without(rows)
            time.sleep(2)  # what a process does once (imports of the sender's, first connections) is no task's cost
            pairs = found[name] = []
            for n in range(PAIRS):
                first = without(rows) if n % 2 else None
                own = stretch(rows)
                pairs.append((own, first if first is not None else without(rows)))

    batch()
    return found


@contextmanager
def taken_off() -> Iterator[None]:
    """Prefect's task engine as it was before the adapter was enabled."""
    from prefect.task_engine import SyncTaskRunEngine

    wrapped: dict[str, Any] = {name: SyncTaskRunEngine.__dict__[name] for name in SEAMS}
    for name, method in wrapped.items():
        setattr(SyncTaskRunEngine, name, method.__wrapped__)
    yield
    for name, method in wrapped.items():
        setattr(SyncTaskRunEngine, name, method)


if __name__ == "__main__":
    main()
