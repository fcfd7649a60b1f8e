"""What buckets hold as the sets of a verdicts record. Knows nothing of where records go."""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import xxhash

from xray_core import verdicts, wire
from xray_core.capture.columns import Ids, xxh3
from xray_core.capture.declared import Declared, Named, Taken, by_limit
from xray_core.wire import RawSet

if TYPE_CHECKING:
    from xray_core.capture.bucket import Bucket

_NAMES_IN_RECORD: Final = 4_000  # each may be 256 characters of 6 bytes, and a line of the wire holds 8 MiB


class Drained(NamedTuple):
    """What was taken out of the buckets and is not written yet: items by name, those that have a value, fingerprints."""

    taken: list[tuple[Bucket, list[str]]]
    with_values: list[tuple[Bucket, list[Named]]]
    raw: list[RawSet]


def hashed(ids: list[str]) -> array[int]:
    """The hashes of ids."""
    return array("Q", [xxh3(each.encode()) for each in ids])


def chunks(outcome: str, reason: str | None, hashes: array[int], taken: Taken | None = None) -> list[RawSet]:
    """Hashes as sets of at most `wire.MAX_VERDICTS_PER_CHUNK`; `taken`: with its values and limit."""
    step = wire.MAX_VERDICTS_PER_CHUNK
    places = range(0, len(hashes), step)
    if taken is None:
        return [RawSet(outcome, reason, hashes[at : at + step]) for at in places]
    return [RawSet(outcome, reason, hashes[at : at + step], taken.values[at : at + step], taken.limit) for at in places]


def take_declared(bucket: Bucket, declared: Declared, raw: list[RawSet]) -> list[Named]:
    """The items of a bucket that have a value: the hashed ones are added to `raw`, the named ones returned."""
    if bucket.written > declared.taken or not declared.one_limit():
        bucket.caller = 0  # they lie in several places: in which order they came is not known
    named = declared.take_named()
    if named:
        bucket.took(hashed([each.item_id for each in named]))
    for taken in declared.take():
        bucket.took(taken.hashes)
        raw += chunks(bucket.outcome, bucket.reason, taken.hashes, taken)
    return named


def named_with_values(
    bucket: Bucket, items: list[Named], secret: frozenset[str], raw: list[RawSet]
) -> list[dict[str, Any]]:
    """Sets of named items, one a limit; those whose ids are secrets are added to `raw` as hashes."""
    sets = []
    for limit, those in by_limit(items).items():
        hidden = [each for each in those if each.item_id in secret]
        if hidden:
            taken = Taken(limit, hashed([each.item_id for each in hidden]), array("d", [each.value for each in hidden]))
            raw += chunks(bucket.outcome, bucket.reason, taken.hashes, taken)
        shown = [each for each in those if each.item_id not in secret]
        if shown:
            values = verdicts.pack_numbers(array("d", [each.value for each in shown]))
            sets.append({
                "outcome": bucket.outcome, "reason": bucket.reason, "n": len(shown), "ids": [each.item_id for each in shown],
                "values": b64encode(values).decode("ascii"), "limit": limit,
            })  # fmt: skip
    return sets


def grouped(sets: list[RawSet]) -> Iterator[list[RawSet]]:
    """Sets in groups of at most `wire.MAX_VERDICTS_PER_CHUNK` items."""
    group: list[RawSet] = []
    size = 0
    for each in sets:
        if group and size + len(each.hashes) > wire.MAX_VERDICTS_PER_CHUNK:
            yield group
            group, size = [], 0
        group.append(each)
        size += len(each.hashes)
    if group:
        yield group


def in_records(sets: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Sets of named items in groups that fit into one record each, however long their names are."""
    group: list[dict[str, Any]] = []
    size = 0
    for each in sets:
        if group and size + each["n"] > _NAMES_IN_RECORD:
            yield group
            group, size = [], 0
        group.append(each)
        size += each["n"]
    if group:
        yield group


def fields_of(ids: Ids, hashes: array[int]) -> dict[str, Any]:
    """What a step record says of a set of items."""
    order = xxhash.xxh3_64_hexdigest(hashes.tobytes())
    nulls = {"nulls": ids.nulls + ids.odd} if ids.nulls or ids.odd else {}
    return {"n": ids.size, "sum": f"{verdicts.sum64(hashes):016x}", "order": order, **nulls}


def value_sums(buckets: Iterable[Bucket]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Outcome -> reason -> n, total, min and max of the declared values that are written down."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for bucket in list(buckets):
        if bucket.declared is not None and bucket.declared.taken:
            found.setdefault(bucket.outcome, {})[bucket.reason or ""] = bucket.declared.sums()
    return found
