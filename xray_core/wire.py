"""The contract between SDK and server: versioned records, as NDJSON lines and as spool payloads.

A record is one JSON object. Times are integer microseconds since the epoch, UTC (`*_us`). Every record has `v` (1) and
`kind`, and belongs to a *part*: what one object of one process knows of a run or of a step attempt (two objects
of one id are two parts). A part is a full snapshot with a growing `rev`; the newest revision of a part wins, so resending is harmless.
A run or a step attempt is the merge of its parts (`xray_core.merge`), in any order.

kind "run", key (run_id, part):
    rev, pipeline, status, started_us, ended_us, duration_us, input, output, input_fp, output_fp, error, tags {k: v},
    metadata {k: v}, origin, parent {run_id, step_id} | null, code_version, capture, client {host, pid, sdk},
    dropped {what: n}
kind "step", key (run_id, step_id, attempt, part):
    rev, pipeline, name, step_type, parent_id, index (order within the run), upstream [step_id], map_index, status,
    started_us, ended_us, duration_us, capture, code_version,
    counts {outcome: n}, reasons {outcome: {reason: n}}, sums {outcome: {reason: hex}} (sum of the items' 64-bit hashes,
    modulo 2**64: equal sums and counts mean equal item sets),
    input_count, output_count (by the user's word, or null: a size of a value is neither),
    items {in: ItemSet, out: ItemSet, others {argument: ItemSet} (a join's further collections; 8 at most),
        links [[parent id, child id]] (1,000 at most)},
    relation (null, or how `out` relates to `in`: filter | rank | transform | expanded | joined | aggregated | source | sink),
    inference {skipped, keys, note, verdicts} | null (why nothing was inferred, where a person can act on it;
    verdicts: true where the verdicts themselves are inferred, as from the spans of another instrumentation),
    scores {outcome: {min: [score, item_id], max: [score, item_id]}},
    value_sums {outcome: {reason: {n, total (null: out of range), min, max}}} (of the values that verdicts declared),
    dimensions {field: {value: {outcome: n}}} (all items, by the values of chosen fields of details),
    score_sums {outcome: Column} (over all scored items), orders {outcome: hex} (hash of the sequence of the items' hashes, where
    one thread said them under one reason),
    input, output, input_fp, output_fp ({v, exact, unordered, partial, form, near, lasting, made_up} | null), error {type, message, traceback} | null,
    decisions [{decision, selected, reason, score, alternatives, details, at_us}], metadata, origin,
    sampling {rate, per_reason, seed}, dropped {what: n} (what this part could not keep),
    task (of a part of an attempt of an engine's task, by its name: running | completed | failed; of the attempts of one task
    one counts, with its verdicts and samples: `xray_core.tasks`)
kind "verdicts", key (run_id, step_id, attempt, part, chunk), append-only, never changed once written:
    chunk (a string), sets [{outcome, reason | null, n, ids [item_id]} | {outcome, reason | null, n, fp40: base64}];
    `outcome` is also "in" / "out" for the item sets, with ids in order;
    a set whose verdicts declare a number each has values (base64 of little-endian doubles, in the order of ids or fp40; NaN: none)
    and limit (what they were held against | null)
kind "samples", key (run_id, step_id, attempt, part, chunk):
    chunk "live" is a snapshot with `rev` (newest wins); other chunks are append-only;
    samples [{item_id, outcome, reason, details, score, rank, weight, at_us}]; weight is 1 / inclusion probability;
    `outcome` is also "in" / "out" for the chosen fields of an item as it went in or came out (`details`)
kind "client", key (part):
    rev, host, pid, sdk, pipeline, counters {name: n}   (records dropped, quarantined, swallowed errors, ...)

ItemSet: {n (with multiplicity), sum (of the items' hashes, modulo 2**64), order (hash of their sequence | null), distinct | null,
    nulls (rows without an id), key (name, or names of a composite; null: the items are ids), inferred (nobody said it),
    source (the argument's name, or those of several as one | null), rows (sum of hash(id, row) | null), columns {name: Column} (64 at most),
    columns_omitted: n, beyond: n (of a further argument: items that are not among those of `in`, which its field names as well)}
Column: {sum (of hash(id, value)), n, nulls, and of numbers min, max, total, abs, proj [a, b]}; see `xray_core.sums`
error: {type, message, traceback}. origin: see `model.Origin`. fp: see `xray_core.objects.fingerprint`.

In the spool a payload is one such JSON object, or, for verdicts, "V" + a JSON header + "\\n" + the raw 64-bit hashes: the
caller's thread only copies memory, and the sender sorts and packs (`to_line`). Values follow the hashes of their set.
"""

from __future__ import annotations

import base64
import re
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from xray_core import verdicts
from xray_core.model import Status

VERSION: Final = 1
KINDS: Final = ("run", "step", "verdicts", "samples", "client")

# What a record may lose its place to when the spool is full: details go first, then verdicts, counts last.
Stream = Literal["counts", "verdicts", "details"]
STREAMS: Final[tuple[Stream, ...]] = ("counts", "verdicts", "details")
STREAM_OF: Final[dict[str, Stream]] = {
    "run": "counts",
    "step": "counts",
    "client": "counts",
    "verdicts": "verdicts",
    "samples": "details",
}

# Sorting holds the GIL: 8k fingerprints take about 1 ms, a million would stop the pipeline for half a second. And what fits
# into the cache sorts faster: 64k at once take half as long again for each, to be a thirtieth smaller.
MAX_VERDICTS_PER_CHUNK: Final = 1 << 13

# A sanitised record as the bytes that go to the spool.
to_payload: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


class StepHead(msgspec.Struct, gc=False):
    """The fields of every snapshot of one part of a step attempt; of a step without values and items, all of them. A struct, since every step
    makes one and encodes it twice: that takes half as long as a dict of the same. It refers to nothing that could refer
    back, which spares the garbage collector.
    """

    v: int
    kind: str
    run_id: str
    step_id: str
    attempt: int
    part: str
    pipeline: str | None
    name: str | None
    step_type: str | None
    index: int | None
    capture: str
    started_us: int
    rev: int
    status: Status | None
    ended_us: int | msgspec.UnsetType = msgspec.UNSET
    duration_us: int | msgspec.UnsetType = msgspec.UNSET
    parent_id: str | msgspec.UnsetType = msgspec.UNSET
    upstream: list[str] | msgspec.UnsetType = msgspec.UNSET
    map_index: int | msgspec.UnsetType = msgspec.UNSET
    code_version: str | msgspec.UnsetType = msgspec.UNSET
    task: Status | msgspec.UnsetType = msgspec.UNSET

    def as_record(self) -> dict[str, Any]:
        """The same as a record."""
        return from_line(to_payload(self))

    def of_items(self) -> dict[str, Any]:
        """What the records of this part's items begin with."""
        return {
            "v": self.v, "run_id": self.run_id, "step_id": self.step_id, "attempt": self.attempt, "part": self.part,
            "pipeline": self.pipeline,
        }  # fmt: skip


class RawSet(NamedTuple):
    """Verdicts of one outcome and reason: 64-bit hashes as array("Q"); `values`, an array("d"), where each declares a number."""

    outcome: str
    reason: str | None
    hashes: array[int]
    values: array[float] | None = None
    limit: float | None = None


def verdicts_payload(header: Mapping[str, Any], sets: Sequence[RawSet]) -> bytes:
    """Raw verdicts as a spool payload.

    Args:
        header: the verdicts record without its `sets`.
    """
    plan: list[list[Any]] = []
    data: list[bytes] = []
    for each in sets:
        plan.append([each.outcome, each.reason, len(each.hashes)])
        data.append(each.hashes.tobytes())
        if each.values is not None:
            plan[-1].append(each.limit)
            data.append(each.values.tobytes())
    head = to_payload({**header, "raw": plan, "order": sys.byteorder})
    return b"".join([b"V", head, b"\n", *data])


def to_line(payload: bytes) -> bytes:
    """A spool payload as one NDJSON line, without its newline.

    Raises:
        ValueError: the payload is neither form (a damaged spool, or one from a newer X-Ray).
    """
    if payload[:1] == b"{":
        return payload
    if payload[:1] != b"V":
        raise ValueError("not an X-Ray spool payload")
    end = payload.index(b"\n")
    record = _decode(payload[1:end])
    plan, order = record.pop("raw"), record.pop("order")
    sets: list[dict[str, Any]] = []
    at = end + 1
    for outcome, reason, n, *declared in plan:
        hashes: array[int] = _numbers("Q", payload, at, n, order)
        at += 8 * n
        of_values: dict[str, Any] = {}
        if declared:
            packed, values = verdicts.encode_with(hashes, _numbers("d", payload, at, n, order))
            of_values = {"values": base64.b64encode(values).decode("ascii"), "limit": declared[0]}
            at += 8 * n
        else:
            packed = verdicts.encode(hashes)
        fp40 = base64.b64encode(packed).decode("ascii")
        sets.append({"outcome": outcome, "reason": reason, "n": n, "fp40": fp40, **of_values})
    record["sets"] = sets
    return to_payload(record)


def _numbers(kind: Literal["Q", "d"], payload: bytes, at: int, n: int, order: str) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(payload[at : at + 8 * n])
    if len(numbers) != n:
        raise ValueError("a verdicts payload is cut off")
    if order != sys.byteorder:
        numbers.byteswap()
    return numbers


def head_of(payload: bytes) -> bytes:
    """The bytes of a run's or a step's record before its values: equal for two snapshots of one part."""
    return payload[: payload.find(b',"pipeline":')]


def is_part_key(head: bytes) -> bool:
    """Whether a head holds the whole key of a part, so that equal heads mean one part: not so where a redactor reordered it."""
    return _PART.fullmatch(head) is not None


_PART: Final = re.compile(
    rb'{"v":1,"kind":"(run","run_id":"[^"\\]*"|step","run_id":"[^"\\]*","step_id":"[^"\\]*","attempt":\d+),"part":"[^"\\]*"'
)


def from_line(line: bytes) -> dict[str, Any]:
    """One NDJSON line as a record, its shape not yet checked.

    Raises:
        ValueError: not a JSON object.
    """
    record = _decode(line)
    if not isinstance(record, dict):
        raise ValueError("a record is a JSON object")
    return record


def _decode(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None
