"""The records between SDK and server: spool payloads become the lines they stand for, or are refused."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core import verdicts, wire

HEADER: dict[str, Any] = {
    "v": 1,
    "kind": "verdicts",
    "run_id": "r",
    "step_id": "s",
    "attempt": 1,
    "part": "p",
    "chunk": "1",
}
_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(
    sets=st.lists(st.tuples(_names, st.none() | _names, st.lists(st.integers(0, 2**64 - 1), max_size=50)), max_size=4)
)
def test_raw_verdicts_become_sets_of_fingerprints(sets: list[tuple[str, str | None, list[int]]]) -> None:
    payload = wire.verdicts_payload(
        HEADER, [wire.RawSet(outcome, reason, array("Q", hashes)) for outcome, reason, hashes in sets]
    )
    record = wire.from_line(wire.to_line(payload))
    assert {name: record[name] for name in HEADER} == HEADER
    assert [(each["outcome"], each["reason"], each["n"]) for each in record["sets"]] == [
        (outcome, reason, len(hashes)) for outcome, reason, hashes in sets
    ]
    for each, (_, _, hashes) in zip(record["sets"], sets):
        assert verdicts.decode(base64.b64decode(each["fp40"])) == sorted(h & verdicts.MASK for h in hashes)


@pytest.mark.parametrize("cut", [1, 8, 12])
def test_a_verdicts_payload_that_is_cut_off_is_refused(cut: int) -> None:
    payload = wire.verdicts_payload(HEADER, [wire.RawSet("rejected", "dup", array("Q", [1, 2]))])
    with pytest.raises(ValueError, match=r"cut off|multiple of item size"):
        wire.to_line(payload[:-cut])


@pytest.mark.parametrize("payload", [b"", b"?", b"[]", b"W{}", b"V{}"])
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        wire.to_line(payload)


@pytest.mark.parametrize("line", [b"[]", b"1", b"{", b"\xff", b""])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        wire.from_line(line)


def test_heads_are_equal_for_two_snapshots_of_one_part_and_for_no_others() -> None:
    def step(part: str = "p", attempt: int = 1, **more: Any) -> bytes:
        fields = {
            "v": 1,
            "kind": "step",
            "run_id": "r",
            "step_id": "s",
            "attempt": attempt,
            "part": part,
            "pipeline": "x",
        }
        return wire.head_of(wire.to_payload({**fields, **more}))

    assert step(rev=1) == step(rev=2, status="completed")
    assert len({step(), step(part="q"), step(attempt=2)}) == 3
    assert wire.is_part_key(step())


def test_a_head_that_a_redactor_reordered_names_no_part() -> None:
    payload = wire.to_payload({"v": 1, "kind": "step", "run_id": "r", "pipeline": "x", "step_id": "s"})
    assert not wire.is_part_key(wire.head_of(payload))
