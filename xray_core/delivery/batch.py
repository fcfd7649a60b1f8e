"""From spool payloads to a body, and from an answer back to what may be acknowledged.

Owns lines, their order and the halving of a body. Knows nothing of when to send or of how.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from xray_core import wire
from xray_core.spool import Item, Segment, Taken

_GZIP: Final = 31  # zlib's word for a gzip header around the largest window
_FINGERPRINTS_BYTES: Final = 4096  # a member costs 20 bytes and 20 us of its own
_LEVEL: Final = 1  # JSON shrinks 6-10 times at level 1; level 6 takes three times the CPU for a tenth less


@dataclass(frozen=True, slots=True)
class Entry:
    """One record on its way.

    Attributes:
        segment, position: acknowledging `position` says that this record, and all before it, need no sending.
        line: the NDJSON line; None for what cannot be sent (`problem` says why).
        raw: the payload as it was in the spool; None for damaged bytes.
    """

    taken: Taken
    position: int
    line: bytes | None
    raw: bytes | None
    problem: str | None = None


def entries_of(taken: Sequence[Taken]) -> list[Entry]:
    """The records of several segments as entries, each segment's in their order."""
    return [_entry(one, item) for one in taken for item in one.items]


def _entry(taken: Taken, item: Item) -> Entry:
    position, payload = item
    if payload is None:
        return Entry(taken, position, None, None)
    try:
        return Entry(taken, position, wire.to_line(payload), payload)
    except Exception as error:  # noqa: BLE001  # bytes that some other version wrote can fail in any way
        return Entry(taken, position, None, payload, f"not sent: {type(error).__name__}: {error}")


def body_of(lines: Sequence[bytes]) -> bytes:
    """Lines as one gzip'd NDJSON body: a member for each stretch of lines that compress alike."""
    members = []
    for random, stretch in groupby(lines, key=_is_random):
        strategy = zlib.Z_HUFFMAN_ONLY if random else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP, zlib.DEF_MEM_LEVEL, strategy)
        members += [packer.compress(b"".join(stretch)), packer.flush()]  # one call: each hands the GIL over and back
    return b"".join(members)


def _is_random(line: bytes) -> bool:
    """Whether a line is mostly fingerprints. In their base64 there is nothing to find twice, but searching it takes three
    times as long as coding its 64 letters, which comes out smaller too."""
    return len(line) >= _FINGERPRINTS_BYTES and b'"fp40":"' in line[:1024]


def halves(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """A batch that the server cannot take whole, as two."""
    middle = len(entries) // 2
    return list(entries[:middle]), list(entries[middle:])


def acknowledgements(entries: Sequence[Entry]) -> list[tuple[Segment, int, int]]:
    """Per segment: how far it is done, and how many records that were. A segment's entries stand together."""
    done: list[tuple[Segment, int, int]] = []
    for segment, group in groupby(entries, key=lambda entry: entry.taken.segment):
        own = list(group)
        done.append((segment, own[-1].position, sum([entry.raw is not None for entry in own])))
    return done
