"""An answer from which a part of the store was left out says so, to programs and to people.

Tests store/incomplete.py. The part that does not answer is played: a cluster with a dead shard is in backends/clickhouse/test_cluster.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.store import Page, StoredRun
from xray_server.store.incomplete import left_out, note_missing, noting_missing

from tests.server.conftest import LoopbackServer


class LeavesOut(SQLiteStore):
    """A store of which a shard does not answer."""

    def runs(self, *args: Any, **options: Any) -> Page[StoredRun]:
        note_missing("shard 2 (a:1, b:2)")
        return super().runs(*args, **options)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with closing(LeavesOut(tmp_path / "xray.db")) as store:
        server = LoopbackServer(store)
        yield server.url
        server.stop()


def test_a_list_says_what_it_leaves_out_and_the_next_answer_does_not(address: str) -> None:
    with httpx.Client(base_url=address) as client:
        answer = client.get("/runs")
        assert (answer.status_code, answer.headers["X-XRay-Incomplete"]) == (200, "shard 2 (a:1, b:2)")
        assert "X-XRay-Incomplete" not in client.get("/steps").headers
        page = client.get("/ui", headers={"Accept": "text/html"}).text
        assert "shard 2 (a:1, b:2) of the store does not answer" in page
        assert "does not answer" not in client.get("/ui/steps", headers={"Accept": "text/html"}).text


def test_what_is_left_out_is_named_once_and_only_within_its_request() -> None:
    note_missing("nobody asks")
    with noting_missing() as found:
        note_missing("a")
        note_missing("a")
        assert left_out() == ("a",)
    assert found == ["a"]
    assert left_out() == ()
