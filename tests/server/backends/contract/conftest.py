"""The stores that the contract is held against. A store joins by a line in `STORES`."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from xray_server.backends import open_store
from xray_server.backends.postgres.store import PostgresStore
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.store import Store

from tests.server import clickhouse, postgresql

MakeStore = Callable[[], Store]


def sqlite_stores(request: pytest.FixtureRequest, opened: ExitStack) -> MakeStore:
    """Each store in a file of its own. The last two are open: a property test makes thousands, one after another."""
    directories: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    made: deque[ExitStack] = deque()
    opened.callback(lambda: [each.close() for each in made])

    def make() -> Store:
        if len(made) == 2:
            made.popleft().close()
        directory, own = directories.mktemp("store"), ExitStack()
        made.append(own)
        own.callback(shutil.rmtree, directory)
        return own.enter_context(closing(SQLiteStore(directory / "xray.db")))

    return make


def postgres_stores(request: pytest.FixtureRequest, opened: ExitStack) -> MakeStore:
    """Two stores in turn, emptied: a schema a store would take longer than most tests, and connections are few."""
    url: str = request.getfixturevalue("postgres_url")
    stores: list[tuple[str, Store]] = []
    turns = itertools.count()

    def make() -> Store:
        if len(stores) < 2:
            own = opened.enter_context(postgresql.schema(url))
            stores.append((own, opened.enter_context(closing(PostgresStore(own)))))
            next(turns)
            return stores[-1][1]
        address, store = stores[next(turns) % 2]
        postgresql.empty(address)
        return store

    return make


@pytest.fixture(scope="session")
def clickhouse_pair(
    clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], tuple[str, Store]]]:
    """Two stores, made when they are first asked for: eleven tables take longer than most tests."""
    with ExitStack() as opened:

        @functools.cache
        def store(number: int) -> tuple[str, Store]:
            control = tmp_path_factory.mktemp("control") / "control.db"
            own = opened.enter_context(clickhouse.database(clickhouse_url, control))
            return own, opened.enter_context(closing(open_store(own)))

        yield store


def clickhouse_stores(request: pytest.FixtureRequest, opened: ExitStack) -> MakeStore:
    """Two stores in turn, emptied, each in a database of its own; keys and alerts in a file beside it."""
    pair: Callable[[int], tuple[str, Store]] = request.getfixturevalue("clickhouse_pair")
    turns = itertools.count()

    def make() -> Store:
        address, store = pair(next(turns) % 2)
        clickhouse.empty(address)
        return store

    return make


STORES: dict[str, Callable[[pytest.FixtureRequest, ExitStack], MakeStore]] = {
    "sqlite": sqlite_stores,
    "clickhouse": clickhouse_stores,
    "postgresql": postgres_stores,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """ClickHouse is asked in milliseconds what the others are in microseconds: in the quick tests the questions alone, and of
    those none that asks hundreds of times.
    """
    for item in items:
        if "clickhouse" not in item.name or "/contract/" not in str(item.path):
            continue
        if item.path.name not in _QUICK_ON_CLICKHOUSE or any(words in item.name for words in _LONG_ON_CLICKHOUSE):
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(900))


_QUICK_ON_CLICKHOUSE = ("test_questions.py", "test_keeping_keys.py")
_LONG_ON_CLICKHOUSE = ("steps_are_filtered", "clickhouse-1]", "across_the_runs", "while_newer_runs")


@pytest.fixture(params=sorted(STORES))
def new_store(request: pytest.FixtureRequest) -> Iterator[MakeStore]:
    """Makes empty stores. Of those that it made, a test may use the last two."""
    with ExitStack() as opened:
        yield STORES[request.param](request, opened)


@pytest.fixture
def store(new_store: MakeStore) -> Store:
    return new_store()
