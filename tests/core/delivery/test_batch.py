"""What of a spool's records travels: the newest snapshot of each part, everything else as it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from xray_core import wire
from xray_core.delivery.batch import acknowledgements, body_of, entries_of
from xray_core.spool import Spool


def step(run_id: str, step_id: str, rev: int, *, part: str = "p1", **more: object) -> bytes:
    return wire.to_payload(
        {"v": 1, "kind": "step", "run_id": run_id, "step_id": step_id, "attempt": 1, "part": part, "pipeline": None,
         "name": "filter", "rev": rev, **more}
    )  # fmt: skip


def run(run_id: str, rev: int) -> bytes:
    return wire.to_payload({"v": 1, "kind": "run", "run_id": run_id, "part": "p1", "pipeline": "p", "rev": rev})


def test_of_the_snapshots_of_one_part_only_the_newest_is_sent_and_all_are_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    verdicts = wire.to_payload({"v": 1, "run_id": "r", "step_id": "a", "attempt": 1, "part": "p1", "pipeline": None,
                                "kind": "verdicts", "chunk": "1", "sets": []})  # fmt: skip
    sent = [run("r", 2), step("r", "b", 3), step("r", "a", 4), step("r", "a", 5, part="p2"), step("s", "a", 6)]
    for payload in (run("r", 1), step("r", "a", 1), sent[1], sent[0], sent[2], sent[3], sent[4]):
        spool.put("counts", payload)
    spool.put("verdicts", verdicts)
    spool.put("verdicts", verdicts)

    taken = spool.take(max_bytes=1 << 20, max_records=100)
    entries = entries_of(taken)

    lines = gzip.decompress(body_of([entry.line for entry in entries if entry.line is not None])).splitlines()
    assert sorted(lines) == sorted([*sent, verdicts, verdicts])
    assert [entry.problem for entry in entries] == [None] * 9
    for segment, position, records in acknowledgements(entries):
        spool.acknowledge(segment, position, records=records)
    assert spool.waiting() == 0
    spool.give_back(taken)
    spool.close()


@pytest.mark.parametrize(
    "record",
    [
        {"v": 1, "kind": "step", "pipeline": "p", "run_id": "r", "step_id": "a", "attempt": 1, "part": "p1", "rev": 1},
        {"v": 1, "kind": "step", "run_id": "r", "part": "p1", "pipeline": "p", "step_id": "a", "attempt": 1, "rev": 1},
        {"v": 1, "kind": "run", "part": "p1", "pipeline": "p", "run_id": "r", "rev": 1},
    ],
)
def test_what_a_redactor_put_into_another_order_is_sent_as_often_as_it_was_written(
    record: dict[str, object], tmp_path: Path
) -> None:
    spool = Spool(tmp_path)
    spool.put("counts", wire.to_payload(record))
    spool.put("counts", wire.to_payload({**record, "run_id": "another", "rev": 2}))
    entries = entries_of(spool.take(max_bytes=1 << 20, max_records=100))
    assert len([entry for entry in entries if entry.line is not None]) == 2
    spool.close()


def test_a_run_id_with_quotes_and_backslashes_is_never_mistaken(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for rev, run_id in enumerate(['r","pipeline":1', 'r","pipeline":2', "r\\"]):
        spool.put("counts", step(run_id, "a", rev))
    entries = entries_of(spool.take(max_bytes=1 << 20, max_records=100))
    assert len([entry for entry in entries if entry.line is not None]) == 3
    spool.close()
