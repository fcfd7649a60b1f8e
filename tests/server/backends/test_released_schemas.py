"""A database of every released schema opens, is brought up to date, and then takes and answers what a new one does.

Tests backends/sqlite/migrate.py, backends/postgres/migrate.py and backends/relational/migrations.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import psycopg
import pytest
from xray_server.backends import open_store
from xray_server.backends.postgres import samples
from xray_server.backends.relational import blocks, item_index
from xray_server.store import Batch, Store

from tests.server import postgresql
from tests.server.make_records import records_of

PROJECT = "default"


def migrations(kind: str) -> list[tuple[int, str]]:
    """(number, SQL) of each migration, in order."""
    files = resources.files(f"xray_server.backends.{kind}").joinpath("migrations").iterdir()
    return sorted(
        (int(file.name.split("_", 1)[0]), file.read_text(encoding="utf-8"))
        for file in files
        if file.name.endswith(".sql")
    )


def assert_works(store: Store) -> None:
    assert store.check() == []
    assert store.write([Batch(records_of(1, "a"), PROJECT, 1)]) == [{}]
    assert store.run(PROJECT, "run-1") is not None
    steps = store.run_steps(PROJECT, "run-1", limit=10).items
    assert steps
    assert store.samples(PROJECT, "run-1", [step.key for step in steps])
    assert store.check() == []


@pytest.mark.parametrize("version", [number for number, _ in migrations("sqlite")])
def test_a_sqlite_file_of_every_released_schema_opens(tmp_path: Path, version: int) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("xray_last_chunk", 1, item_index.last_key, deterministic=True)
        db.create_aggregate("xray_sample_block", 5, blocks.SampleBlockAggregate)  # type: ignore[arg-type]
        for number, text in migrations("sqlite"):
            if number <= version:
                db.executescript(f"BEGIN;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert_works(store)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (migrations("sqlite")[-1][0],)


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with postgresql.schema(postgres_url) as own:
        yield own


@pytest.mark.parametrize("version", [number for number, _ in migrations("postgres")])
def test_a_postgresql_schema_of_every_release_opens(url: str, version: int) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE schema_version (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
        for number, text in migrations("postgres"):
            if number <= version:
                with db.transaction():
                    db.execute(text.encode())
                    if number == 4:
                        samples.move_chunks(db)
                    db.execute("INSERT INTO schema_version (number) VALUES (%s)", (number,))
    with closing(open_store(url)) as store:
        assert_works(store)
