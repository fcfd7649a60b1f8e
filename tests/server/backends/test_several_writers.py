"""Several processes on one database: whatever they write at once, it is all there, once.

Tests backends/sqlite/dictionary.py, lock.py and write.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xray_server.backends import open_store
from xray_server.store import Batch, RunFilter, Store

from tests.server.make_records import T0, records_of

PROJECT = "default"


@contextmanager
def stores(url: str, n: int) -> Iterator[list[Store]]:
    opened = [open_store(url) for _ in range(n)]
    yield opened
    for store in opened:
        store.close()


def test_processes_that_write_the_same_new_runs_at_once_come_to_one_state(database: str) -> None:
    """Every run is written by four stores at the same moment, in different orders: no deadlock, no double, no loss."""
    runs = 25
    with stores(database, 4) as opened:
        start = threading.Barrier(len(opened))
        refused: list[object] = []

        def write(number: int, store: Store) -> None:
            order = sorted(range(runs), key=lambda run: (run * (number + 3)) % runs)
            start.wait(20)
            for first in range(0, runs, 5):
                batch = [record for run in order[first : first + 5] for record in records_of(run, f"part {number}")]
                refused.extend(store.write([Batch(batch, PROJECT, T0)]))

        threads = [threading.Thread(target=write, args=(number, store)) for number, store in enumerate(opened)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert refused == [{}] * (5 * len(opened))
        found = opened[0].runs(PROJECT, RunFilter(), limit=100).items
        assert sorted(run.run_id for run in found) == sorted(f"run-{run}" for run in range(runs))
        for run in found:
            (step,) = opened[1].run_steps(PROJECT, run.run_id, limit=10).items
            assert step.ledger.rejected == len(opened)
            assert {part for each in opened[2].sets(PROJECT, run.run_id) for part in each.ids or ()} == {
                f"part {number}" for number in range(len(opened))
            }
        points = opened[3].trend(PROJECT, pipeline=None, name=None, since_us=0, until_us=T0 * 2)
        assert sum(point.steps for point in points) == runs
        assert sum(point.rejected for point in points) == runs * len(opened)
        assert opened[0].check() == []
