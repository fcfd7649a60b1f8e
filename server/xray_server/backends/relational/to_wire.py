"""Rows back into wire records: what a store kept of a run, as its clients sent it. The other half of rows.py. Knows no SQL."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xray_server.backends.relational.rows import FP40, SET_NAMES
from xray_server.records.documents import RUN_FIELDS, SAMPLE_FIELDS, STEP_FIELDS, sample_values, unpack, unpack_values
from xray_server.records.schema import read_samples

Wire = dict[str, Any]


def wire_run(run_id: str, part: str, values: Sequence[Any]) -> Wire:
    """A part of a run as a wire record; `values` are in the order of RUN_FIELDS."""
    return {"v": 1, "kind": "run", "run_id": run_id, "part": part, **_given(RUN_FIELDS, values)}


def wire_step(key: Mapping[str, Any], part: str, values: Sequence[Any]) -> Wire:
    """`key`: run_id, step_id, attempt."""
    return {"v": 1, "kind": "step", **key, "part": part, **_given(STEP_FIELDS, values)}


def wire_verdicts(key: Mapping[str, Any], part: str, chunk: str, head: bytes, data: bytes) -> Wire:
    """A chunk of verdicts as a wire record; `key`: run_id, step_id, attempt."""
    sets: list[Wire] = []
    for code, reason, n, form, offset, length, *declared in unpack(head):
        blob = data[offset : offset + length]
        held: Wire = {"fp40": base64.b64encode(blob).decode()} if form == FP40 else {"ids": msgspec.json.decode(blob)}
        values, limit = unpack_values(declared, data)
        if values is not None:
            held |= {"values": base64.b64encode(values).decode()} | ({} if limit is None else {"limit": limit})
        sets.append({"outcome": SET_NAMES[code], "reason": reason, "n": n, **held})
    return {"v": 1, "kind": "verdicts", **key, "part": part, "chunk": chunk, "sets": sets}


def wire_samples(key: Mapping[str, Any], part: str, chunk: str, rev: int, text: bytes) -> Wire:
    """A record of samples as a wire record; `key`: run_id, step_id, attempt."""
    samples = [_given(SAMPLE_FIELDS, sample_values(each)) for each in read_samples(text)]
    return {"v": 1, "kind": "samples", **key, "part": part, "chunk": chunk, "rev": rev, "samples": samples}


def _given(names: Sequence[str], values: Sequence[Any]) -> Wire:
    return {name: value for name, value in zip(names, values) if value is not None}
