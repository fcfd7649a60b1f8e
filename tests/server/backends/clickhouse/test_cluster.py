"""Two shards of two replicas: any node may die at any moment, and the answers are SQLite's for the same records.

Tests cluster.py and replicas.py; in test-stack, since four servers take their time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from xray_server.backends import open_store
from xray_server.backends.clickhouse import replicas
from xray_server.backends.clickhouse.cluster import Group
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.clickhouse.replicas import catch_up
from xray_server.backends.clickhouse.store import ClickHouseStore
from xray_server.records.schema import (
    ClientRecord,
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)
from xray_server.store import Batch, RunFilter, StepFilter, Store, StoreUnavailableError
from xray_server.store.incomplete import noting_missing
from xray_server.upkeep.export import export_to, import_from

from tests.server import clickhouse
from tests.server.backends.clickhouse.test_store import cut_off, holding
from xray_core import verdicts

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
NOW = 1_764_000_000_000_000
PROJECTS = ("default", "other")
REASONS = ("price", "late", "fraud ?'", "")
ITEMS = [f"item-{n}" for n in range(40)]


def records_of(run_id: str, at_us: int, rng: random.Random) -> list[Record]:
    """A run of several parts and revisions, with retries, sets of both kinds, samples, and steps that nobody described."""
    pipeline = rng.choice(["flights", "Flights ü", "other"])
    made: list[Record] = [
        RunRecord(v=1, run_id=run_id, part=f"p{part}", rev=rev, pipeline=pipeline, started_us=at_us + part, input={"q": run_id},
                  status=rng.choice(["running", "completed", "failed"]), tags={"env": rng.choice(["prod", "test"]), f"t{part}": rev})
        for part in range(rng.randint(1, 2)) for rev in range(1, rng.randint(2, 4))
    ]  # fmt: skip
    for k in range(rng.randint(1, 4)):
        for attempt in range(1, rng.randint(2, 3)):
            key: dict[str, Any] = {"v": 1, "run_id": run_id, "step_id": f"s{k}", "attempt": attempt}
            for part in range(rng.randint(0, 2)):
                for rev in range(1, rng.randint(2, 4)):
                    rejected, reason = rng.randint(0, 50), rng.choice(REASONS)
                    made.append(StepRecord(
                        **key, part=f"p{part}", rev=rev, pipeline=pipeline, name=rng.choice(["filter", "rank"]), index=k,
                        step_type=rng.choice(["filter", "rank", None]), status=rng.choice(["completed", "failed", "running"]),
                        started_us=rng.choice([None, at_us + 10 * k + attempt]), duration_us=rng.choice([None, 5_000, 20_000_000]),
                        counts={"rejected": rejected, "accepted": 50 - rejected}, reasons={"rejected": {reason: rejected}},
                        input_count=rng.choice([None, 100]), metadata={"rev": rev},
                    ))  # fmt: skip
            held = rng.sample(ITEMS, rng.randint(1, 9))
            blob = verdicts.encode(map(verdicts.hash64, held))
            sets = [
                VerdictSet("rejected", len(held), rng.choice(REASONS), fp40=blob),
                VerdictSet("in", 2, None, [*held[:1], run_id]),
            ]
            made.append(VerdictsRecord(sets=sets, part="p0", chunk=str(attempt), **key))
            sample = Sample(held[0], "rejected", "late", {"price": rng.randint(0, 300)}, at_us=at_us)
            made.append(SamplesRecord(samples=sample_text([sample]), part="p0", chunk="live", rev=1, **key))
    rng.shuffle(made)
    return made


def batches_of(count: int, seed: int, name: str) -> list[Batch]:
    """Requests of a few records each; the records of a run come in any of them, some twice."""
    rng = random.Random(seed)
    requests: list[list[tuple[str, Record]]] = [[] for _ in range(max(1, count // 4))]
    for n in range(count):
        project = rng.choice(PROJECTS)
        for record in records_of(f"{name}-{n}", NOW + n * 1_800_000_000, rng):
            for _ in range(rng.choice([1, 1, 1, 2])):
                rng.choice(requests).append((project, record))
    requests[0].append(("default", ClientRecord(v=1, part=name, rev=seed, host="h", counters={"dropped": seed})))
    return [
        Batch([record for of, record in request if of == project], project, NOW)
        for request in requests
        for project in PROJECTS
        if any(of == project for of, _ in request)
    ]


def in_order(rows: list[Any]) -> list[Any]:
    """As answers of one time may come in any order, by time and content."""
    return sorted(rows, key=lambda row: (-row["at_us"], repr(row)))


def walk(ask: Callable[[str | None], Any]) -> list[Any]:
    items, cursor = [], None
    while True:
        page = ask(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            # a cursor is each store's own
            return [{name: value for name, value in asdict(item).items() if name != "cursor"} for item in items]


def answers(store: Store) -> dict[str, Any]:
    """What the store says to every question, of every run, in one value."""
    said: dict[str, Any] = {}
    for project in PROJECTS:
        for where in (
            RunFilter(), RunFilter(pipeline="flights"), RunFilter(status="failed"), RunFilter(tag="env:prod"), RunFilter(tag="t1"),
            RunFilter(q="FLIGHTS"), RunFilter(q="load-1"), RunFilter(q="test"), RunFilter(since_us=NOW + 9_000_000_000),
        ):  # fmt: skip
            said[f"{project} {where}"] = in_order(
                walk(lambda cursor, p=project, w=where: store.runs(p, w, limit=7, cursor=cursor))  # type: ignore[misc]
            )
        for of in (
            StepFilter(), StepFilter(status="failed"), StepFilter(reason="price"), StepFilter(reason="fraud ?'"), StepFilter(name="rank"),
            StepFilter(step_type="filter", rejection_rate_gt=0.5), StepFilter(rejection_rate_lt=0.2), StepFilter(duration_us_gt=5_000),
            StepFilter(pipeline="other", until_us=NOW + 9_000_000_000),
        ):  # fmt: skip
            said[f"{project} {of}"] = in_order(
                walk(lambda cursor, p=project, w=of: store.steps(p, w, limit=7, cursor=cursor))  # type: ignore[misc]
            )
        said[f"{project} sampled"] = in_order(
            walk(lambda cursor, p=project: store.sampled_steps(p, StepFilter(), limit=50, cursor=cursor))  # type: ignore[misc]
        )
        for item in (*ITEMS[:3], "never"):
            # runs whose verdicts came at one time may come in any order, sightings of one step too
            found = walk(lambda cursor, p=project, i=item: store.item_runs(p, i, pipeline=None, limit=5, cursor=cursor))  # type: ignore[misc]
            said[f"{project} {item}"] = in_order(
                [{**run, "sightings": sorted(map(repr, run["sightings"]))} for run in found]
            )
        said[f"{project} trend"] = store.trend(project, pipeline=None, name=None, since_us=0, until_us=NOW * 2)
        said[f"{project} names"] = sorted(map(repr, store.names(project, "", limit=99)))
        said[f"{project} pipelines"] = store.pipelines(project)
        said[f"{project} clients"] = sorted(map(repr, store.clients(project, limit=99)))
        for run in said[f"{project} {RunFilter()}"]:
            run_id = run["run_id"]
            steps = walk(lambda cursor, p=project, r=run_id: store.run_steps(p, r, limit=3, cursor=cursor))  # type: ignore[misc]
            of_run: dict[str, Any] = {
                "run": store.run(project, run_id),
                "steps": in_order(steps),
                "times": [step["at_us"] for step in steps],
                "groups": sorted(map(repr, store.step_groups(project, [run_id])[run_id])),
                "samples": store.samples(project, run_id),
                "sets": sorted(map(repr, store.sets(project, run_id))),
                "found": sorted(map(repr, store.look_up(project, run_id, ITEMS[0]))),
            }
            said.update((f"{project} {run_id} {question}", answer) for question, answer in of_run.items())
    dumped = walk(lambda cursor: store.dump(cursor=cursor, limit=20))
    said["dump"] = sorted(
        (run["project"], run["run_id"], run["received_us"], sorted(map(repr, run["records"]))) for run in dumped
    )
    return said


def differences(store: Store, expected: Store) -> list[str]:
    """The questions that are answered otherwise."""
    ours, theirs = answers(store), answers(expected)
    assert ours.keys() == theirs.keys()
    return [
        f"{question}: {ours[question]} instead of {theirs[question]}"
        for question in ours
        if ours[question] != theirs[question]
    ]


@pytest.fixture(scope="module")
def four() -> Iterator[list[clickhouse.Node]]:
    with clickhouse.nodes(4) as nodes:
        yield nodes


@pytest.fixture
def cluster(four: list[clickhouse.Node], control: Path) -> Iterator[ClickHouseStore]:
    with closing(open_store(clickhouse.cluster_url(four, control))) as store:
        assert isinstance(store, ClickHouseStore)
        yield store
    clickhouse.drop(clickhouse.cluster_url(four, control))


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/xray.db")) as store:
        yield store


def wait_until_all_hold_all(store: ClickHouseStore) -> None:
    deadline = time.monotonic() + 60
    while any(shard.behind(look=True) for shard in store._cluster.shards):
        assert time.monotonic() < deadline, "a replica did not catch up"
        for shard in store._cluster.shards:
            catch_up(shard)


@pytest.mark.parametrize("seed", range(2))
def test_every_question_is_answered_as_sqlite_answers_it(cluster: ClickHouseStore, sqlite: Store, seed: int) -> None:
    for batch in batches_of(20, seed, "load"):
        for store in (cluster, sqlite):
            assert store.write([batch]) == [{}]
    assert differences(cluster, sqlite) == []


def test_what_is_moved_from_store_to_store_is_answered_alike(
    cluster: ClickHouseStore, sqlite: Store, tmp_path: Path
) -> None:
    """From SQLite into a cluster, and from there into another SQLite."""
    for batch in batches_of(10, 9, "load"):
        sqlite.write([replace(batch, records=[each for each in batch.records if not isinstance(each, ClientRecord)])])
    export_to(sqlite, tmp_path / "there.ndjson.gz")
    assert import_from(cluster, tmp_path / "there.ndjson.gz", target="cluster").whole
    assert differences(cluster, sqlite) == []
    export_to(cluster, tmp_path / "back.ndjson.gz")
    with closing(open_store(f"sqlite:///{tmp_path}/back.db")) as back:
        assert import_from(back, tmp_path / "back.ndjson.gz", target="back").whole
        assert differences(back, sqlite) == []


def test_a_node_that_is_killed_under_load_costs_no_acknowledged_record_and_doubles_none(
    cluster: ClickHouseStore, sqlite: Store, four: list[clickhouse.Node]
) -> None:
    waiting = batches_of(24, 7, "load")
    stop, acknowledged = threading.Event(), []

    def deliver() -> None:
        """As a client does: in order, and again until it is answered."""
        for batch in waiting:
            while not stop.is_set():
                try:
                    assert cluster.write([batch]) == [{}]
                    acknowledged.append(batch)
                    break
                except StoreUnavailableError:
                    time.sleep(0.05)  # as a client waits before it tries again

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 120
        while len(acknowledged) < count:
            assert time.monotonic() < deadline, "writing does not go on"
            time.sleep(0.01)  # between two looks, up to the deadline

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        for n, node in enumerate(four):
            wait_for((2 * n + 1) * len(waiting) // 9)
            node.kill()
            wait_for((2 * n + 2) * len(waiting) // 9)  # with one replica of its shard
            assert cluster.runs("default", RunFilter(), limit=5).items, "reading goes on"
            node.start()
            wait_until_all_hold_all(cluster)
    finally:
        thread.join(120)
        stop.set()
    assert len(acknowledged) == len(waiting)
    wait_until_all_hold_all(cluster)
    for batch in waiting:
        sqlite.write([batch])
    assert differences(cluster, sqlite) == []
    for first, second in ((four[0], four[2]), (four[1], four[3])):  # and each replica has all of it
        first.kill()
        second.kill()
        assert differences(cluster, sqlite) == []
        first.start()
        second.start()
        wait_until_all_hold_all(cluster)


def test_of_a_dead_shard_the_rest_is_answered_it_is_named_and_writes_to_it_wait(
    cluster: ClickHouseStore, sqlite: Store, four: list[clickhouse.Node]
) -> None:
    batches = batches_of(12, 3, "load")
    for batch in batches:
        cluster.write([batch])
        sqlite.write([batch])
    alive = {
        run.run_id
        for run in sqlite.runs("default", RunFilter(), limit=99).items
        if cluster._cluster.number_of(run.run_id) == 0
    }
    lost = next(run.run_id for run in sqlite.runs("default", RunFilter(), limit=99).items if run.run_id not in alive)
    four[2].kill()
    four[3].kill()
    try:
        with noting_missing() as missing:
            found = {run.run_id for run in cluster.runs("default", RunFilter(), limit=99).items}
        assert found == alive
        assert [name[:7] for name in missing] == ["shard 2"]
        assert cluster.health().details["unavailable"] == missing
        assert cluster.run("default", next(iter(alive))) is not None
        with pytest.raises(StoreUnavailableError, match="shard 2"):
            cluster.run("default", lost)
        late = batches_of(8, 4, "late")
        for batch in late:
            with pytest.raises(StoreUnavailableError):
                cluster.write([batch])
    finally:
        four[2].start()
        four[3].start()
    for batch in late:
        cluster.write([batch])
        sqlite.write([batch])
    wait_until_all_hold_all(cluster)
    assert differences(cluster, sqlite) == []


def test_a_run_and_an_item_that_were_deleted_do_not_come_back_with_a_replica_that_was_away(
    cluster: ClickHouseStore, sqlite: Store, four: list[clickhouse.Node]
) -> None:
    for batch in batches_of(12, 5, "load"):
        cluster.write([batch])
        sqlite.write([batch])
    gone = next(
        run.run_id
        for run in sqlite.runs("default", RunFilter(), limit=99).items
        if cluster._cluster.number_of(run.run_id) == 0
    )
    four[1].kill()
    try:
        assert cluster.delete_run("default", gone, NOW)
        assert cluster.delete_item("default", ITEMS[0], NOW * 2) > 0
    finally:
        four[1].start()
    wait_until_all_hold_all(cluster)
    four[0].kill()
    try:
        assert cluster.run("default", gone) is None
        assert cluster.item_runs("default", ITEMS[0], pipeline=None, limit=9).items == []
        assert cluster.item_deleted_us("default", ITEMS[0]) == NOW * 2
        rows = four_rows(cluster, f"SELECT count() FROM run WHERE run_id = '{gone}'")
        assert rows == 0
    finally:
        four[0].start()
        wait_until_all_hold_all(cluster)


def test_what_a_server_did_not_come_to_write_down_as_missed_is_on_both_replicas_once_it_is_sent_again(
    cluster: ClickHouseStore, four: list[clickhouse.Node], control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies after it wrote to one replica, and before it says what the other, which was away, has missed."""
    kept, gone = [name for n in range(20) if cluster._cluster.number_of(name := f"run-{n}") == 0][:2]
    url = clickhouse.cluster_url(four, control)

    def written(name: str) -> list[Batch]:
        of_run = [
            RunRecord(v=1, run_id=name, part="a", pipeline="p", started_us=NOW),
            StepRecord(v=1, run_id=name, step_id="s", part="a", started_us=NOW),
        ]
        heard_of = SamplesRecord(1, name, "heard of", sample_text([]), 1, "a", "live", 1)
        return [Batch([*of_run, heard_of], "default", NOW)]

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    assert cluster.write(written(gone)) == [{}]
    four[1].kill()
    with closing(open_store(url)) as dies, monkeypatch.context() as patched:
        patched.setattr(Group, "close", killed)
        with pytest.raises(KeyboardInterrupt):
            dies.write(written(kept))
        with pytest.raises(KeyboardInterrupt):
            dies.delete_run("default", gone, NOW)
    four[1].start()
    with closing(open_store(url)) as store:
        assert isinstance(store, ClickHouseStore)
        assert store.write(written(kept)) == [{}]
        store.delete_run("default", gone, NOW)
        for node in store._cluster.shards[0].nodes:
            assert node.rows(f"SELECT count() > 0 FROM missed WHERE node = '{node.name}'") == [(0,)]
            for table in ("run", "step", "step_list", "run_list"):
                found = node.rows(f"SELECT DISTINCT run_id FROM {table} WHERE run_id IN ('{kept}', '{gone}')")
                assert found == [(kept,)], (node.name, table)
            assert node.rows("SELECT DISTINCT step_id FROM step ORDER BY step_id") == [("heard of",), ("s",)]


def of_first_shard(store: ClickHouseStore) -> str:
    return next(name for n in range(20) if store._cluster.number_of(name := f"run-{n}") == 0)


def test_what_a_replica_misses_again_while_it_catches_up_is_copied_whatever_the_clock_of_who_notes_it_says(
    four: list[clickhouse.Node], control: Path, cluster: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster._replicas.close()
    name = of_first_shard(cluster)
    copy, now = replicas._copy_runs, time.time_ns
    with closing(open_store(clickhouse.cluster_url(four, control))) as lags:
        assert isinstance(lags, ClickHouseStore)
        lags._replicas.close()

        def write(store: ClickHouseStore, rev: int) -> None:
            store._cluster.shards[0].nodes[1].down_until_s = time.monotonic() + 60
            record = RunRecord(v=1, run_id=name, part="a", rev=rev, pipeline="p", started_us=NOW)
            assert store.write([Batch([record], "default", NOW)]) == [{}]

        def copied_then_missed(*of: Any) -> None:
            copy(*of)
            monkeypatch.setattr(replicas, "_copy_runs", copy)
            with monkeypatch.context() as patched:
                patched.setattr(time, "time_ns", lambda: now() - 3_600_000_000_000)
                write(lags, 2)

        write(cluster, 1)
        monkeypatch.setattr(replicas, "_copy_runs", copied_then_missed)
        wait_until_all_hold_all(cluster)
    for node in cluster._cluster.shards[0].nodes:
        assert node.rows(f"SELECT max(ver) >= 512 FROM run WHERE run_id = '{name}'") == [(1,)], node.name


def test_a_run_and_an_item_that_are_deleted_while_they_are_copied_do_not_come_back(
    four: list[clickhouse.Node], control: Path, cluster: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster._replicas.close()
    gone, kept = [name for n in range(20) if cluster._cluster.number_of(name := f"run-{n}") == 0][:2]
    cluster._cluster.shards[0].nodes[1].down_until_s = time.monotonic() + 60
    assert cluster.write(holding(gone, "the-item", "other") + holding(kept, "the-item", "other")) == [{}, {}]
    paste = Node.paste
    with closing(open_store(clickhouse.cluster_url(four, control))) as deletes:

        def after_deleting(node: Node, table: str, block: bytes) -> None:
            if table == "evidence":
                monkeypatch.setattr(Node, "paste", paste)
                assert deletes.delete_run("default", gone, NOW)
                assert deletes.delete_item("default", "the-item", NOW * 2) == 1
            paste(node, table, block)

        monkeypatch.setattr(Node, "paste", after_deleting)
        wait_until_all_hold_all(cluster)
    for node in cluster._cluster.shards[0].nodes:
        for table in ("evidence", "item", "state"):
            assert node.rows(f"SELECT DISTINCT run_id FROM {table}") == [(kept,)], (node.name, table)
        assert node.rows("SELECT count() FROM evidence WHERE data LIKE '%the-item%'") == [(0,)], node.name


@pytest.mark.parametrize("statement", ["INSERT evidence", "INSERT state", "ALTER TABLE evidence", "ALTER TABLE item"])
def test_deleting_an_item_that_was_cut_off_between_two_replicas_is_done_on_both_where_it_is_asked_again(
    four: list[clickhouse.Node],
    control: Path,
    cluster: ClickHouseStore,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    assert cluster.write(holding(of_first_shard(cluster), "the-item", "other")) == [{}]
    with closing(open_store(clickhouse.cluster_url(four, control))) as dies, monkeypatch.context() as patched:
        cut_off(patched, statement, lambda node: node.name.endswith(f":{four[1].port}"))
        with pytest.raises(KeyboardInterrupt):
            dies.delete_item("default", "the-item", NOW * 2)
    assert cluster.delete_item("default", "the-item", NOW * 2) == 1
    assert cluster.item_deleted_us("default", "the-item") == NOW * 2
    for node in cluster._cluster.shards[0].nodes:
        for table, texts in (("evidence", "concat(head, data, text)"), ("state", "doc")):
            assert node.rows(f"SELECT count() FROM {table} WHERE {texts} LIKE '%the-item%'") == [(0,)], node.name
        gone = verdicts.fingerprint("the-item")
        assert node.rows(f"SELECT count() FROM item WHERE fp = {gone}") == [(0,)], node.name


def four_rows(store: ClickHouseStore, statement: str) -> int:
    return int(store._cluster.shards[0].rows(statement)[0][0])


def test_a_server_starts_while_a_replica_is_away(four: list[clickhouse.Node], control: Path) -> None:
    url = clickhouse.cluster_url(four, control)
    four[1].kill()
    try:
        with closing(open_store(url)) as store:
            assert isinstance(store, ClickHouseStore)
            for batch in batches_of(8, 6, "load"):
                assert store.write([batch]) == [{}]
            four[1].start()
            wait_until_all_hold_all(store)
            four[0].kill()
            assert store.runs("default", RunFilter(), limit=9).items
            four[0].start()
    finally:
        for node in four[:2]:
            node.kill()
            node.start()
    clickhouse.drop(url)
