"""The AlertStore in the SQLite file of the records: one connection of its own, used under a lock.

`synchronous=NORMAL` where the records have FULL: a power cut may then undo the last settlements as a whole, notes included,
and they are judged again; events have ids that follow from what they are about, so a message is at worst sent twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

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
from xray_server.store import StoreUnavailableError

T = TypeVar("T")
_FORGET_EVERY: Final = 200  # settlements
_DELIVERY: Final = (
    "SELECT d.pk, e.id, e.project, e.rule, d.target, d.tries, d.next_us, e.doc, d.status, d.note "
    "FROM alert_delivery d JOIN alert_event e ON e.pk = d.event "
)


class SQLiteAlertStore:
    """See AlertStore.

    Args:
        connect: makes a writing connection in autocommit mode; the store that gives it also closes it.
        watch: hands `select` to the writer of the records.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], watch: Callable[[Select | None], None]) -> None:
        self._db = connect()
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._watch = watch
        self._lock = threading.RLock()
        self._settlements = 0

    @contextmanager
    def _using(self, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
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

    def watch(self, select: Select | None) -> None:
        self._watch(select)

    def add_rule(self, rule: StoredRule) -> None:
        with self._using() as db:
            db.execute(
                "INSERT INTO alert_rule (id, project, created_us, doc) VALUES (?, ?, ?, ?)",
                (rule.rule_id, rule.project, rule.created_us, rule.rule.model_dump_json()),
            )

    def rules(self) -> list[StoredRule]:
        with self._using() as db:
            rows = db.execute("SELECT id, project, created_us, doc FROM alert_rule ORDER BY created_us, id").fetchall()
        return [
            StoredRule.model_validate({"rule_id": row[0], "project": row[1], "created_us": row[2], "rule": msgspec.json.decode(row[3])})
            for row in rows
        ]  # fmt: skip

    def remove_rule(self, project: str, rule_id: str) -> bool:
        with self._using(writing=True) as db:
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
        with self._using() as db:
            return db.execute("SELECT pk, doc FROM alert_note ORDER BY pk LIMIT ?", (limit,)).fetchall()

    def note_count(self) -> int:
        with self._using() as db:
            return int(db.execute("SELECT count(*) FROM alert_note").fetchone()[0])

    def seen(self, subjects: Sequence[bytes]) -> dict[bytes, bytes]:
        with self._using() as db:
            return self._each("SELECT subject, digest FROM alert_seen WHERE subject = ?", [(s,) for s in subjects], db)

    def states(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, SeriesState]:
        with self._using() as db:
            found = self._each("SELECT rowid, doc FROM alert_state WHERE rule = ? AND series = ?", keys, db, keyed=True)
        return {key: msgspec.json.decode(doc, type=SeriesState) for key, doc in found.items()}

    @staticmethod
    def _each(sql: str, keys: Sequence[Any], db: sqlite3.Connection, *, keyed: bool = False) -> dict[Any, Any]:
        found = {}
        for key in keys:
            row = db.execute(sql, key).fetchone()
            if row is not None:
                found[key if keyed else row[0]] = row[1]
        return found

    def firing(self, project: str) -> dict[SeriesKey, SeriesState]:
        with self._using() as db:
            rows = db.execute(
                "SELECT s.rule, s.series, s.doc FROM alert_state s JOIN alert_rule r ON r.id = s.rule "
                "WHERE r.project = ? AND s.firing = 1 LIMIT 1000",
                (project,),
            ).fetchall()
        return {(rule, series): msgspec.json.decode(doc, type=SeriesState) for rule, series, doc in rows}

    def settle(self, settlement: Settlement, *, now_us: int) -> int:
        turned_away = 0
        with self._using(writing=True) as db:
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

    def _tell(self, db: sqlite3.Connection, event: Event, now_us: int) -> int:
        cursor = db.execute(
            "INSERT OR IGNORE INTO alert_event (id, project, rule, kind, at_us, doc) SELECT ?, ?, id, ?, ?, ? "
            "FROM alert_rule WHERE id = ?",
            (event.event_id, event.project, event.kind, event.at_us, msgspec.json.encode(event.body), event.rule_id),
        )
        if cursor.rowcount == 0:
            return 0
        waiting = int(db.execute("SELECT count(*) FROM alert_delivery WHERE status = 'waiting'").fetchone()[0])
        room = max(0, MAX_WAITING - waiting)
        db.executemany(
            "INSERT INTO alert_delivery (event, target, tries, next_us, status, note) VALUES (?, ?, 0, ?, ?, ?)",
            [
                (cursor.lastrowid, target, now_us, "waiting" if i < room else "given_up", None if i < room else "too many messages waited")
                for i, target in enumerate(event.targets)
            ],
        )  # fmt: skip
        return max(0, len(event.targets) - room)

    def _forget(self, db: sqlite3.Connection, now_us: int) -> None:
        db.execute("DELETE FROM alert_seen WHERE seen_us < ?", (now_us - SEEN_US,))
        oldest = db.execute("SELECT pk FROM alert_event ORDER BY pk DESC LIMIT 1 OFFSET ?", (MAX_EVENTS,)).fetchone()
        if oldest is not None:
            db.execute("DELETE FROM alert_delivery WHERE event <= ?", oldest)
            db.execute("DELETE FROM alert_event WHERE pk <= ?", oldest)

    def waiting(self, limit: int) -> list[Delivery]:
        with self._using() as db:
            rows = db.execute(f"{_DELIVERY} WHERE d.status = 'waiting' ORDER BY d.pk LIMIT ?", (limit,)).fetchall()
        return [_delivery(row) for row in rows]

    def delivered(self, delivery: Delivery) -> None:
        with self._using() as db:
            db.execute(
                "UPDATE alert_delivery SET status = ?, tries = ?, next_us = ?, note = ? WHERE pk = ? AND status = 'waiting'",
                (delivery.status, delivery.tries, delivery.next_us, delivery.note, delivery.delivery_id),
            )

    def history(
        self, project: str, *, limit: int, before: int | None, rule_id: str | None
    ) -> tuple[list[PastEvent], int | None]:
        with self._using() as db:
            rows = db.execute(
                "SELECT pk, id, project, rule, kind, at_us, doc FROM alert_event "
                "WHERE project = ? AND pk < ? AND (? IS NULL OR rule = ?) ORDER BY pk DESC LIMIT ?",
                (project, before if before is not None else 1 << 62, rule_id, rule_id, limit + 1),
            ).fetchall()
            past = [
                PastEvent(
                    Event(row[1], row[2], row[3], row[4], row[5], msgspec.json.decode(row[6])),
                    [_delivery(each) for each in db.execute(f"{_DELIVERY} WHERE d.event = ? ORDER BY d.pk", row[:1])],
                )
                for row in rows[:limit]
            ]
        return past, int(rows[limit - 1][0]) if len(rows) > limit else None


def _delivery(row: Any) -> Delivery:
    number, event_id, project, rule, target, tries, next_us, doc, status, note = row
    body = msgspec.json.decode(doc)
    return Delivery(number, event_id, project, rule, target, tries, next_us, body, status, note)
