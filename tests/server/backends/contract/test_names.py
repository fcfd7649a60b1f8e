"""Names that begin with a text are counted, in every store, and ids are found by their beginning whatever they look like.

Tests backends/relational/names.py, ids.py and lists.py.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch, NameCount, RunFilter, Store

NOW = 1_764_000_000_000_000


def run(run_id: str, pipeline: str = "flights", **tags: str) -> RunRecord:
    return RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline=pipeline, started_us=NOW, tags=tags)


def step(run_id: str, step_id: str, name: str, **reasons: dict[str, int]) -> StepRecord:
    counts = {outcome: sum(of.values()) for outcome, of in reasons.items()}
    return StepRecord(v=1, run_id=run_id, step_id=step_id, attempt=1, part="a", rev=1, name=name, pipeline="flights",
                      started_us=NOW, counts=counts, reasons=reasons)  # fmt: skip


def write(store: Store, *records: Any, project: str = "default") -> None:
    assert store.write([Batch(list(records), project, NOW)]) == [{}]


def names(store: Store, prefix: str, limit: int = 10) -> set[tuple[str, str, int]]:
    return {(each.kind, each.name, each.n) for each in store.names("default", prefix, limit=limit)}


def test_pipelines_steps_reasons_and_tags_are_counted_by_the_beginning_of_their_names(store: Store) -> None:
    write(
        store, run("a"), run("b"), run("c", "fleet", city="flint"),
        step("a", "s1", "flag", rejected={"flawed": 2}), step("b", "s1", "flag", rejected={"flawed": 9}, errored={"flawed": 1}),
        step("b", "s2", "filter", rejected={"late": 2}),
    )  # fmt: skip
    write(store, run("z", "flop"), step("z", "s", "flow", rejected={"flat": 1}), project="other")
    assert names(store, "fl") == {
        ("pipeline", "fleet", 1), ("pipeline", "flights", 2), ("step", "flag", 2), ("reason", "flawed", 2),
        ("tag", "city:flint", 1),
    }  # fmt: skip
    assert names(store, "city:fl") == {("tag", "city:flint", 1)}
    assert names(store, "flag") == {("step", "flag", 2)}
    assert names(store, "lag") == names(store, "FL") == set()
    assert store.names("no such project", "fl", limit=10) == []


@pytest.mark.parametrize("text", ["", "%", "_", "'", "\ue000", "\0", "\U0010ffff", "🛫"])
def test_any_text_may_be_looked_for(store: Store, text: str) -> None:
    write(store, run(f"id{text}", f"{text}pipeline"), step("a", "s", f"{text}step"))
    found = {(each.kind, each.name) for each in store.names("default", text, limit=10)}
    assert ("pipeline", f"{text}pipeline") in found or text == "\U0010ffff"


def test_of_each_kind_there_are_as_many_as_were_asked_for(store: Store) -> None:
    write(
        store, *(run(f"r{n}", f"p{n:02}") for n in range(30)), *(step("r1", f"s{n}", f"p-step{n}") for n in range(30))
    )
    found = store.names("default", "p", limit=4)
    assert [each.kind for each in found].count("pipeline") == 4
    assert [each.kind for each in found].count("step") == 4


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("2026", ["2026-11-27-daily", "20261128T0000", "20261101-aaaa-4aaa-8aaa-aaaaaaaaaaaa"]),
        ("2026-11", ["2026-11-27-daily"]),
        ("20261101-a", ["20261101-aaaa-4aaa-8aaa-aaaaaaaaaaaa"]),
        ("20261101aaaa4", ["20261101-aaaa-4aaa-8aaa-aaaaaaaaaaaa"]),
        ("feed", ["feed-1"]),
        ("daily", []),
    ],
)
def test_an_id_is_found_by_its_beginning_whether_it_is_a_uuid_or_not(
    store: Store, prefix: str, found: list[str]
) -> None:
    uuid = "20261101-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    assert str(UUID(uuid)) == uuid
    write(store, run(uuid), run("2026-11-27-daily"), run("20261128T0000"), run("feed-1"))
    assert sorted(each.run_id for each in store.runs("default", RunFilter(q=prefix), limit=9).items) == sorted(found)
    counted = [each for each in store.names("default", prefix, limit=9) if each.kind == "runs"]
    assert counted == ([NameCount("runs", prefix, len(found))] if found else [])
