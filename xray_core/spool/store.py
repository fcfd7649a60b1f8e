"""`Spool`: one process's segments for one server, written by any thread and read by the sender.

Owns which segment a record goes to, the size cap, the way to memory when the disk fails, and adoption. The caller's
path takes no lock that it could wait for long, because captures happen inside signal handlers, `__del__`, logging
handlers and right after a fork: whoever finds the lock taken by its own thread, or by one that hangs on a slow disk,
goes around it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from time import perf_counter
from typing import Final, Literal

from xray_core import safety
from xray_core.spool import destination, frames
from xray_core.spool.segment import Disk, DiskSegment, Item, MemorySegment, Segment, stream_in
from xray_core.wire import STREAMS, Stream

# Details stop at 80 % of the cap and verdicts at 90 %, so that counts find room at once; beyond that counts evict.
_SHARE: Final[dict[Stream, float]] = {"counts": 1.0, "verdicts": 0.9, "details": 0.8}
_FIRST_TO_GO: Final[dict[Stream, tuple[Stream, ...]]] = {
    "counts": ("details", "verdicts"),
    "verdicts": ("details",),
    "details": (),
}
_MEMORY_BYTES: Final = 16 * 1024 * 1024
_WAIT_FOR_LOCK_S: Final = 1.0  # many busy threads make each wait for the GIL, 5 ms apiece: less is no sign of a hang
_SLOW_WRITE_S: Final = 0.05
_SLOW_WRITES: Final = 3
_RETRY_DISK_S: Final = 5.0
_FULL_FOR_S: Final = 0.5
_MAX_ADOPTED: Final = 16  # open at a time: bounds descriptors, and lets several adopters share the work


@dataclass(frozen=True, slots=True)
class Taken:
    """Records read from one segment, which stays `busy` until `Spool.give_back`."""

    segment: Segment
    items: list[Item]


class Spool:
    """One process's hold on the spool of one server.

    Args:
        directory: the server's directory (`directory_for`); None keeps records in memory only.
        api_url: written into the directory, for whoever looks at it.
        max_bytes: cap on the directory, all processes together. Kept to within one segment per process.
        fsync: make each record survive a power cut before `append` returns.
        disk: the calls to the disk; a seam for tests.
        clock: monotonic seconds.

    `append` may be called from anywhere. `take`, `give_back`, `acknowledge` and `adopt` belong to whoever sends, one
    thread at a time. `maintain` belongs to one background thread.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        api_url: str = "",
        max_bytes: int = 256 * 1024 * 1024,
        memory_bytes: int = _MEMORY_BYTES,
        fsync: bool = False,
        disk: Disk | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self._api_url = api_url
        self._max_bytes = max_bytes
        self._share_bytes = {stream: max_bytes * share for stream, share in _SHARE.items()}
        self._memory_max_bytes = min(memory_bytes, max_bytes)
        self._roll_bytes = max(32 * 1024, min(4 * 1024 * 1024, max_bytes // 32))
        self._fsync = fsync
        self._disk = disk or Disk()
        self._clock = clock
        self._told: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._stuck = False
        self._lock_lost = False
        self._live: dict[Stream, Segment] = {}
        self._sealed: deque[Segment] = deque()
        self._adopted: list[DiskSegment] = []
        self._late: deque[tuple[Stream, bytes]] = deque()
        self._late_bytes = 0
        self._late_drops: deque[Stream] = deque()
        self._memory_used = 0
        self._disk_used = 0
        self._others_bytes = 0
        self._full_until: dict[Stream, float] = {}
        self._disk_ok = self.directory is not None
        self._retry_disk_at = 0.0
        self._slow_writes = 0
        self._prepared = False
        self._notices: deque[str] = deque()
        self.counters: dict[str, int] = {}

    # -- the caller's side ---------------------------------------------------------------------------------------

    def append(self, stream: Stream, payload: bytes) -> None:
        """Keep one record: on disk when this returns, or in memory (bounded, counted) when the disk does not take it.

        Any thread, signal handlers, `__del__`, after a fork. Never raises, never waits for the network; waits for the
        disk at most once for long (`_WAIT_FOR_LOCK_S`).
        """
        lock = self._lock
        if not lock.acquire(False) and not self._wait(lock):
            self._append_around(stream, payload)
            return
        self._owner = get_ident()
        try:
            if self._late or self._late_drops:
                self._fold_late()
            need = len(payload) + frames.FRAME_BYTES
            segment = self._live.get(stream)
            if (
                type(segment) is DiskSegment
                and segment.size < self._roll_bytes
                and self._disk_ok
                and self._disk_used + self._others_bytes + need <= self._share_bytes[stream]
                and need <= frames.MAX_PAYLOAD_BYTES
            ):
                self._append_to_disk(segment, payload, need)
            else:
                self._append(stream, payload)
        except Exception as error:  # noqa: BLE001
            self._count(f"dropped_{stream}", 1)
            self._notices.append(f"a record could not be kept ({type(error).__name__}: {error})")
        finally:
            self._owner = 0
            self._stuck = False
            lock.release()

    def _wait(self, lock: threading.Lock) -> bool:
        if self._stuck or self._owner == get_ident():
            return False
        if lock.acquire(timeout=_WAIT_FOR_LOCK_S):
            return True
        self._stuck = True
        return False

    def _append_around(self, stream: Stream, payload: bytes) -> None:
        """Without the lock: a segment of its own when our own thread holds it, else memory until somebody can write."""
        if self._owner == get_ident() and self._disk_ok and self.directory is not None:
            try:
                segment = DiskSegment.create(self.directory, stream, disk=self._disk)
                segment.append(payload)
                if self._fsync:
                    segment.sync()
                self._disk_used += segment.size  # not exact between threads; `maintain` sums up
                self._sealed.append(segment)
                return
            except OSError:
                pass  # memory, below; whoever holds the lock finds out for itself what is wrong with the disk
        if self._late_bytes + len(payload) > self._memory_max_bytes:
            self._late_drops.append(stream)
            return
        self._late_bytes += len(payload)  # not exact between threads: a bound, not a count
        self._late.append((stream, payload))

    def _append(self, stream: Stream, payload: bytes) -> None:
        """What `append` does where there is more to it than one write: a new segment, no room, no disk."""
        need = len(payload) + frames.FRAME_BYTES
        if need > frames.MAX_PAYLOAD_BYTES:
            self._drop(stream, 1)
            return
        if self._disk_ok:
            if not self._fits(stream, need) and not self._make_room(stream, need):
                self._drop(stream, 1)
                return
            try:
                segment = self._live.get(stream)
                if segment is None or segment.size >= self._roll_bytes or not isinstance(segment, DiskSegment):
                    segment = self._roll(stream)
            except OSError as error:
                self._leave(error)
            else:
                self._append_to_disk(segment, payload, need)
                return
        self._append_to_memory(stream, payload)

    def _append_to_disk(self, segment: DiskSegment, payload: bytes, need: int) -> None:
        started = perf_counter()
        try:
            segment.append(payload)
            if self._fsync:
                segment.sync()
        except OSError as error:
            self._leave(error)
            self._append_to_memory(segment.stream, payload)
            return
        self._disk_used += need
        if perf_counter() - started >= _SLOW_WRITE_S:
            self._slow_write()
        elif self._slow_writes:
            self._slow_writes = 0

    def _leave(self, error: OSError) -> None:
        self._leave_disk(f"{self.directory} does not take records ({error.strerror or error})")

    def _slow_write(self) -> None:
        # A write gives the GIL away and gets it back only after other threads had their turn: if doing nothing at all
        # takes long too, it is the machine that is busy and not the disk.
        started = perf_counter()
        time.sleep(0)
        if perf_counter() - started > _SLOW_WRITE_S / 2:
            return
        self._slow_writes += 1
        if self._slow_writes >= _SLOW_WRITES:
            self._slow_writes = 0
            self._leave_disk(f"{self.directory} is slow ({_SLOW_WRITES} writes in a row took over 50 ms)")
            self._retry_disk_at = 0.0  # the background thread writes for us, and finds out when it is fast again

    def _append_to_memory(self, stream: Stream, payload: bytes) -> None:
        need = len(payload) + frames.FRAME_BYTES
        if self._memory_used + need > self._memory_max_bytes * _SHARE[stream] and not self._make_room(stream, need):
            self._drop(stream, 1)
            return
        segment = self._live.get(stream)
        if not isinstance(segment, MemorySegment) or segment.size >= self._roll_bytes:
            self._seal(stream)
            segment = self._live[stream] = MemorySegment(stream)
        segment.append(payload)
        self._memory_used += need

    def _roll(self, stream: Stream) -> DiskSegment:
        if self.directory is None:
            raise OSError("no directory")
        if not self._prepared:
            destination.prepare(self.directory, self._api_url)
            self._prepared = True
            self._others_bytes = self._measure_others()
        segment = DiskSegment.create(self.directory, stream, disk=self._disk)
        if self._fsync:
            self._disk.sync_directory(self.directory)
        self._seal(stream)
        self._live[stream] = segment
        self._disk_used += segment.size
        return segment

    def _seal(self, stream: Stream) -> None:
        segment = self._live.pop(stream, None)
        if segment is None:
            return
        if segment.done and not segment.busy:
            self._forget(segment)
        else:
            self._sealed.append(segment)

    # -- bounds --------------------------------------------------------------------------------------------------

    def _make_room(self, stream: Stream, need: int) -> bool:
        """Evict what matters less than `stream`, oldest first, until `need` bytes fit."""
        now = self._clock()
        if now < self._full_until.get(stream, 0.0):
            return False
        for victim in _FIRST_TO_GO[stream]:
            for segment in [s for s in (*self._adopted, *self._sealed) if s.stream == victim]:
                if self._fits(stream, need):
                    return True
                self._evict(segment)
            if not self._fits(stream, need) and victim in self._live:
                self._evict(self._live[victim])
        if self._fits(stream, need):
            return True
        self._full_until[stream] = now + _FULL_FOR_S
        return False

    def _fits(self, stream: Stream, need: int) -> bool:
        if self._disk_ok:
            return self._disk_used + self._others_bytes + need <= self._share_bytes[stream]
        return self._memory_used + need <= self._memory_max_bytes * _SHARE[stream]

    def _evict(self, segment: Segment) -> None:
        if segment.busy or isinstance(segment, DiskSegment) is not self._disk_ok:
            return
        waiting = segment.waiting()
        self._forget(segment)
        self._drop(segment.stream, waiting)

    def _forget(self, segment: Segment) -> None:
        """Delete a segment and strike it from every list."""
        if self._live.get(segment.stream) is segment:
            del self._live[segment.stream]
        if segment in self._sealed:
            self._sealed.remove(segment)
        if isinstance(segment, DiskSegment):
            if segment in self._adopted:
                self._adopted.remove(segment)
                self._others_bytes = max(0, self._others_bytes - segment.size)
            else:
                self._disk_used -= segment.size
        else:
            self._memory_used -= segment.size
        segment.discard()
        self._full_until.clear()

    def _drop(self, stream: Stream, records: int) -> None:
        if not records:
            return
        self._count(f"dropped_{stream}", records)
        if self.directory is None or not self._disk_ok:
            self._notice("dropped", "records were dropped: the server cannot be reached and memory is full")
        else:
            self._notice("dropped", f"records were dropped: {self.directory} is at its cap of {self._max_bytes} bytes")

    def _count(self, name: str, n: int) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def _notice(self, topic: str, text: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self._notices.append(text)

    def notices(self) -> list[str]:
        """What the user should be told once, since the last call. Not logged here: a log handler may capture."""
        notices: list[str] = []
        while self._notices:
            notices.append(self._notices.popleft())
        return notices

    # -- the disk fails, and comes back --------------------------------------------------------------------------

    def _leave_disk(self, why: str) -> None:
        self._disk_ok = False
        self._prepared = False
        self._retry_disk_at = self._clock() + _RETRY_DISK_S
        self._count("degraded", 1)
        self._notice("degraded", f"{why}: records wait in memory, at most {self._memory_max_bytes >> 20} MB of them")

    def maintain(self) -> None:
        """About once a second, from one background thread: memory to disk, sizes, the cap, and fdatasync.

        May block on the disk; holds the lock only for moments, unless the disk hangs.
        """
        with self._locked() as held:
            if not held:
                self._mend_lock()
                return
            self._lock_lost = False
            self._fold_late()
            self._disk_used = sum(s.size for s in self._disk_segments() if s not in self._adopted)
            spill = [] if self.directory is None or self._disk_ok else self._memory_segments()
            due = self.directory is not None and not self._disk_ok and self._clock() >= self._retry_disk_at
            for segment in spill:
                segment.busy = due
        if due:
            self._return_to_disk(spill)
        self._sync_to_disk()
        if self._disk_ok and self._prepared:
            others = self._measure_others()
            with self._locked() as held:
                if held:
                    self._others_bytes = others

    def _mend_lock(self) -> None:
        # A KeyboardInterrupt between `acquire` and the next bytecode leaves the lock taken by nobody, for ever.
        if self._lock_lost and self._owner == 0:
            self._lock, self._stuck, self._lock_lost = threading.Lock(), False, False
        else:
            self._lock_lost = self._owner == 0

    def _memory_segments(self) -> list[MemorySegment]:
        for stream in [s for s, segment in self._live.items() if isinstance(segment, MemorySegment)]:
            self._seal(stream)
        return [s for s in self._sealed if isinstance(s, MemorySegment) and not s.busy]

    def _return_to_disk(self, spill: list[MemorySegment]) -> None:
        """Write down what waits in memory; if that works and is fast, callers may write to the disk again."""
        directory = self.directory
        if directory is None:
            return
        started = perf_counter()
        moved: list[tuple[MemorySegment, DiskSegment]] = []
        try:
            destination.prepare(directory, self._api_url)
            for segment in spill:
                moved.append((segment, self._write_down(directory, segment)))
            if not spill:
                DiskSegment.create(directory, "counts", disk=self._disk).discard()
            failed = False
        except OSError:
            failed = True
        took_s = perf_counter() - started
        with self._locked(patient=True):
            for segment in spill:
                segment.busy = False
            for old, new in moved:
                self._sealed.append(new)
                self._disk_used += new.size
                old.moved_to = new
                self._forget(old)
            if failed:
                self._retry_disk_at = self._clock() + _RETRY_DISK_S
            elif took_s < _SLOW_WRITE_S * (1 + len(spill)):
                self._disk_ok = True
                self._slow_writes = 0

    def _write_down(self, directory: Path, segment: MemorySegment) -> DiskSegment:
        with self._locked(patient=True):  # a fork must not happen between the opening of a file and our knowing of it
            new = DiskSegment.create(directory, segment.stream, disk=self._disk)
        try:
            new.append_many(segment.remaining())
            new.sync()
        except OSError:
            new.discard()
            raise
        return new

    def _sync_to_disk(self) -> None:
        for segment in [s for s in (*self._live.values(), *self._sealed) if isinstance(s, DiskSegment)]:
            if segment.unsynced and segment.fd >= 0:
                try:
                    segment.sync()
                except OSError as error:
                    safety.swallow("spool.sync", error)
        if self._prepared and self.directory is not None:
            try:
                self._disk.sync_directory(self.directory)
            except OSError as error:
                safety.swallow("spool.sync_directory", error)

    def _measure_others(self) -> int:
        if self.directory is None:
            return 0
        own = {s.path.name for s in (*self._live.values(), *self._sealed) if isinstance(s, DiskSegment)}
        total = 0
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.name not in own and stream_in(entry.name):
                        total += entry.stat().st_size
        except OSError:
            pass  # files go while we look; the next look is a second away
        return total

    def _fold_late(self) -> None:
        while self._late_drops:
            self._drop(self._late_drops.popleft(), 1)
        while self._late:
            stream, payload = self._late.popleft()
            if not self._late:
                self._late_bytes = 0
            self._append(stream, payload)

    @contextmanager
    def _locked(self, *, patient: bool = False) -> Iterator[bool]:
        """The lock, off the caller's path; yields whether it is held, always True for the patient.

        Only a writer that hangs in the disk makes others wait for long.
        """
        lock = self._lock
        held = lock.acquire(timeout=-1 if patient else _WAIT_FOR_LOCK_S)
        if held:
            self._owner = get_ident()
        try:
            yield held
        finally:
            if held:
                self._owner = 0
                lock.release()

    # -- the sender's side ---------------------------------------------------------------------------------------

    def take(self, *, max_bytes: int, max_records: int, first: Literal["fresh", "old"] = "fresh") -> list[Taken]:
        """The next records to send. Their segments are busy until `give_back`.

        Args:
            max_bytes: payload bytes, exceeded by at most one record.
            max_records: records, all segments together.
            first: whether half of the room is for what this process writes now, or for what waited longer. Who
                alternates starves neither.
        """
        with self._locked() as held:
            if not held:
                return []
            self._fold_late()
            fresh = [self._live[stream] for stream in STREAMS if stream in self._live]
            old: dict[Stream, Segment] = {}
            for segment in (*self._adopted, *self._sealed):
                if not segment.done and not segment.busy:
                    old.setdefault(segment.stream, segment)
            waited = [old[stream] for stream in STREAMS if stream in old]
            ordered = [s for s in (fresh + waited if first == "fresh" else waited + fresh) if not s.done and not s.busy]
            for segment in ordered:
                segment.busy = True
        taken: list[Taken] = []
        room_bytes, room_records = max_bytes, max_records
        for index, segment in enumerate(ordered):
            if room_bytes <= 0 or room_records <= 0:
                segment.busy = False
                continue
            # Each segment may fill half of what is left, the last one all of it: no stream shuts out another.
            share = 1 if index == len(ordered) - 1 else 2
            try:
                items = segment.read(max_bytes=room_bytes // share, max_records=max(1, room_records // share))
            except OSError as error:
                safety.swallow("spool.read", error)
                items = []
            if not items:
                segment.busy = False
                continue
            taken.append(Taken(segment, items))
            room_bytes -= sum(len(payload or b"") for _, payload in items)
            room_records -= len(items)
        return taken

    def acknowledge(self, segment: Segment, position: int, *, records: int) -> None:
        """Everything in the segment before `position` needs no sending any more; `records` of it are new."""
        before = segment.size
        segment.acknowledge(position, records=records)
        if isinstance(segment, MemorySegment):
            with self._locked(patient=True):
                self._memory_used -= before - segment.size

    def give_back(self, taken: list[Taken]) -> None:
        """The sender is done with these for now; finished segments are deleted."""
        with self._locked() as held:
            for segment in [entry.segment for entry in taken]:
                segment.busy = False
                if not held:
                    continue  # a writer hangs, perhaps in this very segment
                live = self._live.get(segment.stream) is segment
                if segment.done and (
                    not live or isinstance(segment, MemorySegment) or segment.size > self._roll_bytes // 4
                ):
                    self._forget(segment)

    def discard_everything(self) -> None:
        """Give up on all that waits in memory (offline_mode="drop"), counted."""
        with self._locked() as held:
            if not held:
                return
            self._fold_late()
            for segment in [s for s in (*self._live.values(), *self._sealed) if isinstance(s, MemorySegment)]:
                waiting = segment.waiting()
                self._forget(segment)
                self._drop(segment.stream, waiting)

    def adopt(self) -> int:
        """Take over segments of dead processes, oldest first; returns how many there were to take.

        Also finishes those that turn out to hold nothing unconfirmed.
        """
        directory = self.directory
        if directory is None:
            return 0
        try:
            names = [name for name in os.listdir(directory) if stream_in(name)]
        except OSError:
            return 0
        own = {s.path.name for s in self._disk_segments()}
        found = 0
        for name in sorted(names, key=lambda n: n.partition("-")[2]):
            if len(self._adopted) >= _MAX_ADOPTED:
                break
            if name in own:
                continue
            with self._locked() as held:
                if not held:
                    break
                segment = DiskSegment.adopt(directory / name, disk=self._disk)
                if segment is None:
                    continue
                if segment.done:
                    segment.discard()
                else:
                    self._adopted.append(segment)
                    found += 1
        return found

    def _disk_segments(self) -> list[DiskSegment]:
        return [s for s in (*self._live.values(), *self._sealed, *self._adopted) if isinstance(s, DiskSegment)]

    # -- questions -----------------------------------------------------------------------------------------------

    def mark(self) -> list[tuple[Segment, int]]:
        """What this process has appended up to now; see `passed`."""
        with self._locked() as held:
            if held:
                self._fold_late()
            return [(segment, segment.size) for segment in (*self._live.values(), *self._sealed)]

    def passed(self, mark: list[tuple[Segment, int]]) -> bool:
        """Whether everything up to the mark needs no sending any more, and none of it was dropped since."""
        return all(segment.passed(size) for segment, size in mark)

    def confirmed(self) -> bool:
        """Whether nothing that this process appended waits."""
        return not self._late and all(segment.done for segment in (*self._live.values(), *self._sealed))

    def waiting(self) -> int:
        """Records in all segments held by this process, adopted ones too. Reads adopted files."""
        with self._locked() as held:
            if held:
                self._fold_late()
            return sum(segment.waiting() for segment in (*self._live.values(), *self._sealed, *self._adopted))

    # -- life and death ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of everything: finished segments are deleted, the rest can be adopted at once. `append` still works."""
        with self._locked() as held:
            if not held:
                return  # a writer hangs; the descriptors go with the process
            self._fold_late()
            for stream in list(self._live):
                self._seal(stream)
            for segment in [s for s in (*self._sealed, *self._adopted) if not s.busy]:
                if segment.done:
                    self._forget(segment)
                elif isinstance(segment, MemorySegment):
                    waiting = segment.waiting()
                    self._forget(segment)
                    self._drop(segment.stream, waiting)
                else:
                    segment.let_go()
                    if segment in self._adopted:
                        self._adopted.remove(segment)
                    else:
                        self._sealed.remove(segment)
                        self._disk_used -= segment.size
                        self._others_bytes += segment.size

    def before_fork(self) -> bool:
        """Hold writers off, so that the child finds a whole state; returns whether `after_fork_in_parent` is due."""
        if self._owner == get_ident():
            return False
        held = self._lock.acquire(timeout=_WAIT_FOR_LOCK_S)
        if held:
            self._owner = get_ident()
        return held

    def after_fork_in_parent(self) -> None:
        self._owner = 0
        self._lock.release()

    def after_fork(self) -> None:
        """In the child: everything held is the parent's. Close it (never unlock: the lock is shared) and begin anew."""
        for segment in (*self._live.values(), *self._sealed, *self._adopted):
            if isinstance(segment, DiskSegment):
                segment.let_go()
        self._reset()
