"""A million items judged by a real Spark of two executors, parts of which are killed, in an environment of its own. Spark puts
a speculative attempt on another host than the first: there the two executors are on two loopback addresses.

Tests frames.py, calls.py and plugin.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.engines import environment, every_item_counts_once, run
from tests.live import Live

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]
PROGRAM = Path(__file__).parent / "program.py"
ITEMS, CHUNKS = 1_000_000, 40


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


@pytest.mark.parametrize("job", ["killed", "executor", "speculated", "partitions", "rows", "batches"])
def test_a_million_items_are_counted_once(job: str, live: Live, tmp_path: Path) -> None:
    python = environment("pyspark[sql]")
    found = run(python, PROGRAM, job, live=live, directory=tmp_path, items=ITEMS, chunks=CHUNKS)
    every_item_counts_once(live, found, ITEMS, attempts=CHUNKS + 1)
