"""The stores that the contract is held against. A store joins by a line in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from xray_server.sqlite import SQLiteStore
from xray_server.store import Store

STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda directory: SQLiteStore(directory / "xray.db"),
}


@pytest.fixture(params=sorted(STORES))
def new_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Store]]:
    """Makes empty stores, as many as a test needs."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(STORES[request.param](tmp_path_factory.mktemp("store"))))


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    return new_store()
