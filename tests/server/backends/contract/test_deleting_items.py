"""An item that is deleted is gone from every run that held it, and stays gone; nothing else changes (row 50 of the fault matrix).

Tests backends/relational/erase.py, backends/sqlite/erase.py, backends/postgres/erase.py and records/erasure.py.
"""

from __future__ import annotations

import base64
import json
import math
import threading
from array import array
from typing import Any

from xray_server.records.erasure import PLACE
from xray_server.records.schema import Record, VerdictSet, VerdictsRecord, decode_record
from xray_server.store import Batch, DumpedRun, Store

from xray_core import verdicts
from xray_core.model import HASH_MODULUS

NOW = 1_764_000_000_000_000
LATER = NOW + 3_600_000_000
GONE, KEPT = "customer-77", "customer-78"
MANY = [f"many-{n}" for n in range(5_000)]


def records(run_id: str, *, at_us: int = NOW, rev: int = 1, chunk: str = "0", steps: int = 6) -> list[Record]:
    """A run that names an item wherever an item can be named."""
    of_run = {"v": 1, "run_id": run_id, "part": "a", "rev": rev}
    error = {"type": "ValueError", "message": f"no seat for {GONE} on 7", "traceback": f"seat('{GONE}')"}
    row = {"id": GONE, "name": "Ada Lovelace", "city": "Ulm"}
    made: list[dict[str, Any]] = [
        {**of_run, "kind": "run", "pipeline": "p", "started_us": at_us, "error": error, "tags": {"who": GONE, "where": "Ulm"},
         "input": {"rows": [row, {"id": KEPT, "name": "Grace Hopper"}]}, "output": [GONE, KEPT],
         "metadata": {"winner": GONE, "model": "v3"}}
    ]  # fmt: skip
    hashes = [verdicts.hash64(each) for each in (GONE, KEPT)]
    sums = f"{sum(hashes) % HASH_MODULUS:016x}"
    for n in range(steps):
        step = {**of_run, "step_id": f"s{n}", "attempt": 1}
        many = [verdicts.hash64(each) for each in (*MANY, GONE)]
        made += [
            {**step, "kind": "step", "name": "filter", "pipeline": "p", "started_us": at_us + n, "input_count": 5_003,
             "counts": {"rejected": 2, "accepted": 5_001}, "reasons": {"rejected": {"late": 2}}, "sums": {"rejected": {"late": sums}},
             "items": {"in": {"n": 2, "sum": sums, "order": "ab", "distinct": 2}, "links": [[GONE, "chunk-1"], [KEPT, "chunk-2"]]},
             "scores": {"rejected": {"min": [0.25, GONE], "max": [0.5, KEPT]}}, "orders": {"rejected": "ab"},
             "decisions": [{"decision": "best", "selected": GONE, "reason": "cheap", "score": 0.9,
                            "alternatives": [{"item_id": KEPT, "score": 0.8}], "details": {"price": 4711}},
                           {"decision": "best", "selected": KEPT, "alternatives": [{"item_id": GONE, "score": 4712}, KEPT]}]},
            {**step, "kind": "verdicts", "chunk": chunk, "sets": [
                {"outcome": "rejected", "reason": "late", "n": 2, "ids": [GONE, KEPT]},
                {"outcome": "in", "n": 2, "ids": [GONE, KEPT]},
                {"outcome": "accepted", "n": len(many), "fp40": base64.b64encode(verdicts.encode(many)).decode()}]},
            {**step, "kind": "samples", "chunk": "live", "samples": [
                {"item_id": GONE, "outcome": "rejected", "reason": "late", "details": {"price": 4713}, "at_us": at_us},
                {"item_id": KEPT, "outcome": "rejected", "reason": "late", "details": {"beside": GONE, "price": 80}, "at_us": at_us}]},
        ]  # fmt: skip
    plain = {**of_run, "step_id": "plain", "attempt": 1}
    made += [
        {**plain, "kind": "step", "name": "plain", "pipeline": "p"},
        {**plain, "kind": "verdicts", "chunk": chunk, "sets": [{"outcome": "accepted", "n": 1, "ids": [GONE]}]},
    ]
    return [decode_record(json.dumps(each).encode()) for each in made]


def write(store: Store, *batches: list[Record], project: str = "default") -> None:
    assert all(refused == {} for refused in store.write([Batch(each, project, NOW) for each in batches]))


def dumped(store: Store, project: str = "default") -> dict[str, DumpedRun]:
    return {run.run_id: run for run in store.dump(cursor=None, limit=99).items if run.project == project}


def traces(run: DumpedRun) -> list[str]:
    """Where a run still speaks of the item."""
    found = []
    secrets = (GONE, "Ada Lovelace", "4711", "4712", "4713")
    for record in run.records:
        text = json.dumps(record, default=str)
        found += [f"{record['kind']}: {secret}" for secret in secrets if secret in text]
        for each in record.get("sets", ()):
            if "fp40" in each and verdicts.contains(base64.b64decode(each["fp40"]), verdicts.fingerprint(GONE)):
                found.append(f"{record['kind']}: fingerprint")
    return found


def names(run: DumpedRun) -> set[str]:
    """What stands in the item's place."""
    text = json.dumps(run.records, default=str)
    return {f"{PLACE}{rest[:8]}" for rest in text.split(PLACE)[1:]}


def test_it_is_gone_wherever_it_was_named_and_no_other_item_is(store: Store) -> None:
    write(store, records("a"), records("b"), records("few", steps=1))
    write(store, records("a"), project="other")
    assert store.delete_item("default", GONE, LATER) == 3
    runs = dumped(store)
    assert {run_id: traces(run) for run_id, run in runs.items()} == {"a": [], "b": [], "few": []}
    assert traces(dumped(store, "other")["a"])
    assert len(names(runs["a"])) == 1
    assert names(runs["a"]) == names(runs["b"]), "comparisons of runs stay what they were"
    assert store.check() == []
    assert store.item_runs("default", GONE, pipeline=None, limit=9).items == []
    assert not any(each.found for each in store.look_up("default", "a", GONE))
    for item in (KEPT, MANY[0], MANY[-1]):
        assert any(each.found for each in store.look_up("default", "a", item)), item
        assert len(store.item_runs("default", item, pipeline=None, limit=9).items) == 3
    assert not store.delete_item("default", GONE, LATER), "no run holds it any more"


def test_ledgers_sets_sums_and_what_is_said_of_others_stay(store: Store) -> None:
    write(store, records("a"))
    before = store.step("default", "a", "s3")[0]
    store.delete_item("default", GONE, LATER)
    after = store.step("default", "a", "s3")[0]
    assert after.ledger == before.ledger
    assert after.state["reasons"] == before.state["reasons"]
    (place,) = names(dumped(store)["a"])
    held = {(each.outcome, each.reason): each for each in store.sets("default", "a", "s3")}
    assert held["rejected", "late"].ids == [place, KEPT]
    assert held["accepted", None].n == 5_001 == len(verdicts.decode(held["accepted", None].fp40 or b""))
    total = f"{(verdicts.hash64(place) + verdicts.hash64(KEPT)) % HASH_MODULUS:016x}"
    assert after.state["items"]["in"]["sum"] == total
    assert after.state["sums"]["rejected"]["late"] == total
    assert after.state["items"]["links"] == [[place, "chunk-1"], [KEPT, "chunk-2"]]
    first, second = after.state["decisions"]
    assert (first["selected"], first["reason"], first["score"], first["details"]) == (place, "cheap", None, None)
    assert second["alternatives"][1] == KEPT
    (samples,) = store.samples("default", "a", [("s3", 1)]).values()
    assert [(each["item_id"], each["details"]) for each in samples] == [(KEPT, {"beside": place, "price": None})]
    run = store.run("default", "a")
    assert run is not None
    assert run.state["input"]["rows"][1] == {"id": KEPT, "name": "Grace Hopper"}
    assert run.state["metadata"] == {"winner": place, "model": "v3"}
    assert run.state["error"]["message"] == f"no seat for {place} on 7"


def test_what_still_arrives_of_it_is_kept_without_it(store: Store) -> None:
    write(store, records("a"))
    store.delete_item("default", GONE, LATER)
    write(store, records("a", rev=2, chunk="1"))
    write(store, [*records("b", rev=2)[1:]], records("c"))
    write(store, records("b", rev=3))
    assert {run_id: traces(run) for run_id, run in dumped(store).items()} == {"a": [], "b": [], "c": []}
    assert any(each.found for each in store.look_up("default", "b", KEPT))
    write(store, records("tomorrow", at_us=LATER + 1))
    assert traces(dumped(store)["tomorrow"]), "a run that starts after the deletion may hold it again"
    assert len(store.item_runs("default", GONE, pipeline=None, limit=9).items) == 1
    assert store.item_deleted_us("default", GONE) == LATER
    assert store.item_deleted_us("default", KEPT) is None


def test_declared_values_of_others_stay_with_them_and_those_of_the_item_go(store: Store) -> None:
    many = {verdicts.hash64(item): float(n) for n, item in enumerate((*MANY, GONE))}
    blob, values = verdicts.encode_with(array("Q", many), array("d", many.values()))

    def sets(run_id: str) -> Record:
        return VerdictsRecord(1, run_id, "s0", [
            VerdictSet("rejected", 2, "dear", [GONE, KEPT], None, verdicts.pack_numbers(array("d", [7, 8])), 5.0),
            VerdictSet("accepted", len(many), None, None, blob, values),
        ], 1, "a", "values")  # fmt: skip

    write(store, [*records("r"), sets("r")])
    assert store.delete_item("default", GONE, LATER) == 1
    write(store, [*records("later"), sets("later")])
    for run_id in ("r", "later"):
        named, hashed = [each for each in store.sets("default", run_id, "s0") if each.values is not None]
        assert named.limit == 5.0
        value_of = dict(zip(named.ids or (), verdicts.numbers_of(named.values or b"")))
        assert value_of.pop(KEPT) == 8
        ((place, gone),) = value_of.items()
        assert place.startswith(PLACE)
        assert math.isnan(gone)
        left = dict(zip(verdicts.decode(hashed.fp40 or b""), verdicts.numbers_of(hashed.values or b"")))
        assert all(left[verdicts.fingerprint(item)] == n for n, item in enumerate(MANY))
        assert sum(map(math.isnan, left.values())) == 1


def test_an_item_that_no_run_holds_is_not_remembered(store: Store) -> None:
    write(store, records("a"))
    assert store.delete_item("default", "customer-79", LATER) == 0
    assert store.delete_item("no such project", GONE, LATER) == 0
    assert store.item_deleted_us("default", "customer-79") is None
    assert traces(dumped(store)["a"])


def test_it_stays_gone_when_it_is_deleted_while_it_is_written(store: Store) -> None:
    stop, n = threading.Event(), 0

    def keep_writing() -> None:
        nonlocal n
        while not stop.is_set():
            n += 1
            write(store, records(f"run-{n % 5}", rev=n, chunk=str(n), steps=1))

    write(store, records("run-0", steps=1))
    writing = threading.Thread(target=keep_writing)
    writing.start()
    try:
        for _ in range(3):
            store.delete_item("default", GONE, LATER)
    finally:
        stop.set()
        writing.join(30)
    write(store, records("run-9", rev=n, steps=1))
    assert {run_id: found for run_id, run in dumped(store).items() if (found := traces(run))} == {}
    assert store.check() == []
