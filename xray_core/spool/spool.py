"""`Spool`: one process's segments for one server, written by any thread and read by the sender.

Owns how a record gets to disk, the way to memory when the disk fails and back, and what the sender takes. Which segments
there are and how much room they take is segments.py's; who may write to them when is lock.py's.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

from xray_core import native, safety
from xray_core.native import thread_ident
from xray_core.spool import destination
from xray_core.spool.frames import FRAME_BYTES, MAX_PAYLOAD_BYTES
from xray_core.spool.lock import WriterLock
from xray_core.spool.losses import Losses
from xray_core.spool.segment import Disk, DiskSegment, MemorySegment, Segment, stream_in
from xray_core.spool.segments import SegmentSet
from xray_core.spool.taking import First, Taken, next_segments, read_shares
from xray_core.wire import Stream

_MEMORY_BYTES: Final = 16 * 1024 * 1024
_SLOW_WRITE_S: Final = 0.05
_SLOW_WRITES: Final = 3
_MUCH_BYTES: Final = 256 * 1024
_RETRY_DISK_S: Final = 5.0
_MAX_ADOPTED: Final = 16  # open at a time: bounds descriptors, and lets several adopters share the work


class Spool:
    """One process's hold on the spool of one server.

    Args:
        directory: the server's directory (`directory_for`); None keeps records in memory only.
        api_url: written into the directory, for `xray doctor` and for people who look at it.
        max_bytes: cap on the directory, all processes together. Kept to within one segment per process.
        fsync: make each record survive a power cut before `put` returns.
        disk: the calls to the disk; a seam for tests.
        clock: monotonic seconds.

    `put` may be called from anywhere. `take`, `give_back`, `acknowledge` and `adopt` belong to the sender, one
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
        self._memory_max_bytes = min(memory_bytes, max_bytes)
        self._fsync = fsync
        self._disk = disk or Disk()
        self._clock = clock
        self._losses = Losses()
        self._reset()

    def _reset(self) -> None:
        self._writer_lock = WriterLock()
        self._segments = SegmentSet(
            max_bytes=self._max_bytes,
            memory_bytes=self._memory_max_bytes,
            on_disk=self.directory is not None,
            on_drop=self._drop,
        )
        self._late: deque[tuple[Stream, bytes | None]] = deque()  # None: there was no room even to wait
        self._late_bytes = 0
        self._retry_disk_at = 0.0
        self._slow_writes = 0
        self._prepared = False

    # -- the caller's side ---------------------------------------------------------------------------------------

    def put(self, stream: Stream, payload: bytes) -> None:
        """Keep one record: on disk when this returns, or in memory (bounded, counted) when the disk does not take it.

        Any thread, signal handlers, `__del__`, after a fork. Never raises, never waits for the network; waits for the
        disk at most once for long (a second).
        """
        writers = self._writer_lock
        lock = writers.lock
        if not lock.acquire(False) and not writers.wait(lock):
            self._put_without_lock(stream, payload)
            return
        writers.owner = thread_ident()
        try:
            segment = self._segments.live.get(stream)
            if segment is not None and len(payload) + FRAME_BYTES <= segment.room and not self._late:
                started = perf_counter()
                segment.append(payload)
                if perf_counter() - started >= _SLOW_WRITE_S or self._slow_writes:
                    self._time_write(perf_counter() - started)
            else:
                self._fold_late()
                self._append(stream, payload)
        except Exception as error:  # noqa: BLE001
            self._keep_after_error(stream, payload, error)
        finally:
            writers.owner = 0
            writers.stuck = False
            lock.release()

    def _put_without_lock(self, stream: Stream, payload: bytes) -> None:
        """Write to a segment of its own when this very thread holds the lock, else keep the record in memory until it is free."""
        if self._writer_lock.mine() and self._segments.on_disk and self.directory is not None:
            try:
                segment = DiskSegment.create(self.directory, stream, disk=self._disk)
                segment.append(payload)
                if self._fsync:
                    segment.sync()
                self._segments.sealed.append(segment)
                return
            except OSError:
                pass  # memory, below; the holder of the lock will notice that the disk fails
        self._keep_late(stream, payload)

    def _keep_late(self, stream: Stream, payload: bytes) -> None:
        fits = self._late_bytes + len(payload) <= self._memory_max_bytes
        if fits:
            self._late_bytes += len(payload)  # not exact between threads: a bound, not a count
        self._late.append((stream, payload if fits else None))

    def _append(self, stream: Stream, payload: bytes) -> None:
        """What `put` does where there is more to it than one write: a new segment, no room, no disk."""
        segments, need = self._segments, len(payload) + FRAME_BYTES
        if need > MAX_PAYLOAD_BYTES:
            self._drop(stream, 1)
            return
        if segments.on_disk:
            if not segments.make_room(stream, need, now=self._clock()):
                self._drop(stream, 1)
                return
            try:
                segment = segments.live.get(stream)
                if segment is None or segment.size >= segments.roll_bytes or not isinstance(segment, DiskSegment):
                    segment = self._roll(stream)
                self._write(segment, payload)
                return
            except OSError as error:
                self._leave_disk(f"{self.directory} does not take records ({error.strerror or error})")
        self._append_to_memory(stream, payload)

    def _write(self, segment: DiskSegment, payload: bytes) -> None:
        started = perf_counter()
        segment.append(payload)
        if self._fsync:
            segment.sync()
        else:
            self._segments.grant(segment)
        self._time_write(perf_counter() - started)

    def _time_write(self, took_s: float) -> None:
        if took_s >= _SLOW_WRITE_S:
            self._slow_write()
        else:
            self._slow_writes = 0

    def _keep_after_error(self, stream: Stream, payload: bytes, error: Exception) -> None:
        if safety.is_interrupt(error):
            self._keep_late(stream, payload)  # it may be written, or not; twice is harmless
            raise error
        try:
            if isinstance(error, OSError):
                self._leave_disk(f"{self.directory} does not take records ({error.strerror or error})")
                self._append_to_memory(stream, payload)
                return
        except Exception as another:  # noqa: BLE001
            error = another
        self._losses.count(f"dropped_{stream}")
        self._losses.notice(f"a record could not be kept ({type(error).__name__}: {error})")

    def _slow_write(self) -> None:
        # A write gives the GIL away and gets it back only after other threads had their turn: if doing nothing at all
        # takes long too, it is the machine that is busy and not the disk.
        started = perf_counter()
        native.sleep(0)
        if perf_counter() - started > _SLOW_WRITE_S / 2:
            return
        self._slow_writes += 1
        if self._slow_writes >= _SLOW_WRITES:
            self._slow_writes = 0
            self._leave_disk(f"{self.directory} is slow ({_SLOW_WRITES} writes in a row took over 50 ms)")
            self._retry_disk_at = 0.0  # the background thread writes for us, and finds out when it is fast again

    def _append_to_memory(self, stream: Stream, payload: bytes) -> None:
        segments, need = self._segments, len(payload) + FRAME_BYTES
        if not segments.make_room(stream, need, now=self._clock()):
            self._drop(stream, 1)
            return
        segment = segments.live.get(stream)
        if not isinstance(segment, MemorySegment) or segment.size >= segments.roll_bytes:
            segment = MemorySegment(stream)
            segments.begin(segment)
        segment.append(payload)
        segments.took_memory(need)

    def _roll(self, stream: Stream) -> DiskSegment:
        if self.directory is None:
            raise OSError("no directory")
        if not self._prepared:
            destination.prepare(self.directory, self._api_url)
            self._prepared = True
            self._segments.others_bytes = self._segments.measure(self.directory)
        segment = DiskSegment.create(self.directory, stream, disk=self._disk)
        if self._fsync:
            self._disk.sync_directory(self.directory)
        self._segments.begin(segment)
        return segment

    def _drop(self, stream: Stream, records: int) -> None:
        if self._segments.on_disk:
            why = f"{self.directory} is at its cap of {self._max_bytes} bytes"
        else:
            why = "the server cannot be reached and memory is full"
        self._losses.drop(stream, records, why)

    @property
    def counters(self) -> Mapping[str, int]:
        """Name -> number: "dropped_counts", "dropped_verdicts", "dropped_details" in records, "degraded" in times."""
        return self._losses.counters

    def notices(self) -> list[str]:
        """What is to be logged once, since the last call. Not logged here: a log handler may capture."""
        return self._losses.take_notices()

    # -- the disk fails, and comes back --------------------------------------------------------------------------

    def _leave_disk(self, why: str) -> None:
        self._segments.on_disk = False
        self._prepared = False
        self._retry_disk_at = self._clock() + _RETRY_DISK_S
        self._losses.count("degraded")
        self._losses.notice_once(
            "degraded",
            f"{why}: records wait in memory, at most {self._memory_max_bytes >> 20} MB of them; "
            "set XRAY_SPOOL_DIR to a directory on a disk that takes them",
        )

    def maintain(self) -> None:
        """About once a second, from one background thread: memory to disk, sizes, the cap, and fdatasync.

        May block on the disk; holds the lock only for moments, unless the disk hangs.
        """
        segments = self._segments
        with self._writer_lock.held() as held:
            if not held:
                self._writer_lock.mend()
                return
            self._fold_late()
            spill = [] if self.directory is None or segments.on_disk else self._memory_segments()
            due = self.directory is not None and not segments.on_disk and self._clock() >= self._retry_disk_at
            for segment in spill:
                segment.busy = due
        if due:
            self._return_to_disk(spill)
        self._sync_to_disk()
        if segments.on_disk and self._prepared and self.directory is not None:
            others = segments.measure(self.directory)
            with self._writer_lock.held() as held:
                if held:
                    segments.others_bytes = others

    def _memory_segments(self) -> list[MemorySegment]:
        segments = self._segments
        for segment in segments.in_memory():
            if segments.live.get(segment.stream) is segment:
                segments.seal(segment.stream)
        return [segment for segment in segments.in_memory() if not segment.busy]

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
        with self._writer_lock.held(patient=True):
            for segment in spill:
                segment.busy = False
            for old, new in moved:
                self._segments.sealed.append(new)
                old.moved_to = new
                self._segments.remove(old)
            if failed:
                self._retry_disk_at = self._clock() + _RETRY_DISK_S
            elif took_s < _SLOW_WRITE_S * (1 + len(spill)):
                self._segments.on_disk = True
                self._slow_writes = 0

    def _write_down(self, directory: Path, segment: MemorySegment) -> DiskSegment:
        with self._writer_lock.held(
            patient=True
        ):  # a fork must not happen between the opening of a file and our knowing of it
            new = DiskSegment.create(directory, segment.stream, disk=self._disk)
        try:
            new.append_many(segment.remaining())
            new.sync()
        except OSError:
            new.discard()
            raise
        return new

    def _sync_to_disk(self) -> None:
        for segment in self._segments.own():
            if isinstance(segment, DiskSegment) and segment.unsynced and segment.fd >= 0:
                try:
                    segment.sync()
                except OSError as error:
                    safety.swallow("spool.sync", error)
        if self._prepared and self.directory is not None:
            try:
                self._disk.sync_directory(self.directory)
            except OSError as error:
                safety.swallow("spool.sync_directory", error)

    def _fold_late(self) -> None:
        while self._late:
            stream, payload = self._late.popleft()
            if not self._late:
                self._late_bytes = 0
            if payload is None:
                self._drop(stream, 1)
            else:
                self._append(stream, payload)

    # -- the sender's side ---------------------------------------------------------------------------------------

    def take(self, *, max_bytes: int, max_records: int, first: First = "fresh") -> list[Taken]:
        """The next records to send. Their segments are busy until `give_back`.

        Args:
            max_bytes: payload bytes, exceeded by at most one record.
            max_records: records, all segments together.
            first: whether half of the room is for what this process writes now, or for what waited longer. Who
                alternates starves neither.
        """
        with self._writer_lock.held() as held:
            if not held:
                return []
            self._fold_late()
            ordered = next_segments(self._segments, first)
            for segment in ordered:
                segment.busy = True
        return read_shares(ordered, max_bytes=max_bytes, max_records=max_records)

    def acknowledge(self, segment: Segment, position: int, *, records: int) -> None:
        """Everything in the segment before `position` needs no sending any more; `records` of it are new."""
        before = segment.size
        segment.acknowledge(position, records=records)
        if isinstance(segment, MemorySegment):
            with self._writer_lock.held(patient=True):
                self._segments.took_memory(segment.size - before)

    def give_back(self, taken: list[Taken]) -> None:
        """The sender is done with these for now; finished segments are deleted."""
        with self._writer_lock.held() as held:
            for segment in [entry.segment for entry in taken]:
                segment.busy = False
                if not held:
                    continue  # a writer hangs, perhaps in this very segment
                live = self._segments.live.get(segment.stream) is segment
                if segment.done and (
                    not live or isinstance(segment, MemorySegment) or segment.size > self._segments.roll_bytes // 4
                ):
                    self._segments.remove(segment)

    def discard_everything(self) -> None:
        """Give up on all that waits in memory (offline_mode="drop"), counted."""
        with self._writer_lock.held() as held:
            if not held:
                return
            self._fold_late()
            for segment in self._segments.in_memory():
                self._segments.drop(segment)

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
        own = {s.path.name for s in self._segments.on_the_disk()}
        found = 0
        for name in sorted(names, key=lambda n: n.partition("-")[2]):
            if len(self._segments.adopted) >= _MAX_ADOPTED:
                break
            if name in own:
                continue
            with self._writer_lock.held() as held:
                if not held:
                    break
                segment = DiskSegment.adopt(directory / name, disk=self._disk)
                if segment is None:
                    continue
                if segment.done:
                    segment.discard()
                else:
                    self._segments.adopted.append(segment)
                    found += 1
        return found

    # -- questions -----------------------------------------------------------------------------------------------

    def checkpoint(self) -> list[tuple[Segment, int]]:
        """How far this process has written up to now, as (segment, its size in bytes); see `passed`."""
        with self._writer_lock.held() as held:
            if held:
                self._fold_late()
            return [(segment, segment.size) for segment in self._segments.own()]

    def passed(self, checkpoint: list[tuple[Segment, int]]) -> bool:
        """Whether everything up to the checkpoint needs no sending any more, and none of it was dropped since."""
        return all(segment.passed(size) for segment, size in checkpoint)

    def much_waits(self) -> bool:
        """Whether so much is not confirmed that it is worth sending at once. An estimate."""
        segments = self._segments
        return (
            bool(segments.sealed or segments.adopted)
            or sum(s.behind for s in list(segments.live.values())) > _MUCH_BYTES
        )

    def has_adopted(self) -> bool:
        """Whether records of dead processes wait here to be sent."""
        return any(not segment.done for segment in list(self._segments.adopted))

    def confirmed(self) -> bool:
        """Whether nothing that this process wrote waits."""
        return not self._late and all(segment.done for segment in self._segments.own())

    def waiting(self) -> int:
        """Records in all segments held by this process, adopted ones too. Reads adopted files."""
        with self._writer_lock.held() as held:
            if held:
                self._fold_late()
            return sum(segment.waiting() for segment in (*self._segments.own(), *self._segments.adopted))

    # -- life and death ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release every segment: finished ones are deleted, any process can adopt the others at once. `put` still works."""
        with self._writer_lock.held() as held:
            if not held:
                return  # a writer hangs; the descriptors go with the process
            self._fold_late()
            segments = self._segments
            for stream in list(segments.live):
                segments.seal(stream)
            for segment in [s for s in (*segments.sealed, *segments.adopted) if not s.busy]:
                if segment.done:
                    segments.remove(segment)
                elif isinstance(segment, MemorySegment):
                    segments.drop(segment)
                else:
                    segments.release(segment)

    def before_fork(self) -> bool:
        """Hold writers off, so that the child finds a whole state; returns whether `after_fork_in_parent` is due."""
        return self._writer_lock.before_fork()

    def after_fork_in_parent(self) -> None:
        """Let writers in again, after `before_fork` held them off."""
        self._writer_lock.after_fork_in_parent()

    def after_fork(self) -> None:
        """In the child: everything held is the parent's. Close it (never unlock: the lock is shared) and begin anew."""
        for segment in self._segments.on_the_disk():
            segment.close()
        self._losses.reset()
        self._reset()
