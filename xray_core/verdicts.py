"""Item fingerprints: made, encoded and looked up. The SDK writes them, the server reads them.

A verdict of a large step is kept as 40 bits of the item id's 64-bit xxh3. `fp40` is the stored form of a set of them:

    0x01, n x 5 bytes                        sorted, big-endian                      (n < 4,096)
    0x02, 257 x u32 bucket offsets, n x u32  sorted; the top 8 bits choose a bucket  (4.0 bytes an item)

Little-endian but for the 5-byte form, which sorts as bytes. Owns nothing of what a verdict means, nor of where it is kept.
"""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import xxhash

from xray_core.model import HASH_MODULUS, item_id_text

BITS: Final = 40
MASK: Final = (1 << BITS) - 1
_LOW: Final = 0xFFFF_FFFF
_MASKED_ID: Final = re.compile(r"\[redacted\]#([0-9a-f]{10})")  # see `objects.redaction.masked_item_id`
_SMALL: Final = 4096
_TABLE_BYTES: Final = 257 * 4
_SUMMED_AS_ONE: Final = 512
_SUMMED_AT_ONCE: Final = 1 << 14

if array("I").itemsize != 4:  # pragma: no cover - no platform that Python 3.10 supports
    raise ImportError("X-Ray needs a platform with 32-bit C ints")


def hash64(text: str) -> int:
    """The 64-bit xxh3 of an item id in its one spelling (`model.item_id_text`)."""
    digest: int = xxhash.xxh3_64_intdigest(text.encode())
    return digest


def fingerprint(item_id: object) -> int:
    """The 40-bit fingerprint under which an item's verdicts are found. The name of an item whose id was masked is it already."""
    text = item_id_text(item_id)
    masked = _MASKED_ID.fullmatch(text) if text[0:1] == "[" else None
    return int(masked[1], 16) if masked is not None else hash64(text) & MASK


def sum64(hashes: array[int]) -> int:
    """The sum of 64-bit hashes, an array("Q"), modulo 2**64: half the time of making and adding an int for each.

    The hashes become the 80-bit digits of one long number, whose halves are added until one digit is left: the 16 bits above
    each hash hold what 65,536 of them carry.
    """
    if len(hashes) < _SUMMED_AS_ONE:
        return sum(hashes) % HASH_MODULUS
    total = 0
    for at in range(0, len(hashes), _SUMMED_AT_ONCE):
        raw = _little(hashes[at : at + _SUMMED_AT_ONCE])
        n = len(raw) // 8
        digits = bytearray(10 * n)
        for byte in range(8):
            digits[byte::10] = raw[byte::8]
        number = int.from_bytes(digits, "little")
        while n > 1:
            n = (n + 1) // 2
            number = (number & ((1 << 80 * n) - 1)) + (number >> 80 * n)
        total += number
    return total % HASH_MODULUS


def encode(hashes: Iterable[int]) -> bytes:
    """A set of 64-bit hashes (of which 40 bits are kept; duplicates stay) as an `fp40` blob. Fastest from an array("Q")."""
    hashes = array("Q", hashes)
    n = len(hashes)
    planes = _sorted_planes(hashes)  # the sorted fingerprints' bytes, the lowest first: byte i of item k at 8 * k + i
    if n < _SMALL:
        small = bytearray(5 * n)
        for byte in range(5):
            small[byte::5] = planes[4 - byte :: 8]
        return b"\x01" + bytes(small)
    lows = bytearray(4 * n)
    for byte in range(4):
        lows[byte::4] = planes[byte::8]
    tops = planes[4::8]
    offsets = array("I", [bisect_left(tops, bucket) for bucket in range(256)])
    offsets.append(n)
    return b"\x02" + _little(offsets) + bytes(lows)


def encode_with(hashes: array[int], values: array[float]) -> tuple[bytes, bytes]:
    """As `encode`, and one number an item: little-endian doubles, in the order of the fingerprints."""
    low = array("Q", [hashed & MASK for hashed in hashes])
    order = sorted(range(len(low)), key=low.__getitem__)
    return encode(hashes), pack_numbers(array("d", [values[at] for at in order]))


def pack_numbers(numbers: array[float]) -> bytes:
    """Numbers as little-endian doubles."""
    return _little(array("Q", numbers.tobytes()))


def numbers_of(data: bytes) -> array[float]:
    """The numbers that `pack_numbers` was given."""
    numbers = array("d", data)
    if sys.byteorder == "big":  # pragma: no cover
        numbers.byteswap()
    return numbers


def _sorted_planes(hashes: array[int]) -> bytes:
    """The low 40 bits of each hash, sorted, as little-endian bytes, 8 an item, of which the upper three mean nothing.

    Python compares floats in half the time that integers beyond 30 bits take. So each fingerprint is made the mantissa of
    a double between 2**52 and 2**53, by writing its exponent over the upper bytes, and nothing is done item by item.
    """
    n = len(hashes)
    raw = bytearray(_little(hashes))
    if (planes := _sorted_by_numpy(raw)) is not None:
        return planes
    raw[5::8], raw[6::8], raw[7::8] = bytes(n), b"\x30" * n, b"\x43" * n
    doubles = array("d")
    doubles.frombytes(raw)
    if sys.byteorder == "big":  # pragma: no cover
        doubles.byteswap()
    doubles = array("d", sorted(doubles))
    if sys.byteorder == "big":  # pragma: no cover
        doubles.byteswap()
    return doubles.tobytes()


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
        if offsets[-1] == (len(blob) - 1 - _TABLE_BYTES) // 4 and all(a <= b for a, b in pairwise(offsets)):
            return _with_buckets(blob[1 + _TABLE_BYTES :], offsets).tolist()
    raise ValueError("not an fp40 set of fingerprints")


def decode_below(blob: bytes, buckets: int) -> Sequence[int]:
    """Of a blob, the fingerprints whose top 8 bits are below `buckets`, sorted: a share of buckets / 256, read alone.

    Raises:
        ValueError: as for `decode`.
    """
    if blob[:1] != b"\x02" or buckets >= 256:
        values = decode(blob)
        return values if buckets >= 256 else values[: bisect_left(values, buckets << 32)]
    offsets = _array(blob[1 : 1 + _TABLE_BYTES])
    lows = blob[1 + _TABLE_BYTES : 1 + _TABLE_BYTES + 4 * offsets[buckets]]
    if len(lows) < 4 * offsets[buckets]:
        raise ValueError("not an fp40 set of fingerprints")
    return _with_buckets(lows, offsets[: buckets + 1])


def false_positive_probability(set_sizes: Sequence[int]) -> float:
    """The chance that an item which is in none of these sets is found in one of them all the same: n / 2**40."""
    return min(1.0, sum(set_sizes) / float(1 << BITS))


def _sorted_by_numpy(raw: bytearray) -> bytes | None:
    """As `_sorted_planes`, in a fifth of the time and without the GIL, where the pipeline has loaded numpy; else None.

    Loading it for this would cost the pipeline 0.1 s and 20 MB.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    try:
        values = numpy.frombuffer(raw, dtype="<u8") & numpy.uint64(MASK)
        values.sort()
        sorted_planes: bytes = values.tobytes()
    except Exception:  # noqa: BLE001  # half imported by another thread, or something else of that name
        return None
    return sorted_planes


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover
        values.byteswap()
    return values.tobytes()


def _with_buckets(lows: bytes, offsets: array[int]) -> array[int]:
    """Fingerprints of their low 32 bits and the buckets that these are in, put together byte by byte of all: a third of the
    time that shifting each takes.
    """
    planes = bytearray(8 * (len(lows) // 4))
    for byte in range(4):
        planes[byte::8] = lows[byte::4]
    planes[4::8] = b"".join(bytes((bucket,)) * (end - start) for bucket, (start, end) in enumerate(pairwise(offsets)))
    fingerprints = array("Q")
    fingerprints.frombytes(planes)
    if sys.byteorder == "big":  # pragma: no cover
        fingerprints.byteswap()
    return fingerprints


def _array(data: bytes) -> array[int]:
    values = array("I")
    values.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover
        values.byteswap()
    return values
