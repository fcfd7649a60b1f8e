"""Wire records as checked, typed structures.

Owns the shape of what a client may send (`xray_core.wire` says what it means) and its bounds. Knows neither HTTP nor SQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias, TypedDict

import msgspec
from msgspec import Meta, Raw, Struct

from xray_core import verdicts
from xray_core.bounds import MAX_ATTEMPT as MAX_ATTEMPT
from xray_core.bounds import MAX_COUNT as MAX_COUNT
from xray_core.bounds import MAX_COUNTER_CHARS, MAX_ID_CHARS, MAX_ITEM_ID_CHARS, MAX_WORD_CHARS
from xray_core.bounds import MAX_DURATION_US as MAX_DURATION_US
from xray_core.bounds import MAX_INT as MAX_INT
from xray_core.bounds import MAX_TIME_US as MAX_TIME_US
from xray_core.model import Outcome

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Part: TypeAlias = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
Word: TypeAlias = Annotated[str, Meta(max_length=MAX_WORD_CHARS)]
ItemId: TypeAlias = Annotated[str, Meta(max_length=MAX_ITEM_ID_CHARS)]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TIME_US)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Duration: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_DURATION_US)]
Revision: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_INT)]
Integer: TypeAlias = Annotated[int, Meta(ge=-MAX_INT, le=MAX_INT)]
Hash: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-fA-F]{1,16}$")]
StatusWord: TypeAlias = Literal["running", "completed", "failed", "skipped"]
SetWord: TypeAlias = Literal["accepted", "rejected", "selected", "not_selected", "errored", "in", "out"]
Attempt: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_ATTEMPT)]
JsonObject: TypeAlias = dict[str, Any]


class Column(Struct, omit_defaults=True):
    """One field over all items of a set; see `xray_core.sums`."""

    n: Count
    sum: Hash | None = None
    nulls: Count = 0
    min: float | None = None
    max: float | None = None
    total: float | None = None
    abs: float | None = None
    proj: tuple[float, float] | None = None


class ItemSet(Struct, omit_defaults=True):
    """A set of items as the client gave it, or as an adapter inferred it: how many, the sum of their hashes, a hash of their
    order, and what of their values was captured; see `xray_core.wire`.
    """

    n: Count
    sum: Hash
    order: str | None = None
    distinct: Count | None = None
    nulls: Count = 0
    key: Word | Annotated[list[Word], Meta(max_length=16)] | None = None
    inferred: bool = False
    source: Word | None = None
    rows: Hash | None = None
    form: Annotated[str, Meta(max_length=16)] | None = None
    columns: Annotated[dict[Word, Column], Meta(max_length=64)] | None = None
    columns_omitted: Count = 0
    beyond: Count = 0


class Items(Struct, omit_defaults=True):
    """The item sets of a step: what went in and came out, a join's further collections, and which item came of which."""

    in_: ItemSet | None = msgspec.field(default=None, name="in")
    out: ItemSet | None = None
    others: Annotated[dict[Word, ItemSet], Meta(max_length=8)] | None = None
    links: Annotated[list[tuple[ItemId, ItemId]], Meta(max_length=1_000)] | None = None


class Decision(TypedDict, total=False):
    """A decision of a step, as it was sent."""

    decision: Any
    selected: Any
    reason: Any
    score: Any
    alternatives: Any
    details: Any
    at_us: Time | None


class Origin(TypedDict, total=False):
    """The framework object behind a run or step."""

    framework: str | None
    kind: str | None
    ids: JsonObject | None
    url: str | None
    state: str | None


class Parent(TypedDict, total=False):
    """The run, and the step in it, inside which a run began."""

    run_id: str | None
    step_id: str | None


class Fingerprint(TypedDict, total=False):
    """Hashes of an input or output (`xray_core.objects.fingerprint`)."""

    v: int
    exact: str | None
    unordered: str | None
    partial: bool
    form: str | None


class RunRecord(Struct, tag_field="kind", tag="run"):
    """What one process knows of a run; the record with the highest `rev` of a part counts."""

    v: Literal[1]
    run_id: Id
    part: Part = ""
    rev: Revision = 0
    pipeline: Word | None = None
    status: StatusWord | None = None
    started_us: Time | None = None
    ended_us: Time | None = None
    duration_us: Duration | None = None
    input: Any = None
    output: Any = None
    input_fp: Fingerprint | None = None
    output_fp: Fingerprint | None = None
    error: JsonObject | None = None
    tags: JsonObject | None = None
    metadata: JsonObject | None = None
    origin: Origin | None = None
    parent: Parent | None = None
    code_version: str | None = None
    capture: str | None = None
    client: JsonObject | None = None
    dropped: dict[str, Count] | None = None


class ValueSums(TypedDict):
    """Of the values that verdicts of one outcome and reason declared."""

    n: Count
    total: float | None  # None: out of range
    min: float
    max: float


class StepRecord(Struct, tag_field="kind", tag="step"):
    """What one process knows of a step attempt; the record with the highest `rev` of a part counts."""

    v: Literal[1]
    run_id: Id
    step_id: Id
    attempt: Attempt = 0
    part: Part = ""
    rev: Revision = 0
    pipeline: Word | None = None
    name: Word | None = None
    step_type: Word | None = None
    parent_id: Id | None = None
    index: Integer | None = None
    upstream: list[Id] | None = None
    map_index: Integer | None = None
    status: StatusWord | None = None
    started_us: Time | None = None
    ended_us: Time | None = None
    duration_us: Duration | None = None
    capture: str | None = None
    code_version: str | None = None
    counts: dict[Outcome, Count] | None = None
    reasons: dict[Outcome, dict[Word, Count]] | None = None
    sums: dict[Outcome, dict[Word, Hash]] | None = None
    input_count: Count | None = None
    output_count: Count | None = None
    items: Items | None = None
    scores: dict[Outcome, dict[Literal["min", "max"], tuple[float, ItemId] | None]] | None = None
    input: Any = None
    output: Any = None
    input_fp: Fingerprint | None = None
    output_fp: Fingerprint | None = None
    error: JsonObject | None = None
    decisions: list[Decision] | None = None
    metadata: JsonObject | None = None
    origin: Origin | None = None
    sampling: JsonObject | None = None
    dropped: dict[str, Count] | None = None
    rejection_rate: float | None = None  # only where a client gives a rate without the counts behind it
    score_sums: dict[Outcome, Column] | None = None
    orders: dict[Outcome, Hash | None] | None = None
    relation: Word | None = None
    inference: JsonObject | None = None
    dimensions: dict[Word, dict[Word, dict[Outcome, Count]]] | None = None
    value_sums: dict[Outcome, dict[Word, ValueSums]] | None = None
    task: StatusWord | None = None  # how the attempt of a task is that this part is of (`xray_core.tasks`)


class VerdictSet(Struct):
    """Items of one outcome and reason: named by `ids`, or as an fp40 blob of fingerprints; `values` in the same order."""

    outcome: SetWord
    n: Count
    reason: Word | None = None
    ids: list[ItemId] | None = None
    fp40: bytes | None = None  # base64 on the wire
    values: bytes | None = None  # base64 on the wire: little-endian doubles, one an item
    limit: float | None = None

    def __post_init__(self) -> None:
        # what a lookup will trust is checked once, here: a blob that lies about its offsets would answer wrongly for ever
        if (self.ids is None) == (self.fp40 is None):
            raise ValueError("a set has either ids or fp40")
        if self.fp40 is not None:
            try:
                held = len(verdicts.decode(self.fp40))
            except ValueError as error:
                raise ValueError(f"fp40 is {error}") from None
            if held != self.n:
                raise ValueError(f"n is {self.n}, fp40 holds {held}")
        if self.values is not None and len(self.values) != 8 * (self.n if self.ids is None else len(self.ids)):
            raise ValueError(f"values holds {len(self.values)} bytes: it takes 8 for each item")


class VerdictsRecord(Struct, tag_field="kind", tag="verdicts"):
    """A chunk of verdicts of one step attempt; the first of a chunk counts."""

    v: Literal[1]
    run_id: Id
    step_id: Id
    sets: list[VerdictSet]
    attempt: Attempt = 0
    part: Part = ""
    chunk: Part = ""


class Sample(Struct, omit_defaults=True, gc=False):
    """One item with details."""

    item_id: ItemId
    outcome: SetWord
    reason: Word | None = None
    details: Any = None
    score: float | None = None
    rank: Integer | None = None
    weight: float | None = None
    at_us: Time | None = None


class SamplesRecord(Struct, tag_field="kind", tag="samples"):
    """`samples` is a JSON list of `Sample`, kept as it was sent: taking it apart to put it together again would cost more
    than all else that is done with it.
    """

    v: Literal[1]
    run_id: Id
    step_id: Id
    samples: Raw
    attempt: Attempt = 0
    part: Part = ""
    chunk: Part = ""
    rev: Revision = 0


class ClientRecord(Struct, tag_field="kind", tag="client"):
    """What a client process says of itself: records it dropped, errors it swallowed."""

    v: Literal[1]
    part: Part
    rev: Revision = 0
    host: str | None = None
    pid: Integer | None = None
    sdk: str | None = None
    pipeline: Word | None = None
    counters: dict[Annotated[str, Meta(max_length=MAX_COUNTER_CHARS)], Count] | None = None


Record: TypeAlias = RunRecord | StepRecord | VerdictsRecord | SamplesRecord | ClientRecord
_decode_record: Final = msgspec.json.Decoder(Record).decode
_read_samples: Final = msgspec.json.Decoder(list[Sample]).decode
encode_json: Final = msgspec.json.Encoder().encode
decode_json: Final = msgspec.json.Decoder().decode


def decode_record(line: bytes) -> Record:
    """A checked record.

    Raises:
        msgspec.DecodeError: not JSON, or not a record; says where.
        UnicodeDecodeError: not UTF-8.
    """
    record: Record = _decode_record(line)
    if isinstance(record, SamplesRecord):
        try:
            _read_samples(record.samples)
        except msgspec.ValidationError as error:
            why, _, path = str(error).partition(" - at `$")
            raise msgspec.ValidationError(f"{why} - at `$.samples{path or '`'}") from None
    return record


def read_samples(text: bytes) -> list[Sample]:
    """The samples of a record that was checked."""
    return _read_samples(text)


def sample_text(samples: Iterable[Sample]) -> Raw:
    """Samples as a record of them holds them."""
    return Raw(encode_json(list(samples)))
