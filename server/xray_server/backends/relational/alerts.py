"""The AlertStore in SQL, the same statements for SQLite and PostgreSQL: what differs is how a connection is had (`using`).

Values stand for `?`. Documents are JSON in bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import msgspec

from xray_server.alerts.rules import StoredRule
from xray_server.alerts.series import SeriesState
from xray_server.alerts.store import (
    MAX_EVENTS,
    MAX_WAITING,
    SEEN_US,
    Delivery,
    Event,
    PastEvent,
    Select,
    SeriesKey,
    Settlement,
)

_FORGET_EVERY: Final = 200  # settlements
_ASKED_AT_ONCE: Final = 400  # SQLite takes 999 values a statement where it is old
_DELIVERY: Final = (
    "SELECT d.pk, e.id, e.project, e.rule, d.target, d.tries, d.next_us, e.doc, d.status, d.note "
    "FROM alert_delivery d JOIN alert_event e ON e.pk = d.event "
)


class Cursor(Protocol):
    """What a statement found or changed."""

    @property
    def rowcount(self) -> int:
        """Rows that the statement changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


class Database(Protocol):
    """A connection, as far as alerts use it."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each row of values."""


class SQLAlertStore(ABC):
    """See AlertStore. `using` lends the one connection there is, under a lock; `watch` and `leads` are the database's too."""

    def __init__(self) -> None:
        self._settlements = 0

    @abstractmethod
    def using(self, *, writing: bool = False) -> AbstractContextManager[Database]:
        """The connection; `writing` in a transaction. Raises StoreUnavailableError for what is worth trying again."""

    @abstractmethod
    def watch(self, select: Select | None) -> None:
        """As `AlertStore.watch`."""

    @abstractmethod
    def leads(self) -> bool:
        """As `AlertStore.leads`."""

    def add_rule(self, rule: StoredRule) -> None:
        """As `AlertStore.add_rule`."""
        with self.using() as db:
            db.execute(
                "INSERT INTO alert_rule (id, project, created_us, doc) VALUES (?, ?, ?, ?)",
                (rule.rule_id, rule.project, rule.created_us, rule.rule.model_dump_json(exclude_none=True)),
            )

    def replace_rule(self, rule: StoredRule, *, forget_states: bool) -> bool:
        """As `AlertStore.replace_rule`."""
        with self.using(writing=True) as db:
            changed = db.execute(
                "UPDATE alert_rule SET doc = ? WHERE project = ? AND id = ?",
                (rule.rule.model_dump_json(exclude_none=True), rule.project, rule.rule_id),
            ).rowcount
            if changed and forget_states:
                db.execute("DELETE FROM alert_state WHERE rule = ?", (rule.rule_id,))
            return bool(changed)

    def rules(self) -> list[StoredRule]:
        """As `AlertStore.rules`."""
        with self.using() as db:
            rows = db.execute("SELECT id, project, created_us, doc FROM alert_rule ORDER BY created_us, id").fetchall()
        return [
            StoredRule.model_validate({"rule_id": row[0], "project": row[1], "created_us": row[2], "rule": msgspec.json.decode(row[3])})
            for row in rows
        ]  # fmt: skip

    def remove_rule(self, project: str, rule_id: str) -> bool:
        """As `AlertStore.remove_rule`."""
        with self.using(writing=True) as db:
            gone = db.execute("DELETE FROM alert_rule WHERE project = ? AND id = ?", (project, rule_id)).rowcount
            if gone:
                db.execute("DELETE FROM alert_state WHERE rule = ?", (rule_id,))
                db.execute(
                    "UPDATE alert_delivery SET status = 'cancelled' WHERE status = 'waiting' "
                    "AND event IN (SELECT pk FROM alert_event WHERE rule = ?)",
                    (rule_id,),
                )
            return bool(gone)

    def notes(self, limit: int) -> list[tuple[int, bytes]]:
        """As `AlertStore.notes`."""
        with self.using() as db:
            rows = db.execute("SELECT pk, doc FROM alert_note ORDER BY pk LIMIT ?", (limit,)).fetchall()
        return [(int(number), bytes(note)) for number, note in rows]

    def note_count(self) -> int:
        """As `AlertStore.note_count`."""
        with self.using() as db:
            return int(db.execute("SELECT count(*) FROM alert_note").fetchone()[0])

    def seen(self, subjects: Sequence[bytes]) -> dict[bytes, bytes]:
        """As `AlertStore.seen`."""
        found: dict[bytes, bytes] = {}
        with self.using() as db:
            for start in range(0, len(subjects), _ASKED_AT_ONCE):
                asked = subjects[start : start + _ASKED_AT_ONCE]
                places = ", ".join("?" * len(asked))
                sql = f"SELECT subject, digest FROM alert_seen WHERE subject IN ({places})"  # noqa: S608  # values are bound
                found.update(db.execute(sql, asked).fetchall())
        return found

    def states(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, SeriesState]:
        """As `AlertStore.states`."""
        found: dict[SeriesKey, SeriesState] = {}
        with self.using() as db:
            for key in keys:
                row = db.execute("SELECT doc FROM alert_state WHERE rule = ? AND series = ?", key).fetchone()
                if row is not None:
                    found[key] = msgspec.json.decode(row[0], type=SeriesState)
        return found

    def firing(self, project: str) -> dict[SeriesKey, SeriesState]:
        """As `AlertStore.firing`."""
        with self.using() as db:
            rows = db.execute(
                "SELECT s.rule, s.series, s.doc FROM alert_state s JOIN alert_rule r ON r.id = s.rule "
                "WHERE r.project = ? AND s.firing = 1 LIMIT 1000",
                (project,),
            ).fetchall()
        return {(rule, series): msgspec.json.decode(doc, type=SeriesState) for rule, series, doc in rows}

    def settle(self, settlement: Settlement, *, now_us: int) -> int:
        """As `AlertStore.settle`."""
        turned_away = 0
        with self.using(writing=True) as db:
            if db.execute("DELETE FROM alert_note WHERE pk = ?", (settlement.note,)).rowcount == 0:
                return 0  # another process judged it meanwhile
            db.executemany(
                "INSERT INTO alert_seen (subject, digest, seen_us) VALUES (?, ?, ?) "
                "ON CONFLICT (subject) DO UPDATE SET digest = excluded.digest, seen_us = excluded.seen_us",
                [(subject, digest, now_us) for subject, digest in settlement.seen.items()],
            )
            # a rule that was removed while it was judged leaves nothing behind
            db.executemany(
                "INSERT INTO alert_state (rule, series, firing, doc) SELECT id, ?, ?, ? FROM alert_rule WHERE id = ? "
                "ON CONFLICT (rule, series) DO UPDATE SET firing = excluded.firing, doc = excluded.doc",
                [
                    (series, int(state.firing), msgspec.json.encode(state), rule)
                    for (rule, series), state in settlement.states.items()
                ],
            )
            for event in settlement.events:
                turned_away += self._tell(db, event, now_us)
            self._settlements += 1
            if settlement.events or self._settlements % _FORGET_EVERY == 1:
                self._forget(db, now_us)
        return turned_away

    def _tell(self, db: Database, event: Event, now_us: int) -> int:
        added = db.execute(
            "INSERT INTO alert_event (id, project, rule, kind, at_us, doc) SELECT ?, ?, id, ?, ?, ? FROM alert_rule WHERE id = ? "
            "ON CONFLICT (id) DO NOTHING",
            (event.event_id, event.project, event.kind, event.at_us, msgspec.json.encode(event.body), event.rule_id),
        )
        if added.rowcount == 0:
            return 0
        number = db.execute("SELECT pk FROM alert_event WHERE id = ?", (event.event_id,)).fetchone()[0]
        waiting = int(db.execute("SELECT count(*) FROM alert_delivery WHERE status = 'waiting'").fetchone()[0])
        room = max(0, MAX_WAITING - waiting)
        db.executemany(
            "INSERT INTO alert_delivery (event, target, tries, next_us, status, note) VALUES (?, ?, 0, ?, ?, ?)",
            [
                (number, target, now_us, "waiting" if i < room else "given_up", None if i < room else "too many messages waited")
                for i, target in enumerate(event.targets)
            ],
        )  # fmt: skip
        return max(0, len(event.targets) - room)

    def _forget(self, db: Database, now_us: int) -> None:
        db.execute("DELETE FROM alert_seen WHERE seen_us < ?", (now_us - SEEN_US,))
        oldest = db.execute("SELECT pk FROM alert_event ORDER BY pk DESC LIMIT 1 OFFSET ?", (MAX_EVENTS,)).fetchone()
        if oldest is not None:
            db.execute("DELETE FROM alert_delivery WHERE event <= ?", oldest)
            db.execute("DELETE FROM alert_event WHERE pk <= ?", oldest)

    def waiting(self, limit: int) -> list[Delivery]:
        """As `AlertStore.waiting`."""
        with self.using() as db:
            rows = db.execute(f"{_DELIVERY} WHERE d.status = 'waiting' ORDER BY d.pk LIMIT ?", (limit,)).fetchall()
        return [_delivery(row) for row in rows]

    def delivered(self, delivery: Delivery) -> None:
        """As `AlertStore.delivered`."""
        with self.using() as db:
            db.execute(
                "UPDATE alert_delivery SET status = ?, tries = ?, next_us = ?, note = ? WHERE pk = ? AND status = 'waiting'",
                (delivery.status, delivery.tries, delivery.next_us, delivery.note, delivery.delivery_id),
            )

    def history(
        self, project: str, *, limit: int, before: int | None, rule_id: str | None
    ) -> tuple[list[PastEvent], int | None]:
        """As `AlertStore.history`."""
        with self.using() as db:
            rows = db.execute(
                "SELECT pk, id, project, rule, kind, at_us, doc FROM alert_event "
                "WHERE project = ? AND pk < ? AND (CAST(? AS TEXT) IS NULL OR rule = ?) ORDER BY pk DESC LIMIT ?",
                (project, before if before is not None else 1 << 62, rule_id, rule_id, limit + 1),
            ).fetchall()
            past = [
                PastEvent(
                    Event(row[1], row[2], row[3], row[4], row[5], msgspec.json.decode(row[6])),
                    [
                        _delivery(each)
                        for each in db.execute(f"{_DELIVERY} WHERE d.event = ? ORDER BY d.pk", row[:1]).fetchall()
                    ],
                )
                for row in rows[:limit]
            ]
        return past, int(rows[limit - 1][0]) if len(rows) > limit else None


def _delivery(row: Any) -> Delivery:
    number, event_id, project, rule, target, tries, next_us, doc, status, note = row
    body = msgspec.json.decode(doc)
    return Delivery(number, event_id, project, rule, target, tries, next_us, body, status, note)
