"""A SQLite file that is only looked at: on a read-only disk, of another user, or opened with `?mode=ro`.

Nothing beside it is made either: no lock, no log of writes. Alerts, which keep notes in the file, are off.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from xray_core.errors import ConfigurationError
from xray_server.backends.relational.store import RelationalStore
from xray_server.backends.sqlite import backup, items
from xray_server.backends.sqlite.migrate import check_current
from xray_server.backends.sqlite.read import SQLiteDatabase
from xray_server.backends.sqlite.readers import Readers
from xray_server.store import Batch, ItemRun, Prune, StoreHealth, StoreUnavailableError

T = TypeVar("T")


class ReadOnlySQLiteStore(RelationalStore[SQLiteDatabase]):
    """A Store that answers questions and refuses whatever would change it. Any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._readers = Readers(self._connect)
        try:
            check_current(self._connect(), str(self.path))
        except Exception as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise ConfigurationError(f"XRAY_DATABASE_URL: cannot open {self.path} as SQLite: {error}") from error
            raise

    def _connect(self) -> sqlite3.Connection:
        wal = Path(f"{self.path}-wal")
        # where nobody may write, and no log of writes is left, nobody does: SQLite then needs no files beside it
        still = not os.access(self.path.parent, os.W_OK) and not wal.exists()
        uri = f"file:{quote(str(self.path))}?mode=ro{'&immutable=1' if still else ''}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        with self._lock:
            self._connections.append(db)
        db.execute("PRAGMA query_only = ON")
        return db

    def _read(self, question: Callable[[SQLiteDatabase], T]) -> T:
        try:
            with self._readers.one() as db:
                return question(db)
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"SQLite cannot answer just now: {error}") from error

    def _look_up_across(
        self, db: SQLiteDatabase, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
    ) -> tuple[list[ItemRun], int | None]:
        return items.look_up_across(db, project, item_id, pipeline=pipeline, limit=limit, before=before)

    def _refuse(self) -> NoReturn:
        raise StoreUnavailableError(f"{self.path} is open for reading only")

    def _change(self, statement: str, values: Sequence[Any]) -> int:
        self._refuse()

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """Raises StoreUnavailableError: clients keep what they have."""
        self._refuse()

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """Raises StoreUnavailableError."""
        self._refuse()

    def delete_run(self, project: str, run_id: str, at_us: int) -> bool:
        """Raises StoreUnavailableError."""
        self._refuse()

    def delete_item(self, project: str, item_id: str, at_us: int) -> int:
        """Raises StoreUnavailableError."""
        self._refuse()

    def check(self) -> list[str]:
        """As `Store.check`."""
        return self._read(lambda db: backup.check(db.connection))

    def health(self) -> StoreHealth:
        """As `Store.health`."""
        runs, newest_us, size_bytes = self._read(lambda db: db.figures())
        return StoreHealth("sqlite", str(self.path), runs, newest_us, {"bytes": size_bytes, "read_only": True})

    def close(self) -> None:
        """Close all connections. No call may follow."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
