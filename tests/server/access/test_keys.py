"""Keys: made, listed and revoked by command, kept as digests, and what a browser does with one.

Tests access/admission.py, sessions.py, store/keys.py, cli/keys.py and pages/sign_in.py.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from xray_server.access.keys import Keyring, digest_of, new_key
from xray_server.access.sessions import SESSION_S, Sessions
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.cli.commands import main
from xray_server.process.serve import listen
from xray_server.store import Store, StoreUnavailableError

from tests.server.conftest import LoopbackServer, ServerProcess
from tests.server.make_keys import Keys, create_keys
from xray_core.errors import ConfigurationError
from xray_core.objects.redaction import Redactor


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/xray.db"


def created(db: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["keys", "create", *arguments, "--db", db]) == 0
    return capsys.readouterr().out.strip()


def test_a_key_is_shown_once_and_only_its_digest_is_kept(
    db: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = created(db, capsys, "ana", "--scope", "read", "--project", "shop")
    assert text.startswith("xray_")
    assert len(text.split("_", 2)[2]) == 43, "256 random bits"
    assert main(["keys", "list", "--db", db]) == 0
    listed = capsys.readouterr().out
    assert "ana" in listed
    assert "shop" in listed
    secret = text.split("_", 2)[2]
    assert secret not in listed
    for file in tmp_path.glob("xray.db*"):
        assert secret.encode() not in file.read_bytes()
    with closing(sqlite3.connect(tmp_path / "xray.db")) as connection, connection:
        assert connection.execute("SELECT digest FROM access_key").fetchone()[0] == digest_of(text)
    connection.close()


def test_two_keys_never_share_a_secret_and_a_name_is_free_again_once_revoked(
    db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = created(db, capsys, "ci", "--scope", "ingest")
    assert main(["keys", "create", "ci", "--scope", "ingest", "--db", db]) == 2
    assert "xray keys revoke ci" in capsys.readouterr().err
    assert main(["keys", "revoke", "ci", "--db", db]) == 0
    assert main(["keys", "revoke", "ci", "--db", db]) == 2
    second = created(db, capsys, "ci", "--scope", "ingest")
    assert first != second
    assert main(["keys", "list", "--json", "--db", db]) == 0
    keys = json.loads(capsys.readouterr().out)["keys"]
    assert [key["name"] for key in keys] == ["ci", "ci"]
    assert sum(key["revoked_at"] is None for key in keys) == 1


@pytest.mark.parametrize("name", ["", "a b", "<script>", "a\nb", "x" * 65, "-flag", "é"])
def test_names_that_would_garble_a_log_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        new_key(name, scope="read", now_us=1)
    with pytest.raises(ConfigurationError):
        new_key("ok", scope="read", project=name, now_us=1)


def test_a_running_server_is_open_until_the_first_key_and_closed_ever_after(
    start_server: Callable[..., ServerProcess], db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when all keys are revoked: a database that had keys does not open by itself."""
    server = start_server("--db", db)
    with httpx.Client(base_url=server.url, timeout=20) as http:
        assert http.get("/runs").status_code == 200
        headers = {"Authorization": f"Bearer {created(db, capsys, 'ana', '--scope', 'read')}"}
        until(lambda: http.get("/runs").status_code == 401)
        assert http.get("/runs", headers=headers).status_code == 200
        assert http.post("/ingest", content="").status_code == 401
        assert http.get("/health").json() == {"status": "ok"}
        assert main(["keys", "revoke", "ana", "--db", db]) == 0
        until(lambda: http.get("/runs", headers=headers).status_code == 401)
        assert http.get("/runs").status_code == 401
    assert server.terminate() == 0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_address_that_others_reach_needs_keys_or_insecure_said_loudly(
    db: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("0.0.0.0", 0) as taken:  # so that each attempt ends by itself
        arguments = ["serve", "--host", "0.0.0.0", "--port", str(taken.getsockname()[1]), "--db", db]
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert f"xray keys create admin --scope admin --db {db}" in told
        assert "--insecure" in told
        assert main([*arguments, "--insecure"]) == 2
        told = capsys.readouterr().err
        assert "WARNING: --insecure" in told
        assert "cannot listen" in told
        created(db, capsys, "ana", "--scope", "read")
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert "keys create" not in told
        assert "cannot listen" in told


def test_a_server_that_others_reach_stays_closed_even_if_its_keys_vanish(store: Store) -> None:
    server = LoopbackServer(store, closed=True)
    assert httpx.get(f"{server.url}/runs").status_code == 401
    assert httpx.get(f"{server.url}/runs", headers={"Host": "xray.example.com"}).status_code == 401
    server.stop()


def test_without_keys_only_names_of_this_machine_are_answered(server: LoopbackServer, http: httpx.Client) -> None:
    """DNS rebinding: a page of evil.example whose name leads to 127.0.0.1 sends its own name as Host."""
    for host in (
        "evil.example",
        f"evil.example:{server.port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[",
        "",
    ):
        answer = http.get("/runs", headers={"Host": host})
        assert answer.status_code in (400, 421), host
        assert http.post("/ingest", content="", headers={"Host": host}).status_code in (400, 421)
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:1", "xray.localhost"):
        assert http.get("/runs", headers={"Host": host}).status_code == 200, host


@pytest.fixture
def keys(store: Store) -> Keys:
    return create_keys(store)


@pytest.fixture
def closed(store: Store, keys: Keys) -> Iterator[LoopbackServer]:
    running = LoopbackServer(store, keys_fresh_s=0)
    yield running
    running.stop()


def sign_in(http: httpx.Client, key: str, target: str = "/ui", **headers: str) -> httpx.Response:
    origin = {"Origin": str(http.base_url).rstrip("/")}
    return http.post("/ui/sign-in", data={"key": key, "next": target}, headers={**origin, **headers})


def test_a_browser_signs_in_with_a_key_reads_and_signs_out(closed: LoopbackServer, keys: Keys) -> None:
    with httpx.Client(base_url=closed.url, timeout=20) as http:
        asked = http.get("/ui/steps?name=a")
        assert asked.status_code == 303
        assert "Sign in" in http.get(asked.headers["location"]).text
        entered = sign_in(http, keys.texts["read", "shop"], "/ui/steps?name=a")
        assert (entered.status_code, entered.headers["location"]) == (303, "/ui/steps?name=a")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert keys.texts["read", "shop"] not in entered.headers["set-cookie"]
        page = http.get("/ui")
        assert page.status_code == 200
        assert "Sign out" in page.text
        token = http.cookies["xray_session"]
        origin = {"Origin": closed.url}
        assert http.post("/ui/sign-out", headers={"Origin": "http://evil.example"}).status_code == 403
        assert http.post("/ui/sign-out", headers=origin).status_code == 303
        assert http.get("/ui").status_code == 303
        assert http.get("/ui", headers={"Cookie": f"xray_session={token}"}).status_code == 303, "the token itself ended"


def test_the_cookie_is_secure_behind_https(closed: LoopbackServer, keys: Keys) -> None:
    with httpx.Client(base_url=closed.url) as http:
        host = closed.url.removeprefix("http://")
        proxied = {"X-Forwarded-Proto": "https", "Origin": f"https://{host}"}
        assert "secure" in sign_in(http, keys.texts["read", "shop"], **proxied).headers["set-cookie"].lower()


def test_no_cookie_writes_records_even_of_an_admin(closed: LoopbackServer, keys: Keys) -> None:
    with httpx.Client(base_url=closed.url) as http:
        assert sign_in(http, keys.texts["admin", "shop"]).status_code == 303
        for path in ("/ingest", "/runs"):
            for headers in ({}, {"Origin": closed.url}):
                assert http.post(path, content="{}", headers=headers).status_code == 401
        assert http.delete("/runs/r").status_code == 401, "no Origin: not known to be our page"
        assert http.delete("/runs/r", headers={"Origin": closed.url}).status_code in (404, 405), "let in; no such thing"


def test_sign_in_refuses_what_is_no_key_and_keys_that_cannot_read(closed: LoopbackServer, keys: Keys) -> None:
    with httpx.Client(base_url=closed.url) as http:
        for key, status in [("", 401), ("xray_no", 401), (keys.revoked, 401), (keys.texts["ingest", "shop"], 403),
                            (keys.texts["metrics", "shop"], 403), ("\ud800é".encode("utf-8", "replace").decode(), 401)]:  # fmt: skip
            answer = sign_in(http, key)
            assert answer.status_code == status, key
            assert "set-cookie" not in answer.headers
            assert not key or key not in answer.text
        assert http.post("/ui/sign-in", content=b"x" * 10_000).status_code == 413
        elsewhere = sign_in(http, keys.texts["read", "shop"], Origin="http://evil.example")
        assert elsewhere.status_code == 403, "nobody is signed in by another site's page"


def test_signing_in_leads_to_pages_of_this_server_only(closed: LoopbackServer, keys: Keys) -> None:
    with httpx.Client(base_url=closed.url) as http:
        for target in ("//evil.example", "https://evil.example", "/\\evil.example", "/ui\\..\\x", "/ui\r\nX: y", "/uix",
                       "javascript:alert(1)", "", "/runs", "/ui/" + "x" * 5_000):  # fmt: skip
            assert sign_in(http, keys.texts["read", "shop"], target).headers["location"] == "/ui"


def test_a_session_ends_with_its_key(closed: LoopbackServer, keys: Keys, store: SQLiteStore) -> None:
    with httpx.Client(base_url=closed.url) as http:
        sign_in(http, keys.texts["read", "shop"])
        assert http.get("/ui").status_code == 200
        store.revoke_key("read-shop", 3)
        assert http.get("/ui").status_code == 303


def test_a_session_holds_in_every_process_of_a_server_until_its_time_is_over() -> None:
    now = [0.0]
    one, other = (Sessions(b"s" * 32, clock=lambda: now[0]) for _ in range(2))
    token = one.begin("a")
    assert one.key_id(token) == other.key_id(token) == "a"
    one.end(token)
    assert one.key_id(token) is None
    now[0] = SESSION_S
    assert other.key_id(token) is None


def test_no_session_is_made_up() -> None:
    sessions = Sessions()
    said, signature = sessions.begin("a").rsplit(".", 1)
    for forged in (
        "",
        ".",
        "a.b.c.d",
        f"{said}.",
        f"b{said[1:]}.{signature}",
        f"{said}.{'0' * 64}",
        Sessions().begin("a"),
        "é\ud800.x",
    ):
        assert sessions.key_id(forged) is None
        sessions.end(forged)


class AwayStore(SQLiteStore):
    """A store that can be away."""

    away = False

    def keys(self):  # type: ignore[no-untyped-def]
        if self.away:
            raise StoreUnavailableError("away")
        return super().keys()


def test_keys_stay_known_for_a_while_when_the_store_is_away_and_never_become_open(tmp_path: Path) -> None:
    store = AwayStore(tmp_path / "xray.db")
    key, text = new_key("ana", scope="read", now_us=1)
    store.add_key(key)
    now = [0.0]
    ring = Keyring(store, clock=lambda: now[0])
    store.away = True
    with pytest.raises(StoreUnavailableError):
        ring.refresh()
    store.away = False
    ring.refresh()
    store.away, now[0] = True, 30.0
    assert ring.stale
    ring.refresh()
    assert ring.find(text) == key
    now[0] = 100.0
    with pytest.raises(StoreUnavailableError):
        ring.refresh()
    store.close()


def test_a_key_in_the_text_of_an_error_is_masked_before_it_is_written() -> None:
    _, text = new_key("ana", scope="read", now_us=1)
    assert text.split("_", 2)[2] not in Redactor().text(f"refused {text}, try again")


def test_no_two_migrations_share_a_number() -> None:
    import xray_server

    for kind in (Path(xray_server.__file__).parent / "backends").glob("*/migrations"):
        numbers = [file.name.split("_")[0] for file in kind.glob("*.sql")]
        assert len(numbers) == len(set(numbers)), f"{kind.name}: the second of a number would never run"
