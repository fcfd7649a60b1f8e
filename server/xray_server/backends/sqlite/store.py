"""The SQLite store: one file, one writing connection, as many reading connections as questions were ever asked at once.

WAL lets readers go on while the writer commits. `synchronous=FULL`: an answer that was given survives a power cut, and one
fsync serves all the requests that were committed together. Owns connections, pragmas and migrations; rows are in write.py,
what questions need in read.py.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from xray_core.errors import ConfigurationError
from xray_server.backends.relational.compactor import Compactor, Pace
from xray_server.backends.relational.salvage import write_by_bisection
from xray_server.backends.relational.store import RelationalStore
from xray_server.backends.sqlite import backup, delete, erase, item_index, items, prune
from xray_server.backends.sqlite.alerts import SQLiteAlertStore
from xray_server.backends.sqlite.lock import FileLock
from xray_server.backends.sqlite.migrate import check_ours, migrate
from xray_server.backends.sqlite.read import SQLiteDatabase
from xray_server.backends.sqlite.read_only import ReadOnlySQLiteStore
from xray_server.backends.sqlite.readers import Readers
from xray_server.backends.sqlite.write import Writer
from xray_server.records.schema import VerdictsRecord
from xray_server.store import Batch, ItemRun, Prune, StoreHealth, StoreUnavailableError

T = TypeVar("T")
_READ_ONLY: Final = "?mode=ro"
_BUSY_TIMEOUT_S: Final = 10.0
# What SQLite calls an OperationalError and what no retry mends is a mistake of ours or a record it cannot hold.
_WORTH_RETRYING: Final = ("locked", "busy", "full", "disk", "readonly", "unable to open", "interrupted", "i/o")


class SQLiteStore(RelationalStore[SQLiteDatabase]):
    """A Store in one file. `write` from one thread at a time; reads from any thread, each on a connection of its own meanwhile."""

    def __init__(self, path: Path, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> None:
        self.path = path.absolute()
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._readers = Readers(lambda: self._connect(readonly=True))
        try:
            if self.path.exists():
                with closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True)) as looked_at:
                    check_ours(looked_at, str(self.path))
            backup.make_private(self.path)
            self._writing = self._connect(readonly=False)
            migrate(self._writing, str(self.path))
        except Exception as error:
            self._close_connections()
            if isinstance(error, sqlite3.Error | OSError):
                raise ConfigurationError(f"XRAY_DATABASE_URL: cannot open {self.path} as SQLite: {error}") from error
            raise
        writing, self._segmenting = FileLock(self.path), FileLock(self.path)
        self._items, self._alerting = FileLock(self.path, "items-lock"), FileLock(self.path, "alerts-lock")
        self._locks = [writing, self._segmenting, self._items, self._alerting]
        self._writer = Writer(self._writing, writing)
        self._pruning: sqlite3.Connection | None = None
        self._compacting: sqlite3.Connection | None = None
        self._compactor = Compactor(self._compact)
        self._alerts: SQLiteAlertStore | None = None

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore | ReadOnlySQLiteStore:
        """`sqlite:///relative.db` or `sqlite:////absolute.db`; with `?mode=ro`, or where the file cannot be written, only to
        be looked at.
        """
        prefix, read_only = "sqlite:///", url.endswith(_READ_ONLY)
        path = url.removesuffix(_READ_ONLY)[len(prefix) :] if url.startswith(prefix) else ""
        if not path or path == ":memory:":
            raise ConfigurationError(f"XRAY_DATABASE_URL: {url!r} names no file; write sqlite:///xray.db")
        if not Path(path).absolute().parent.is_dir():
            raise ConfigurationError(f"XRAY_DATABASE_URL: there is no directory {Path(path).absolute().parent}")
        if read_only or (Path(path).exists() and not os.access(path, os.W_OK)):
            return ReadOnlySQLiteStore(Path(path))
        return cls(Path(path))

    def _connect(self, *, readonly: bool) -> sqlite3.Connection:
        # autocommit: transactions are opened by name, where they are meant
        db = sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False)
        with self._lock:
            self._connections.append(db)
        if not readonly:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only a new file takes it; pruning then gives pages back
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -65536" if not readonly else "PRAGMA cache_size = -16384")
        db.execute("PRAGMA temp_store = MEMORY")
        if readonly:
            db.execute("PRAGMA query_only = ON")
        return db

    def alert_store(self) -> SQLiteAlertStore:
        """What alerts keep in this file (`xray_server.alerts.store.KeepsAlerts`)."""
        if self._alerts is None:
            self._alerts = SQLiteAlertStore(
                partial(self._connect, readonly=False),
                lambda select: setattr(self._writer, "watch", select),
                self._alerting.keep,
            )
        return self._alerts

    def _compact(self, pace: Pace) -> None:
        with self._items.if_free() as ours:  # of several processes one compacts at a time
            if ours:
                if self._compacting is None:
                    self._compacting = self._connect(readonly=False)
                item_index.compact(self._compacting, self._segmenting, pace=pace)

    def _read(self, question: Callable[[SQLiteDatabase], T]) -> T:
        try:
            with self._readers.one() as db:
                return question(db)
        except sqlite3.OperationalError as error:
            if _retryable(error):
                raise StoreUnavailableError(f"SQLite cannot answer just now: {error}") from error
            raise

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """As `Store.write`."""
        refused = write_by_bisection(
            batches, self._writer.write, unavailable=_retryable, limits=(sqlite3.Error, OverflowError, ValueError)
        )
        chunks = sum(isinstance(record, VerdictsRecord) for batch in batches for record in batch.records)
        self._compactor.written(chunks)
        return refused

    def _look_up_across(
        self, db: SQLiteDatabase, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
    ) -> tuple[list[ItemRun], int | None]:
        return items.look_up_across(db, project, item_id, pipeline=pipeline, limit=limit, before=before)

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """As `Store.prune`."""
        try:
            if self._pruning is None:
                self._pruning = self._connect(readonly=False)
            return prune.prune(self._pruning, order, cursor, limit)
        except sqlite3.OperationalError as error:
            if _retryable(error):
                raise StoreUnavailableError(f"SQLite cannot prune just now: {error}") from error
            raise

    def delete_run(self, project: str, run_id: str, at_us: int) -> bool:
        """As `Store.delete_run`."""
        return self._delete(lambda db, lock: delete.delete_run(db, lock, project, run_id, at_us))

    def delete_item(self, project: str, item_id: str, at_us: int) -> int:
        """As `Store.delete_item`."""
        return self._delete(lambda db, lock: erase.delete_item(db, lock, project, item_id, at_us))

    def _delete(self, remove: Callable[[sqlite3.Connection, FileLock], T]) -> T:
        try:
            with closing(sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA secure_delete = ON")  # what is deleted is written over with zeros
                with closing(FileLock(self.path)) as lock:  # a lock is one thread's: the writer has its own
                    return remove(db, lock)
        except sqlite3.OperationalError as error:
            if _retryable(error):
                raise StoreUnavailableError(f"SQLite cannot delete just now: {error}") from error
            raise

    def check(self) -> list[str]:
        """As `Store.check`."""
        return self._read(lambda db: backup.check(db.connection))

    def health(self) -> StoreHealth:
        """As `Store.health`."""
        runs, newest_us, size_bytes = self._read(lambda db: db.figures())
        return StoreHealth(
            "sqlite", str(self.path), runs, newest_us, {"bytes": size_bytes, "free_bytes": self._free_bytes()}
        )

    def _free_bytes(self) -> int | None:
        """What is left on the disk."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return None

    def _change(self, statement: str, values: Sequence[Any]) -> int:
        """Run one statement on a connection of its own, since the writing one is its thread's; how many rows it changed."""
        try:
            with closing(sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                return db.execute(statement, values).rowcount
        except sqlite3.OperationalError as error:
            if _retryable(error):
                raise StoreUnavailableError(f"SQLite cannot take this just now: {error}") from error
            raise

    def close(self) -> None:
        """Close all connections and locks. No call may follow."""
        self._compactor.close()
        self._close_connections()
        for lock in self._locks:
            lock.close()

    def _close_connections(self) -> None:
        with self._lock:
            for connection in self._connections[::-1]:
                connection.close()
            self._connections.clear()


def _retryable(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error).lower() for word in _WORTH_RETRYING)
