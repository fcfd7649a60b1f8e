"""Blocks: what several steps of one run say, compressed together.

A step says the same names as its neighbours, so together they take half the bytes or less, a fifth of the time to compress,
and one row with one entry in an index where each had its own. A block holds steps of one run alone: what expires with a run,
expires with its blocks. Samples are kept like this in both stores, the newest record of each; every step is in one block at
most. SQLite keeps steps' documents so too (sqlite/documents.py). Knows no SQL.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from xray_server.records.documents import unpack
from xray_server.records.schema import Sample, encode_json, sample_text

BLOCK_BYTES: Final = 64 * 1024  # before compression: what reading one step has to unpack
SMALL_BYTES: Final = 4 * 1024  # after it: so small a block is merged into the next one of its run
_LITTLE_BYTES: Final = 8 * 1024  # what is smaller is worth a longer search
_OLD_MARK: Final = b"\x01"  # zlib
_MARK: Final = b"\x02"  # deflate with the dictionary below

# How steps' documents and samples look, their most frequent form last: so the first step of a block takes little more than the
# others, and a block of a few steps a third less. Never changed once released: another dictionary needs another mark.
_DICTIONARY: Final = (
    b'"per_reason":20,"seed":"","min_score":,"price":,"limit":,"query":"","model":"","prompt":"","version":"","url":"http://"'
    b',"Traceback (most recent call last):\\n  File \\"{"type":"ValueError","message":"","traceback":""}'
    b'[{"decision":"select_best","selected":"","reason":"","score":0.,"alternatives":[{"item_id":"","score":0.5},'
    b'{"item_id":"","score":],"details":null,"at_us":17}]{"framework":"prefect","kind":"task_run","ids":{"flow_run_id":"",'
    b'"task_run_id":"","dag_id":"","task_id":"","run_id":"","try_number":1,"map_index":,"step_key":"","attempt":1,"node":""},'
    b'"url":null,"state":"Completed"}[[0,0,"live",17,[1,0,"live",17,[2,0,"live",17,]]\n'
    b'[{"item_id":"item-","outcome":"rejected","reason":"price_too_high","details":{"price":,"threshold":},"score":null,'
    b'"rank":null,"weight":1.0,"at_us":17},{"item_id":"item-","outcome":"accepted","reason":null,"details":null,"score":0.5,'
    b'"rank":null,"weight":1.0,"at_us":17}][[0,0,"",0,200],[1,0,"",0,300],[2,0,"",0,250],[3,0,"",0,],[4,0,"",0,],[5,0,"",0,],'
    b'[6,0,"",0,],[7,0,"",0,]]\n{"not_selected":{"":},"errored":{"":},"min":[0.,""],"max":[0.,""]},"selected":{"min":[0.9,""],'
    b'"max":[0.9,""]},"not_selected":{"min":[{"in":{"n":,"sum":"","order":null},"out":{"n":,"sum":"","order":""}},null,'
    b'{"exact":"","unordered":"","partial":false},{"$type":"list","size":}[[0,[17,true,true,true,null,true,null,null,true,true,'
    b'true,true,"sample",null,null,null,null,null,null,null,null,null,null,null,null,null,null,{"threshold":},null,{"rate":0.01,'
    b'"per_reason":20,"seed":""}]]][[0,[17,true,true,true,null,true,null,null,true,true,true,true,"sample",null,{"accepted":,'
    b'"rejected":},{"accepted":{"":},"rejected":{"":}},{"accepted":{"":""},"rejected":{"":""}},null,null,null,{"accepted":'
    b'{"min":[0.,""],"max":[0.,""]}},null,null,null,null,null,null,null,null,{"rate":0.01,"per_reason":20,"seed":""}]]]'
    b'[[0,[2,true,true,true,null,true,null,null,true,true,true,true,null,null,{"rejected":,"accepted":},{"rejected":{}},null,,,'
    b'null,null,null,null,null,null,null,null,{"'
)

Key: TypeAlias = tuple[int, int, str]  # step, part, chunk
Revisioned: TypeAlias = tuple[int, bytes]  # revision, JSON; of two the greater counts


@dataclass(frozen=True, slots=True)
class Block:
    """`low` and `high` are the first and the last step in it; `data` numbers steps from `low`, so that a block may be made
    before its steps have their numbers.
    """

    low: int
    high: int
    data: bytes


def keep(records: dict[Key, Revisioned], key: Key, kept: Revisioned) -> None:
    """Keep the newer of what is known of a key and this."""
    known = records.get(key)
    if known is None or kept > known:
        records[key] = kept


def rewrite_blocks(
    records: Mapping[Key, Revisioned], stored: Iterable[tuple[int, bytes]]
) -> tuple[list[int], list[Block]]:
    """New records of a run among its stored blocks.

    Args:
        stored: `low` and data of those blocks that may hold a step of these records, or are small.

    Returns:
        the `low` of those blocks that go, and the blocks to write in their place.
    """
    steps = {step for step, _, _ in records}
    now, gone = dict(records), []
    for low, data in stored:
        known = dict(unpacked(low, data))
        if len(data) < SMALL_BYTES or any(step in steps for step, _, _ in known):
            gone.append(low)
            for key, kept in known.items():
                keep(now, key, kept)
    return gone, packed(now)


def packed(records: Mapping[Key, Revisioned]) -> list[Block]:
    """These records as blocks, in the order of their steps."""
    blocks: list[Block] = []
    inside: list[tuple[Key, Revisioned]] = []
    size = 0
    for key, kept in sorted(records.items()):
        if inside and key[0] != inside[-1][0][0] and size + len(kept[1]) > BLOCK_BYTES:
            blocks.append(block_of(inside))
            inside, size = [], 0
        inside.append((key, kept))
        size += len(kept[1])
    return [*blocks, block_of(inside)] if inside else blocks


def block_of(records: Sequence[tuple[Key, Revisioned]]) -> Block:
    """One block of these records, in the order of their steps."""
    low, high = records[0][0][0], records[-1][0][0]
    head = [(step - low, part, chunk, rev, len(text)) for (step, part, chunk), (rev, text) in records]
    whole = b"".join((encode_json(head), b"\n", *(text for _, (_, text) in records)))
    level, window, memory = (6, -13, 6) if len(whole) <= _LITTLE_BYTES else (3, -15, 8)
    packer = zlib.compressobj(level, zlib.DEFLATED, window, memory, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    return Block(low, high, b"".join((_MARK, packer.compress(whole), packer.flush())))


def unpacked(low: int, data: bytes) -> Iterator[tuple[Key, Revisioned]]:
    """The records in a block.

    Raises:
        ValueError: written by a newer X-Ray, or damaged.
    """
    mark = data[:1]
    if mark not in (_MARK, _OLD_MARK):
        raise ValueError("a stored block is not in a form that this X-Ray knows")
    try:
        unpacker = zlib.decompressobj(-15, zdict=_DICTIONARY) if mark == _MARK else zlib.decompressobj()
        head, _, texts = unpacker.decompress(data[1:]).partition(b"\n")
        records = msgspec.json.decode(head)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"a stored block is damaged: {error}") from None
    at = 0
    for step, part, chunk, rev, length in records:
        yield (low + step, part, chunk), (rev, texts[at : at + length])
        at += length


def text_of_chunk(document: bytes) -> bytes:
    """The record's text from a chunk's document, as samples were kept before there were blocks."""
    return bytes(sample_text(Sample(*values) for values in unpack(document)))


class SampleBlockAggregate:
    """The block of one step from the chunks of before there were blocks, as an aggregate function for a migration."""

    def __init__(self) -> None:
        self._records: dict[Key, Revisioned] = {}

    def step(self, step: int, part: int, chunk: str, rev: int, document: bytes) -> None:
        """Add one chunk; called by SQLite."""
        self._records[step, part, chunk] = rev, text_of_chunk(document)

    def finalize(self) -> bytes:
        """The data of the block; called by SQLite."""
        return block_of(sorted(self._records.items())).data
