"""Row 25: a secret is found nowhere but where it belongs, and what belongs to a run is found nowhere but there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from xray_server.access.keys import new_key
from xray_server.backends import open_store
from xray_server.records.documents import unpack

from tests.live import health_of
from tests.server.conftest import ServerProcess
from tests.server.make_keys import create_keys
from xray_core import XRay

SECRET = "canary7Secret4Of2Somebody"  # that it is found nowhere is the point
DATA = "canary-data-of-a-run"  # no secret: it belongs into the run, and into nothing else


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')",
}


def columns(database: str) -> Iterator[tuple[str, str]]:
    """Every value of every table as text, documents unpacked."""
    kind = database.partition(":")[0]
    db: Any = sqlite3.connect(database.removeprefix("sqlite:///")) if kind == "sqlite" else psycopg.connect(database)
    for (table,) in db.execute(_TABLES[kind]).fetchall():
        cursor = db.execute(f'SELECT * FROM "{table}"')
        names = [each[0] for each in cursor.description]
        for row in cursor:
            for name, value in zip(names, row):
                yield f"{table}.{name}", text_of(value)
    db.close()


def text_of(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return str(unpack(value)) + value.decode("latin-1")
    except Exception:  # not a document: a blob, told as it is
        return value.decode("latin-1")


def test_secrets_are_in_no_log_page_metric_or_column_and_data_only_in_its_run(
    start_server: Callable[..., ServerProcess], database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Placed in keys, headers, cookies, forms, paths, queries, details, inputs, metadata and errors, sent by the SDK."""
    store = open_store(database)
    keys = create_keys(store)
    store.close()
    server = start_server("--db", database, "--log-level", "debug", "--log-format", "json")
    spool = tmp_path / "spool"
    texts = {**{"/".join(name): text for name, text in keys.texts.items()}, "revoked": keys.revoked}
    reader = keys.headers("read")

    xray = XRay("shop", api_url=server.url, api_key=keys.texts["ingest", "shop"], spool_dir=spool, capture="full")
    with pytest.raises(RuntimeError), xray.run(run_id="r", input={"api_key": SECRET, "q": DATA}) as run:
        run.set_metadata("db_password", SECRET)
        with run.step("filter", step_type="filter") as step:
            step.set_input({"headers": {"Authorization": f"Bearer {SECRET}", "Cookie": f"s={SECRET}"}, "q": DATA})
            step.reject("i1", "no", {"token": SECRET, "nested": [{"client_secret": SECRET}], "q": DATA})
            step.reject("i2", "no", {"said": f"GET https://user:{SECRET}@host/ failed", "key": texts["admin/shop"]})
            step.set_metadata("dsn", f"postgresql://u:{SECRET}@db/x")
            raise RuntimeError(f"refused: password={SECRET} and {texts['admin/shop']}")
    assert xray.flush(30)
    spooled = b"".join(file.read_bytes() for file in spool.rglob("*") if file.is_file())
    xray.close()

    _, unknown = new_key("unknown", scope="read", now_us=1)
    with httpx.Client(base_url=server.url, timeout=20) as http:
        for text in (SECRET, unknown, keys.revoked):
            wrong = {"Authorization": f"Bearer {text}", "Cookie": f"xray_session={SECRET}", "X-Other": SECRET}
            assert http.get(f"/runs/{SECRET}?q={SECRET}", headers=wrong).status_code == 401
            assert http.post("/ui/sign-in", data={"key": text, "next": f"/ui?{SECRET}"}).status_code == 401
        http.post(
            "/ingest", content=f'{{"v": 1, "{SECRET}', headers={**keys.headers("ingest"), "X-Request-Id": f"{SECRET}!"}
        )
        http.request("BREW", f"/{SECRET}", headers=keys.headers("admin"))
        http.get(f"/runs/{DATA}?cursor={DATA}&{DATA}=1", headers=reader)
        metrics = http.get("/metrics", headers=keys.headers("metrics")).text
        health = str(health_of(http, headers=keys.headers("admin")))
        steps = http.get("/runs/r", headers=reader).json()["steps"]
        addresses = ["/runs/r?samples=1000", "/runs", "/steps", "/runs/r/items/i1", "/runs/r/items/i2", "/decisions", "/ui", "/ui/runs/r",
                     f"/ui/runs/r/steps/{steps[0]['step_id']}", "/ui/runs/r/items/i1", "/ui/steps", "/ui/health", "/docs"]  # fmt: skip
        pages = {address: http.get(address, headers=reader).text for address in addresses}
    assert server.terminate() == 0
    assert server.process.stdout is not None
    log = server.process.stdout.read()
    printed = "".join(capfd.readouterr())

    assert '"route": "/runs/{run_id:id}"' in log, "requests were logged"
    assert DATA in pages["/runs/r?samples=1000"], "data belongs there"
    assert "[redacted]" in pages["/runs/r?samples=1000"], "secrets were where they are looked for"
    stored = dict.fromkeys(("run", "step", "sample_block"), "")
    places = {
        "log": log,
        "printed": printed,
        "metrics": metrics,
        "health": health,
        "spool": spooled.decode("latin-1"),
        **pages,
    }
    for column, value in columns(database):
        places[column] = places.get(column, "") + value
        stored[column.split(".")[0]] = stored.get(column.split(".")[0], "") + value
    assert DATA in stored["run"], "documents are unpacked before they are searched"
    for place, text in places.items():
        assert SECRET not in text, place
        for name, key in {**texts, "unknown": unknown}.items():
            assert key.split("_", 2)[2] not in text, (place, name)
    for place in ("log", "printed", "metrics", "health", "access_key.name"):
        assert DATA not in places[place], place
