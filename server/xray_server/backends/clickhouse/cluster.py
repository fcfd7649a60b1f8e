"""The shards of a cluster, and the replicas of each: who is written to, and who is asked.

A run lies on one shard, chosen by a hash of its id; every insert is synchronous and goes to that shard's own tables, so that
what was written is read at once. A replica that misses a write is entered in `missed` on the others before the write is
answered, and is not asked until it has caught up (`replicas.py`).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar
from uuid import uuid4

import xxhash
from clickhouse_connect.driver.exceptions import ClickHouseError

from xray_core.errors import ConfigurationError
from xray_server.backends.clickhouse.address import Address
from xray_server.backends.clickhouse.node import Node
from xray_server.store import StoreUnavailableError
from xray_server.store.incomplete import note_missing
from xray_server.together import together

T = TypeVar("T")
_TOGETHER: Final = 8  # statements that are under way at the same time, besides those of the threads that ask
_KNOWN_S: Final = 1.0  # for so long it is believed which replicas are behind


class Notes:
    """Tells what is written down as missed from what was before, whatever the clocks of servers say. Any thread."""

    def __init__(self) -> None:
        self._writer, self._numbers = str(uuid4()), itertools.count(1)

    def next(self) -> tuple[str, int]:
        """Who writes it down, and a greater number than any before."""
        return self._writer, next(self._numbers)


class Shard:
    """The replicas that hold the same runs. Any thread."""

    def __init__(
        self,
        number: int,
        nodes: Sequence[Node],
        *,
        copied: bool = False,
        pool: ThreadPoolExecutor | None = None,
        notes: Notes | None = None,
    ) -> None:
        self.number, self.nodes = number, tuple(nodes)
        self._notes = notes or Notes()
        self._pool = pool
        self._copied = copied  # the servers copy among themselves: one is written to
        self._behind: frozenset[str] = frozenset()
        self._behind_until_s = 0.0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"shard {self.number + 1} ({', '.join(node.name for node in self.nodes)})"

    @property
    def by_itself(self) -> bool:
        """Whether X-Ray writes to several replicas, and has to see that they hold the same."""
        return len(self.nodes) > 1 and not self._copied

    def rows(self, statement: str) -> Sequence[Any]:
        """All rows of a statement, from one replica that holds all."""
        return self.ask_one(lambda one: one.nodes[0].rows(statement))

    def ask_one(self, ask: Callable[[Shard], T]) -> T:
        """What one replica answers, with which `ask` may speak several times.

        Raises:
            StoreUnavailableError: none that holds all of the shard answers.
        """
        behind = self.behind()
        current = [node for node in self.nodes if node.name not in behind]
        failed: StoreUnavailableError | None = None
        for node in sorted(current, key=lambda each: each.is_down):
            try:
                return ask(self if len(self.nodes) == 1 else Shard(self.number, [node]))
            except StoreUnavailableError as error:
                failed = failed or error
        raise StoreUnavailableError(
            f"{self.name} does not answer: {failed or 'no replica holds all of it'}"
        ) from failed

    def group(self) -> Group:
        """What writes to the replicas."""
        return Group(self.number, self.nodes, self.behind(), copied=self._copied, pool=self._pool, notes=self._notes)

    def together(self, *asked: Callable[[], Any]) -> list[Any]:
        """As `xray_server.together`, on threads that are kept; one after the other where there are none."""
        if self._pool is None:
            return [ask() for ask in asked]
        return [*together(*asked, pool=self._pool)]

    def each_node(self) -> list[Shard]:
        """Its replicas as shards by themselves: what each has to do alone."""
        return [Shard(self.number, [node]) for node in (self.nodes[:1] if self._copied else self.nodes)]

    def behind(self, *, look: bool = False) -> frozenset[str]:
        """The names of the replicas that missed writes and have not caught up."""
        if not self.by_itself:
            return frozenset()
        with self._lock:
            if look or time.monotonic() >= self._behind_until_s:
                found: set[str] = set()
                for node in self.nodes:
                    if not node.is_down or look:
                        try:
                            found.update(name for (name,) in node.rows("SELECT DISTINCT node FROM missed"))
                        except StoreUnavailableError:
                            found.update(name for name in self._behind if name != node.name)  # nobody can say otherwise
                self._behind = frozenset(found)
                self._behind_until_s = time.monotonic() + _KNOWN_S
            return self._behind


class Group(Shard):
    """The replicas of a shard while something is written to them: those that fail are left out, and that is written down."""

    def __init__(
        self,
        number: int,
        nodes: Sequence[Node],
        behind: frozenset[str],
        *,
        copied: bool,
        pool: ThreadPoolExecutor | None,
        notes: Notes,
    ) -> None:
        super().__init__(number, nodes, copied=copied, pool=pool, notes=notes)
        self._known_behind = behind
        self._live = list(nodes)
        if len(nodes) > 1 and not copied:
            for node in nodes:
                if node.is_down:
                    self._leave_out(node, None)

    def behind(self, *, look: bool = False) -> frozenset[str]:
        """Those that were behind, or failed since."""
        return self._known_behind | {node.name for node in self.nodes if node not in self._live}

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert whole rows; returns when they are on disk."""
        self.insert_all({table: rows})

    def insert_all(self, tables: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        """Insert whole rows into several tables at the same time; returns when they are on disk."""
        given = [(table, rows) for table, rows in tables.items() if rows]
        if given:
            self.tell(lambda node: self.together(*(partial(node.insert, table, rows) for table, rows in given)))

    def command(self, statement: str) -> None:
        """Run a statement that changes something."""
        self.tell(lambda node: node.command(statement))

    def tell(self, tell: Callable[[Node], object]) -> None:
        """Do something on each replica; one that fails is left out."""
        if self._copied:
            self.ask_one(lambda one: tell(one.nodes[0]))
            return
        for node in list(self._live):
            try:
                tell(node)
            except StoreUnavailableError as error:
                self._leave_out(node, error)

    def ask_each(self, ask: Callable[[Shard], T]) -> list[T]:
        """What the replicas answer that are written to, each by itself: one may hold what another does not."""
        if self._copied:
            return [self.ask_one(ask)]
        answers = []
        for node in list(self._live):
            try:
                answers.append(ask(Shard(self.number, [node])))
            except StoreUnavailableError as error:
                self._leave_out(node, error)
        return answers

    def close(self, names: Sequence[tuple[str, str]]) -> None:
        """Write down which replicas missed something of these runs. Only then is what was written acknowledged."""
        while missing := [node for node in self.nodes if node not in self._live]:
            note = self._notes.next()
            rows = [(node.name, *name, *note) for node in missing for name in names or [("", "")]]
            self.insert("missed", rows)
            if missing == [node for node in self.nodes if node not in self._live]:
                return

    def _leave_out(self, node: Node, error: StoreUnavailableError | None) -> None:
        left = [each for each in self._live if each is not node]
        if not any(each.name not in self._known_behind for each in left):
            if error is None:  # it is the last: whether it answers is seen when it is asked
                return
            raise error
        self._live = left


class Cluster:
    """All shards. What lies on several is asked of all at once."""

    def __init__(self, address: Address, prepare: Callable[[Node], None]) -> None:
        self.address = address
        self._pool = ThreadPoolExecutor(4 * len(address.shards), "xray-clickhouse")
        self._writing = ThreadPoolExecutor(_TOGETHER, "xray-clickhouse-writes")
        self.shards = tuple(
            Shard(
                number,
                [Node(host, port, address, prepare) for host, port in shard],
                copied=address.replicated,
                pool=self._writing,
            )
            for number, shard in enumerate(address.shards)
        )

    def of(self, run_id: str) -> Shard:
        """The shard of a run, or of whatever else has a name."""
        return self.shards[self.number_of(run_id)]

    def number_of(self, run_id: str) -> int:
        """The number of a run's shard, from 0."""
        if len(self.shards) == 1:
            return 0
        return int(xxhash.xxh3_64_intdigest(run_id.encode("utf-8", "surrogatepass")) % len(self.shards))

    def each(self, ask: Callable[[Shard], T]) -> list[T]:
        """What the shards answer, in order; one that does not answer is left out, and noted (`store.incomplete`).

        Raises:
            StoreUnavailableError: none of them answers.
        """
        if len(self.shards) == 1:
            return [ask(self.shards[0])]
        asked = [(shard, self._pool.submit(ask, shard)) for shard in self.shards]
        answers, failed = [], []
        for shard, future in asked:
            try:
                answers.append(future.result())
            except StoreUnavailableError as error:
                failed.append((shard.name, error))
        if not answers:
            raise failed[0][1]
        for name, _ in failed:
            note_missing(name)
        return answers

    def open(self) -> None:
        """Connect to every node and bring its tables up to date. A node that does not answer is left for later.

        Raises:
            ConfigurationError: none answers, or one does not let us in, or was written to by a newer X-Ray.
        """
        away = []
        nodes = [node for shard in self.shards for node in shard.nodes]
        for node in nodes:
            try:
                node.rows("SELECT 1")
            except StoreUnavailableError as error:
                away.append(error)
            except ClickHouseError as error:
                raise ConfigurationError(
                    f"XRAY_DATABASE_URL: cannot open {self.address.location} on {node.name}: {error}"
                ) from error
        if len(away) == len(nodes):
            raise ConfigurationError(f"XRAY_DATABASE_URL: cannot open {self.address.location}: {away[0]}") from away[0]

    def close(self) -> None:
        """Close all connections. No call may follow."""
        self._pool.shutdown()
        self._writing.shutdown()
        for shard in self.shards:
            for node in shard.nodes:
                node.close()
