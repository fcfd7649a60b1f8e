"""Row 29, at length: the server killed twenty times under load, on both stores."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from xray_server.backends import open_store
from xray_server.store import RunFilter

from tests.server.conftest import ServerProcess
from tests.server.process.test_workers import children_of

ROUNDS = 20
T0 = 1_760_000_000_000_000


STEPS = 5  # of a run: enough to be kept together


def body_of(run_id: str) -> str:
    records: list[dict[str, Any]] = [
        {"v": 1, "kind": "run", "run_id": run_id, "part": "a", "rev": 1, "pipeline": "p", "started_us": T0}
    ]
    for n in range(STEPS):
        step = {"v": 1, "run_id": run_id, "step_id": f"s{n}", "attempt": 1, "part": "a"}
        records += [
            {**step, "kind": "step", "rev": 1, "pipeline": "p", "name": "f", "started_us": T0, "counts": {"rejected": 1},
             "reasons": {"rejected": {"late": 1}}},
            {**step, "kind": "verdicts", "chunk": "0", "sets": [{"outcome": "rejected", "reason": "late", "n": 1, "ids": [run_id]}]},
            {**step, "kind": "samples", "chunk": "live", "rev": 1, "samples": [{"item_id": run_id, "outcome": "rejected"}]},
        ]  # fmt: skip
    return "\n".join(map(json.dumps, records))


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_a_server_killed_twenty_times_under_load_loses_and_doubles_nothing(
    start_server: Callable[..., ServerProcess], database: str
) -> None:
    """Clients send again what was not acknowledged, as the SDK does; every acknowledged run is there, and counted once."""
    acknowledged: set[str] = set()
    left = [[f"{worker}-{i}" for i in range(100_000)][::-1] for worker in range(4)]

    def write(url: str, runs: list[str], stop: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=10) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/ingest", content=body_of(runs[-1]))
                except httpx.HTTPError:
                    continue  # not acknowledged, though it may be committed: it is sent again
                if answer.status_code == 200:
                    assert answer.json()["refused"] == []
                    acknowledged.add(runs.pop())

    for number in range(ROUNDS):
        server = start_server("--db", database, "--workers", str(1 + number % 2))
        stop = threading.Event()
        before = len(acknowledged)
        threads = [threading.Thread(target=write, args=(server.url, runs, stop)) for runs in left]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < before + 20 and time.monotonic() < deadline:
            time.sleep(0.002)
        for child in children_of(server.process.pid):
            os.kill(child, signal.SIGKILL)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(acknowledged) >= before + 20
    with closing(open_store(database)) as store:
        assert store.check() == []
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = store.runs("default", RunFilter(), limit=1000, cursor=cursor)
            found += [run.run_id for run in page.items]
            assert all(run.step_count == STEPS for run in page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert len(found) == len(set(found))
        assert acknowledged <= set(found)
        (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=T0 * 2)
        assert (point.steps, point.rejected, point.reasons) == (
            STEPS * len(found), STEPS * len(found), {"late": STEPS * len(found)},
        )  # fmt: skip
        for run_id in sorted(acknowledged)[:50]:
            assert [len(samples) for samples in store.samples("default", run_id).values()] == [1] * STEPS
            steps = store.run_steps("default", run_id, limit=10).items
            assert [step.state["reasons"] for step in steps] == [{"rejected": {"late": 1}}] * STEPS
