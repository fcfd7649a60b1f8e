"""One segment: a run of records of one stream, in a file that its owner holds locked, or in memory.

Owns reading, appending, acknowledging and discarding. Knows nothing of which segments there are, of size caps or of
the server. Not thread-safe: `Spool` says who may touch a segment when.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_intdigest as xxh3

from xray_core.model import new_id
from xray_core.spool import frames
from xray_core.spool.frames import FRAME_BYTES, LOW_HALF, MARK, frame, pack_head
from xray_core.wire import STREAMS, Stream

SUFFIX: Final = ".seg"
UNPUBLISHED: Final = ".new"

# (position after the record, payload); None stands for damaged bytes that were skipped.
Item = tuple[int, bytes | None]


class Disk:
    """The calls that can fail or be slow: a seam, so that tests have a slow disk and a power cut."""

    pwrite = staticmethod(os.pwrite)
    sync = staticmethod(os.fdatasync if hasattr(os, "fdatasync") else os.fsync)

    def sync_directory(self, directory: Path) -> None:
        """Make the names in a directory survive a power cut."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class DiskSegment:
    """A segment file. Its lock (flock) lives as long as the descriptor: the kernel frees it when the owner dies.

    Attributes:
        size: bytes in the file, acknowledged ones included.
        room: bytes that may be appended without asking whether the segment or the disk is full. `SegmentSet` grants it.
        busy: the sender has read from it, and has not acknowledged or given it back yet.
        lost: deleted with records in it that the server had not confirmed.
    """

    __slots__ = (
        "_acked", "_cursor", "_disk", "_pwrite", "_synced", "_written", "busy", "fd", "lost", "path", "room", "size", "stream",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        fd: int,
        stream: Stream,
        *,
        size: int,
        cursor: int,
        written: int | None,
        disk: Disk,
    ) -> None:
        self.path = path
        self.fd = fd
        self.stream = stream
        self.size = size
        self.busy = False
        self.lost = False
        self.room = 0
        self._synced = size
        self._cursor = cursor
        self._disk = disk
        self._pwrite = disk.pwrite
        self._written = written  # None: another process wrote it, and its records are not counted yet
        self._acked = 0

    @classmethod
    def create(cls, directory: Path, stream: Stream, *, disk: Disk) -> DiskSegment:
        """A new empty segment, visible under its name only once it is locked.

        Raises:
            OSError: the directory is missing, read-only or full.
        """
        while True:
            path = directory / f"{stream}-{new_id().replace('-', '')}{SUFFIX}"
            hidden = path.with_name(path.name + UNPUBLISHED)
            fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_all(disk, fd, frames.header(), 0)
                os.rename(hidden, path)
                start = frames.HEADER_BYTES
                return cls(path, fd, stream, size=start, cursor=start, written=0, disk=disk)
            except (BlockingIOError, FileNotFoundError):
                os.close(fd)  # an adopter took it for a dead process's between two of our calls: make another
            except BaseException:  # a KeyboardInterrupt too must leave no locked, half-made file behind
                os.close(fd)
                _unlink(hidden)
                raise

    @classmethod
    def adopt(cls, path: Path, *, disk: Disk) -> DiskSegment | None:
        """The segment at `path` if its owner is dead, now ours; None if it lives, or another process was faster."""
        stream = stream_in(path.name)
        if stream is None:
            return None
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(fd)
            if os.stat(path).st_ino != found.st_ino:
                raise FileNotFoundError  # finished by another adopter between our open and our lock
            if path.name.endswith(UNPUBLISHED):
                _unlink(path)  # its creator died before there could be a record in it
                raise FileNotFoundError
            cursor = frames.read_cursor(os.pread(fd, frames.HEADER_BYTES, 0), size=found.st_size)
            return cls(path, fd, stream, size=found.st_size, cursor=cursor, written=None, disk=disk)
        except OSError:
            os.close(fd)
            return None

    @property
    def done(self) -> bool:
        """Whether everything in it is acknowledged."""
        return self._cursor >= self.size

    @property
    def behind(self) -> int:
        """Bytes not acknowledged."""
        return self.size - self._cursor

    @property
    def unsynced(self) -> bool:
        """Whether there is something in the file that a power cut would take."""
        return self._synced != self.size

    def passed(self, size: int) -> bool:
        """Whether its first `size` bytes are acknowledged, and none of them was lost."""
        return not self.lost and self._cursor >= size

    def append(self, payload: bytes) -> None:
        """Write one record with one call.

        Raises:
            OSError: it could not be written whole. What was written before stays readable.
        """
        need = FRAME_BYTES + len(payload)
        # `frames.frame`, written out: a call of a function is a hundredth of what a step costs
        if self._pwrite(self.fd, pack_head(MARK, len(payload), xxh3(payload) & LOW_HALF) + payload, self.size) != need:
            self._cut()
            raise OSError(errno.ENOSPC, "short write")
        self.size += need
        self.room -= need
        self._written += 1  # type: ignore[operator]  # counted from the start in a segment of our own

    def append_many(self, payloads: list[bytes]) -> None:
        """Write several records with one call; all or none. Raises OSError as `append` does."""
        data = b"".join([frame(payload) for payload in payloads])
        try:
            _write_all(self._disk, self.fd, data, self.size)
        except OSError:
            self._cut()
            raise
        self.size += len(data)
        self._written = (self._written or 0) + len(payloads)

    def read(self, *, max_bytes: int, max_records: int) -> list[Item]:
        """The records behind the cursor, oldest first: at least one where there is one, then up to the limits."""
        rest = self.size - self._cursor
        window = min(rest, max_bytes + FRAME_BYTES)
        items = self._scan(window, max_bytes=max_bytes, max_records=max_records)
        if window < rest:
            if items and items[-1][1] is None:
                items.pop()  # not damaged perhaps, but cut by the window
            if not items:
                items = self._scan(rest, max_bytes=max_bytes, max_records=max_records)
        if not items and rest:
            items.append((self.size, None))  # the file was cut behind our back
        return items

    def _scan(self, length: int, *, max_bytes: int, max_records: int) -> list[Item]:
        window = os.pread(self.fd, length, self._cursor)
        return frames.scan(window, base=self._cursor, max_bytes=max_bytes, max_records=max_records)

    def acknowledge(self, position: int, *, records: int) -> None:
        """Everything before `position` is the server's now; `records` of them are new."""
        self._cursor = max(self._cursor, position)
        self._acked += records
        try:
            self._disk.pwrite(self.fd, frames.cursor_bytes(self._cursor), frames.CURSOR_AT)
        except OSError:
            pass  # a full disk: after a crash these are sent again, which is harmless

    def waiting(self) -> int:
        """How many records are not acknowledged. Reads the file where another process wrote it."""
        if self._written is None:
            rest = os.pread(self.fd, self.size - self._cursor, self._cursor)
            self._written = self._acked + sum(1 for _, payload in frames.scan(rest) if payload is not None)
        return self._written - self._acked

    def sync(self) -> None:
        """Make what was appended survive a power cut. Raises OSError."""
        self._synced = self.size
        self._disk.sync(self.fd)

    def discard(self) -> None:
        """Delete the file, whatever is in it."""
        self.lost = not self.done
        _unlink(self.path)
        self.close()

    def close(self) -> None:
        """Close without unlocking: after a fork the lock is shared, and the parent still needs it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass  # EIO from a network disk: the descriptor is gone all the same

    def _cut(self) -> None:
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            pass  # the next write goes over the torn frame, and a reader skips it


class MemorySegment:
    """Records that could not go to disk. They die with the process; `Spool` bounds and counts them."""

    __slots__ = ("_first", "_payloads", "busy", "lost", "moved_to", "room", "size", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.room = 0
        self.size = 0
        self.busy = False
        self.lost = False
        self.moved_to: DiskSegment | None = None
        self._payloads: list[bytes] = []
        self._first = 0

    @property
    def done(self) -> bool:
        """Whether everything in it is acknowledged."""
        return self._first >= len(self._payloads)

    @property
    def behind(self) -> int:
        """Bytes not acknowledged."""
        return self.size

    def passed(self, size: int) -> bool:
        """Whether everything in it is acknowledged, here or in the file that it was moved to."""
        if self.moved_to is not None:
            return self.moved_to.passed(self.moved_to.size)
        return not self.lost and self.done

    def append(self, payload: bytes) -> None:
        """Keep one record."""
        self._payloads.append(payload)
        self.size += len(payload) + FRAME_BYTES

    def read(self, *, max_bytes: int, max_records: int) -> list[Item]:
        """As `DiskSegment.read`; positions count records."""
        items: list[Item] = []
        size = 0
        for index in range(self._first, len(self._payloads)):
            payload = self._payloads[index]
            size += len(payload)
            if items and (size > max_bytes or len(items) >= max_records):
                break
            items.append((index + 1, payload))
        return items

    def acknowledge(self, position: int, *, records: int) -> None:
        """Everything before `position` is the server's now."""
        for index in range(self._first, position):
            self.size -= len(self._payloads[index]) + FRAME_BYTES
            self._payloads[index] = b""  # positions stay, the bytes go
        self._first = max(self._first, position)

    def waiting(self) -> int:
        """How many records are not acknowledged."""
        return len(self._payloads) - self._first

    def remaining(self) -> list[bytes]:
        """What is not acknowledged, oldest first."""
        return self._payloads[self._first :]

    def discard(self) -> None:
        """Drop all records."""
        self.lost = self.moved_to is None and not self.done
        self.close()

    def close(self) -> None:
        """Drop the references to the records."""
        self._payloads, self._first, self.size = [], 0, 0


Segment = DiskSegment | MemorySegment


def stream_in(name: str) -> Stream | None:
    """The stream that a segment's file name says it belongs to; None for a file that is not a segment."""
    head, _, rest = name.partition("-")
    if not rest.endswith((SUFFIX, SUFFIX + UNPUBLISHED)):
        return None
    return next((stream for stream in STREAMS if stream == head), None)


def _write_all(disk: Disk, fd: int, data: bytes, offset: int) -> None:
    if disk.pwrite(fd, data, offset) != len(data):
        raise OSError(errno.ENOSPC, "short write")


def _unlink(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # gone already, or a directory that became read-only: an adopter finds it acknowledged
