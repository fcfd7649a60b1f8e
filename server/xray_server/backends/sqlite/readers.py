"""The connections on which questions are asked: lent for one question each, and used again by whoever asks next.

A connection a thread would not do: threads of a server come and go, and each would leave its connection behind.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xray_server.backends.sqlite.read import SQLiteDatabase


class Readers:
    """As many connections as questions were ever asked at once. Any thread.

    Args:
        connect: makes one; whoever gives it closes it too.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[SQLiteDatabase] = []

    @contextmanager
    def one(self) -> Iterator[SQLiteDatabase]:
        """A connection in a transaction that reads: one state of the file for all statements of a question, since what a row
        leads to may be pruned or moved between two of them.
        """
        with self._lock:
            db = self._idle.pop() if self._idle else None
        db = db or SQLiteDatabase(self._connect())
        try:
            db.connection.execute("BEGIN")
            try:
                yield db
            finally:
                db.connection.execute("COMMIT")
        finally:
            with self._lock:
                self._idle.append(db)
