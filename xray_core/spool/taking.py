"""Which records are sent next, and how the room of one batch is shared between streams. Locks nothing, deletes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from xray_core import safety
from xray_core.spool.segment import Item, Segment
from xray_core.spool.segments import SegmentSet
from xray_core.wire import STREAMS

First = Literal["fresh", "old"]


class Taken(NamedTuple):
    """Records read from one segment, which stays `busy` until `Spool.give_back`."""

    segment: Segment
    items: list[Item]


def next_segments(segments: SegmentSet, first: First) -> list[Segment]:
    """At most two segments of each stream, in the order in which they are read: the live one and the oldest that waits.

    Args:
        first: "fresh": what this process writes now comes before what waited longer; "old": after it.
    """
    fresh = [segments.live[stream] for stream in STREAMS if stream in segments.live]
    oldest: dict[str, Segment] = {}
    for segment in (*segments.adopted, *segments.sealed):
        if not segment.done and not segment.busy:
            oldest.setdefault(segment.stream, segment)
    waited = [oldest[stream] for stream in STREAMS if stream in oldest]
    return [s for s in (fresh + waited if first == "fresh" else waited + fresh) if not s.done and not s.busy]


def read_shares(ordered: Sequence[Segment], *, max_bytes: int, max_records: int) -> list[Taken]:
    """Read from busy segments until the room is used up; those that gave nothing are busy no more.

    Args:
        ordered: as `next_segments` returns them.
        max_bytes: payload bytes, exceeded by at most one record.
        max_records: records, all segments together.
    """
    taken: list[Taken] = []
    for index, segment in enumerate(ordered):
        if max_bytes <= 0 or max_records <= 0:
            segment.busy = False
            continue
        # Each segment may fill half of what is left, the last one all of it: no stream shuts out another.
        share = 1 if index == len(ordered) - 1 else 2
        try:
            items = segment.read(max_bytes=max_bytes // share, max_records=max(1, max_records // share))
        except OSError as error:
            safety.swallow("spool.read", error)
            items = []
        if not items:
            segment.busy = False
            continue
        taken.append(Taken(segment, items))
        max_bytes -= sum([len(payload or b"") for _, payload in items])
        max_records -= len(items)
    return taken
