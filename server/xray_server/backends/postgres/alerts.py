"""The AlertStore in the PostgreSQL schema of the records: one connection a process, used under a lock.

Of the processes on one database, one judges and delivers: whoever holds an advisory lock, which lives as long as its
connection. The others note what is to be judged, with what they commit, and are ready to take over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import Connection

from xray_server.alerts.store import Select
from xray_server.backends.postgres.text import escape_text, unescape_text
from xray_server.backends.relational.alerts import SQLAlertStore
from xray_server.store import StoreUnavailableError

_LEADER_LOCK: Final = 0x5841


class PostgresAlertStore(SQLAlertStore):
    """See AlertStore.

    Args:
        connect: makes a writing connection in autocommit mode; closed here.
        watch: hands `select` to the writer of the records.
    """

    def __init__(self, connect: Callable[[], Connection[Any]], watch: Callable[[Select | None], None]) -> None:
        super().__init__()
        self._connect = connect
        self._watch = watch
        self._db: Connection[Any] | None = None
        self._leading = False
        self._closed = False
        self._lock = threading.RLock()

    def watch(self, select: Select | None) -> None:
        """As `AlertStore.watch`."""
        self._watch(select)

    def leads(self) -> bool:
        """Whether this process judges: it holds an advisory lock that only one can have."""
        # asked of the database once a connection: when that breaks, what is done next on it fails, and it is asked again
        if not self._leading:
            with self.using() as db:
                asked = "SELECT pg_try_advisory_lock(?, hashtext(current_schema()))"
                self._leading = bool(db.execute(asked, (_LEADER_LOCK,)).fetchone()[0])
        return self._leading

    @contextmanager
    def using(self, *, writing: bool = False) -> Iterator[_Database]:
        """The connection of alerts, in a transaction where it writes; a broken one is opened anew the next time."""
        with self._lock:
            try:
                if self._db is None:
                    if self._closed:
                        raise StoreUnavailableError("the store is closed")
                    self._db = self._connect()
                if writing:
                    with self._db.transaction():
                        yield _Database(self._db)
                else:
                    yield _Database(self._db)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._disconnect()
                raise StoreUnavailableError(f"PostgreSQL cannot keep alerts just now: {error}") from error

    def _disconnect(self) -> None:
        db, self._db, self._leading = self._db, None, False
        if db is not None:
            db.close()

    def close(self) -> None:
        """Close the connection. No call may follow."""
        with self._lock:
            self._closed = True
            self._disconnect()


class _Database:
    """A connection that is spoken to as SQLite's is; text goes in and comes out as PostgreSQL can keep it."""

    def __init__(self, db: Connection[Any]) -> None:
        self._db = db

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> _Cursor:
        return _Cursor(self._db.execute(sql.replace("?", "%s").encode(), _escaped(values)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        self._db.cursor().executemany(sql.replace("?", "%s").encode(), [_escaped(row) for row in rows])


class _Cursor:
    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        row = self._cursor.fetchone()
        return None if row is None else _given(row)

    def fetchall(self) -> list[Any]:
        return [_given(row) for row in self._cursor.fetchall()]


def _escaped(values: Sequence[Any]) -> list[Any]:
    return [escape_text(value) if isinstance(value, str) else value for value in values]


def _given(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(unescape_text(value) if isinstance(value, str) else value for value in row)
