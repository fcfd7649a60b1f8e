"""A million items judged by a real cluster of four workers, one of which is killed. Tests carrying.py and plugin.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.engines import every_item_counts_once, run
from tests.live import Live

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).parent / "program.py"
ITEMS, CHUNKS = 1_000_000, 40


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


@pytest.mark.parametrize("job", ["killed", "lost", "frame"])
def test_a_million_items_are_counted_once(job: str, live: Live, tmp_path: Path) -> None:
    found = run(Path(sys.executable), PROGRAM, job, live=live, directory=tmp_path, items=ITEMS, chunks=CHUNKS)
    every_item_counts_once(live, found, ITEMS, attempts=CHUNKS + 1)
