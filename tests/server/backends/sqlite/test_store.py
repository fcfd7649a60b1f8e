"""What is SQLite's own: plans, migrations, ids, documents.

Tests backends/relational/ids.py, backends/sqlite/migrate.py, read.py and records/documents.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xray_server.backends import open_store
from xray_server.backends.relational.ids import id_key, id_text
from xray_server.backends.relational.lists import list_run_steps, runs_query, steps_query
from xray_server.backends.sqlite.read import SQLiteDatabase
from xray_server.backends.sqlite.steps import OF_STEP
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.records.documents import pack, unpack
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch, RunFilter, StepFilter

from xray_core.errors import ConfigurationError


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[tuple[SQLiteDatabase, sqlite3.Connection]]:
    path = tmp_path / "xray.db"
    store = SQLiteStore(path)
    run = RunRecord(v=1, run_id="r", pipeline="p", tags={"env": "prod"})
    step = StepRecord(v=1, run_id="r", step_id="s", name="f", step_type="filter", reasons={"rejected": {"no": 1}})
    store.write([Batch([run, step])])
    connection = sqlite3.connect(path)
    yield SQLiteDatabase(connection), connection
    connection.close()
    store.close()


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (StepFilter(), "step_at"),
        (StepFilter(since_us=5), "step_at"),
        (StepFilter(step_type="filter"), "step_type_at"),
        (StepFilter(name="f"), "step_name_at"),
        (StepFilter(pipeline="p"), "step_pipeline_at"),
        (StepFilter(step_type="filter", rejection_rate_gt=0.9), "step_high_rate_at"),
        (StepFilter(status="failed", name="f"), "step_failed_at"),
        (StepFilter(duration_us_gt=20_000_000), "step_slow_at"),
        (StepFilter(reason="no"), "PRIMARY KEY"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cursor", [None, "MS4x"])
def test_a_list_of_steps_walks_its_index_and_sorts_nothing(
    reader: tuple[SQLiteDatabase, sqlite3.Connection], where: StepFilter, index: str, cursor: str | None
) -> None:
    sql, values = steps_query(reader[0], "default", where, cursor)
    plan = " | ".join(row[3] for row in reader[1].execute(f"EXPLAIN QUERY PLAN {sql} LIMIT 50", values))
    assert index in plan
    assert "SCAN" not in plan.replace("SCAN w ", "")
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (RunFilter(), "run_at"),
        (RunFilter(pipeline="p", since_us=1), "run_pipeline_at"),
        (RunFilter(status="failed"), "run_status_at"),
        (RunFilter(tag="env:prod"), "PRIMARY KEY"),
    ],
)
def test_a_list_of_runs_walks_its_index_and_sorts_nothing(
    reader: tuple[SQLiteDatabase, sqlite3.Connection], where: RunFilter, index: str
) -> None:
    sql, values = runs_query(reader[0], "default", where, None)
    plan = " | ".join(row[3] for row in reader[1].execute(f"EXPLAIN QUERY PLAN {sql} LIMIT 50", values))
    assert index in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("few", [1_000, 0])
def test_few_runs_with_a_text_are_looked_up_and_many_are_met_on_the_way_through_the_newest(
    reader: tuple[SQLiteDatabase, sqlite3.Connection], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_server.backends.relational.lists.FEW_RUNS", few)
    sql, values = runs_query(reader[0], "default", RunFilter(q="p"), None)
    plan = " | ".join(row[3] for row in reader[1].execute(f"EXPLAIN QUERY PLAN {sql} LIMIT 50", values))
    assert ("SEARCH run USING INTEGER PRIMARY KEY" in plan) == bool(few)
    assert ("run_at" in plan) == (not few)


def test_one_step_of_a_large_run_is_found_by_its_id(reader: tuple[SQLiteDatabase, sqlite3.Connection]) -> None:
    sql = f"SELECT pk FROM step WHERE {OF_STEP}"
    plan = " | ".join(row[3] for row in reader[1].execute(f"EXPLAIN QUERY PLAN {sql}", {"run": 1, "id": b"x" * 16}))
    assert "USING INDEX step_id (run=? AND <expr>=?)" in plan


def test_a_database_of_a_newer_x_ray_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "xray.db"
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer X-Ray"):
        SQLiteStore(path)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x", "sqlite:////no/such/dir/x.db", ""]
)
def test_an_address_that_names_no_store_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigurationError, match="XRAY_DATABASE_URL"):
        open_store(url)


def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello " * 1000)
    with pytest.raises(ConfigurationError, match="cannot open"):
        open_store(f"sqlite:///{tmp_path}/x.db")


@given(st.one_of(st.text(max_size=40), st.uuids().map(str), st.uuids().map(lambda u: str(u).upper())))
def test_an_id_comes_back_as_it_was_written(text: str) -> None:
    assert id_text(id_key(text)) == text


@given(
    st.recursive(st.one_of(st.none(), st.integers(), st.text()), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_a_document_comes_back_as_it_was_packed(value: object) -> None:
    assert unpack(pack(value)) == value


def test_a_question_sees_one_state_of_the_file_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    def steps_of(db: SQLiteDatabase) -> int:
        return len(list_run_steps(db, "default", "r", limit=100, cursor=None, name=None).items)

    def ask(db: SQLiteDatabase) -> tuple[int, int]:
        before = steps_of(db)
        store.write([Batch([StepRecord(v=1, run_id="r", step_id="later", name="f")])])
        return before, steps_of(db)

    store = SQLiteStore(tmp_path / "x.db")
    store.write([Batch([StepRecord(v=1, run_id="r", step_id=f"s{n}", name="f") for n in range(5)])])
    assert store._read(ask) == (5, 5)
    assert store._read(steps_of) == 6
    store.close()
