"""Bodies into records: decompression, limits, depth, and what is said of a line."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xray_server.ingest import ndjson


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_gzip_of_several_members_unpacks_to_all_of_them(members: list[bytes]) -> None:
    assert ndjson.decompress(b"".join(map(gzip.compress, members))) == b"".join(members)


@pytest.mark.parametrize("size", [1_000_000, 1_048_575, 1_048_576, 1_048_577, 3_000_000])
def test_a_body_unpacks_whole_up_to_its_limit_and_not_a_byte_beyond(size: int) -> None:
    body = gzip.compress(bytes(size))
    assert ndjson.decompress(body, max_bytes=size) == bytes(size)
    with pytest.raises(ndjson.TooLargeError):
        ndjson.decompress(body, max_bytes=size - 1)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_damaged_gzip_is_an_encoding_error_and_nothing_else(content: bytes, data: st.DataObject) -> None:
    body = gzip.compress(content)
    cut = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(ndjson.EncodingError):
        ndjson.decompress(body[:cut])


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_line_raises(body: bytes) -> None:
    decoded = ndjson.decode(body)
    assert len(decoded.records) == len(decoded.lines)


@pytest.mark.parametrize("depth", [10, ndjson.MAX_DEPTH, ndjson.MAX_DEPTH + 1, 300])
@pytest.mark.parametrize("opening", ["[", '{"a":', '{"]]]]":'])
def test_depth_is_measured_by_brackets_that_are_not_in_strings(depth: int, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    text = (opening * depth + "1" + closing * depth).encode()
    assert ndjson.too_deep(text) == (depth > ndjson.MAX_DEPTH)
    assert not ndjson.too_deep(json.dumps(["[{" * 500, "}]" * 300, {"a": [1]}]).encode())


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"kind": "step", "run_id": "r", "step_id": "s", "counts": {"accepted": "x"}}, "counts"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "counts": {"vanished": 1}}, "counts"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "started_us": -1}, "started_us"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "started_us": 10**18}, "started_us"),
        ({"kind": "step", "run_id": "r"}, "step_id"),
        ({"kind": "run", "run_id": ""}, "run_id"),
        ({"kind": "run", "run_id": "x" * 257}, "run_id"),
        ({"kind": "run", "run_id": 7}, "run_id"),
        ({"kind": "run", "run_id": "r", "status": "done"}, "status"),
        ({"kind": "run", "run_id": "r", "rev": 10**40}, "rev"),
        ({"kind": "verdicts", "run_id": "r", "step_id": "s", "sets": [{"outcome": "in", "n": 1, "fp40": "*"}]}, "sets[0].fp40"),
        ({"kind": "verdicts", "run_id": "r", "step_id": "s", "sets": [{"outcome": "in", "n": 1, "fp40": "AAAA"}]}, "sets[0]: fp40"),
        ({"kind": "verdicts", "run_id": "r", "step_id": "s", "sets": [{"outcome": "in", "n": 1}]}, "sets[0]"),
        ({"kind": "samples", "run_id": "r", "step_id": "s", "samples": [{"item_id": "i", "outcome": "?"}]}, "samples[0].outcome"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "sums": {"accepted": {"": "xyz"}}}, "sums"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "decisions": [{"at_us": "noon"}]}, "decisions"),
        ({"kind": "step", "run_id": "r", "step_id": "s", "origin": {"ids": [1]}}, "origin.ids"),
        ({"kind": "rocket"}, "kind"),
        ({}, "kind"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(record: dict[str, object], field: str) -> None:
    decoded = ndjson.decode(json.dumps({"v": 1, **record}).encode())
    assert decoded.records == []
    assert field in decoded.refused[0][1], decoded.refused


def test_a_version_this_server_does_not_know_is_refused_by_name() -> None:
    decoded = ndjson.decode(b'{"v": 2, "kind": "run", "run_id": "r"}')
    assert decoded.refused[0][1].startswith("v:")


def test_fields_this_server_does_not_know_are_ignored() -> None:
    assert ndjson.decode(b'{"v": 1, "kind": "run", "run_id": "r", "from_the_future": [1]}').refused == []
