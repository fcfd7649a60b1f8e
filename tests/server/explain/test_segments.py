"""An item across runs: whatever is in segments and whatever still waits, each run that holds the item is found, once."""

from __future__ import annotations

import random
import sqlite3
from array import array
from base64 import b64encode
from pathlib import Path

import pytest
from xray_server import segments, sqlite_segments
from xray_server.ingest import decode
from xray_server.sqlite import SQLiteStore
from xray_server.sqlite_lock import FileLock
from xray_server.store import Batch

from xray_core import verdicts, wire


def chunk(run: int, step: int, number: int, items: list[str], *, named: bool) -> bytes:
    found = {"outcome": "rejected", "reason": "r", "n": len(items)}
    packed = verdicts.encode(array("Q", map(verdicts.hash64, items)))
    held = {**found, "ids": items} if named else {**found, "fp40": b64encode(packed).decode()}
    return wire.to_payload({
        "v": 1, "kind": "verdicts", "run_id": f"run-{run}", "step_id": f"s{step}", "attempt": 1, "part": "p",
        "chunk": str(number), "sets": [held],
    })  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_every_run_is_found_under_random_interleavings(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = SQLiteStore(tmp_path / "x.db")
    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
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
            sqlite_segments.compact(db, FileLock(tmp_path / "x.db"), tail_chunks=chance.randrange(1, 6), max_keys=16)
        if chance.random() < 0.3:
            store.write([Batch(decode(b"\n".join(lines)).records)])  # resent
        item = chance.choice(items)
        assert everywhere(store, item, limit=chance.randrange(1, 9)) == sorted(truth.get(item, set()))
    some = chance.sample(items, 40)
    assert {item: everywhere(store, item) for item in some} == {i: sorted(truth.get(i, set())) for i in some}
    assert db.execute("SELECT count(*) FROM item_segment").fetchone()[0] > 0
    db.close()
    store.close()


def everywhere(store: SQLiteStore, item: str, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = store.item_runs("default", item, pipeline=None, limit=limit, cursor=cursor)
        found += [run.run_id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return sorted(found)


def test_sets_too_large_for_a_segment_are_found_all_the_same(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    many = [f"m{n}" for n in range(segments.LARGE_SET + 1)]
    store.write([Batch(decode(chunk(1, 1, 1, many, named=False)).records)])
    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    assert sqlite_segments.compact(db, FileLock(tmp_path / "x.db"), tail_chunks=1) == 1
    assert db.execute("SELECT count(*) FROM item_tail").fetchone() == (0,)
    assert everywhere(store, "m77") == ["run-1"]
    assert everywhere(store, "nobody") == []
    db.close()
    store.close()


def test_the_store_compacts_in_the_background(tmp_path: Path) -> None:
    """Two hundred chunks later the tail is short, and closing the store leaves no thread behind."""
    store = SQLiteStore(tmp_path / "x.db")
    for run in range(0, 200, 20):
        lines = [chunk(each, 1, 1, [f"i{each}", "all"], named=True) for each in range(run, run + 20)]
        store.write([Batch(decode(b"\n".join(lines)).records)])
    store.close()
    store = SQLiteStore(tmp_path / "x.db")
    assert everywhere(store, "i150") == ["run-150"]
    assert len(everywhere(store, "all", limit=150)) == 200
    store.close()
