"""What is PostgreSQL's own: several processes at once, migrations, partitions, lost connections, ids and text.

Tests backends/postgres/dictionary.py, migrate.py, partitions.py, read.py, text.py and write.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xray_server.backends import open_store
from xray_server.backends.postgres import partitions
from xray_server.backends.postgres.read import PostgresDatabase
from xray_server.backends.postgres.store import PostgresStore
from xray_server.backends.postgres.text import escape_text, id_bytes, id_of_bytes, unescape_text
from xray_server.backends.relational.cursors import make_cursor
from xray_server.backends.relational.lists import runs_query, steps_query
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch, RunFilter, StepFilter

from tests.server import postgresql
from tests.server.make_records import records_of
from xray_core.errors import ConfigurationError

PROJECT = "default"
T0 = 1_760_000_000_000_000


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with postgresql.schema(postgres_url) as own:
        yield own


def test_processes_that_start_at_once_on_an_empty_database_migrate_it_once(url: str) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def begin() -> None:
        try:
            start.wait(20)
            PostgresStore(url).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_database_of_a_newer_x_ray_is_refused_in_words(url: str) -> None:
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("INSERT INTO schema_version (number) VALUES (9999)")
    with pytest.raises(ConfigurationError, match=r"newer X-Ray.*schema 9999"):
        PostgresStore(url)


@pytest.mark.parametrize(
    "address",
    ["postgresql://nobody:secret@127.0.0.1:1/none", "postgresql://host/db?no_such_option=1", "postgresql://[bad"],
)
def test_an_address_that_cannot_be_used_is_refused_in_words_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError, match="XRAY_DATABASE_URL") as refused:
        open_store(address)
    assert "secret" not in str(refused.value)


@pytest.mark.swallows
def test_a_store_whose_connections_were_cut_goes_on(
    url: str, postgres_url: str, no_swallowed_errors: list[tuple[str, Exception]]
) -> None:
    """As after a restart of the database: one write may be refused with `try again`, reads find new connections.

    The compactor may have been at work on a connection of its own: that says so, and tries again.
    """
    from xray_server.store import StoreUnavailableError

    with closing(PostgresStore(url)) as store:
        store.write([Batch(records_of(1, "a"), PROJECT, T0)])
        assert store.run(PROJECT, "run-1") is not None
        with psycopg.connect(postgres_url, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        assert store.run(PROJECT, "run-1") is not None
        with pytest.raises(StoreUnavailableError):
            store.write([Batch(records_of(2, "a"), PROJECT, T0)])
        assert store.write([Batch(records_of(2, "a"), PROJECT, T0)]) == [{}]
        assert store.run(PROJECT, "run-2") is not None
    assert {site for site, _ in no_swallowed_errors} <= {"compacting item segments"}


def test_a_run_lies_in_the_week_of_its_start_whatever_its_id_and_a_mad_clock_opens_no_other(url: str) -> None:
    week_us = 7 * partitions.DAY_US
    with closing(PostgresStore(url)) as store:
        for i, started in enumerate((T0, T0 - 3 * week_us, 0, 253_402_300_799_999_999, None)):
            run = RunRecord(v=1, run_id=f"run {i}", part="a", started_us=started)
            store.write([Batch([run, StepRecord(v=1, run_id=f"run {i}", step_id="s", part="a")], PROJECT, T0)])
        with closing(store.connect()) as db:
            weeks = partitions.existing(db)["step"]
    this = T0 // partitions.DAY_US // 7
    assert set(weeks) <= {this, this + 1, this - 3, this - 104, this - 105}
    assert {this, this - 3} <= set(weeks)


def test_dropping_a_week_that_was_interrupted_is_finished_and_does_not_stop_writing(url: str) -> None:
    with closing(PostgresStore(url)) as store, psycopg.connect(url) as reading:
        store.write([Batch(records_of(1, "a"), PROJECT, T0)])
        week = T0 // partitions.DAY_US // 7
        with closing(store.connect()) as db:
            reading.execute("SELECT count(*) FROM step")  # in a transaction: detaching waits for its end
            db.execute("SET statement_timeout = '300ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                partitions.drop(db, "step", week)
            reading.rollback()
            partitions.drop(db, "step", week)
            name = partitions.partition_name("step_reason", week)
            db.execute(f"ALTER TABLE step_reason DETACH PARTITION {name}")  # and killed before the DROP
        assert store.write([Batch(records_of(2, "a"), PROJECT, T0)]) == [{}]
        assert [step.step_id for step in store.run_steps(PROJECT, "run-2", limit=10).items] == ["s"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.text(alphabet=["a", "\x00", "\ue000", "0"]))
def test_text_and_ids_come_back_as_they_were_written(any_text: str, nasty: str) -> None:
    for text in (any_text, nasty):
        assert unescape_text(escape_text(text)) == text
        assert "\x00" not in escape_text(text)
        assert id_of_bytes(id_bytes(text)) == text
    assert (escape_text(any_text) == escape_text(nasty)) == (any_text == nasty)


@pytest.mark.parametrize(
    "where",
    [
        StepFilter(), StepFilter(since_us=5), StepFilter(step_type="filter"), StepFilter(name="step of a"), StepFilter(pipeline="p"),
        StepFilter(step_type="filter", rejection_rate_gt=0.9), StepFilter(status="failed"), StepFilter(duration_us_gt=20_000_000),
        StepFilter(reason="reason a 1"), RunFilter(), RunFilter(pipeline="p", since_us=1), RunFilter(status="failed"), RunFilter(tag="a:1"),
    ],
)  # fmt: skip
def test_a_list_walks_an_index_in_its_order_in_every_week(url: str, where: StepFilter | RunFilter) -> None:
    """No sequential scan, no hash, no sort of all: at most of the rows that share a microsecond."""
    with closing(PostgresStore(url)) as store:
        for week in range(3):
            run = RunRecord(
                v=1, run_id=f"w{week}", part="a", pipeline="p", started_us=T0 - week * 7 * partitions.DAY_US
            )
            store.write(
                [
                    Batch(
                        [run, *records_of(1, "a"), StepRecord(v=1, run_id=f"w{week}", step_id="s", part="a")],
                        PROJECT,
                        T0,
                    )
                ]
            )

        def explain(db: PostgresDatabase) -> str:
            query = steps_query if isinstance(where, StepFilter) else runs_query
            sql, values = query(db, PROJECT, where, make_cursor(T0, 1))  # type: ignore[operator]
            return "\n".join(row[0] for row in db.rows(f"EXPLAIN {sql} LIMIT 50", values))

        plan = store._read(explain)
    assert "Index" in plan
    for word in ("Seq Scan", "Hash", "Materialize", "Bitmap"):
        assert word not in plan, plan
    assert "Sort" not in plan.replace("Incremental Sort", "").replace("Sort Key", "").replace("Presorted", ""), plan
