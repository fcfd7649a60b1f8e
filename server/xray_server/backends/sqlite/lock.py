"""Whose turn it is in a SQLite file that several processes share.

SQLite lets one transaction write at a time, and whom it turns away sleeps and tries again, up to a tenth of a second later:
the file stands idle meanwhile, and who has just written comes first again. So writers queue for a lock on a file beside the
database, which the kernel hands on in turn and frees when its holder dies. It is a courtesy: what does not take it (`xray
prune`, a backup, sqlite3) is kept apart by SQLite itself. What one process is to do for all has a lock of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there `xray serve` is one process anyway, and SQLite's own way has to do
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """A lock among processes, on `<database>-<name>`. For one thread: another thread needs one of its own."""

    def __init__(self, database: Path, name: str = "lock") -> None:
        self._fd = os.open(f"{database}-{name}", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Blocks until it is our turn."""
        if fcntl is not None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Does not block; whether it is ours."""
        taken = self.keep()
        try:
            yield taken
        finally:
            if taken and fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def keep(self) -> bool:
        """Take it if nobody else has it, for as long as this process lives; whether it is ours. Does not block."""
        if fcntl is not None:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Release the lock and close its file. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@contextmanager
def transaction(db: sqlite3.Connection, lock: FileLock) -> Iterator[None]:
    """A transaction that writes, from BEGIN to COMMIT; whatever ends it, none stays open."""
    with lock.held():
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:  # whatever ends it, no transaction may stay open and hold the other writers
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
