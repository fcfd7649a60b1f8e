"""Sets of fingerprints: whole, found, and wrong no more often than they say."""

from __future__ import annotations

import base64
import random
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core import verdicts, wire

hashes = st.lists(st.integers(0, (1 << 64) - 1), max_size=300)


@given(hashes)
def test_what_was_put_in_comes_out(values: list[int]) -> None:
    blob = verdicts.encode(values)
    assert verdicts.decode(blob) == sorted(value & verdicts.MASK for value in values)
    assert verdicts.size(blob) == len(values)
    assert all(verdicts.contains(blob, value & verdicts.MASK) for value in values)


@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 16_384, 16_385, 70_001])
def test_the_sum_of_hashes_is_their_sum(n: int) -> None:
    rng = random.Random(n)
    for values in (array("Q", [rng.getrandbits(64) for _ in range(n)]), array("Q", [(1 << 64) - 1] * n)):
        assert verdicts.sum64(values) == sum(values) % (1 << 64)


@pytest.mark.parametrize("n", [0, 1, 4_095, 4_096, 20_000])
def test_the_bytes_are_the_same_with_and_without_numpy(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    rng = random.Random(n)
    values = array("Q", [rng.getrandbits(64) for _ in range(n)] + [0, (1 << 64) - 1, 7, 7])
    blobs = []
    for loaded in (numpy, None, object()):
        monkeypatch.setitem(sys.modules, "numpy", loaded)  # type: ignore[arg-type]  # half an import, too
        blobs.append(verdicts.encode(values))
    assert blobs[0] == blobs[1] == blobs[2]
    assert verdicts.decode(blobs[0]) == sorted(value & verdicts.MASK for value in values)


@pytest.mark.parametrize("n", [0, 1, 4_095, 4_096, 70_000])
def test_both_forms_find_exactly_what_they_hold(n: int) -> None:
    rng = random.Random(n)
    held = {rng.getrandbits(40) for _ in range(n)}
    blob = verdicts.encode(held)
    assert all(verdicts.contains(blob, value) for value in list(held)[:2_000])
    others = [rng.getrandbits(40) for _ in range(2_000)]
    assert [verdicts.contains(blob, value) for value in others] == [value in held for value in others]
    assert len(blob) <= 1 + 4.3 * n + 5 * min(n, 4_095)


def test_a_large_set_takes_about_4_bytes_an_item() -> None:
    blob = verdicts.encode(random.Random(1).getrandbits(64) for _ in range(65_536))
    assert len(blob) / 65_536 < 4.02


@pytest.mark.parametrize("blob", [b"", b"\x03abc", b"\x01abc", b"\x02" + b"\xff" * 1_028, b"\x02short"])
def test_a_damaged_set_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="fingerprints"):
        verdicts.decode(blob)


@given(st.lists(st.tuples(st.sampled_from(["rejected", "in"]), st.none() | st.text(max_size=5), hashes), max_size=4))
def test_raw_verdicts_survive_the_spool_and_become_a_line(sets: list[tuple[str, str | None, list[int]]]) -> None:
    header = {"v": 1, "kind": "verdicts", "run_id": "r"}
    payload = wire.verdicts_payload(
        header, [wire.RawSet(outcome, reason, array("Q", values)) for outcome, reason, values in sets]
    )
    record = wire.from_line(wire.to_line(payload))
    assert [(each["outcome"], each["reason"], each["n"]) for each in record["sets"]] == [
        (outcome, reason, len(values)) for outcome, reason, values in sets
    ]
    for each, (_, _, values) in zip(record["sets"], sets):
        assert verdicts.decode(base64.b64decode(each["fp40"])) == sorted(value & verdicts.MASK for value in values)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"V", b'V{"raw":[["rejected",null,3]],"order":"little"}\nxx', b"{oops"]
)
def test_a_damaged_payload_is_an_error_of_one_kind(payload: bytes) -> None:
    with pytest.raises(ValueError):
        wire.from_line(wire.to_line(payload))
