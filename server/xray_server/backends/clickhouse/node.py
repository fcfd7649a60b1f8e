"""One ClickHouse server over HTTP: its connection, and which of its errors pass. Knows no table."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import clickhouse_connect
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from urllib3.exceptions import HTTPError as TransportError

from xray_core.safety import log
from xray_server.backends.clickhouse.address import Address
from xray_server.store import StoreUnavailableError

T = TypeVar("T")
BYTES: Final[Mapping[str, str | dict[str, str]]] = dict.fromkeys(("doc", "head", "data", "text"), "bytes")
_CODE: Final = re.compile(r"code: (\d+)", re.IGNORECASE)
# What ClickHouse says where trying again may help: time, memory, parts, disk, replicas, connections.
_PASSING: Final = frozenset(
    (159, 164, 202, 203, 209, 210, 236, 241, 242, 243, 244, 252, 279, 285, 286, 290, 305, 319, 394, 439, 473, 999)
)
_NO_DATABASE: Final = 81
_SETTINGS: Final = {
    "async_insert": 0,  # an answer before the insert is on disk would be one that a crash takes back
    "insert_deduplicate": 0,  # keys and versions make inserts idempotent; a token would lose what differs in silence
    "max_partitions_per_insert_block": 0,
    "max_query_size": 64 * 1024 * 1024,  # keys of a group are bound into the text
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
    "max_execution_time": 60,
    "local_filesystem_read_method": "pread",  # a tenth less of its processors than with threads that read
    "max_threads": 1,  # what is found by its key is found before other threads have begun; scans say otherwise
}
logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)  # it warns of each try; what it says is in our error
_DOWN_S: Final = 2.0  # for so long a node that did not answer is not asked where another can be


def unavailable(error: Exception) -> bool:
    """Whether trying again later may help."""
    if isinstance(error, ClickHouseError):
        code = _CODE.search(str(error))
        return int(code[1]) in _PASSING if code else isinstance(error, OperationalError)
    return isinstance(error, (TransportError, OSError))


class Node:
    """One server. Any thread; each call is one HTTP request on a pooled connection.

    Args:
        prepare: brings its tables up to date when it is first connected to, which may be long after the start.
    """

    def __init__(self, host: str, port: int, address: Address, prepare: Callable[[Node], None]) -> None:
        self.name = f"{host}:{port}"
        self._host, self._port, self._address, self._prepare = host, port, address, prepare
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._types: dict[str, tuple[list[str], list[str]]] = {}
        self.down_until_s = 0.0
        self._away = False  # as was logged

    @property
    def is_down(self) -> bool:
        """Whether it did not answer just now."""
        return self.down_until_s > time.monotonic()

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._make_database()
                self._client = self._connect(self._address.database)
                try:
                    self._prepare(self)
                except BaseException:  # whatever ends it, the next call begins again
                    self._client.close()
                    self._client = None
                    raise
            return self._client

    def _connect(self, database: str) -> Client:
        address = self._address
        return clickhouse_connect.get_client(
            host=self._host, port=self._port, username=address.user, password=address.password, database=database,
            secure=address.secure, compress="lz4", connect_timeout=3, send_receive_timeout=120, query_retries=0,
            autogenerate_session_id=False, client_name="xray", settings=dict(_SETTINGS),
        )  # fmt: skip

    def _make_database(self) -> None:
        client = self._connect("default")
        try:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self._address.database}`")
        finally:
            client.close()

    def rows(self, statement: str) -> Sequence[Any]:
        """All rows of a statement."""
        return self._asked(lambda client: client.query(statement, column_formats=dict(BYTES)).result_rows)

    def command(self, statement: str) -> None:
        """Run a statement that returns nothing."""
        self._asked(lambda client: client.command(statement))

    def lines(self, statement: str) -> list[list[str]]:
        """What a statement that is no SELECT prints: the fields of each line, as text."""
        printed = self._asked(lambda client: client.raw_query(statement))
        return [line.split("\t") for line in printed.decode("utf-8", "replace").splitlines()]

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert whole rows; returns when they are on disk."""
        self._asked(lambda client: self._insert(client, table, rows))

    def copied(self, statement: str) -> bytes:
        """What a SELECT finds, in the form in which `paste` takes it."""
        return self._asked(lambda client: client.raw_query(statement, fmt="Native"))

    def paste(self, table: str, block: bytes) -> None:
        """Insert what `copied` gave of the same table on another node."""
        if block:
            self._asked(lambda client: client.raw_insert(table, insert_block=block, fmt="Native"))

    def _insert(self, client: Client, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if table not in self._types:
            described = client.query(f"DESCRIBE TABLE {table}").result_rows
            self._types[table] = [row[0] for row in described], [row[1] for row in described]
        names, types = self._types[table]
        client.insert(table, rows, column_names=names, column_type_names=types)

    def _asked(self, ask: Callable[[Client], T]) -> T:
        try:
            answer = ask(self._connected())
        except (ClickHouseError, TransportError, OSError) as error:
            if unavailable(error):
                if not isinstance(error, ClickHouseError) or isinstance(error, OperationalError):
                    self.down_until_s = time.monotonic() + _DOWN_S
                # what the driver says of a connection is its address again, with all settings
                why = str(error)[:500] if _CODE.search(str(error)) else "no connection"
                if self.is_down and not self._away:
                    self._away = True
                    log.warning("X-Ray: ClickHouse %s does not answer.", self.name)
                raise StoreUnavailableError(f"ClickHouse {self.name} cannot answer just now: {why}") from error
            raise
        self.down_until_s = 0.0
        if self._away:
            self._away = False
            log.warning("X-Ray: ClickHouse %s answers again.", self.name)
        return answer

    def close(self) -> None:
        """Close its connections. No call may follow."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
