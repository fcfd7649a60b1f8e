"""Row 29, at length: the server killed twenty times under load, on both stores."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest
from xray_server.store import RunFilter, open_store

from tests.server.conftest import ServerProcess

ROUNDS = 20
T0 = 1_760_000_000_000_000


def body_of(run_id: str) -> str:
    step = {"v": 1, "run_id": run_id, "step_id": "s", "attempt": 1, "part": "a"}
    return "\n".join(map(json.dumps, [
        {"v": 1, "kind": "run", "run_id": run_id, "part": "a", "rev": 1, "pipeline": "p", "started_us": T0},
        {**step, "kind": "step", "rev": 1, "pipeline": "p", "name": "f", "started_us": T0, "counts": {"rejected": 1},
         "reasons": {"rejected": {"late": 1}}},
        {**step, "kind": "verdicts", "chunk": "0", "sets": [{"outcome": "rejected", "reason": "late", "n": 1, "ids": [run_id]}]},
        {**step, "kind": "samples", "chunk": "live", "rev": 1, "samples": [{"item_id": run_id, "outcome": "rejected"}]},
    ]))  # fmt: skip


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
                    return  # not acknowledged, though it may be committed: it is sent again
                if answer.status_code == 200:
                    assert answer.json()["refused"] == []
                    acknowledged.add(runs.pop())

    for _ in range(ROUNDS):
        server = start_server("--db", database)
        stop = threading.Event()
        before = len(acknowledged)
        threads = [threading.Thread(target=write, args=(server.url, runs, stop)) for runs in left]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < before + 20 and time.monotonic() < deadline:
            time.sleep(0.002)
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
            assert all(run.step_count == 1 for run in page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert len(found) == len(set(found))
        assert acknowledged <= set(found)
        (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=T0 * 2)
        assert (point.steps, point.rejected, point.reasons) == (len(found), len(found), {"late": len(found)})
        assert all(len(store.samples("default", run_id)["s", 1]) == 1 for run_id in sorted(acknowledged)[:50])
