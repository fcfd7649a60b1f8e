"""Stores on a real ClickHouse, each in a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from xray_server.backends import open_store
from xray_server.backends.clickhouse.store import ClickHouseStore

from tests.server import clickhouse


@pytest.fixture(scope="module")
def address(clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a database that the tests of a module share; each begins with an empty one."""
    with clickhouse.database(clickhouse_url, tmp_path_factory.mktemp("control") / "control.db") as own:
        yield own


@pytest.fixture(scope="module")
def opened(address: str) -> Iterator[ClickHouseStore]:
    with closing(open_store(address)) as store:
        assert isinstance(store, ClickHouseStore)
        yield store


@pytest.fixture
def store(opened: ClickHouseStore, address: str) -> ClickHouseStore:
    clickhouse.empty(address)
    return opened


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "control.db"
