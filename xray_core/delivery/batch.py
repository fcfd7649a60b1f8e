"""From spool payloads to a body, and from an answer back to what may be acknowledged.

Owns lines, their order and the halving of a body. Knows nothing of when to send or of how.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from xray_core import wire
from xray_core.spool import Segment, Taken

_GZIP: Final = 31  # zlib's word for a gzip header around the largest window
_FINGERPRINTS_BYTES: Final = 4096  # a member costs 20 bytes and 20 us of its own
_SNAPSHOTS: Final = (b'{"v":1,"kind":"step",', b'{"v":1,"kind":"run",')
_LEVEL: Final = 1  # JSON shrinks 6-10 times at level 1; level 6 takes three times the CPU for a tenth less


class Entry(NamedTuple):
    """One record on its way.

    Attributes:
        segment, position: acknowledging `position` says that this record, and all before it, need no sending.
        payload: as it was in the spool; None for damaged bytes.
        line: the NDJSON line; None for what is not sent: damaged, unreadable (`problem` says why), or superseded.
    """

    segment: Segment
    position: int
    payload: bytes | None
    line: bytes | None
    problem: str | None = None


def entries_of(taken: Sequence[Taken]) -> list[Entry]:
    """The records of several segments as entries, each segment's in their order.

    Of the snapshots of one part only the newest is sent: it says all that the earlier ones said. Most steps open and
    close within one batch, and half of what they write need not be sent.
    """
    entries: list[Entry] = []
    for segment, items in taken:
        newer_heads: set[bytes] = set()
        own: list[Entry] = []
        for position, payload in reversed(items):  # within a segment, what comes later is newer
            line, problem = payload, None
            if payload is None:
                pass
            elif payload.startswith(_SNAPSHOTS):
                head = wire.head_of(payload)
                if head in newer_heads and wire.is_part_key(head):
                    line = None
                newer_heads.add(head)
            else:
                line, problem = _line(payload)
            own.append(Entry(segment, position, payload, line, problem))
        own.reverse()
        entries += own
    return entries


def _line(payload: bytes) -> tuple[bytes | None, str | None]:
    try:
        return wire.to_line(payload), None
    except Exception as error:  # noqa: BLE001  # bytes that some other version wrote can fail in any way
        return None, f"not sent: {type(error).__name__}: {error}"


def body_of(lines: Sequence[bytes]) -> bytes:
    """Lines as one gzip'd NDJSON body: a member for each stretch of lines that compress alike."""
    members = []
    for random, stretch in groupby(lines, key=_is_random):
        strategy = zlib.Z_HUFFMAN_ONLY if random else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP, zlib.DEF_MEM_LEVEL, strategy)
        text = b"\n".join([*stretch, b""])
        members += [packer.compress(text), packer.flush()]  # one call: each hands the GIL over and back
    return b"".join(members)


def _is_random(line: bytes) -> bool:
    """Whether a line is mostly fingerprints.

    Their base64 repeats nothing: a search for repetitions takes three times as long as coding the 64 letters alone, which
    also comes out smaller.
    """
    return len(line) >= _FINGERPRINTS_BYTES and b'"fp40":"' in line[:1024]


def halves(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """A batch that the server cannot take whole, as two."""
    middle = len(entries) // 2
    return list(entries[:middle]), list(entries[middle:])


def acknowledgements(entries: Sequence[Entry]) -> list[tuple[Segment, int, int]]:
    """Per segment: how far it is done, and how many records that were. A segment's entries stand together."""
    done: list[tuple[Segment, int, int]] = []
    for segment, group in groupby(entries, key=attrgetter("segment")):
        own = list(group)
        done.append((segment, own[-1].position, sum([entry.payload is not None for entry in own])))
    return done
