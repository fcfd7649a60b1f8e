"""`SegmentSet`: the segments that one process holds, how much room they take, and which are dropped when there is none.

Knows nothing of locks, threads or failing disks; `Spool` calls it with its lock held.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from xray_core.spool.segment import DiskSegment, MemorySegment, Segment, stream_in
from xray_core.wire import Stream

# Details stop at 80 % of the cap and verdicts at 90 %, so that counts find room at once; beyond that counts evict.
_SHARE: Final[dict[Stream, float]] = {"counts": 1.0, "verdicts": 0.9, "details": 0.8}
_FIRST_TO_GO: Final[dict[Stream, tuple[Stream, ...]]] = {
    "counts": ("details", "verdicts"),
    "verdicts": ("details",),
    "details": (),
}
_FULL_FOR_S: Final = 0.5
_GRANT_BYTES: Final = 64 * 1024


class SegmentSet:
    """See the module.

    Args:
        max_bytes: cap on the directory, all processes together.
        memory_bytes: cap on what waits in memory.
        on_disk: whether segments are files now.
        on_drop: called with the stream and the number of records that were dropped.

    Attributes:
        live: the segment that each stream is written to.
        sealed: full ones, oldest first.
        adopted: those of dead processes.
        roll_bytes: a segment of this size is full.
    """

    def __init__(
        self, *, max_bytes: int, memory_bytes: int, on_disk: bool, on_drop: Callable[[Stream, int], None]
    ) -> None:
        self.live: dict[Stream, Segment] = {}
        self.sealed: deque[Segment] = deque()
        self.adopted: list[DiskSegment] = []
        self.roll_bytes = max(32 * 1024, min(4 * 1024 * 1024, max_bytes // 32))
        self._memory_used = 0
        self.others_bytes = 0  # what is in the directory and not ours, as measured last; adopted files included
        self._on_disk = on_disk
        self._on_drop = on_drop
        self._full_until: dict[Stream, float] = {}
        self._disk_share = {stream: int(max_bytes * share) for stream, share in _SHARE.items()}
        self._memory_share = {stream: int(min(memory_bytes, max_bytes) * share) for stream, share in _SHARE.items()}

    @property
    def on_disk(self) -> bool:
        """Whether segments are files now, and not in memory."""
        return self._on_disk

    @on_disk.setter
    def on_disk(self, value: bool) -> None:
        self._on_disk = value
        for segment in self.live.values():
            segment.room = 0

    # -- room ----------------------------------------------------------------------------------------------------

    def fits(self, stream: Stream, need: int) -> bool:
        """Whether `need` bytes of a stream fit under its share of the cap."""
        if self._on_disk:
            return need <= self._disk_left(stream)
        return self._memory_used + need <= self._memory_share[stream]

    def _disk_left(self, stream: Stream) -> int:
        own = sum([s.size for s in (*self.live.values(), *self.sealed) if isinstance(s, DiskSegment)])
        return self._disk_share[stream] - self.others_bytes - own

    def grant(self, segment: DiskSegment) -> None:
        """Let the segment take a little more without being asked about: the cap is kept to within these grants."""
        if self._on_disk:
            left = min(self.roll_bytes - segment.size, self._disk_left(segment.stream))
            segment.room = max(0, min(_GRANT_BYTES, left))

    def make_room(self, stream: Stream, need: int, *, now: float) -> bool:
        """Evict what matters less than `stream`, oldest first, until `need` bytes fit; False when they do not."""
        if self.fits(stream, need):
            return True
        if now < self._full_until.get(stream, 0.0):
            return False
        for victim in _FIRST_TO_GO[stream]:
            for segment in [s for s in (*self.adopted, *self.sealed) if s.stream == victim]:
                if self.fits(stream, need):
                    return True
                self._evict(segment)
            if not self.fits(stream, need) and victim in self.live:
                self._evict(self.live[victim])
        if self.fits(stream, need):
            return True
        self._full_until[stream] = now + _FULL_FOR_S
        return False

    def _evict(self, segment: Segment) -> None:
        if not segment.busy and isinstance(segment, DiskSegment) is self._on_disk:
            self.drop(segment)

    def took_memory(self, n: int) -> None:
        """`n` more bytes wait in memory, or fewer."""
        self._memory_used += n

    def measure(self, directory: Path) -> int:
        """What is in the directory and not ours, in bytes. Reads the disk."""
        own = {s.path.name for s in (*self.live.values(), *self.sealed) if isinstance(s, DiskSegment)}
        total = 0
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name not in own and stream_in(entry.name):
                        total += entry.stat().st_size
        except OSError:
            pass  # files go while we look; the next look is a second away
        return total

    # -- which segment -------------------------------------------------------------------------------------------

    def begin(self, segment: Segment) -> None:
        """Make `segment` the one that its stream is written to."""
        self.seal(segment.stream)
        self.live[segment.stream] = segment

    def seal(self, stream: Stream) -> None:
        """Write no more to this stream's segment; the next record begins another."""
        segment = self.live.pop(stream, None)
        if segment is None:
            return
        if segment.done and not segment.busy:
            self.remove(segment)
        else:
            self.sealed.append(segment)

    def remove(self, segment: Segment) -> None:
        """Delete a segment's file and take it off every list."""
        self._take_off_lists(segment)
        segment.discard()
        self._full_until.clear()

    def drop(self, segment: Segment) -> None:
        """As `remove`, for a segment with records that wait: they are lost, and `on_drop` counts them."""
        waiting = segment.waiting()
        self.remove(segment)
        self._on_drop(segment.stream, waiting)

    def release(self, segment: DiskSegment) -> None:
        """Close a file, so that another process may adopt it."""
        self._take_off_lists(segment)
        self.others_bytes += segment.size
        segment.close()

    def _take_off_lists(self, segment: Segment) -> None:
        if self.live.get(segment.stream) is segment:
            del self.live[segment.stream]
        if segment in self.sealed:
            self.sealed.remove(segment)
        if isinstance(segment, MemorySegment):
            self._memory_used -= segment.size
        elif segment in self.adopted:
            self.adopted.remove(segment)
            self.others_bytes = max(0, self.others_bytes - segment.size)

    def own(self) -> list[Segment]:
        """What this process wrote: live and sealed."""
        return [*self.live.values(), *self.sealed]

    def on_the_disk(self) -> list[DiskSegment]:
        """Every file held, adopted ones too."""
        return [s for s in (*self.live.values(), *self.sealed, *self.adopted) if isinstance(s, DiskSegment)]

    def in_memory(self) -> list[MemorySegment]:
        """What waits in memory, sealed or live."""
        return [s for s in (*self.live.values(), *self.sealed) if isinstance(s, MemorySegment)]
