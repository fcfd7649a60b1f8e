"""What waits in the spool on this machine, for `xray doctor` and `xray sync`. Reads only; adopts and deletes nothing."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_core.spool import frames
from xray_core.spool.destination import address_of, directory_for
from xray_core.spool.quarantine import Quarantine
from xray_core.spool.segment import stream_in

if TYPE_CHECKING:
    from xray_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Waiting:
    """The records that wait for one server.

    Attributes:
        api_url: the server, as its clients named it; None where the directory does not say.
        directory: where they are.
        current: whether it is the server of the present settings; others are not delivered by `xray sync`.
        records: stream -> records that the server has not confirmed.
        bytes: what the segments take on disk, confirmed records in them included.
        in_use: segments that a living process holds; it delivers them itself.
        left_behind: segments of dead processes; any other process adopts them.
        oldest_s: age of the oldest waiting segment, in seconds; None when nothing waits.
        quarantined: error -> records that the server refused.
        dropped: counter -> records that processes could not keep, as far as the server does not know yet.
    """

    api_url: str | None
    directory: Path
    current: bool
    records: Mapping[str, int]
    bytes: int
    in_use: int
    left_behind: int
    oldest_s: float | None
    quarantined: Mapping[str, int]
    dropped: Mapping[str, int]

    @property
    def n(self) -> int:
        """Records of all streams."""
        return sum(self.records.values())

    @property
    def name(self) -> str:
        """What `xray sync --from` takes: the address, or the directory's name where that does not say it."""
        return self.api_url or self.directory.name


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """The state of the spool.

    Attributes:
        spool_dir: where it is.
        writable: whether this process may write there (or create it).
        max_bytes: the size cap, per server.
        waiting: one entry per server that has a directory here.
        problem: what is wrong, in words for the user; None when nothing is.
    """

    spool_dir: Path
    writable: bool
    max_bytes: int
    waiting: tuple[Waiting, ...]
    problem: str | None

    @property
    def records(self) -> int:
        """Unconfirmed records for all servers together."""
        return sum(sum(entry.records.values()) for entry in self.waiting)


def spool_report(settings: Settings) -> SpoolReport:
    """Look at the whole spool. Reads every waiting segment, so it blocks for up to a second per few hundred MB."""
    current = directory_for(settings.spool_dir, settings.api_url)
    waiting: list[Waiting] = []
    problem: str | None = None
    writable = _writable(settings.spool_dir)
    try:
        names = sorted(path for path in settings.spool_dir.iterdir() if path.is_dir())
        waiting = [_report_on(path, current=path == current) for path in names]
    except FileNotFoundError:
        pass
    except OSError as error:
        problem = f"{settings.spool_dir} cannot be read: {error.strerror}; set XRAY_SPOOL_DIR to a directory that can"
    if problem is None and not writable:
        problem = f"{settings.spool_dir} cannot be written to: records wait in memory and die with their process"
    used = sum(entry.bytes for entry in waiting if entry.current)
    if problem is None and used > 0.8 * settings.spool_max_bytes:
        problem = f"the spool is {used / settings.spool_max_bytes:.0%} full: details are dropped first, then verdicts"
    return SpoolReport(settings.spool_dir, writable, settings.spool_max_bytes, tuple(waiting), problem)


def left_behind(settings: Settings) -> list[Waiting]:
    """The servers for which dead processes left records on this machine, the present one first. Reads as `spool_report`."""
    report = spool_report(settings)
    return sorted((each for each in report.waiting if each.left_behind and each.n), key=lambda each: not each.current)


def _report_on(directory: Path, *, current: bool) -> Waiting:
    records: dict[str, int] = {}
    clients: dict[str, Mapping[str, Any]] = {}
    size = in_use = left_behind = 0
    oldest: float | None = None
    for path in sorted(directory.iterdir()):
        stream = stream_in(path.name)
        if stream is None:
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # delivered and deleted while we looked
        try:
            found = os.fstat(fd)
            size += found.st_size
            if _is_locked(fd):
                in_use += 1
            else:
                left_behind += 1
            cursor = frames.read_cursor(os.pread(fd, frames.HEADER_BYTES, 0), size=found.st_size)
            rest = os.pread(fd, found.st_size - cursor, cursor)
            n = 0
            for _, payload in frames.scan(rest):
                if payload is not None:
                    n += 1
                    if stream == "counts" and b'"kind":"client"' in payload[:200]:
                        _keep_newest(clients, payload)
            if n:
                records[stream] = records.get(stream, 0) + n
                oldest = min(oldest or found.st_mtime, found.st_mtime)
        finally:
            os.close(fd)
    return Waiting(
        api_url=address_of(directory),
        directory=directory,
        current=current,
        records=records,
        bytes=size,
        in_use=in_use,
        left_behind=left_behind,
        oldest_s=None if oldest is None else max(0.0, time.time() - oldest),
        quarantined=Quarantine(directory / "quarantine").reasons(),
        dropped=_dropped(clients),
    )


def _keep_newest(clients: dict[str, Mapping[str, Any]], payload: bytes) -> None:
    try:
        record = json.loads(payload)
        part = str(record["part"])
        if part not in clients or clients[part]["rev"] <= record["rev"]:
            clients[part] = {"rev": int(record["rev"]), "counters": dict(record["counters"])}
    except (ValueError, KeyError, TypeError):
        pass  # some other version's: the count of records includes it


def _dropped(clients: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for client in clients.values():
        for name, n in client["counters"].items():
            if name.startswith("dropped_") and isinstance(n, int):
                total[name] = total.get(name, 0) + n
    return total


def _is_locked(fd: int) -> bool:
    # A shared lock for an instant: it never keeps an adopter out for good, adopters look again within seconds.
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _writable(spool_dir: Path) -> bool:
    existing = next((path for path in (spool_dir, *spool_dir.parents) if path.exists()), spool_dir)
    return os.access(existing, os.W_OK | os.X_OK)
