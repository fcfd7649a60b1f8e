"""What is wrong in ClickHouse with the query that one would write first, and right with ours, on the same rows.

Tests lists.py, parts.py, samples.py, hours.py, rows.py and write.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from xray_server.backends.clickhouse.hours import add_up
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.clickhouse.store import ClickHouseStore
from xray_server.read.sample_search import DecisionFilter, DetailTest, search
from xray_server.records.schema import Record, RunRecord, SamplesRecord, StepRecord
from xray_server.store import Batch, RunFilter, StepFilter

NOW = 1_764_000_000_000_000
DAY_US = 86_400_000_000


@pytest.fixture
def node(store: ClickHouseStore) -> Iterator[Node]:
    """The server, told not to merge: what a query must bear at any time."""
    (node,) = store._cluster.shards[0].nodes
    node.command("SYSTEM STOP MERGES")
    yield node
    node.command("SYSTEM START MERGES")


def step(rev: int, status: Any, rejected: int, *, at_us: int = NOW, run_id: str = "r", part: str = "a") -> StepRecord:
    return StepRecord(v=1, run_id=run_id, step_id="s", attempt=1, part=part, rev=rev, name="n", pipeline="p", status=status, started_us=at_us,
                      counts={"rejected": rejected, "accepted": 10 - rejected}, reasons={"rejected": {"late": rejected}})  # fmt: skip


def write(store: ClickHouseStore, *records: Record, received_us: int = NOW) -> None:
    assert store.write([Batch(list(records), "default", received_us)]) == [{}]


def count(node: Node, rest: str) -> int:
    return int(node.rows(f"SELECT count() FROM {rest}")[0][0])


def listed(store: ClickHouseStore, **where: Any) -> list[str]:
    return [each.run_id for each in store.steps("default", StepFilter(**where), limit=9).items]


def test_a_filter_before_the_newest_revision_is_chosen_finds_what_does_not_hold_any_more(
    store: ClickHouseStore, node: Node
) -> None:
    write(store, step(1, "failed", 10))
    write(store, step(2, "completed", 0))
    assert count(node, "step_list WHERE status = 3 OR rate > 0.9") == 1, "the naive query"
    assert count(node, "listed FINAL PREWHERE rate > 0.9") == 1, (
        "FINAL does not help where the filter is moved before it"
    )
    assert listed(store, status="failed") == listed(store, rejection_rate_gt=0.9) == listed(store, reason="late") == []
    assert listed(store, status="completed") == ["r"]


def test_a_skip_index_under_final_hides_the_revision_that_counts(node: Node, store: ClickHouseStore) -> None:
    """No table of ours has one on a column that may change; this is why."""
    node.command(
        "CREATE TABLE naive (k UInt64, rate Float64, rev UInt64, INDEX i rate TYPE minmax GRANULARITY 1) "
        "ENGINE = ReplacingMergeTree(rev) ORDER BY k SETTINGS index_granularity = 64"
    )
    try:
        node.command("INSERT INTO naive SELECT number, 0.95, 1 FROM numbers(1000)")
        node.command("INSERT INTO naive SELECT number, 0.01, 2 FROM numbers(1000)")
        inexact = "SETTINGS use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0"
        assert count(node, f"naive FINAL WHERE rate > 0.9 {inexact}") == 1000
        assert count(node, "naive FINAL WHERE rate > 0.9") == 0
    finally:
        node.command("DROP TABLE naive SYNC")
    assert count(node, "system.data_skipping_indices WHERE database = currentDatabase()") == 0


def test_rows_of_one_key_in_two_partitions_never_merge_and_are_one_run_all_the_same(
    store: ClickHouseStore, node: Node
) -> None:
    """As when two processes begin a run at midnight: each has chosen a day."""
    write(store, RunRecord(v=1, run_id="r", part="a", rev=1, pipeline="p", started_us=NOW), step(1, "running", 4))
    columns = ", ".join(row[0] for row in node.rows("DESCRIBE TABLE state"))
    other = columns.replace("week", "week + 1").replace(" ver,", " ver + 256,")
    node.command(f"INSERT INTO state ({columns}) SELECT {other} FROM state")
    node.command("SYSTEM START MERGES")
    node.command("OPTIMIZE TABLE state FINAL")
    assert count(node, "run") == count(node, "step") == 2
    assert count(node, "state FINAL WHERE kind = 1 SETTINGS do_not_merge_across_partitions_select_final = 1") == 2, (
        "the naive query"
    )
    (run,) = store.runs("default", RunFilter(), limit=9).items
    assert (run.step_count, len(store.run_steps("default", "r", limit=9).items)) == (1, 1)
    (found,) = store.dump(cursor=None, limit=9).items
    assert [record["kind"] for record in found.records] == ["run", "step"]


def test_one_token_for_other_data_loses_the_second_block_in_silence(node: Node, store: ClickHouseStore) -> None:
    """Nothing is inserted under a token: the same key with a greater version is what makes an insert idempotent."""
    node.command(
        "CREATE TABLE naive (k UInt64) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"
    )
    try:
        for k in (1, 1, 2):
            node.command(
                f"INSERT INTO naive SETTINGS insert_deduplicate = 1, insert_deduplication_token = 't' VALUES ({k})"
            )
        assert count(node, "naive WHERE k = 2") == 0
    finally:
        node.command("DROP TABLE naive SYNC")
    for rejected in (1, 1, 2):
        write(store, step(rejected, "completed", rejected))
    assert store.step("default", "r", "s")[0].ledger.rejected == 2


def test_a_table_that_replaces_rows_takes_no_projection(node: Node, store: ClickHouseStore) -> None:
    """By default it is refused; where it is allowed, it is lost or out of date when rows are replaced. We have none."""
    with pytest.raises(DatabaseError, match="deduplicate_merge_projection_mode"):
        node.command(
            "CREATE TABLE naive (k UInt64, rate Float64, rev UInt64, PROJECTION p (SELECT * ORDER BY rate)) "
            "ENGINE = ReplacingMergeTree(rev) ORDER BY k"
        )
    assert count(node, "system.projections WHERE database = currentDatabase()") == 0


def test_a_materialised_view_would_add_up_each_copy_of_what_comes_after_it_and_nothing_of_before(
    node: Node, store: ClickHouseStore
) -> None:
    assert count(node, "system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'") == 0
    write(store, step(1, "completed", 2, run_id="before"))
    node.command(
        "CREATE MATERIALIZED VIEW naive (steps UInt64, rejected UInt64) ENGINE = SummingMergeTree ORDER BY () "
        "AS SELECT count() AS steps, sum(rejected) AS rejected FROM listed WHERE kind = 1"
    )
    try:
        write(store, step(1, "completed", 4))
        write(store, step(2, "completed", 6))
        assert node.rows("SELECT sum(steps), sum(rejected) FROM naive") == [(2, 10)], (
            "both revisions of the second, and no first"
        )
    finally:
        node.command("DROP TABLE naive SYNC")
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert (point.steps, point.rejected) == (2, 8)


def test_sums_that_were_made_hold_until_somebody_writes_to_their_hour(node: Node, store: ClickHouseStore) -> None:
    write(store, step(1, "completed", 4))
    write(store, step(1, "completed", 4), step(2, "completed", 6))
    assert count(node, "step_list WHERE name = 'n'") > 1, "what a view would have added up"
    shard = store._cluster.shards[0]
    for _ in range(2):
        (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
        assert (point.steps, point.rejected, point.reasons) == (1, 6, {"late": 6})
        add_up(shard, quiet_before_us=time.time_ns())
    assert count(node, "hourly") == 1, "the second answer came from what was added up"
    write(store, step(3, "completed", 7))
    (point,) = store.trend("default", pipeline="p", name="n", since_us=0, until_us=NOW * 2)
    assert point.rejected == 7, "a sum that was made before does not hold any more"


def test_a_step_that_moves_in_time_leaves_no_sum_behind(store: ClickHouseStore, node: Node) -> None:
    write(store, step(1, "running", 4))
    write(store, step(2, "completed", 4, at_us=NOW - 5 * DAY_US))
    add_up(store._cluster.shards[0], quiet_before_us=time.time_ns())
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert point.at_us < NOW - 4 * DAY_US
    assert [each.at_us for each in store.steps("default", StepFilter(), limit=9).items] == [NOW - 5 * DAY_US]


def test_a_run_that_is_deleted_counts_once_in_hours_that_were_added_up(store: ClickHouseStore, node: Node) -> None:
    """Its sums are kept apart, and those that were made with it hold no more."""
    node.command("SYSTEM START MERGES")
    write(store, step(1, "completed", 4), step(1, "completed", 2, run_id="other"))
    shard = store._cluster.shards[0]
    assert add_up(shard, quiet_before_us=time.time_ns()) == 1
    assert store.delete_run("default", "r", NOW)
    for _ in range(2):
        points = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
        assert [(each.steps, each.rejected) for each in points] == [(2, 6)]
        add_up(shard, quiet_before_us=time.time_ns())


def test_an_hour_of_which_nothing_is_left_is_added_up_once(store: ClickHouseStore, node: Node) -> None:
    node.command("SYSTEM START MERGES")
    write(store, step(1, "completed", 4))
    write(store, step(2, "completed", 4, at_us=NOW - 5 * DAY_US))
    assert [add_up(store._cluster.shards[0], quiet_before_us=time.time_ns()) for _ in range(2)] == [2, 0]
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert point.at_us < NOW - 4 * DAY_US


def test_of_a_step_of_hundreds_of_parts_the_newest_sum_counts(store: ClickHouseStore, node: Node) -> None:
    """Versions are times: of more than forty of them 64 bits would not hold the sum."""
    for task in range(60):
        write(store, step(NOW + task, "completed", 1, part=f"task {task}"))
    ((group,),) = store.step_groups("default", ["r"]).values()
    assert (group.steps, group.rejected) == (1, 60)
    (point,) = store.trend("default", pipeline=None, name=None, since_us=0, until_us=NOW * 2)
    assert (point.steps, point.rejected) == (1, 60)
    assert count(node, "(SELECT DISTINCT ver FROM step_list)") == 60


HARD = [
    {"price": "cheap"}, {}, {"a.b": 1, "a": {"b": 2}}, {"m": 9007199254740993}, {"m": "t"}, {"m": 1.5}, {"z": "a\0b"}, {"price": None},
]  # fmt: skip


def test_details_come_back_as_they_were_sent_where_a_json_column_would_refuse_or_change_them(
    store: ClickHouseStore, node: Node
) -> None:
    node.command("CREATE TABLE naive (k UInt64, d JSON(price Float64)) ENGINE = MergeTree ORDER BY k")
    refused: Sequence[int] = [k for k, details in enumerate(HARD) if not _takes(node, k, details)]
    changed = [k for k, text in node.rows("SELECT k, toString(d) FROM naive ORDER BY k") if json.loads(text) != HARD[k]]
    node.command("DROP TABLE naive SYNC")
    assert refused
    assert changed
    text = json.dumps([{"item_id": str(k), "outcome": "rejected", "details": each} for k, each in enumerate(HARD)])
    write(store, SamplesRecord(1, "r", "s", _raw(text), 1, "a", "live", 1))
    found = store.samples("default", "r")["s", 1]
    assert [each["details"] for each in sorted(found, key=lambda each: int(each["item_id"]))] == HARD


def test_numbers_in_details_are_compared_where_a_json_column_throws_loses_or_makes_them_up(
    store: ClickHouseStore, node: Node
) -> None:
    large = 9_007_199_254_740_993  # 2^53 + 1: no Float64 holds it
    given: list[dict[str, Any]] = [{"m": large}, {"m": "t"}, {"m": 1.5}, {"x": 1}]
    node.command("CREATE TABLE naive (k UInt64, d JSON(price Float64)) ENGINE = MergeTree ORDER BY k")
    try:
        assert all(_takes(node, k, details) for k, details in enumerate(given))
        with pytest.raises(DatabaseError):
            node.rows("SELECT k FROM naive WHERE d.m > 1")
        assert count(node, "naive WHERE accurateCastOrNull(d.m, 'Float64') > 1") == 1, "the large one is lost"
        assert count(node, "naive WHERE d.price < 1") == 4, "none of them has a price"
    finally:
        node.command("DROP TABLE naive SYNC")
    samples = [{"item_id": str(k), "outcome": "rejected", "details": each} for k, each in enumerate(given)]
    write(store, step(1, "completed", 4), SamplesRecord(1, "r", "s", _raw(json.dumps(samples)), 1, "a", "live", 1))

    def found(path: str, comparison: Any, value: str) -> set[str]:
        chosen = DecisionFilter(where=StepFilter(), details=[DetailTest(path, comparison, value)])
        page = search(store, "default", chosen, limit=9, cursor=None)
        return {each["item_id"] for each in page["decisions"]}

    assert found("m", "gt", "1") == {"0", "2"}
    assert found("price", "lt", "1") == set()


def _raw(text: str) -> Any:
    import msgspec

    return msgspec.Raw(text.encode())


def _takes(node: Node, k: int, details: dict[str, Any]) -> bool:
    row = json.dumps({"k": k, "d": details}).replace("'", "''").replace("\\", "\\\\")
    try:
        node.command(f"INSERT INTO naive FORMAT JSONEachRow {row}")
    except DatabaseError:
        return False
    return True
