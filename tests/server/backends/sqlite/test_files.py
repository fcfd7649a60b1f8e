"""The file of a SQLite store: whose it is, who may read it, that it shrinks, and that it can only be looked at.

Tests backends/sqlite/read_only.py, readers.py, migrate.py and prune.py.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from xray_server.backends import open_store
from xray_server.backends.sqlite import backup, prune
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.records.schema import RunRecord
from xray_server.store import Batch, Prune, RunFilter, StoreUnavailableError

from tests.live import health_of
from tests.server.conftest import LoopbackServer
from xray_core.errors import ConfigurationError

NOW = 1_764_000_000_000_000


def filled(path: Path, n: int = 1) -> None:
    with closing(SQLiteStore(path)) as store:
        runs = [
            RunRecord(v=1, run_id=f"r{i}", part="a", pipeline="p", started_us=NOW, input=os.urandom(4000).hex())
            for i in range(n)
        ]
        store.write([Batch(runs, "default", NOW)])  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["", "?mode=ro"])
def test_questions_of_threads_that_come_and_go_leave_no_connection_behind(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "xray.db"
    filled(path)
    with closing(open_store(f"sqlite:///{path}{mode}")) as store:
        store.health()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            thread = threading.Thread(target=store.health)
            thread.start()
            thread.join()
        assert len(os.listdir("/proc/self/fd")) == before


def test_pruning_gives_the_disk_back_in_steps_that_are_short(tmp_path: Path) -> None:
    path = tmp_path / "xray.db"
    filled(path, 1_500)
    with closing(SQLiteStore(path)) as store:
        before = store.health().details["bytes"]
        cursor, steps = None, 0
        while steps == 0 or cursor is not None:
            _, cursor = store.prune(Prune("ledgers", before_us=NOW + 1), cursor=cursor, limit=5_000)
            steps += 1
            assert steps < 1_000
        assert store.health().details["bytes"] < before / 5


def test_one_step_gives_back_a_little_and_says_that_there_is_more(tmp_path: Path) -> None:
    path = tmp_path / "any.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(b"x" * 4000,)] * 1000)
        db.execute("DELETE FROM t")
        free = db.execute("PRAGMA freelist_count").fetchone()[0]
        assert prune.free_pages(db, within_s=0)
        assert free - db.execute("PRAGMA freelist_count").fetchone()[0] == 256
        assert not prune.free_pages(db, within_s=10)
        assert db.execute("PRAGMA freelist_count").fetchone()[0] == 0


def test_a_file_that_cannot_shrink_ends_the_steps(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(b"x" * 4000,)] * 100)
        db.execute("DELETE FROM t")
        assert not prune.free_pages(db)


@pytest.mark.parametrize("version", [0, 3, 4711])
def test_a_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, version: int) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            f"CREATE TABLE customers (name); INSERT INTO customers VALUES ('a'); PRAGMA user_version = {version}"
        )
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for url in (f"sqlite:///{path}", f"sqlite:///{path}?mode=ro"):
        with pytest.raises(ConfigurationError, match="another program"):
            open_store(url)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["theirs.db"]
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(ConfigurationError, match="cannot open"):
        open_store(f"sqlite:///{tmp_path}/text.db")


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        filled(tmp_path / "xray.db")
        with closing(SQLiteStore(tmp_path / "xray.db")):
            backup.back_up(tmp_path / "xray.db", tmp_path / "copy.db")
            for file in filter(Path.is_file, tmp_path.iterdir()):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    finally:
        os.umask(before)


def test_a_file_can_be_looked_at_without_writing_anything(tmp_path: Path) -> None:
    path = tmp_path / "xray.db"
    filled(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with closing(open_store(f"sqlite:///{path}?mode=ro")) as store:
        server = LoopbackServer(store)
        with httpx.Client(base_url=server.url, timeout=20) as http:
            assert [run["run_id"] for run in http.get("/runs").json()["runs"]] == ["r0"]
            for page in ("/ui", "/ui/runs/r0", "/ui/steps", "/ui/alerts", "/ui/health"):
                assert http.get(page).status_code == 200, page
            refused = http.post("/runs", json={"run_id": "new", "pipeline": "p"})
            assert refused.status_code == 503
            assert "reading only" in refused.json()["error"]
            assert health_of(http)["store"]["read_only"] is True
            assert "read only" in http.get("/ui/health").text
        server.stop()
        with pytest.raises(StoreUnavailableError, match="reading only"):
            store.prune(Prune("ledgers", before_us=NOW + 1), cursor=None, limit=1)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_file_without_permission_to_write_is_opened_for_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "xray.db"
    filled(path)
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, who may write everything
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert len(store.runs("default", RunFilter(), limit=9).items) == 1
        assert store.health().details["read_only"] is True


def test_an_older_schema_that_can_only_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "xray.db"
    filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match="open it once where it can be written"):
        open_store(f"sqlite:///{path}?mode=ro")


def test_a_file_that_cannot_be_opened_is_left_closed(tmp_path: Path) -> None:
    path = tmp_path / "xray.db"
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 20)
    filled(path)
    kept = []  # with what their tracebacks hold: nothing is closed by being forgotten
    for version in (2, 9_999):
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {version}")
        for url in (f"{path}?mode=ro", *([str(path)] if version > 2 else []), str(tmp_path / "text.db")):
            with pytest.raises(ConfigurationError) as raised:
                open_store(f"sqlite:///{url}")
            kept.append(raised.value)
    open_files = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert [each for each in open_files if each.startswith(str(tmp_path))] == []
