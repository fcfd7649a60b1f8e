"""The ids of a column as one piece of text: no object for each, and hashed together, in a third of the time.

XXH3 (Collet 2019, its specification of inputs up to 16 bytes) over arrays; longer ones are hashed one by one. Needs numpy, which
is never loaded for it, and columns whose library hands out their text whole: polars and pyarrow.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

import xxhash

MANY: Final = 4_096  # rows from which it pays
MOST_BYTES: Final = 16  # of a text, on average: of longer ones it does not
_BLOCK: Final = 1 << 14  # rows worked on at once, which fit into the processor's cache
_MASK: Final = (1 << 64) - 1
_WORD: Final = 8
# The first 64 bytes of XXH3's default secret, as words.
_SECRET: Final = (
    0xBE4BA423396CFEB8, 0x1CAD21F72C81017C, 0xDB979083E96DD4DE, 0x1F67B3B7A4A44072, 0x78E5C0CC4EE679CB, 0x2172FFCC7DD05A82,
    0x8E2443F7744608B8, 0x4C263A81E69035E0,
)  # fmt: skip
_xxh3 = xxhash.xxh3_64_intdigest


class PackedTexts(Sequence[bytes]):
    """Texts in one buffer. Immutable.

    Args:
        data: all of them, and whatever lies between.
        starts, lengths: of each, in bytes; arrays of int64.
    """

    __slots__ = ("_data", "_lengths", "_starts")

    def __init__(self, data: bytes, starts: Any, lengths: Any) -> None:
        self._data = data
        self._starts = starts
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        start = int(self._starts[place])
        return self._data[start : start + int(self._lengths[place])]

    def __iter__(self) -> Iterator[bytes]:
        data = self._data
        for start, length in zip(self._starts.tolist(), self._lengths.tolist()):
            yield data[start : start + length]

    @property
    def longest(self) -> int:
        """The bytes of the longest."""
        return int(self._lengths.max()) if len(self) else 0

    def hashes(self, seed: int = 0) -> array[int]:
        """The 64-bit xxh3 of each."""
        numpy = sys.modules["numpy"]  # which made `starts`
        words = numpy.frombuffer(self._data + bytes(3 * _WORD - len(self._data) % _WORD), dtype="<u8")
        made = numpy.empty(len(self), dtype=numpy.uint64)
        for at in range(0, len(self), _BLOCK):
            starts, lengths = self._starts[at : at + _BLOCK], self._lengths[at : at + _BLOCK]
            block = made[at : at + _BLOCK]
            least, most = int(lengths.min()), int(lengths.max())
            for work, shortest, longest in ((_to_3, 1, 3), (_to_8, 4, 8), (_to_16, 9, 16)):
                if shortest <= least and most <= longest:
                    block[:] = work(numpy, words, starts, lengths, seed)
                elif least <= longest and most >= shortest:
                    rows = numpy.flatnonzero((lengths >= shortest) & (lengths <= longest))
                    block[rows] = work(numpy, words, starts[rows], lengths[rows], seed)
            if least == 0 or most > MOST_BYTES:
                for row in numpy.flatnonzero((lengths == 0) | (lengths > MOST_BYTES)).tolist():
                    block[row] = _xxh3(self[at + row], seed)
        return array("Q", made.tobytes())

    @staticmethod
    def joined(several: Sequence[PackedTexts]) -> PackedTexts:
        """Several, one after the other."""
        numpy = sys.modules["numpy"]
        before, starts = 0, []
        for each in several:
            starts.append(each._starts + before)
            before += len(each._data)
        data = b"".join([each._data for each in several])
        return PackedTexts(data, numpy.concatenate(starts), numpy.concatenate([each._lengths for each in several]))


def of_polars(column: Any) -> PackedTexts | None:
    """The texts of a polars column of Strings without nulls; None where that does not pay or cannot be."""
    numpy = _numpy()
    if numpy is None or len(column) < MANY or not hasattr(column.str, "join"):
        return None
    lengths = column.str.len_bytes().to_numpy().astype(numpy.int64)
    if int(lengths.sum()) > MOST_BYTES * len(lengths):
        return None
    return PackedTexts(column.str.join("").item().encode(), numpy.cumsum(lengths) - lengths, lengths)


def of_arrow(column: Any) -> PackedTexts | None:
    """The texts of a pyarrow array of string or large_string without nulls; None where that does not pay or cannot be."""
    numpy = _numpy()
    if numpy is None or len(column) < MANY:
        return None
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    _, offsets, data = column.buffers()
    kind = numpy.int32 if str(column.type) == "string" else numpy.int64
    ends = numpy.frombuffer(offsets, dtype=kind)[column.offset : column.offset + len(column) + 1].astype(numpy.int64)
    first, last = int(ends[0]), int(ends[-1])
    if data is None or last - first > MOST_BYTES * len(column):
        return None
    return PackedTexts(data[first:last].to_pybytes(), ends[:-1] - first, numpy.diff(ends))


def _numpy() -> Any:
    """numpy, where the program has loaded it, and no other thread is still about it."""
    numpy = sys.modules.get("numpy")
    return numpy if hasattr(numpy, "flatnonzero") else None


def _read(numpy: Any, words: Any, at: Any) -> Any:
    """Eight bytes from each place of the buffer, of which `words` is a view, as a number."""
    word = at >> 3
    shift = ((at & 7) << 3).astype(numpy.uint64)
    u8 = numpy.uint64
    return (words[word] >> shift) | ((words[word + 1] << u8(1)) << (u8(63) - shift))


def _to_3(numpy: Any, words: Any, starts: Any, lengths: Any, seed: int) -> Any:
    u8 = numpy.uint64
    text = _read(numpy, words, starts)
    length = lengths.astype(u8)
    byte = u8(0xFF)
    first, middle = text & byte, (text >> ((length >> u8(1)) << u8(3))) & byte
    last = (text >> ((length - u8(1)) << u8(3))) & byte
    flip = ((_SECRET[0] & 0xFFFFFFFF) ^ (_SECRET[0] >> 32)) + seed
    mixed = ((first << u8(16)) | (middle << u8(24)) | last | (length << u8(8))) ^ u8(flip & _MASK)
    mixed = (mixed ^ (mixed >> u8(33))) * u8(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> u8(29))) * u8(0x165667B19E3779F9)
    return mixed ^ (mixed >> u8(32))


def _to_8(numpy: Any, words: Any, starts: Any, lengths: Any, seed: int) -> Any:
    u8 = numpy.uint64
    swapped = int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big")
    flip = (_SECRET[1] ^ _SECRET[2]) - (seed ^ (swapped << 32))
    text, low = _read(numpy, words, starts), u8(0xFFFFFFFF)
    length = lengths.astype(u8)
    last = (text >> ((length - u8(4)) << u8(3))) & low
    mixed = (last + ((text & low) << u8(32))) ^ u8(flip & _MASK)
    mixed = mixed ^ _rotated(u8, mixed, 49) ^ _rotated(u8, mixed, 24)
    mixed *= u8(0x9FB21C651E98DF25)
    mixed ^= (mixed >> u8(35)) + length
    mixed *= u8(0x9FB21C651E98DF25)
    return mixed ^ (mixed >> u8(28))


def _to_16(numpy: Any, words: Any, starts: Any, lengths: Any, seed: int) -> Any:
    u8 = numpy.uint64
    low = _read(numpy, words, starts) ^ u8(((_SECRET[3] ^ _SECRET[4]) + seed) & _MASK)
    high = _read(numpy, words, starts + lengths - _WORD) ^ u8(((_SECRET[5] ^ _SECRET[6]) - seed) & _MASK)
    mixed = lengths.astype(u8) + low.byteswap() + high + _folded(u8, low, high)
    mixed = (mixed ^ (mixed >> u8(37))) * u8(0x165667919E3779F9)
    return mixed ^ (mixed >> u8(32))


def _rotated(u8: Any, value: Any, bits: int) -> Any:
    return (value << u8(bits)) | (value >> u8(64 - bits))


def _folded(u8: Any, one: Any, other: Any) -> Any:
    """The halves of the 128-bit product, one over the other."""
    low, half = u8(0xFFFFFFFF), u8(32)
    a, b, c, d = one & low, one >> half, other & low, other >> half
    least, left, right = a * c, b * c, a * d
    cross = (least >> half) + (left & low) + right
    upper = (left >> half) + (cross >> half) + b * d
    return upper ^ ((cross << half) | (least & low))
