"""Alerts beside ClickHouse: kept in the control database, and told of what ClickHouse's writer wrote.

The notes of what is to be judged are committed after the records, and both before the request is answered: what a crash
between the two leaves out is sent again, and then judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from xray_server.alerts.store import Select
from xray_server.backends.relational.alerts import Database, SQLAlertStore
from xray_server.store import Batch


class ControlAlertStore(SQLAlertStore):
    """See AlertStore.

    Args:
        kept: the control database's own.
        watch: hands `select` to the writer of the records.
    """

    def __init__(self, kept: SQLAlertStore, watch: Callable[[Select | None], None]) -> None:
        super().__init__()
        self._kept, self._watch = kept, watch

    def using(self, *, writing: bool = False) -> AbstractContextManager[Database]:
        """The control database's connection."""
        return self._kept.using(writing=writing)

    def watch(self, select: Select | None) -> None:
        """As `AlertStore.watch`."""
        self._watch(select)

    def leads(self) -> bool:
        """Whether this process judges, of all that have this control database."""
        return self._kept.leads()

    def note(self, select: Select, batches: Sequence[Batch]) -> None:
        """Commit the notes of what is to be judged in these batches."""
        notes = select(batches)
        if notes:
            with self.using(writing=True) as db:
                db.executemany("INSERT INTO alert_note (doc) VALUES (?)", [(note,) for note in notes])
