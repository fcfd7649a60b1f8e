"""All items of a step, and one item over time, on both stores: nothing twice, nothing left out, and what is not known is said.

Tests read/item_list.py and item_history.py.
"""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from xray_server.errors import BadCursorError, NotKnownError
from xray_server.read import item_history, item_list
from xray_server.read.item_history import HistoryFilter
from xray_server.read.item_list import ItemFilter
from xray_server.records.schema import (
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)
from xray_server.store import Batch, Store

from xray_core import verdicts

PROJECT = "default"
NOW_US = 1_760_000_000_000_000
NAMES = [f"item {n:03}" for n in range(130)]


def pack(*values: float) -> bytes:
    return verdicts.pack_numbers(array("d", values))


def run_of(run_id: str = "r") -> list[Record]:
    return [
        RunRecord(v=1, run_id=run_id, part="a", rev=1, pipeline="p", status="completed", started_us=NOW_US),
        *[
            StepRecord(v=1, run_id=run_id, step_id=step, attempt=attempt, part="a", rev=1, name="gate", started_us=NOW_US + 1,
                       counts={"rejected": 204, "accepted": 2}, reasons={"rejected": {"dear": 200, "late": 4}, "accepted": {"": 2}})
            for step, attempt in (("s1", 1), ("s1", 2), ("s2", 1))
        ],
        VerdictsRecord(1, run_id, "s1", [VerdictSet("rejected", 1, "dear", ["of the first attempt"])], 1, "a", "0"),
        VerdictsRecord(1, run_id, "s1", [
            VerdictSet("rejected", 130, "dear", list(reversed(NAMES)), values=pack(*range(130)), limit=-1.0),
            VerdictSet("rejected", 4, "late", ["item 007", "x", "y", "z"]),
        ], 2, "a", "0"),
        VerdictsRecord(1, run_id, "s1", [
            VerdictSet("rejected", 60, "dear", fp40=verdicts.encode(range(60)), values=pack(*range(60)), limit=-1.0),
            VerdictSet("accepted", 2, None, ["b", "a"]),
            VerdictSet("in", 1, None, ["went in"]),
        ], 2, "a", "1"),
        VerdictsRecord(1, run_id, "s2", [VerdictSet("rejected", 1, "dear", ["item 007"])], 1, "a", "0"),
        SamplesRecord(1, run_id, "s1", sample_text([Sample("item 007", "rejected", "dear", {"price": 7})]), 2, "a", "live", 1),
    ]  # fmt: skip


def write(store: Store, *records: list[Record]) -> None:
    assert store.write([Batch(each, PROJECT, NOW_US) for each in records]) == [{}] * len(records)


def all_pages(store: Store, where: ItemFilter, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = item_list.page(store, PROJECT, "r", where, limit=limit, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(page["items"]) == limit


def test_every_named_item_comes_once_in_pages_and_the_rest_is_counted(store: Store) -> None:
    write(store, run_of())
    where = ItemFilter(step="s1", outcome="rejected", reason="dear")
    whole = item_list.page(store, PROJECT, "r", where, limit=1_000)
    assert [each["item_id"] for each in whole["items"]] == NAMES
    assert whole["total"] == {"items": 200, "named": 130, "fingerprints": 60, "not_captured": 10}
    assert whole["sentence"] == (
        "200 items were rejected for dear at gate: 130 by name, 60 known by fingerprint only, 10 counted only, not captured one by one"
    )
    assert whole["next_cursor"] is None
    assert whole["items"][7] == {
        "item_id": "item 007", "fingerprint": None, "step": "gate", "step_id": "s1", "attempt": 2, "outcome": "rejected",
        "reason": "dear", "value": 122.0, "limit": -1.0, "score": None, "details": {"price": 7},
    }  # fmt: skip
    for limit in (1, 7, 129, 130):
        assert all_pages(store, where, limit) == whole["items"]


@pytest.mark.parametrize(
    ("step", "outcome", "said", "total"),
    [
        ("judged", "in", "4 items went in at judged: 4 counted only, not captured one by one", 4),
        ("judged", "out", "1 item came out at judged: 1 counted only, not captured one by one", 1),
        ("silent", "in", "nothing tells how many items went in at silent", 0),
        ("given", "in", "2 items went in at given", 2),
        ("empty", "in", "0 items went in at empty", 0),
        ("judged", "errored", "0 items were errored at judged", 0),
    ],
)
def test_what_went_in_and_came_out_is_counted_where_nobody_gave_the_items(
    store: Store, step: str, outcome: str, said: str, total: int
) -> None:
    about = {
        "judged": {"counts": {"rejected": 3, "accepted": 1}}, "silent": {}, "given": {"input_count": 3}, "empty": {"input_count": 0},
    }  # fmt: skip
    steps: list[Record] = [
        StepRecord(v=1, run_id="r", step_id=name, attempt=1, part="a", rev=1, name=name, started_us=NOW_US, status="completed", **more)
        for name, more in about.items()
    ]  # fmt: skip
    given = VerdictsRecord(1, "r", "given", [VerdictSet("in", 2, None, ["x", "y"])], 1, "a", "0")  # x came twice
    write(store, [RunRecord(v=1, run_id="r", part="a", rev=1, pipeline="p", started_us=NOW_US), *steps, given])
    found = item_list.page(store, PROJECT, "r", ItemFilter(step=step, outcome=outcome), limit=10)
    assert found["sentence"] == said
    assert found["total"]["items"] == total
    known = step in ("given", "empty") or outcome == "errored"
    assert found["certainty"] == ("exact" if known else "not_captured")


def test_fingerprints_come_behind_the_names_where_they_are_asked_for(store: Store) -> None:
    write(store, run_of())
    where = ItemFilter(step="s1", reason="dear", fingerprints=True)
    (whole,) = item_list.rows_of_all(store, PROJECT, "r", where)
    assert [each["fingerprint"] for each in whole] == [None] * 130 + [f"{n:010x}" for n in range(60)]
    assert [each["value"] for each in whole[130:]] == list(range(60))
    assert all_pages(store, where, 50) == whole


def test_a_step_is_named_by_its_name_or_its_id_and_its_last_attempt_counts(store: Store) -> None:
    write(store, run_of())

    def found(**where: Any) -> list[tuple[str, str, str | None]]:
        rows = item_list.page(store, PROJECT, "r", ItemFilter(**where), limit=500)["items"]
        return [(each["item_id"], each["step_id"], each["reason"]) for each in rows if each["item_id"][:5] != "item "]

    late = [(each, "s1", "late") for each in "xyz"]
    assert found() == found(step="gate") == [("a", "s1", None), ("b", "s1", None), *late]
    assert found(outcome="accepted", reason="") == [("a", "s1", None), ("b", "s1", None)]
    assert found(attempt=1) == [("of the first attempt", "s1", "dear")]
    assert found(outcome="in") == [("went in", "s1", None)]
    with pytest.raises(NotKnownError, match="it has: gate"):
        found(step="gates")
    with pytest.raises(BadCursorError):
        item_list.page(store, PROJECT, "r", ItemFilter(), limit=5, cursor="none")


def test_items_that_were_only_counted_are_not_captured(store: Store) -> None:
    write(
        store, [StepRecord(v=1, run_id="r", step_id="s", attempt=1, part="a", rev=1, name="s", counts={"rejected": 7})]
    )
    found = item_list.page(store, PROJECT, "r", ItemFilter(step="s"), limit=5)
    assert (found["certainty"], found["items"], found["total"]["not_captured"]) == ("not_captured", [], 7)


def test_the_history_of_an_item_is_kept_to_an_outcome_a_reason_a_step_and_a_time(store: Store) -> None:
    for n in range(30):
        run = f"run {n:02}"
        reason = "late" if n % 3 else "dear"
        write(store, [
            RunRecord(v=1, run_id=run, part="a", rev=1, pipeline="p" if n % 2 else "q", started_us=NOW_US + n),
            StepRecord(v=1, run_id=run, step_id="s", attempt=1, part="a", rev=1, name="gate", counts={"rejected": 1}, started_us=NOW_US + n),
            VerdictsRecord(1, run, "s", [VerdictSet("rejected" if n % 5 else "accepted", 1, reason, ["cust42"])], 1, "a", "0"),
        ])  # fmt: skip

    def runs(**where: Any) -> list[int]:
        found: list[int] = []
        cursor = None
        while True:
            page = item_history.history(store, PROJECT, "cust42", HistoryFilter(**where), limit=4, cursor=cursor)
            assert len(page["runs"]) <= 4
            found += [int(run["run_id"][4:]) for run in page["runs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    every = list(range(29, -1, -1))
    assert runs() == every
    assert runs(outcome="rejected") == [n for n in every if n % 5]
    assert runs(outcome="rejected", reason="dear", step="gate") == [n for n in every if n % 5 and not n % 3]
    assert runs(outcome="accepted", pipeline="q") == [n for n in every if not n % 5 and not n % 2]
    assert runs(since_us=NOW_US + 10, until_us=NOW_US + 13) == [12, 11, 10]
    assert runs(step="another") == []
