"""An item across runs: whatever is in segments and whatever still waits, each run that holds the item is found, once.

Tests backends/relational/compactor.py, backends/sqlite/item_index.py, items.py, backends/postgres/item_index.py and items.py.
"""

from __future__ import annotations

import contextlib
import queue
import random
import sqlite3
import threading
import time
from array import array
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from xray_server.backends import open_store
from xray_server.backends.postgres import item_index as postgres_index
from xray_server.backends.relational import item_index
from xray_server.backends.relational.compactor import Compactor, Pace
from xray_server.backends.relational.item_index import TAIL
from xray_server.backends.sqlite import item_index as sqlite_index
from xray_server.backends.sqlite import items as sqlite_items
from xray_server.backends.sqlite.lock import FileLock
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.ingest.ndjson import decode
from xray_server.store import Batch, Store
from xray_server.turns import SLICE_S

from tests.server import postgresql
from xray_core import verdicts, wire


def chunk(run: int, step: int, number: int, items: list[str], *, named: bool) -> bytes:
    found = {"outcome": "rejected", "reason": "r", "n": len(items)}
    packed = verdicts.encode(array("Q", map(verdicts.hash64, items)))
    held = {**found, "ids": items} if named else {**found, "fp40": b64encode(packed).decode()}
    return wire.to_payload({
        "v": 1, "kind": "verdicts", "run_id": f"run-{run}", "step_id": f"s{step}", "attempt": 1, "part": "p",
        "chunk": str(number), "sets": [held],
    })  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Any, Callable[[int, int], object]]]:
    """A store, a connection of its own to the database, and what compacts it: (least tail, keys of a full segment)."""
    if request.param == "sqlite":
        path = tmp_path / "x.db"
        with (
            closing(SQLiteStore(path)) as store,
            closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db,
        ):
            yield (
                store,
                db,
                lambda tail, full: sqlite_index.compact(db, FileLock(path), tail_chunks=tail, max_keys=full),
            )
        return
    with (
        postgresql.schema(request.getfixturevalue("postgres_url")) as url,
        closing(open_store(url)) as store,
        closing(psycopg.connect(url, autocommit=True)) as db,
    ):
        yield store, db, lambda tail, full: postgres_index.compact(db, tail=tail, max_keys=full)


@pytest.mark.parametrize("seed", range(3))
def test_every_run_is_found_under_random_interleavings(
    opened: tuple[Store, Any, Callable[[int, int], object]], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(sqlite_items, "_TAIL_A_LOOK", chance.randrange(1, 9))
    store, db, compact = opened
    truth: dict[str, set[str]] = {}
    items = [f"i{n}" for n in range(200)]
    for round_ in range(20):
        lines = []
        for number in range(chance.randrange(1, 6)):
            run = chance.randrange(30)
            held = chance.sample(items, chance.randrange(1, 30))
            lines.append(chunk(run, chance.randrange(3), round_ * 10 + number, held, named=chance.random() < 0.5))
            for item in held:
                truth.setdefault(item, set()).add(f"run-{run}")
        store.write([Batch(decode(b"\n".join(lines)).records)])
        if chance.random() < 0.3:
            compact(chance.randrange(1, 6), 16)
        if chance.random() < 0.3:
            store.write([Batch(decode(b"\n".join(lines)).records)])  # resent
        item = chance.choice(items)
        assert everywhere(store, item, limit=chance.randrange(1, 9)) == sorted(truth.get(item, set()))
    some = chance.sample(items, 40)
    assert {item: everywhere(store, item) for item in some} == {i: sorted(truth.get(i, set())) for i in some}
    assert db.execute("SELECT count(*) FROM item_segment").fetchone()[0] > 0


def everywhere(store: Store, item: str, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = store.item_runs("default", item, pipeline=None, limit=limit, cursor=cursor)
        found += [run.run_id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return sorted(found)


def test_sets_too_large_for_a_segment_are_found_all_the_same(
    opened: tuple[Store, Any, Callable[[int, int], object]],
) -> None:
    store, db, compact = opened
    many = [f"m{n}" for n in range(item_index.LARGE_SET + 1)]
    store.write([Batch(decode(chunk(1, 1, 1, many, named=False)).records)])
    assert compact(1, 16) == 1
    assert db.execute("SELECT count(*) FROM item_tail").fetchone() == (0,)
    assert everywhere(store, "m77") == ["run-1"]
    assert everywhere(store, "nobody") == []


def test_what_is_written_while_segments_are_built_is_found(
    opened: tuple[Store, Any, Callable[[int, int], object]],
) -> None:
    """Each run is written to again and again, so that some of its chunks come while others of them are being moved."""
    store, _, compact = opened
    written = threading.Event()
    moved: list[object] = []

    def compact_on_and_on() -> None:
        while not written.is_set():
            moved.append(compact(1, 8))

    compacting = threading.Thread(target=compact_on_and_on)
    compacting.start()
    try:
        for number in range(60):
            lines = [chunk(run, 0, number, [f"i{run}-{number}"], named=True) for run in range(number % 7, 20, 7)]
            assert store.write([Batch(decode(b"\n".join(lines)).records)]) == [{}]
    finally:
        written.set()
        compacting.join(30)
    assert any(moved)
    for number in range(60):
        for run in range(number % 7, 20, 7):
            assert everywhere(store, f"i{run}-{number}") == [f"run-{run}"], (run, number)


def test_the_first_chunk_that_is_written_has_an_earlier_tail_looked_at() -> None:
    looked = threading.Event()
    compactor = Compactor(lambda pace: looked.set())
    compactor.written(1)
    assert looked.wait(10)
    compactor.close()


@pytest.mark.swallows
def test_what_failed_is_tried_again_with_the_next_write_and_not_a_tail_later() -> None:
    tried: queue.Queue[int] = queue.Queue()

    def compact(pace: Pace) -> None:
        tried.put(1)
        raise ConnectionError("cut")

    compactor = Compactor(compact, pause_s=0)
    compactor.written(1)
    tried.get(timeout=10)
    for _ in range(TAIL // 2):  # the first may still be on its way out
        compactor.written(1)
        with contextlib.suppress(queue.Empty):
            tried.get(timeout=0.5)
            break
    else:
        pytest.fail("not tried again")
    compactor.close()


@pytest.mark.parametrize(("chunks", "most"), [(TAIL, 4.0), (1_000_000, 0.5)], ids=["a tail", "very many"])
def test_where_very_much_waits_more_of_a_core_is_taken(
    chunks: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it rests, of how long it worked."""
    rests: list[float] = []
    shares: list[float] = []
    done = threading.Event()

    def compact(pace: Pace) -> None:
        for _ in range(5):
            began = time.monotonic()
            while time.monotonic() < began + SLICE_S * 1.5:
                pass
            worked_s = time.monotonic() - began
            pace.rest()
            shares.append(rests[-1] / worked_s)
        done.set()

    compactor = Compactor(compact)
    monkeypatch.setattr(compactor._closed, "wait", rests.append)
    compactor.written(chunks)
    assert done.wait(10)
    compactor.close()
    assert most / 2 < sorted(shares)[2] < most
