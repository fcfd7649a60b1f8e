"""The PostgreSQL store: a pool of reading connections, one writing connection a process, any number of processes.

Owns connections, retries, partitions' making and migrations; rows are in write.py, questions in read.py.
`2xx after commit` is as durable as the database's own `synchronous_commit` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg import Connection, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from xray_core.addresses import without_password
from xray_core.errors import ConfigurationError
from xray_server.alerts.store import Select
from xray_server.backends.postgres import delete, erase, item_index, items, partitions, prune
from xray_server.backends.postgres.alerts import PostgresAlertStore
from xray_server.backends.postgres.migrate import migrate
from xray_server.backends.postgres.read import DictionaryCache, PostgresDatabase, with_placeholders
from xray_server.backends.postgres.write import Writer
from xray_server.backends.relational.compactor import Compactor, Pace
from xray_server.backends.relational.salvage import write_by_bisection
from xray_server.backends.relational.store import RelationalStore
from xray_server.errors import WriteRaceError
from xray_server.records.schema import VerdictsRecord
from xray_server.store import Batch, ItemRun, Prune, StoreHealth, StoreUnavailableError

T = TypeVar("T")
MIN_VERSION: Final = 14  # DETACH PARTITION CONCURRENTLY
MAX_READERS: Final = 8
_TRIES: Final = 8
_CONNECT_TIMEOUT_S: Final = 10
_SIZE_KEPT_S: Final = 30.0
# The plans are the author's, not the statistics': every question walks an index in its order. Custom plans prune partitions.
_PLANS: Final = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; "
    "SET jit = off; SET plan_cache_mode = force_custom_plan; "
)
_READING: Final = (
    _PLANS
    + "SET join_collapse_limit = 1; SET max_parallel_workers_per_gather = 0; SET enable_sort = off; SET default_transaction_read_only = on; SET statement_timeout = '60s'"
)
_WRITING: Final = (
    _PLANS
    + "SET lock_timeout = '20s'; SET statement_timeout = '120s'; SET idle_in_transaction_session_timeout = '120s'"
)
_RACES: Final = (WriteRaceError, errors.DeadlockDetected, errors.SerializationFailure, errors.CheckViolation)
# What PostgreSQL says of a record that it cannot hold: too long for an index, a number out of range.
_LIMITS: Final = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, ValueError, OverflowError)


class PostgresStore(RelationalStore[PostgresDatabase]):
    """A Store in one schema of a PostgreSQL database. `write` from one thread at a time; reads from any thread."""

    @classmethod
    def from_url(cls, url: str) -> PostgresStore:
        """The store at `postgresql://user@host/database`, its schema brought up to date.

        Raises:
            ConfigurationError: no server answers there, it is too old, or its database is newer than this program.
        """
        return cls(url)

    def __init__(self, url: str) -> None:
        self._url = url
        self.location = _checked_address(url)
        self._dictionary = DictionaryCache()
        self._size: tuple[float, int] = (-_SIZE_KEPT_S, 0)
        try:
            with closing(self.connect()) as db:
                _check_server(db)
                migrate(db, self.location)
                db.execute("SELECT 1")
            self._pool: ConnectionPool[Connection[Any]] = ConnectionPool(
                url, min_size=1, max_size=MAX_READERS, timeout=_CONNECT_TIMEOUT_S, configure=_configure_reading,
                kwargs={"autocommit": True, "connect_timeout": _CONNECT_TIMEOUT_S, "prepare_threshold": None},
                name="xray-read", open=True,
            )  # fmt: skip
        except psycopg.Error as error:
            raise ConfigurationError(
                f"XRAY_DATABASE_URL: cannot use {self.location}: {str(error).strip() or type(error).__name__}"
            ) from error
        self._writing: Connection[Any] | None = None
        self._writer: Writer | None = None
        self._watch: Select | None = None
        self._alerts: PostgresAlertStore | None = None
        self._compactor = Compactor(self._compact)

    def alert_store(self) -> PostgresAlertStore:
        """What alerts keep in this database (`xray_server.alerts.store.KeepsAlerts`)."""
        if self._alerts is None:
            self._alerts = PostgresAlertStore(self.connect, lambda select: setattr(self, "_watch", select))
        return self._alerts

    def connect(self) -> Connection[Any]:
        """A connection of its own, in autocommit mode, for writing, pruning and moving; the caller closes it."""
        db = psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
        db.execute(_WRITING)
        return db

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """As `Store.write`."""
        refused = write_by_bisection(batches, self._write, unavailable=_unavailable, limits=_LIMITS)
        chunks = sum(isinstance(record, VerdictsRecord) for batch in batches for record in batch.records)
        self._compactor.written(chunks)
        return refused

    def _compact(self, pace: Pace) -> None:
        with closing(self.connect()) as db:
            item_index.compact(db, pace=pace)

    def _write(self, batches: Sequence[Batch]) -> None:
        for attempt in range(_TRIES):
            writer = self._writer_now()
            try:
                writer.write(batches, () if self._watch is None else self._watch(batches))
                return
            except _RACES as error:
                # another process was first, or retention dropped the partition: look again
                if isinstance(error, errors.CheckViolation) and "no partition" not in str(error):
                    raise
                writer.forget_partitions()
                time.sleep(0.005 * attempt)  # another server holds the rows: let it commit first
            except psycopg.Error:
                self._disconnect_if_broken()
                raise
        raise StoreUnavailableError("other processes keep writing the same runs; try again")

    def _writer_now(self) -> Writer:
        if self._writer is None:
            self._writing = self.connect()
            self._writer = Writer(self._writing, self._make_partitions)
        return self._writer

    def _disconnect_if_broken(self) -> None:
        if self._writing is not None and (self._writing.closed or self._writing.broken):
            self._writing.close()
            self._writing = self._writer = None

    def _make_partitions(self, weeks: set[int]) -> None:
        with closing(self.connect()) as db:
            partitions.make(db, weeks)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, question: Callable[[PostgresDatabase], T]) -> T:
        for attempt in (1, 2):
            try:
                with self._pool.connection() as db:
                    return question(PostgresDatabase(db, self._dictionary))
            except PoolTimeout as error:
                raise StoreUnavailableError(f"PostgreSQL cannot be reached just now: {error}") from error
            except psycopg.Error as error:
                if not _unavailable(error):
                    raise
                if attempt == 2 or isinstance(error, errors.QueryCanceled):
                    raise StoreUnavailableError(f"PostgreSQL cannot answer just now: {error}") from error
                self._pool.check()  # it was restarted: connections of before are dead, all of them
        raise AssertionError("unreachable")

    def _look_up_across(
        self, db: PostgresDatabase, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
    ) -> tuple[list[ItemRun], int | None]:
        return items.look_up_across(db, project, item_id, pipeline=pipeline, limit=limit, before=before)

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """As `Store.prune`."""
        try:
            with closing(self.connect()) as db:
                return prune.prune(db, order, cursor, limit)
        except psycopg.Error as error:
            if _unavailable(error):
                raise StoreUnavailableError(f"PostgreSQL cannot prune just now: {error}") from error
            raise

    def delete_run(self, project: str, run_id: str, at_us: int) -> bool:
        """As `Store.delete_run`."""
        return self._delete(lambda db: delete.delete_run(db, project, run_id, at_us))

    def delete_item(self, project: str, item_id: str, at_us: int) -> int:
        """As `Store.delete_item`."""
        return self._delete(lambda db: erase.delete_item(db, self._dictionary, project, item_id, at_us))

    def _delete(self, remove: Callable[[Connection[Any]], T]) -> T:
        try:
            with closing(self.connect()) as db:
                return remove(db)
        except psycopg.Error as error:
            if _unavailable(error):
                raise StoreUnavailableError(f"PostgreSQL cannot delete just now: {error}") from error
            raise

    def check(self) -> list[str]:
        """As `Store.check`."""
        return self._read(prune.check)

    def health(self) -> StoreHealth:
        """As `Store.health`; the size is measured every now and then."""
        runs, newest_us = self._read(lambda db: db.figures())
        if time.monotonic() - self._size[0] > _SIZE_KEPT_S:  # it looks at every file of the database
            self._size = (time.monotonic(), self._read(lambda db: db.size_bytes()))
        return StoreHealth("postgresql", self.location, runs, newest_us, {"bytes": self._size[1]})

    # -- keys ------------------------------------------------------------------------------------------------------

    def _change(self, statement: str, values: Sequence[Any]) -> int:
        """Run one statement on a connection of its own; how many rows it changed."""
        try:
            with closing(self.connect()) as db:
                return db.execute(cast(Any, with_placeholders(statement)), values).rowcount
        except psycopg.Error as error:
            if _unavailable(error):
                raise StoreUnavailableError(f"PostgreSQL cannot take this just now: {error}") from error
            raise

    def close(self) -> None:
        """Close all connections. No call may follow."""
        self._compactor.close()
        self._pool.close()
        if self._alerts is not None:
            self._alerts.close()
        if self._writing is not None:
            self._writing.close()
            self._writing = self._writer = None


def _configure_reading(db: Connection[Any]) -> None:
    db.execute(_READING)


def _checked_address(url: str) -> str:
    """The address without its password, once it is known that the driver can read it."""
    try:
        conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL is no PostgreSQL address ({str(error).strip()}); write postgresql://user@host/database"
        ) from None
    return without_password(url)


def _unavailable(error: Exception) -> bool:
    """Whether it is worth trying again: no connection, no room, no time, shutting down, read-only for now."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return True
    return isinstance(error, (psycopg.OperationalError, PoolTimeout)) and not isinstance(
        error, errors.ProgramLimitExceeded
    )


def _check_server(db: Connection[Any]) -> None:
    if db.info.server_version < MIN_VERSION * 10_000:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: PostgreSQL {db.info.server_version // 10_000} is too old; X-Ray needs {MIN_VERSION}"
        )
    row = db.execute("SHOW server_encoding").fetchone()
    if row is not None and row[0] != "UTF8":
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: the database is encoded in {row[0]}; make one with ENCODING 'UTF8'"
        )
