"""ClickHouse servers over HTTP: one node, the replicas of a shard, and all shards.

A run lies on one shard, chosen by a hash of its id; every insert is synchronous and goes to that shard's own tables, so that
what was written is read at once. Owns connections, errors and who is asked; knows no table.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import clickhouse_connect
import xxhash
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from urllib3.exceptions import HTTPError as TransportError

from xray_core.errors import ConfigurationError
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
}
_DOWN_S: Final = 2.0  # for so long a node that did not answer is not asked where another can be


def unavailable(error: Exception) -> bool:
    """Whether trying again later may help."""
    if isinstance(error, ClickHouseError):
        code = _CODE.search(str(error))
        return int(code[1]) in _PASSING if code else isinstance(error, OperationalError)
    return isinstance(error, (TransportError, OSError))


class Node:
    """One server. Any thread; each call is one HTTP request on a pooled connection."""

    def __init__(self, host: str, port: int, address: Address) -> None:
        self.name = f"{host}:{port}"
        self._host, self._port, self._address = host, port, address
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._types: dict[str, tuple[list[str], list[str]]] = {}
        self.down_until_s = 0.0

    @property
    def client(self) -> Client:
        """The connection, made at the first use."""
        with self._lock:
            if self._client is None:
                self._client = self._connect(self._address.database)
            return self._client

    def _connect(self, database: str) -> Client:
        address = self._address
        return clickhouse_connect.get_client(
            host=self._host, port=self._port, username=address.user, password=address.password, database=database,
            secure=address.secure, compress="lz4", connect_timeout=3, send_receive_timeout=120, query_retries=0,
            autogenerate_session_id=False, client_name="xray", settings=dict(_SETTINGS),
        )  # fmt: skip

    def make_database(self) -> None:
        """Make the database where it is not there."""
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

    def _insert(self, client: Client, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if table not in self._types:
            described = client.query(f"DESCRIBE TABLE {table}").result_rows
            self._types[table] = [row[0] for row in described], [row[1] for row in described]
        names, types = self._types[table]
        client.insert(table, rows, column_names=names, column_type_names=types)

    def _asked(self, ask: Callable[[Client], T]) -> T:
        try:
            answer = ask(self.client)
        except (ClickHouseError, TransportError, OSError) as error:
            if unavailable(error):
                if not isinstance(error, ClickHouseError) or isinstance(error, OperationalError):
                    self.down_until_s = time.monotonic() + _DOWN_S
                raise StoreUnavailableError(f"ClickHouse {self.name} cannot answer just now: {error}") from error
            raise
        self.down_until_s = 0.0
        return answer

    def close(self) -> None:
        """Close its connections. No call may follow."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


class Shard:
    """The replicas that hold the same runs: each is written to, and one that answers is asked."""

    def __init__(self, number: int, nodes: Sequence[Node]) -> None:
        self.number, self.nodes = number, tuple(nodes)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"shard {self.number + 1} ({', '.join(node.name for node in self.nodes)})"

    def rows(self, statement: str) -> Sequence[Any]:
        """All rows of a statement, from one replica."""
        return self._first(lambda node: node.rows(statement))

    def _first(self, ask: Callable[[Node], T]) -> T:
        now_s = time.monotonic()
        failed: StoreUnavailableError | None = None
        for node in sorted(self.nodes, key=lambda each: each.down_until_s > now_s):
            try:
                return ask(node)
            except StoreUnavailableError as error:
                failed = failed or error
        raise failed or StoreUnavailableError(f"{self.name} has no node")

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows into a table of each replica."""
        if rows:
            for node in self.nodes:
                node.insert(table, rows)

    def command(self, statement: str) -> None:
        """Run a statement on each replica."""
        for node in self.nodes:
            node.command(statement)


class Cluster:
    """All shards. What lies on several is asked of all at once."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.shards = tuple(
            Shard(number, [Node(host, port, address) for host, port in shard])
            for number, shard in enumerate(address.shards)
        )
        self._pool = ThreadPoolExecutor(max(4, 4 * len(self.shards)), "xray-clickhouse")

    def of(self, run_id: str) -> Shard:
        """The shard of a run, or of whatever else has a name."""
        return self.shards[self.number_of(run_id)]

    def number_of(self, run_id: str) -> int:
        """The number of a run's shard, from 0."""
        if len(self.shards) == 1:
            return 0
        return int(xxhash.xxh3_64_intdigest(run_id.encode("utf-8", "surrogatepass")) % len(self.shards))

    def each(self, ask: Callable[[Shard], T]) -> list[T]:
        """What every shard answers, in order.

        Raises:
            StoreUnavailableError: one of them cannot.
        """
        if len(self.shards) == 1:
            return [ask(self.shards[0])]
        return list(self._pool.map(ask, self.shards))

    def open(self, prepare: Callable[[Node], None]) -> None:
        """Make the database on every node, and prepare it.

        Raises:
            ConfigurationError: a node does not answer, or does not let us in.
        """
        for shard in self.shards:
            for node in shard.nodes:
                try:
                    node.make_database()
                    prepare(node)
                except (ClickHouseError, StoreUnavailableError, TransportError, OSError) as error:
                    raise ConfigurationError(
                        f"XRAY_DATABASE_URL: cannot open {self.address.location} on {node.name}: {error}"
                    ) from error

    def close(self) -> None:
        """Close all connections. No call may follow."""
        self._pool.shutdown()
        for shard in self.shards:
            for node in shard.nodes:
                node.close()
