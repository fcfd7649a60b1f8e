"""Parts of runs and steps as compact documents, the form in which a store keeps them.

Owns the order of the fields in a document and its compression; both are part of the released format. Knows neither HTTP nor SQL.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from xray_server.records.schema import RunRecord, StepRecord, decode_json, encode_json

# A part is kept as the values of these fields, in this order. Released orders are never changed, only appended to.
RUN_FIELDS: Final = (
    "rev", "pipeline", "status", "started_us", "ended_us", "duration_us", "input", "output", "input_fp", "output_fp",
    "error", "tags", "metadata", "origin", "parent", "code_version", "capture", "client", "dropped",
)  # fmt: skip
STEP_FIELDS: Final = (
    "rev", "pipeline", "name", "step_type", "parent_id", "index", "upstream", "map_index", "status", "started_us",
    "ended_us", "duration_us", "capture", "code_version", "counts", "reasons", "sums", "input_count", "output_count",
    "items", "scores", "input", "output", "input_fp", "output_fp", "error", "decisions", "metadata", "origin",
    "sampling", "dropped", "rejection_rate", "score_sums", "orders", "relation", "inference", "dimensions", "value_sums",
    "task",
)  # fmt: skip
SAMPLE_FIELDS: Final = ("item_id", "outcome", "reason", "details", "score", "rank", "weight", "at_us")

_run_values: Final = attrgetter(*RUN_FIELDS)
_step_values: Final = attrgetter(*STEP_FIELDS)
_BUILT: Final = tuple(
    STEP_FIELDS.index(name) for name in ("items", "scores", "score_sums")
)  # what is decoded into more than JSON's own
sample_values: Final = attrgetter(*SAMPLE_FIELDS)

# What most documents share, so that a document of 500 bytes compresses like one of 50,000. Never changed once released:
# a new dictionary needs a new marker byte.
_DICTIONARY_1: Final = (
    b'"reordered","gate","model","prompt","version","threshold","limit","query","dag_id","task_id","run_id","try_number"'
    b',"map_index","flow_run_id","task_run_id","op_name","partition","url","state","Completed","success","ids","kind",'
    b'"framework":"prefect","airflow","dagster","script","exact":"unordered":"partial":false,"n":,"sum":"","order":"",'
    b'{"in":{"out":{"min":["max":[{"type":"ValueError","message":"traceback":"Traceback (most recent call last):\\n  File '
    b'"{"rate":0.01,"per_reason":20,"seed":null,null,null,null,null,null,null,null,null,'
    b'"generate","retrieve","filter","score","rank","select","transform","minimal","full","sample",'
    b'"skipped","failed","running","completed",{"not_selected":{"errored":{"selected":{"rejected":{"accepted":'
)


def run_values(record: RunRecord) -> list[Any]:
    """The values of a run's part, as they read back from a document."""
    return list(_run_values(record))


def step_values(record: StepRecord) -> list[Any]:
    """The values of a step's part, as they read back from a document: structures as dicts, tuples as lists."""
    values = list(_step_values(record))
    for place in _BUILT:
        if values[place] is not None:
            values[place] = decode_json(encode_json(values[place]))  # `to_builtins` would leave tuples
    return values


def pack(value: Any) -> bytes:
    """A JSON value as a compressed document."""
    return squeeze(encode_json(value))


def squeeze(text: bytes) -> bytes:
    """A JSON text as a compressed document: `1` + deflate with dictionary 1.

    Level 3 costs what level 1 does on documents of this size and is 5% smaller; a small window saves its set-up.
    """
    window, memory = (-15, 8) if len(text) > 8192 else (-12, 5)
    packer = zlib.compressobj(3, zlib.DEFLATED, window, memory, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY_1)
    return b"\x01" + packer.compress(text) + packer.flush()


def unpack(document: bytes) -> Any:
    """The JSON value of a compressed document.

    Raises:
        ValueError: written by a newer X-Ray, or damaged.
    """
    if document[:1] != b"\x01":
        raise ValueError("a stored document is not in a form that this X-Ray knows")
    try:
        return decode_json(zlib.decompressobj(-15, zdict=_DICTIONARY_1).decompress(document[1:]))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"a stored document is damaged: {error}") from None


def pack_values(values: bytes) -> bytes:
    """The declared values of a set of verdicts as they are stored: prices and scores take 2 to 5 bytes each in place of 8."""
    return zlib.compress(values, 1)


def unpack_values(place: Sequence[Any], data: Any) -> tuple[bytes | None, float | None]:
    """The declared values of a set and their limit, by what its place in a chunk's head has behind its first six fields."""
    if not place:
        return None, None
    offset, length, limit = place
    return zlib.decompress(data[offset : offset + length]), limit
