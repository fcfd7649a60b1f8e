"""Sign-in by an authenticating proxy's header: off by default, believed from the proxy alone, and no way round a page's origin.

Tests access/trusted.py and access/admission.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_server.access.keys import new_key
from xray_server.access.trusted import trusted_header
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.store import Store

from tests.server.conftest import LoopbackServer, ServerProcess
from xray_core.cli import main as xray
from xray_core.errors import ConfigurationError

ADA, GRACE = {"X-Forwarded-User": "ada@example.org"}, {"X-Forwarded-User": "grace@example.org"}
RUN = {"run_id": "r", "pipeline": "p"}


@pytest.fixture
def behind(store: Store) -> Iterator[tuple[LoopbackServer, str]]:
    """A server that believes 127.0.0.1, and an ingest key."""
    assert isinstance(store, SQLiteStore)
    key, text = new_key("sdk", scope="ingest", now_us=1)
    store.add_key(key)
    trusted = trusted_header("X-Forwarded-User", "127.0.0.1", admins="grace@example.org, root")
    server = LoopbackServer(store, trusted=trusted)
    with httpx.Client(base_url=server.url) as http:
        assert http.post("/runs", json=RUN, headers={"Authorization": f"Bearer {text}"}).status_code == 200
    yield server, text
    server.stop()


def test_the_proxy_says_who_asks_and_admins_may_more(
    behind: tuple[LoopbackServer, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = behind
    page = {"Origin": server.url}
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/runs").status_code == 401
        assert http.get("/ui").status_code == 303
        assert http.get("/ui", headers=ADA).status_code == 200
        assert http.get("/runs", headers=ADA).json()["runs"][0]["run_id"] == "r"
        assert http.delete("/runs/r", headers=ADA | page).status_code == 403, "scope read"
        assert http.delete("/runs/r", headers=GRACE).status_code == 401, "no page of this server sent it"
        assert http.delete("/runs/r", headers=GRACE | {"Origin": "https://evil.example"}).status_code == 403
        assert http.post("/runs", json=RUN, headers=GRACE | page).status_code == 401, "records are sent with a key"
        assert http.delete("/runs/r", headers=GRACE | page).status_code == 200
    told = [(r.getMessage(), r.__dict__["fields"].get("key")) for r in caplog.records if r.name == "xray.audit"]
    assert ("run deleted", "grace@example.org") in told


@pytest.mark.parametrize("value", ["", "x" * 300])
def test_a_header_that_names_no_user_is_refused(behind: tuple[LoopbackServer, str], value: str) -> None:
    server, _ = behind
    assert httpx.get(f"{server.url}/runs", headers={"X-Forwarded-User": value}).status_code in (400, 403)


def test_a_header_that_is_there_twice_is_refused(behind: tuple[LoopbackServer, str]) -> None:
    server, _ = behind
    twice = [("X-Forwarded-User", "grace@example.org"), ("x-forwarded-user", "ada@example.org")]
    assert httpx.get(f"{server.url}/runs", headers=twice).status_code == 403


def test_it_is_refused_from_anywhere_else_whoever_it_names(store: Store) -> None:
    server = LoopbackServer(store, trusted=trusted_header("X-Forwarded-User", "10.0.0.5,192.168.0.0/16", admins="ada"))
    with httpx.Client(base_url=server.url) as http:
        for path in ("/runs", "/ui", "/health"):
            answer = http.get(path, headers=ADA)
            assert answer.status_code == 403, path
            assert "believed from the authenticating proxy alone" in answer.text
        assert http.get("/runs").status_code == 401, "nor is the server open, though there are no keys"
    server.stop()


def test_without_the_setting_the_header_says_nothing(store: Store) -> None:
    assert isinstance(store, SQLiteStore)
    store.add_key(new_key("ana", scope="read", now_us=1)[0])
    server = LoopbackServer(store)
    assert httpx.get(f"{server.url}/runs", headers=GRACE).status_code == 401
    server.stop()


def test_forwarded_addresses_are_not_who_is_connected(start_server: Callable[..., ServerProcess]) -> None:
    """`xray serve`, where uvicorn lets X-Forwarded-For of this machine name the client."""
    server = start_server("--trusted-header", "X-Forwarded-User", "--trusted-proxies", "10.0.0.5")
    claimed = ADA | {"X-Forwarded-For": "10.0.0.5"}
    assert httpx.get(f"{server.url}/runs", headers=claimed, timeout=30).status_code == 403
    server.terminate()
    near = start_server(environ={"XRAY_TRUSTED_HEADER": "X-Forwarded-User", "XRAY_TRUSTED_PROXIES": "127.0.0.1"})
    assert (
        httpx.get(f"{near.url}/runs", headers=ADA | {"X-Forwarded-For": "203.0.113.9"}, timeout=30).status_code == 200
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("X-User", ""), "needs --trusted-proxies"),
        (("X-User", "0.0.0.0/0"), "every address"),
        (("X-User", "::/0"), "every address"),
        (("X-User", "proxy.example"), "an address or network"),
        (("X User", "10.0.0.1"), "name the header"),
        (("Cookie", "10.0.0.1"), "name the header"),
        (("Authorization", "10.0.0.1"), "name the header"),
        (("", "10.0.0.1"), "without --trusted-header"),
    ],
)
def test_a_setting_that_would_let_others_in_is_refused_at_start_up(arguments: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        trusted_header(*arguments)
    with pytest.raises(ConfigurationError, match="read or admin"):
        trusted_header("X-User", "10.0.0.1", scope="ingest")
    assert trusted_header("", "") is None


def test_the_command_that_makes_and_ends_keys_writes_into_the_audit_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database: Any = f"sqlite:///{tmp_path / 'x.db'}"
    assert xray(["keys", "create", "ana", "--scope", "read", "--db", database]) == 0
    made = capsys.readouterr()
    assert "key created" in made.err
    assert "key=ana" in made.err
    assert made.out.strip().split("_", 2)[2] not in made.err, "never its text"
    assert xray(["keys", "revoke", "ana", "--db", database]) == 0
    ended = capsys.readouterr().err
    assert "key revoked" in ended
    assert "by=" in ended
