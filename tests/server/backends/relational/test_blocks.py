"""Blocks: whatever the order in which records come, the newest of each is there once; and what was kept before.

Tests backends/relational/migrations.py.
"""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xray_server.backends import open_store
from xray_server.backends.relational import blocks
from xray_server.backends.relational.blocks import BLOCK_BYTES, SMALL_BYTES, Block, Key, Revisioned
from xray_server.records.documents import pack
from xray_server.records.schema import StepRecord
from xray_server.store import Batch, Store

from tests.server import postgresql

_keys = st.tuples(st.integers(1, 9), st.integers(0, 1), st.sampled_from(["live", "\0"]))
# random bytes do not compress: a text for a small block, for one of its own, and for more than one should hold
_TEXTS = {size: random.Random(size).randbytes(size) for size in (2, SMALL_BYTES, BLOCK_BYTES + 1)}
_writes = st.lists(
    st.dictionaries(_keys, st.tuples(st.integers(0, 3), st.sampled_from(sorted(_TEXTS))), min_size=1, max_size=4),
    max_size=6,
)


@settings(deadline=None)  # packs texts of some length; how long that takes is no claim of the test
@given(_writes)
def test_after_any_writes_the_newest_of_each_record_is_there_once(writes: list[dict[Key, tuple[int, int]]]) -> None:
    stored: dict[int, Block] = {}
    newest: dict[Key, Revisioned] = {}
    for sizes in writes:
        records: dict[Key, Revisioned] = {key: (rev, _TEXTS[size]) for key, (rev, size) in sizes.items()}
        first, last = min(records)[0], max(records)[0]
        asked = [
            (low, block.data)
            for low, block in stored.items()
            if (low <= last and block.high >= first) or len(block.data) < SMALL_BYTES
        ]
        gone, made = blocks.rewrite_blocks(records, asked)
        for low in gone:
            del stored[low]
        assert not stored.keys() & {block.low for block in made}
        stored.update((block.low, block) for block in made)
        for key, kept in records.items():
            blocks.keep(newest, key, kept)
    found = [each for block in stored.values() for each in blocks.unpacked(block.low, block.data)]
    assert sorted(found) == sorted(newest.items())
    for block in stored.values():
        steps = [step for (step, _, _), _ in blocks.unpacked(block.low, block.data)]
        assert (min(steps), max(steps)) == (block.low, block.high)


def test_a_block_of_before_there_was_a_dictionary_is_read() -> None:
    text = b'[[0,2,"live",7,2],[3,2,"live",8,4]]\n[][{}]'
    assert list(blocks.unpacked(40, b"\x01" + zlib.compress(text))) == [
        ((40, 2, "live"), (7, b"[]")), ((43, 2, "live"), (8, b"[{}]")),
    ]  # fmt: skip


def test_what_reading_one_step_unpacks_is_bounded_by_a_block_or_by_the_step_itself() -> None:
    text = b"x" * (BLOCK_BYTES // 3)
    made = blocks.packed({(step, 0, "live"): (1, text) for step in range(100)})
    assert [block.high - block.low for block in made] == [2] * 33 + [0]


@pytest.mark.parametrize("data", [b"", b"\x02later", b"\x01damaged", b"\x01" + b"\x78\x9c\x03\x00\x00\x00\x00\x01"])
def test_a_block_that_cannot_be_read_says_so(data: bytes) -> None:
    with pytest.raises(ValueError, match="a stored block is"):
        list(blocks.unpacked(1, data))


# The steps of this run had samples a row a chunk: schema 4 of SQLite, 3 of PostgreSQL.
_SAMPLES: list[Any] = ["i1", "rejected", "late", {"minutes": 90, "text": "\0é"}, 0.5, 3, 1.5, 7]
_OLD_ROWS = [("s1", "live", [_SAMPLES]), ("s1", "2", [["i2", *_SAMPLES[1:]]]), ("s2", "live", [_SAMPLES, _SAMPLES])]


def _assert_moved(store: Store) -> None:
    found = store.samples("default", "r")
    assert {key: [each["item_id"] for each in samples] for key, samples in found.items()} == {
        ("s1", 1): ["i1", "i2"],
        ("s2", 1): ["i1"],
    }
    assert found["s2", 1][0]["details"] == _SAMPLES[3]
    assert (found["s2", 1][0]["rank"], found["s2", 1][0]["at_us"]) == (3, 7)


def _steps() -> list[Any]:
    return [StepRecord(v=1, run_id="r", step_id=step, attempt=1, part="a", name=step) for step in ("s1", "s2")]


def test_sqlite_moves_the_samples_of_an_older_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with_steps = open_store(f"sqlite:///{path}")
    with_steps.write([Batch(_steps(), "default", 1)])
    with_steps.close()
    with closing(sqlite3.connect(path)) as db, db:
        _to_before(
            db,
            "sqlite",
            "DROP TABLE deleted_item; DROP TABLE deleted_run; DROP TABLE sample_block; DROP TABLE step_block; DROP INDEX item_segment_last; "
            "ALTER TABLE item_segment DROP COLUMN last; PRAGMA user_version = 4",
        )
        for step, chunk, samples in _OLD_ROWS:
            db.execute(
                "INSERT INTO sample_chunk (step, part, chunk, rev, n, doc) "
                "SELECT step.pk, part.id, ?, 1, 1, ? FROM step, part WHERE step.id = ? AND part.text = 'a'",
                (chunk, pack(samples), step),
            )
    store = open_store(f"sqlite:///{path}")
    _assert_moved(store)
    store.close()


def test_postgresql_moves_the_samples_of_an_older_schema(postgres_url: str) -> None:
    with postgresql.schema(postgres_url) as url:
        _postgresql_moves(url)


def _postgresql_moves(url: str) -> None:
    with_steps = open_store(url)
    with_steps.write([Batch(_steps(), "default", 1)])
    with_steps.close()
    with psycopg.connect(url, autocommit=True) as db:
        _to_before(
            db,
            "postgres",
            "DROP TABLE deleted_item, deleted_run, sample_block, item_tail, item_large, item_segment; DELETE FROM schema_version WHERE number >= 4",
        )
        db.execute("CREATE TABLE week PARTITION OF sample_chunk DEFAULT")
        for step, chunk, samples in _OLD_ROWS:
            db.execute(
                "INSERT INTO sample_chunk (run, step, part, chunk, rev, n, doc) SELECT step.run, step.pk, part.id, %s, 1, 1, %s "
                "FROM step, part WHERE step.id = %s AND part.text = 'a'",
                (chunk, pack(samples), b"t" + step.encode()),
            )
    store = open_store(url)
    _assert_moved(store)
    store.close()


def _to_before(db: Any, kind: str, statements: str) -> None:
    """Put the table of samples of the first schema back."""
    first = resources.files(f"xray_server.backends.{kind}").joinpath("migrations/0001_first.sql").read_text()
    made = [each for each in first.split(";\n") if "sample_chunk" in each]
    run: Callable[[str], Any] = db.executescript if kind == "sqlite" else db.execute
    run(";\n".join([statements, *made, ""]))
