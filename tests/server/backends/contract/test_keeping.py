"""What the stores keep, and for how long: retention, export and import, checks. Both stores, the same answers.

Tests backends/relational/dump.py, to_wire.py, backends/sqlite/prune.py, backends/postgres/prune.py, upkeep/export.py and
retention.py.
"""

from __future__ import annotations

import gzip
import io
import math
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xray_server.errors import TransferError
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
from xray_server.store import Batch, RunFilter, StepFilter, Store
from xray_server.upkeep.export import export_stream, export_to, import_from
from xray_server.upkeep.retention import parse_policy, prune

from tests.server.backends.contract.test_merging import state_of
from xray_core import verdicts
from xray_core.errors import ConfigurationError

PROJECT = "default"
DAY_US = 86_400_000_000
NOW_US = 1_760_000_000_000_000
AGES = (0, 1, 5, 20, 40, 100)  # days


def run_of(pipeline: str, days: int) -> list[Record]:
    run_id, at = f"{pipeline}-{days}", NOW_US - days * DAY_US - 1_000_000
    return [
        RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline=pipeline, status="completed", started_us=at, tags={"t": days}),
        *[
            StepRecord(
                v=1, run_id=run_id, step_id=f"s{k}", attempt=1, part="a", rev=1, pipeline=pipeline, name="filter", started_us=at + k,
                counts={"rejected": 2}, reasons={"rejected": {"late": 1, "price": 1}}, input_count=3, output_count=1,
            )
            for k in range(3)
        ],
        VerdictsRecord(1, run_id, "s0", [VerdictSet("rejected", 2, "late", ["x", "y"])], 1, "a", "0"),
        SamplesRecord(1, run_id, "s0", sample_text([Sample("x", "rejected", "late", {"price": 7})]), 1, "a", "live", 1),
    ]  # fmt: skip


@pytest.fixture
def aged(store: Store) -> Store:
    """Runs of two pipelines, of every age."""
    for days in reversed(AGES):
        records = [record for pipeline in ("p", "q") for record in run_of(pipeline, days)]
        assert store.write([Batch(records, PROJECT, NOW_US - days * DAY_US)]) == [{}]
    return store


def kept(store: Store, pipeline: str) -> dict[int, str]:
    """Age -> what is left of the run: `l`edger, `v`erdicts, `d`etails."""
    found = {}
    for run in store.runs(PROJECT, RunFilter(pipeline=pipeline), limit=100).items:
        assert run.step_count == len(store.run_steps(PROJECT, run.run_id, limit=10).items) == 3
        verdicts_left = list(store.sets(PROJECT, run.run_id))
        details = store.samples(PROJECT, run.run_id)
        found[int(run.run_id.split("-")[1])] = "l" + ("v" if verdicts_left else "") + ("d" if details else "")
    return found


def test_details_go_before_verdicts_and_verdicts_before_ledgers(aged: Store) -> None:
    policy = parse_policy(["details=2d,verdicts=10d,ledgers=30d", "q:ledgers=300d"])
    prune(aged, policy, now_us=NOW_US, pause=lambda seconds: None)
    assert kept(aged, "p") == {0: "lvd", 1: "lvd", 5: "lv", 20: "l"}
    assert kept(aged, "q") == dict.fromkeys(AGES, "lvd")
    assert {step.run_id for step in aged.steps(PROJECT, StepFilter(reason="price", pipeline="p"), limit=100).items} == {
        "p-0", "p-1", "p-5", "p-20"
    }  # fmt: skip
    assert aged.check() == []


def test_what_is_kept_longest_may_go_up_to_a_week_late_and_never_early(aged: Store) -> None:
    """PostgreSQL drops whole weeks, SQLite is exact; what is young enough is there in both."""
    prune(aged, parse_policy(["30d"]), now_us=NOW_US, pause=lambda seconds: None)
    for pipeline in ("p", "q"):
        assert kept(aged, pipeline) == {0: "lvd", 1: "lvd", 5: "lvd", 20: "lvd"}
    assert aged.runs(PROJECT, RunFilter(tag="t:100"), limit=10).items == []
    assert (
        sum(point.steps for point in aged.trend(PROJECT, pipeline=None, name=None, since_us=0, until_us=NOW_US)) == 24
    )
    prune(aged, parse_policy(["30d"]), now_us=NOW_US, pause=lambda seconds: None)
    assert aged.check() == []


def test_pipelines_that_are_kept_equally_long_go_alike(aged: Store) -> None:
    prune(aged, parse_policy(["10d", "q:details=1d,ledgers=10d"]), now_us=NOW_US)
    for pipeline in ("p", "q"):
        assert kept(aged, pipeline).keys() <= {0, 1, 5}
        assert [aged.run(PROJECT, f"{pipeline}-{days}") for days in (20, 40, 100)] == [None] * 3
        assert list(aged.sets(PROJECT, f"{pipeline}-20")) == []


def test_a_run_whose_pipeline_is_not_known_goes_with_none_of_them(store: Store) -> None:
    at = NOW_US - 40 * DAY_US
    unknown = RunRecord(v=1, run_id="u", part="a", rev=1, status="completed", started_us=at)
    assert store.write([Batch([*run_of("p", 40), unknown], PROJECT, at)]) == [{}]
    prune(store, parse_policy(["p:10d"]), now_us=NOW_US)
    assert store.run(PROJECT, "p-40") is None
    assert store.run(PROJECT, "u") is not None
    assert [run.run_id for run in store.runs(PROJECT, RunFilter(), limit=9).items] == ["u"]


def test_pruning_in_the_smallest_steps_comes_to_the_same(aged: Store) -> None:
    for order in parse_policy(["p:ledgers=10d", "q:details=2d,ledgers=300d"]).orders(NOW_US):
        cursor: str | None = None
        for _ in range(500):
            _, cursor = aged.prune(order, cursor=cursor, limit=1)
            if cursor is None:
                break
        assert cursor is None
    assert kept(aged, "p") == {0: "lvd", 1: "lvd", 5: "lvd"}
    assert kept(aged, "q") == {0: "lvd", 1: "lvd", 5: "lv", 20: "lv", 40: "lv", 100: "lv"}
    assert aged.check() == []


def test_client_processes_are_forgotten_once_nobody_keeps_anything_of_their_time(aged: Store) -> None:
    """A program that a timer starts leaves one with each start, with the name of its host."""
    for days in (40, 20):
        at_us = NOW_US - days * DAY_US
        assert aged.write([Batch([ClientRecord(v=1, part=f"c{days}-{n}", host="h") for n in range(3)], PROJECT, at_us)])
    for words, left in ((["30d", "q:90d"], 6), (["details=1d"], 6), (["30d"], 3)):
        for order in parse_policy(words).orders(NOW_US):
            cursor: str | None = None
            for _ in range(500):
                _, cursor = aged.prune(order, cursor=cursor, limit=2)
                if cursor is None:
                    break
        assert len(aged.clients(PROJECT, limit=10)) == left
    assert {client.part[:3] for client in aged.clients(PROJECT, limit=10)} == {"c20"}


def test_a_run_that_was_pruned_can_come_again(aged: Store) -> None:
    """A client that was away for months delivers: kept until the next pruning, counted once."""
    prune(aged, parse_policy(["10d"]), now_us=NOW_US, pause=lambda seconds: None)
    for _ in range(2):
        assert aged.write([Batch(run_of("p", 100), PROJECT, NOW_US)]) == [{}]
    assert kept(aged, "p")[100] == "lvd"
    points = aged.trend(PROJECT, pipeline="p", name=None, since_us=0, until_us=NOW_US - 90 * DAY_US)
    assert sum(point.steps for point in points) == 3
    assert [run.run_id for run in aged.item_runs(PROJECT, "x", pipeline="p", limit=10).items][-1:] != []


@pytest.mark.parametrize(
    "text",
    ["", "30", "30x", "details=40d,ledgers=30d", "verdicts=1w,details=30d", "summaries=3d", "-3d", "p:", "9999999d"],
)
def test_a_policy_that_makes_no_sense_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--retain"):
        parse_policy([text])


def everything(store: Store) -> dict[str, Any]:
    state = state_of(store)
    state["sets"] = {run: sorted(map(repr, store.sets(PROJECT, run))) for run in state["runs"]}
    return state


HARD: list[Record] = [
    RunRecord(v=1, run_id="δ\x00/?#", part="part\x00", rev=2, pipeline="p\x00\ue000", status="failed", tags={"k\x00": "v\x00"},
              input={"x" * 300: ["é", None, 1e300]}, started_us=NOW_US),
    RunRecord(v=1, run_id="δ\x00/?#", part="other", rev=1, output=[1], started_us=NOW_US - 5),
    RunRecord(v=1, run_id="0192f3b0-7f6e-7c3a-9f7e-aaaaaaaaaaaa", part="post:1", pipeline="p"),
    StepRecord(v=1, run_id="only steps", step_id="0192f3b0-7f6e-7c3a-9f7e-aaaaaaaaaaab", attempt=3, part="a", name="n\x00",
               reasons={"rejected": {"r\x00": 3}}, counts={"rejected": 3}, rejection_rate=0.5),
    StepRecord(v=1, run_id="only steps", step_id="0192f3b0-7f6e-7c3a-9f7e-aaaaaaaaaaab", attempt=3, part="b", started_us=NOW_US, duration_us=5, ended_us=NOW_US + 5),
    VerdictsRecord(1, "only verdicts", "s", [
        VerdictSet("rejected", 60_000, "late", fp40=verdicts.encode([verdicts.hash64(f"i{i}") for i in range(60_000)])),
        VerdictSet("in", 2, None, ["a\x00", "b"]),
        VerdictSet("rejected", 2, "dear", ["a\x00", "b"], values=verdicts.pack_numbers(array("d", [1.5, math.nan])), limit=1.25),
        VerdictSet("accepted", 1, None, fp40=verdicts.encode([5]), values=verdicts.pack_numbers(array("d", [-0.0]))),
    ], 0, "a\x00", "chunk\x00"),
    SamplesRecord(1, "only steps", "s", sample_text([Sample("i\x00", "selected", None, {"d": "\x00"}, 0.5, 2, 1.5, NOW_US)]), 0, "a", "live", 4),
]  # fmt: skip


def test_what_is_exported_and_imported_is_the_same_in_every_answer(
    new_store: Callable[[], Store], tmp_path: Path
) -> None:
    """And again when it is imported twice, and the copy exports the same lines."""
    source, target = new_store(), new_store()
    source.write([Batch(HARD, PROJECT, NOW_US + 7)])
    source.write([Batch(run_of("p", days), "another project", NOW_US) for days in AGES])
    moved = export_to(source, tmp_path / "all.ndjson.gz")
    assert (moved.runs, moved.records) == (10, 43)
    for _ in range(2):
        back = import_from(target, tmp_path / "all.ndjson.gz", target="t")
        assert (back.runs, back.records, back.refused, back.whole) == (10, 43, 0, True)
        assert everything(target) == everything(source)
    again = io.BytesIO()
    export_stream(target, again)
    assert sorted(again.getvalue().splitlines()) == sorted(
        gzip.decompress((tmp_path / "all.ndjson.gz").read_bytes()).splitlines()
    )
    assert list(tmp_path.glob("all*")) == [tmp_path / "all.ndjson.gz"]


class StoppedError(Exception):
    pass


def test_an_export_and_an_import_that_were_stopped_go_on(new_store: Callable[[], Store], tmp_path: Path) -> None:
    source, target = new_store(), new_store()
    source.write(
        [
            Batch([RunRecord(v=1, run_id=f"r{i}", part="a", pipeline="p", input="x" * 100)], PROJECT, NOW_US)
            for i in range(450)
        ]
    )
    file = tmp_path / "all.ndjson.gz"

    def stop_after(runs: int) -> Callable[[int, int], None]:
        def on_progress(so_far: int, _: int) -> None:
            if so_far >= runs:
                raise StoppedError

        return on_progress

    for runs in (100, 300):
        with pytest.raises(StoppedError):
            export_to(source, file, on_progress=stop_after(runs))
        with (tmp_path / "all.ndjson.gz.part").open("ab") as part:
            part.write(b"half a page")  # what a killed process may leave
    assert export_to(source, file).runs == 450
    assert len({line for line in gzip.decompress(file.read_bytes()).splitlines() if b'"kind":"run"' in line}) == 450
    with pytest.raises(StoppedError):
        import_from(target, file, target="t", on_progress=stop_after(1))
    assert import_from(target, file, target="t").whole
    assert everything(target) == everything(source)
    with pytest.raises(TransferError, match="there already"):
        export_to(source, file)


def test_a_file_that_is_cut_off_is_imported_as_far_as_it_goes_and_said_to_be(
    new_store: Callable[[], Store], tmp_path: Path
) -> None:
    source, target = new_store(), new_store()
    source.write([Batch(run_of("p", 1) + run_of("q", 1), PROJECT, NOW_US)])
    whole = io.BytesIO()
    export_stream(source, whole)
    lines = whole.getvalue().splitlines(keepends=True)
    moved = import_from(target, io.BytesIO(b"".join(lines[:-1])), target="t")
    assert (moved.runs, moved.whole) == (2, False)
    assert everything(target) == everything(source)
