"""Item fingerprints: made, encoded and looked up. The SDK writes them, the server reads them.

A verdict of a large step is kept as 40 bits of the item id's 64-bit xxh3. `fp40` is the stored form of a set of them:

    0x01, n x 5 bytes                        sorted, big-endian                      (n < 4,096)
    0x02, 257 x u32 bucket offsets, n x u32  sorted; the top 8 bits choose a bucket  (4.0 bytes an item)

Little-endian but for the 5-byte form, which sorts as bytes. Owns nothing of what a verdict means, nor of where it is kept.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import xxhash

from xray_core.model import item_id_text

BITS: Final = 40
MASK: Final = (1 << BITS) - 1
_LOW: Final = 0xFFFF_FFFF
_SMALL: Final = 4096
_TABLE_BYTES: Final = 257 * 4

if array("I").itemsize != 4:  # pragma: no cover - no platform that Python 3.10 supports
    raise ImportError("X-Ray needs a platform with 32-bit C ints")


def hash64(text: str) -> int:
    """The 64-bit xxh3 of an item id in its one spelling (`model.item_id_text`)."""
    digest: int = xxhash.xxh3_64_intdigest(text.encode())
    return digest


def fingerprint(item_id: object) -> int:
    """The 40-bit fingerprint under which an item's verdicts are found."""
    return hash64(item_id_text(item_id)) & MASK


def encode(fingerprints: Iterable[int]) -> bytes:
    """A set of fingerprints (40 bits each; higher bits are cut off; duplicates stay) as an `fp40` blob."""
    values = sorted([value & MASK for value in fingerprints])
    if len(values) < _SMALL:
        return b"\x01" + b"".join([value.to_bytes(5, "big") for value in values])
    offsets = array("I", [bisect_left(values, bucket << 32) for bucket in range(256)])
    offsets.append(len(values))
    lows = array("I", [value & _LOW for value in values])
    return b"\x02" + _little(offsets) + _little(lows)


def size(blob: bytes) -> int:
    """How many fingerprints a blob holds, duplicates included."""
    if blob[:1] == b"\x01":
        return (len(blob) - 1) // 5
    return (len(blob) - 1 - _TABLE_BYTES) // 4


def contains(blob: bytes, fingerprint: int) -> bool:
    """Whether the set holds the fingerprint; reads O(log n) bytes of the blob."""
    if blob[:1] == b"\x01":
        wanted = fingerprint.to_bytes(5, "big")
        low, high = 0, size(blob)
        while low < high:
            middle = (low + high) // 2
            start = 1 + 5 * middle
            if blob[start : start + 5] < wanted:
                low = middle + 1
            else:
                high = middle
        return blob[1 + 5 * low : 6 + 5 * low] == wanted
    bucket = fingerprint >> 32
    low = int.from_bytes(blob[1 + 4 * bucket : 5 + 4 * bucket], "little")
    high = int.from_bytes(blob[5 + 4 * bucket : 9 + 4 * bucket], "little")
    wanted_low = fingerprint & _LOW
    base = 1 + _TABLE_BYTES
    end = high
    while low < high:
        middle = (low + high) // 2
        if int.from_bytes(blob[base + 4 * middle : base + 4 * middle + 4], "little") < wanted_low:
            low = middle + 1
        else:
            high = middle
    return low < end and int.from_bytes(blob[base + 4 * low : base + 4 * low + 4], "little") == wanted_low


def decode(blob: bytes) -> list[int]:
    """All fingerprints of a blob, sorted.

    Raises:
        ValueError: the blob is not an fp40 blob, or is cut off.
    """
    kind = blob[:1]
    if kind == b"\x01" and (len(blob) - 1) % 5 == 0:
        return [int.from_bytes(blob[i : i + 5], "big") for i in range(1, len(blob), 5)]
    if kind == b"\x02" and len(blob) >= 1 + _TABLE_BYTES and (len(blob) - 1) % 4 == 0:
        offsets = _array(blob[1 : 1 + _TABLE_BYTES])
        lows = _array(blob[1 + _TABLE_BYTES :])
        if offsets[-1] == len(lows) and all(a <= b for a, b in pairwise(offsets)):
            return [bucket << 32 | low for bucket in range(256) for low in lows[offsets[bucket] : offsets[bucket + 1]]]
    raise ValueError("not an fp40 set of fingerprints")


def decode_below(blob: bytes, buckets: int) -> list[int]:
    """Of a blob, the fingerprints whose top 8 bits are below `buckets`, sorted: a share of buckets / 256, read alone.

    Raises:
        ValueError: as for `decode`.
    """
    if blob[:1] != b"\x02" or buckets >= 256:
        values = decode(blob)
        return values if buckets >= 256 else values[: bisect_left(values, buckets << 32)]
    offsets = _array(blob[1 : 1 + _TABLE_BYTES])
    lows = _array(blob[1 + _TABLE_BYTES : 1 + _TABLE_BYTES + 4 * offsets[buckets]])
    if len(lows) < offsets[buckets]:
        raise ValueError("not an fp40 set of fingerprints")
    return [bucket << 32 | low for bucket in range(buckets) for low in lows[offsets[bucket] : offsets[bucket + 1]]]


def false_positive_probability(set_sizes: Sequence[int]) -> float:
    """The chance that an item which is in none of these sets is found in one of them all the same: n / 2**40."""
    return min(1.0, sum(set_sizes) / float(1 << BITS))


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover
        values.byteswap()
    return values.tobytes()


def _array(data: bytes) -> array[int]:
    values = array("I")
    values.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover
        values.byteswap()
    return values
