"""What is ClickHouse's own: its address, its statements, migrations, several writers, the control database.

Tests store.py, address.py, alerts.py, cluster.py, node.py, replicas.py, migrate.py, sql.py, places.py, health.py, delete.py, dump.py, erase.py,
figures.py, items.py, names.py and prune.py of clickhouse; what all stores answer is in the contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from xray_server.alerts.store import KeepsAlerts
from xray_server.backends import open_store
from xray_server.backends.clickhouse.address import DEFAULT_CONTROL, parse_address
from xray_server.backends.clickhouse.delete import OF_RUNS
from xray_server.backends.clickhouse.migrate import statements
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.clickhouse.places import make_place, parse_place
from xray_server.backends.clickhouse.replicas import in_bounds
from xray_server.backends.clickhouse.sql import bind, literal
from xray_server.backends.clickhouse.store import ClickHouseStore
from xray_server.backends.clickhouse.write import ShardWriter
from xray_server.ingest.committer import Committer
from xray_server.records.schema import Record, RunRecord, StepRecord, VerdictSet, VerdictsRecord
from xray_server.store import BadCursorError, Batch, Prune, RunFilter, StepFilter, StoreUnavailableError

from tests.server.conftest import LoopbackServer
from xray_core import verdicts
from xray_core.errors import ConfigurationError

NOW = 1_764_000_000_000_000
HOUR_US = 3_600_000_000
WEEK_US = 168 * HOUR_US


def test_an_address_names_shards_replicas_a_database_and_where_keys_are_kept() -> None:
    plain = parse_address("clickhouse://ana:p%40ss@db.example/xray")
    assert plain.shards == ((("db.example", 8123),),)
    assert (plain.database, plain.user, plain.password) == ("xray", "ana", "p@ss")
    assert plain.control == DEFAULT_CONTROL
    assert "p@ss" not in plain.location
    many = parse_address(
        "clickhouse://u@/x?shards=a:1,b:2|c,[::1]:4&control=postgresql%3A%2F%2Fh%2Fd&secure=1&replicated=1"
    )
    assert many.shards == ((("a", 1), ("b", 2)), (("c", 8443), ("::1", 4)))
    assert (many.control, many.secure, many.replicated) == ("postgresql://h/d", True, True)


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://h",
        "clickhouse://h:port/x",
        "clickhouse://h/a/b",
        "clickhouse://h/x?shards=a:1,,b",
        "clickhouse://h/x?shard=a",
    ],
)
def test_an_address_that_cannot_be_read_says_what_to_write(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write clickhouse://user@host:8123/xray"):
        parse_address(url)


def test_a_server_that_does_not_answer_is_a_mistake_that_is_told_at_the_start(control: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot open clickhouse://127\.0\.0\.1:1/x"):
        open_store(f"clickhouse://127.0.0.1:1/x?control=sqlite:///{control}")


def test_that_a_node_is_away_is_logged_once_however_often_it_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    node = Node("127.0.0.1", 1, parse_address("clickhouse://127.0.0.1:1/x"), lambda _: None)
    for _ in range(3):
        with pytest.raises(
            StoreUnavailableError, match=r"ClickHouse 127\.0\.0\.1:1 cannot answer just now: no connection$"
        ):
            node.rows("SELECT 1")
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("xray", "clickhouse"))]
    assert said == ["X-Ray: ClickHouse 127.0.0.1:1 does not answer."]


def test_values_are_bound_whatever_is_in_them(store: ClickHouseStore) -> None:
    (node,) = store._cluster.shards[0].nodes
    for value in ("it's", "a\\'b", "?", "\0", "\n\t\r", "ü🛫", "%s", "{x:String}", ""):
        assert node.rows(bind("SELECT ? AS a, length(?)", value, value))[0][0] == value
    assert literal(("a",)) == "('a',)"
    assert node.rows(bind("SELECT 1 WHERE ('a', 1) IN ?", [("a", 1)])) != []
    with pytest.raises(ValueError, match="1 marks and 2 values"):
        bind("?", 1, 2)
    with pytest.raises(TypeError):
        literal(object())


def test_a_place_in_a_list_comes_back_and_another_is_refused() -> None:
    assert parse_place(make_place(NOW, "r?", "s", 1), "issi") == [NOW, "r?", "s", 1]
    for types in ("iss", "iiii", "issii"):
        with pytest.raises(BadCursorError):
            parse_place(make_place(NOW, "r?", "s", 1), types)


def test_the_replicated_form_of_every_table_names_its_path_and_replica() -> None:
    files = resources.files("xray_server.backends.clickhouse").joinpath("migrations").iterdir()
    for file in files:
        text = file.read_text(encoding="utf-8")
        plain, replicated = statements(text, replicated=False), statements(text, replicated=True)
        assert len(plain) == len(replicated)
        assert not any("{" in each for each in plain)
        for each in replicated:
            if each.startswith("CREATE VIEW"):
                continue
            assert "Replicated" in each
            assert "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'" in each
            assert "{replacing}" not in each


def test_a_database_of_a_newer_xray_is_not_opened(store: ClickHouseStore, address: str) -> None:
    (node,) = store._cluster.shards[0].nodes
    node.command("INSERT INTO schema_version (number) VALUES (999)")
    try:
        with pytest.raises(ConfigurationError, match="written by a newer X-Ray"):
            open_store(address)
    finally:
        node.command("ALTER TABLE schema_version DELETE WHERE number = 999 SETTINGS mutations_sync = 2")


def test_a_migration_that_was_cut_off_is_begun_again(store: ClickHouseStore, address: str) -> None:
    (node,) = store._cluster.shards[0].nodes
    node.command("TRUNCATE TABLE schema_version SYNC")
    node.command("DROP TABLE missed SYNC")
    with closing(open_store(address)) as again:
        assert again.write([Batch([step("a", 1)], "default", NOW)]) == [{}]
        assert again.run("default", "r") is not None
    assert node.rows("SELECT count() FROM missed") == [(0,)]


def step(part: str, rejected: int, rev: int = 1) -> Record:
    return StepRecord(v=1, run_id="r", step_id="s", attempt=1, part=part, rev=rev, name="n", pipeline="p", status="completed",
                      started_us=NOW, counts={"rejected": rejected}, reasons={"rejected": {part: rejected}})  # fmt: skip


def test_two_processes_that_write_parts_of_one_step_at_once_list_it_as_both_say(
    store: ClickHouseStore, address: str
) -> None:
    """Each reads before the other has written; whoever looks last sees both."""
    with closing(open_store(address)) as other:
        assert isinstance(other, ClickHouseStore)
        first, second = store._writers[0], other._writers[0]
        met = second._meet_others

        def meanwhile(runs: object, steps: object, inserted: object) -> None:
            first.write([Batch([step("a", 3), RunRecord(v=1, run_id="r", part="a", tags={"a": "x"})], "default", NOW)])
            met(runs, steps, inserted)  # type: ignore[arg-type]

        second._meet_others = meanwhile  # type: ignore[method-assign,assignment]
        second.write([Batch([step("b", 4), RunRecord(v=1, run_id="r", part="b", tags={"b": "y"})], "default", NOW)])
    (found,) = store.steps("default", StepFilter(reason="a"), limit=9).items
    assert found.ledger.rejected == 7
    assert store.steps("default", StepFilter(reason="b"), limit=9).items == [found]
    assert [run.run_id for run in store.runs("default", RunFilter(tag="a:x"), limit=9).items] == ["r"]
    assert [run.run_id for run in store.runs("default", RunFilter(tag="b:y"), limit=9).items] == ["r"]
    (group,) = store.step_groups("default", ["r"])["r"]
    assert group.rejected == 7
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert point.reasons == {"a": 3, "b": 4}


@pytest.mark.parametrize(
    "starts", [(NOW, NOW + 2 * HOUR_US), (NOW + 2 * HOUR_US, NOW), (None, NOW), (NOW, None), (None, None)]
)
def test_of_two_processes_that_write_one_step_at_once_none_leaves_it_at_a_place_that_it_has_left(
    store: ClickHouseStore, address: str, starts: tuple[int | None, int | None]
) -> None:
    """Each read before the other wrote: what one of them listed by what it knew is no other step."""
    with closing(open_store(address)) as other:
        assert isinstance(other, ClickHouseStore)
        first, second = store._writers[0], other._writers[0]
        write = second._write

        def batch(part: str, started_us: int | None, received_us: int) -> list[Batch]:
            records = [
                RunRecord(v=1, run_id="r", part=part, pipeline="p", started_us=started_us),
                msgspec.structs.replace(step(part, 3), started_us=started_us),
            ]
            return [Batch(records, "default", received_us)]

        def after_the_first(*read: Any) -> None:
            first.write(batch("a", starts[0], NOW + 5 * HOUR_US))
            write(*read)

        second._write = after_the_first  # type: ignore[method-assign]
        second.write(batch("b", starts[1], NOW + 3 * HOUR_US))
    (found,) = store.steps("default", StepFilter(), limit=9).items
    assert found.at_us == min((each for each in starts if each is not None), default=NOW + 3 * HOUR_US)
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert (point.at_us, point.steps, point.rejected) == (found.at_us // HOUR_US * HOUR_US, 1, 6)
    assert [(each.kind, each.n) for each in store.names("default", "p", limit=9)] == [("pipeline", 1)]
    assert store.health().runs == 1


def test_an_item_is_deleted_by_mutations_that_a_replicated_table_takes_and_no_older_row_stays(
    store: ClickHouseStore,
) -> None:
    """A replicated table refuses those that ask a table, whatever they are allowed."""
    (node,) = store._cluster.shards[0].nodes
    node.command("SYSTEM STOP MERGES")
    try:
        for rev in (1, 2):
            records = [
                RunRecord(v=1, run_id="r", part="a", rev=rev, started_us=NOW, input={"id": "the-item"}),
                step("a", rev, rev=rev),
                VerdictsRecord(1, "r", "s", [VerdictSet("rejected", 2, "late", ["the-item", "other"])], 1, "a", "0"),
            ]
            assert store.write([Batch(records, "default", NOW)]) == [{}]
    finally:
        node.command("SYSTEM START MERGES")
    assert store.delete_item("default", "the-item", NOW * 2) == 1
    mutations = node.rows("SELECT command FROM system.mutations WHERE database = currentDatabase() AND table != 'item'")
    assert mutations
    assert not [command for (command,) in mutations if "SELECT" in command]
    for table in ("state", "evidence"):
        text = node.rows(f"SELECT count(), countIf(concat({TEXTS[table]}) LIKE '%the-item%') FROM {table}")
        assert text == [(len(node.rows(f"SELECT 1 FROM {table} FINAL")), 0)]
    assert [each.n for each in store.sets("default", "r")] == [2]


def holding(run_id: str, *ids: str, chunk: str = "0") -> list[Batch]:
    records = [
        RunRecord(v=1, run_id=run_id, part="a", pipeline="p", started_us=NOW, input={"id": ids[0]}),
        VerdictsRecord(1, run_id, "s", [VerdictSet("rejected", len(ids), "late", list(ids))], 1, "a", chunk),
    ]
    return [Batch(records, "default", NOW)]


@pytest.mark.parametrize("statement", ["INSERT state", "ALTER TABLE state", "ALTER TABLE evidence", "ALTER TABLE item"])
@pytest.mark.parametrize("others", [1, 17_000])
def test_deleting_an_item_that_was_cut_off_goes_on_where_it_is_asked_again(
    store: ClickHouseStore, address: str, monkeypatch: pytest.MonkeyPatch, statement: str, others: int
) -> None:
    assert store.write(holding("r", "the-item", *(f"other {n}" for n in range(others)))) == [{}]
    (node,) = store._cluster.shards[0].nodes
    with closing(open_store(address)) as dies, monkeypatch.context() as patched:
        cut_off(patched, statement)
        with pytest.raises(KeyboardInterrupt):
            dies.delete_item("default", "the-item", NOW * 2)
    assert store.delete_item("default", "the-item", NOW * 2) == 1
    assert store.item_deleted_us("default", "the-item") == NOW * 2
    for table, texts in TEXTS.items():
        assert node.rows(f"SELECT count() FROM {table} WHERE concat({texts}) LIKE '%the-item%'") == [(0,)]
    assert node.rows(bind("SELECT count() FROM item WHERE fp = ?", verdicts.fingerprint("the-item"))) == [(0,)]
    assert [run.run_id for run in store.item_runs("default", "other 0", pipeline=None, limit=9).items] == ["r"]
    assert store.delete_item("default", "the-item", NOW * 2) == 0


def test_a_run_that_is_deleted_while_an_item_is_taken_out_of_it_does_not_come_back(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.write(holding("r", "the-item", "other")) == [{}]
    insert = Node.insert

    def after_deleting(node: Node, table: str, rows: Any) -> None:
        if table == "listed":
            monkeypatch.setattr(Node, "insert", insert)
            assert store.delete_run("default", "r", NOW)
        insert(node, table, rows)

    monkeypatch.setattr(Node, "insert", after_deleting)
    store.delete_item("default", "the-item", NOW * 2)
    (node,) = store._cluster.shards[0].nodes
    for table in OF_RUNS:
        assert node.rows(f"SELECT count() FROM {table} WHERE run_id = 'r'") == [(0,)], table


def test_an_item_that_was_deleted_while_a_server_that_then_died_wrote_it_is_gone_once_it_is_sent_again(
    store: ClickHouseStore, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent again is written without it, but of a chunk the first copy stays."""
    assert store.write(holding("known", "the-item", "other")) == [{}]
    write = ShardWriter._write

    def written_and_died(*of: Any) -> None:
        assert store.delete_item("default", "the-item", NOW * 2) == 1
        write(*of)
        raise KeyboardInterrupt

    with closing(open_store(address)) as dies, monkeypatch.context() as patched:
        patched.setattr(ShardWriter, "_write", written_and_died)
        with pytest.raises(KeyboardInterrupt):
            dies.write(holding("r", "the-item", "other"))
    (again,) = holding("r", "the-item", "other")
    assert store.write([replace(again, received_us=NOW + 1)]) == [{}]
    (node,) = store._cluster.shards[0].nodes
    for table, texts in TEXTS.items():
        assert node.rows(f"SELECT count() FROM {table} WHERE concat({texts}) LIKE '%the-item%'") == [(0,)]
    assert store.item_runs("default", "the-item", pipeline=None, limit=9).items == []


def cut_off(patched: pytest.MonkeyPatch, statement: str, on: Callable[[Node], bool] = lambda node: True) -> None:
    """The server dies when it comes to this statement."""
    insert, command = Node.insert, Node.command

    def inserted(node: Node, table: str, rows: Any) -> None:
        if f"INSERT {table}" == statement and on(node):
            raise KeyboardInterrupt
        insert(node, table, rows)

    def commanded(node: Node, text: str) -> None:
        if text.startswith(statement) and on(node):
            raise KeyboardInterrupt
        command(node, text)

    patched.setattr(Node, "insert", inserted)
    patched.setattr(Node, "command", commanded)


def test_deleting_an_item_leaves_the_index_of_what_is_being_written(store: ClickHouseStore) -> None:
    """The rows of `item` may come before the chunk that they are of."""
    assert store.write(holding("r", "the-item", "other")) == [{}]
    (node,) = store._cluster.shards[0].nodes
    coming = bind("fp = ?", verdicts.fingerprint("coming"))
    node.insert("item", [("default", NOW // WEEK_US, verdicts.fingerprint("coming"), "r", NOW)])
    assert store.delete_item("default", "the-item", NOW * 2) == 1
    assert node.rows(f"SELECT count() FROM item WHERE {coming}") == [(1,)]


def two_weeks(
    store: ClickHouseStore, address: str, starts: tuple[int | None, int | None], received_us: int = NOW
) -> None:
    """A run that two processes began, each before it saw what the other knew."""
    with closing(open_store(address)) as other:
        assert isinstance(other, ClickHouseStore)
        first, second = store._writers[0], other._writers[0]
        write = second._write

        def batch(part: str, started_us: int | None) -> list[Batch]:
            rev = 1 + (started_us is not None)  # the greater says in which week the run is listed
            record = RunRecord(v=1, run_id="r", part=part, rev=rev, pipeline="p", started_us=started_us)
            return [Batch([record, *holding("r", f"of {part}", chunk=part)[0].records[1:]], "default", received_us)]

        def after_the_first(*read: Any) -> None:
            first.write(batch("a", starts[0]))
            write(*read)

        second._write = after_the_first  # type: ignore[method-assign]
        second.write(batch("b", starts[1]))
    (node,) = store._cluster.shards[0].nodes
    assert len(node.rows("SELECT DISTINCT week FROM state")) == 2


def pruned(store: ClickHouseStore, order: Prune) -> None:
    cursor: str | None = None
    while True:
        _, cursor = store.prune(order, cursor=cursor, limit=99)
        if cursor is None:
            break


@pytest.mark.parametrize("starts", [(NOW - WEEK_US, None), (NOW, NOW - WEEK_US)])
def test_a_run_that_two_processes_began_in_two_weeks_goes_from_both(
    store: ClickHouseStore, address: str, starts: tuple[int, int | None]
) -> None:
    two_weeks(store, address, starts)
    assert store.write(holding("stays", "an-item")) == [{}]
    pruned(store, Prune("ledgers", NOW, pipeline="p"))
    (node,) = store._cluster.shards[0].nodes
    for table in OF_RUNS:
        assert node.rows(f"SELECT count() FROM {table} WHERE run_id = 'r'") == [(0,)], table
    assert [run.run_id for run in store.runs("default", RunFilter(), limit=9).items] == ["stays"]


@pytest.mark.parametrize("starts", [(None, 60_000_000), (60_000_000, None)])
def test_a_week_stays_while_a_run_that_was_begun_in_it_too_is_young(
    store: ClickHouseStore, address: str, starts: tuple[int | None, int | None]
) -> None:
    end = (NOW // WEEK_US + 1) * WEEK_US
    first, second = (None if each is None else end + each for each in starts)
    two_weeks(store, address, (first, second), end - 60_000_000)
    assert store.write([Batch([RunRecord(v=1, run_id="old", part="a", started_us=NOW)], "default", NOW)]) == [{}]
    pruned(store, Prune("ledgers", end, nobody_keeps_longer=True))
    assert {each.n for each in store.sets("default", "r")} == {1}
    assert len(list(store.sets("default", "r"))) == 2


@pytest.mark.parametrize("longest", [True, False])
def test_what_is_written_into_a_week_while_it_is_pruned_stays(
    store: ClickHouseStore, address: str, monkeypatch: pytest.MonkeyPatch, longest: bool
) -> None:
    start = NOW // WEEK_US * WEEK_US
    assert store.write([Batch([RunRecord(v=1, run_id="old", part="a", started_us=start)], "default", NOW)]) == [{}]
    with closing(open_store(address)) as imports, monkeypatch.context() as patched:
        waiting, command = holding("young", "an-item"), Node.command

        def after_the_import(node: Node, statement: str) -> None:
            if waiting:
                assert imports.write([waiting.pop()]) == [{}]
            command(node, statement)

        patched.setattr(Node, "command", after_the_import)
        pruned(store, Prune("ledgers", NOW, nobody_keeps_longer=longest))
    assert [run.run_id for run in store.runs("default", RunFilter(), limit=9).items] == ["young"]
    assert [each.n for each in store.sets("default", "young")] == [1]


def test_runs_that_a_replica_missed_are_copied_as_many_at_once_as_fit_into_memory(store: ClickHouseStore) -> None:
    names = [("default", f"r{n}") for n in range(4)]
    for n, (_, run_id) in enumerate(names[:3]):
        ids = [f"{n} {k}" for k in range(100)]
        chunk = VerdictsRecord(1, run_id, "s", [VerdictSet("rejected", 100, "late", ids)], 1, "a", "0")
        assert store.write([Batch([chunk], "default", NOW)]) == [{}]
    (node,) = store._cluster.shards[0].nodes
    assert list(in_bounds(node, names)) == [names]
    ((size,),) = node.rows("SELECT DISTINCT length(head) + length(data) FROM evidence")
    assert list(in_bounds(node, names, size // 2)) == [[name] for name in names[:3]] + [names[3:]]
    assert list(in_bounds(node, names, size)) == [names[:1], names[1:2], names[2:]]
    assert list(in_bounds(node, names, 2 * size)) == [names[:2], names[2:]]


TEXTS = {"state": "doc, ''", "evidence": "head, data, text"}


def test_what_is_to_be_judged_is_noted_in_the_control_database_after_the_records(store: ClickHouseStore) -> None:
    assert isinstance(store, KeepsAlerts)
    alerts = store.alert_store()
    seen: list[bool] = []

    def select(batches: object) -> list[bytes]:
        seen.append(store.run("default", "r") is not None)
        return [b"note"]

    alerts.watch(select)
    try:
        store.write([Batch([step("a", 1)], "default", NOW)])
    finally:
        alerts.watch(None)
    assert seen == [True]
    assert [note for _, note in alerts.notes(9)] == [b"note"]
    assert alerts.leads()


def test_health_says_how_many_parts_there_are_and_how_much_room(store: ClickHouseStore) -> None:
    store.write([Batch([step("a", 1), RunRecord(v=1, run_id="r", part="a", started_us=NOW)], "default", NOW)])
    health = store.health()
    assert (health.kind, health.runs, health.newest_us) == ("clickhouse", 1, NOW)
    assert health.details["parts"] >= 2
    assert health.details["free_bytes"] > 0
    assert health.details["rows_an_insert"] == 2
    assert store.check() == []


def test_metrics_have_parts_replicas_and_the_size_of_inserts(store: ClickHouseStore) -> None:
    store.write([Batch([step("a", 1)], "default", NOW)])
    server = LoopbackServer(store)
    try:
        deadline = time.monotonic() + 20
        text = ""
        while "xray_store_up 1.0" not in text:  # a busy machine's store may be late for one answer
            assert time.monotonic() < deadline, text
            text = httpx.get(f"{server.url}/metrics").text
    finally:
        server.stop()
    figures = dict(line.split() for line in text.splitlines() if line.startswith("xray_store_"))
    assert float(figures["xray_store_parts"]) >= 2
    assert float(figures["xray_store_parts_in_fullest_partition"]) >= 1
    assert float(figures["xray_store_rows_an_insert"]) == 2  # a step, and that its run was heard of
    assert (float(figures["xray_store_replicas_behind"]), float(figures["xray_store_shards_away"])) == (0, 0)


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_many_small_requests_are_grouped_so_that_parts_do_not_pile_up(store: ClickHouseStore) -> None:
    """As many as there are cores for: a request of one step each, from eight clients that do not wait for one another."""
    committer = Committer(store, max_waiting_batches=5_000)
    most = 0
    try:
        waiting = []
        for n in range(4_000):
            record = StepRecord(
                v=1, run_id=f"r{n}", step_id="s", attempt=1, part="a", rev=1, name="n", started_us=NOW + n
            )
            waiting.append(committer.submit(Batch([record], "default", NOW), 300))
            if n % 500 == 0:
                most = max(most, store.health().details["parts_in_fullest_partition"])
        assert [future.result(300) for future in waiting] == [{}] * 4_000
        counters = committer.counters()
    finally:
        committer.close()
    assert (counters.failed_commits, counters.turned_away) == (0, 0)
    assert counters.commits < 400
    assert max(most, store.health().details["parts_in_fullest_partition"]) < 300
    (point,) = store.trend("default", pipeline=None, name="n", since_us=0, until_us=NOW * 2)
    assert point.steps == 4_000
