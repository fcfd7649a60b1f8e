"""A real ClickHouse for tests: nodes of the `chdb-core` wheel in processes of their own, or `XRAY_TEST_CLICKHOUSE_URL`.

A node listens on loopback until it is killed (it ends a second after SIGTERM, so SIGKILL stops it). Each store gets a database
of its own.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver import Client
from xray_server.backends.clickhouse.address import parse_address

from tests.missing import missing

_STARTS_WITHIN_S = 60
_numbers = itertools.count()
_CONFIG = """<clickhouse>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
<logger><level>warning</level><log>{home}/node.log</log><errorlog>{home}/node.err</errorlog></logger>
<max_server_memory_usage>{max_bytes}</max_server_memory_usage>
<mark_cache_size>67108864</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
<background_pool_size>2</background_pool_size><background_schedule_pool_size>4</background_schedule_pool_size>
</clickhouse>"""


class Node:
    """A ClickHouse of its own under a directory; its data outlives `kill`."""

    def __init__(self, home: Path, *, max_bytes: int = 2_000_000_000) -> None:
        self.home, self._max_bytes = home, max_bytes
        self.port, self._tcp_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"clickhouse://127.0.0.1:{self.port}/xray"

    def start(self) -> None:
        """Start it, or start it again where it was killed."""
        config = self.home / "home" / ".clickhouse-local"
        config.mkdir(parents=True, exist_ok=True)
        text = _CONFIG.format(http=self.port, tcp=self._tcp_port, home=self.home, max_bytes=self._max_bytes)
        (config / "config.xml").write_text(text)
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("clickhouse_node.py")), str(self.home / "data")],
                cwd=self.home, env={**os.environ, "HOME": str(config.parent)}, stdout=output, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.home / "output").read_text()[-2000:]
                assert time.monotonic() < deadline, "the node did not start"
                time.sleep(0.02)  # between two looks, up to the deadline

    def kill(self) -> None:
        """As a power cut would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


@contextmanager
def nodes(count: int, *, on_disk: bool = False) -> Iterator[list[Node]]:
    """So many nodes, which are gone at the end."""
    if find_spec("chdb") is None:
        missing("ClickHouse: pip install chdb-core, or set XRAY_TEST_CLICKHOUSE_URL")
    # in memory where that is to be had: what most tests kill is X-Ray, and each insert flushes to the disk several times
    shared = Path("/dev/shm") if not on_disk and Path("/dev/shm").is_dir() else None
    home = Path(tempfile.mkdtemp(prefix="xray-clickhouse-", dir=shared))
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, home, ignore_errors=True)
        made = []
        for number in range(count):
            (home / str(number)).mkdir()
            made.append(Node(home / str(number)))
            opened.callback(made[-1].kill)
            made[-1].start()
        yield made


@contextmanager
def running() -> Iterator[str]:
    """The address of a server, which is gone at the end if we started it."""
    given = os.environ.get("XRAY_TEST_CLICKHOUSE_URL")
    if given:
        yield given
        return
    with nodes(1) as (node,):
        yield node.url


@contextmanager
def database(url: str, control: Path) -> Iterator[str]:
    """The address of a database of its own on this server, with this SQLite file as its control database."""
    parts = urlsplit(url)
    name = f"xray_test_{os.getpid()}_{next(_numbers)}"
    query = "&".join(filter(None, (parts.query, f"control={quote(f'sqlite:///{control}')}")))
    own = urlunsplit(parts._replace(path=f"/{name}", query=query))
    yield own
    drop(own)


def cluster_url(nodes: Sequence[Node], control: Path) -> str:
    """The address of a cluster of shards of two replicas each."""
    hosts = [f"127.0.0.1:{node.port}" for node in nodes]
    shards = "|".join(",".join(hosts[n : n + 2]) for n in range(0, len(hosts), 2))
    return f"clickhouse:///xray?shards={shards}&control={quote(f'sqlite:///{control}')}"


def drop(url: str) -> None:
    """Remove a database from every node, of which some may have been killed since they were last spoken to."""
    _client.cache_clear()
    for node in _clients(url):
        node.command(f"DROP DATABASE IF EXISTS {parse_address(url).database} SYNC")


def empty(url: str) -> None:
    """Delete what a store in this database holds."""
    address = parse_address(url)
    for client in _clients(url):
        tables = client.query(
            f"SELECT name FROM system.tables WHERE database = '{address.database}' AND name != 'schema_version' AND total_rows > 0"
        )
        for (table,) in tables.result_rows:
            client.command(f"TRUNCATE TABLE {address.database}.{table} SYNC")
    with closing(sqlite3.connect(address.control.removeprefix("sqlite:///"), isolation_level=None)) as db:
        for table in (
            "access_key",
            "alert_rule",
            "alert_state",
            "alert_note",
            "alert_seen",
            "alert_event",
            "alert_delivery",
        ):
            db.execute(f"DELETE FROM {table}")


@functools.cache
def _client(host: str, port: int, user: str, password: str) -> Client:
    return clickhouse_connect.get_client(
        host=host, port=port, username=user, password=password, autogenerate_session_id=False
    )


def _clients(url: str) -> list[Client]:
    """A connection to each node of an address."""
    address = parse_address(url)
    return [_client(*node, address.user, address.password) for shard in address.shards for node in shard]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
