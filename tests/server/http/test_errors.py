"""Every error has one shape: JSON for programs, the same words as a page for browsers.

Tests answers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.errors import StoreUnavailableError
from xray_server.store import StoredRun, StoreHealth

from tests.server.conftest import LoopbackServer


class AwayStore(SQLiteStore):
    """A store whose database cannot be reached."""

    def run(self, project: str, run_id: str) -> StoredRun | None:
        raise StoreUnavailableError("the database is away")

    def health(self) -> StoreHealth:
        raise StoreUnavailableError("the database is away")


@pytest.fixture
def away(tmp_path: Path) -> Iterator[httpx.Client]:
    store = AwayStore(tmp_path / "xray.db")
    server = LoopbackServer(store)
    with httpx.Client(base_url=server.url) as http:
        yield http
    server.stop()
    store.close()


WRONG = [
    ("GET", "/no/such/path", 404),
    ("GET", "/static/no-such-file.css", 404),
    ("DELETE", "/runs", 405),
    ("POST", "/steps", 405),
    ("PATCH", "/alerts/rules/1", 405),
    ("GET", "/ingest", 405),
    ("GET", "/runs/none", 404),
    ("GET", "/runs/none/items/i", 404),
    ("GET", "/runs/none/diff/baseline", 404),
    ("GET", "/alerts/rules/none/test", 404),
    ("DELETE", "/alerts/rules/none", 404),
    ("GET", "/runs?limit=none", 422),
    ("GET", "/runs?cursor=none", 422),
    ("GET", "/decisions?details.x_exists=maybe", 422),
    ("POST", "/runs", 422),
    ("POST", "/alerts/rules", 422),
]


@pytest.mark.parametrize(("method", "path", "status"), WRONG)
def test_every_error_of_the_api_has_one_shape(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path, content=b"[" if method == "POST" else None)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error", "detail"}
    assert body["error"]
    for each in body["detail"]:
        assert set(each) == {"loc", "field", "msg"}


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, status in WRONG if status == 405])
def test_a_wrong_method_is_answered_with_the_methods_that_the_path_takes(
    http: httpx.Client, method: str, path: str
) -> None:
    answer = http.request(method, path)
    assert answer.headers["allow"]
    assert method not in answer.headers["allow"]
    assert answer.headers["allow"] in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/ui/no-such-page", 404, "no such page"),
        ("POST", "/ui/runs/r", 405, "it takes"),
        ("GET", "/ui?limit=none", 422, "limit: Input should be a valid integer"),
        ("GET", "/ui/steps?cursor=none", 422, "not a cursor of this list"),
        ("GET", "/ui/runs/<b>none", 404, "There is no run"),
        ("GET", "/ui/<script>alert(1)</script>", 404, "&lt;script&gt;"),
    ],
)
def test_an_error_of_a_page_is_a_page(http: httpx.Client, method: str, path: str, status: int, words: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
    assert "<script>alert" not in answer.text


def test_while_the_store_is_away_a_page_says_so_and_the_api_says_when_to_come_back(away: httpx.Client) -> None:
    page = away.get("/ui/runs/r")
    assert page.status_code == 503
    assert page.headers["content-type"].startswith("text/html")
    assert "the database is away" in page.text
    assert page.headers["retry-after"] == away.get("/runs/r").headers["retry-after"] == "2"
    assert away.get("/runs/r").json()["error"] == "the database is away"
