"""The AlertStore in the SQLite file of the records: one connection of its own, used under a lock.

`synchronous=NORMAL` where the records have FULL: a power cut may then undo the last settlements as a whole, notes included,
and they are judged again; events have ids that follow from what they are about, so a message is at worst sent twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xray_server.alerts.store import Select
from xray_server.backends.relational.alerts import SQLAlertStore
from xray_server.store import StoreUnavailableError


class SQLiteAlertStore(SQLAlertStore):
    """See AlertStore.

    Args:
        connect: makes a writing connection in autocommit mode; the store that gives it also closes it.
        watch: hands `select` to the writer of the records.
        leads: whether this process is the one of several that judges.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        watch: Callable[[Select | None], None],
        leads: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._db = connect()
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._watch = watch
        self._leads = leads
        self._lock = threading.RLock()

    def watch(self, select: Select | None) -> None:
        """As `AlertStore.watch`."""
        self._watch(select)

    def leads(self) -> bool:
        """Whether this process judges: it holds a file lock that only one can have."""
        return self._leads()

    @contextmanager
    def using(self, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection of alerts, in a transaction where it writes."""
        with self._lock:
            try:
                if writing:
                    self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                if writing:
                    self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise StoreUnavailableError(f"SQLite cannot keep alerts just now: {error}") from error
            finally:
                if writing and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
