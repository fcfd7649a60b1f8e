"""`xray serve` on PostgreSQL, with several processes, and with an age for what it keeps."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.live import health_of
from tests.server import postgresql
from tests.server.conftest import ServerProcess

DAY_US = 86_400_000_000


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[str]:
    with postgresql.schema(postgres_url) as own:
        yield own


def line(run_id: str, started_us: int) -> str:
    return json.dumps({"v": 1, "kind": "run", "run_id": run_id, "part": "a", "pipeline": "p", "started_us": started_us})


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_running(pid: int) -> bool:
    """Whether there is such a process that is no zombie: nobody may be there to wait for an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_processes_share_one_address_and_one_that_dies_is_replaced(
    start_server: Callable[..., ServerProcess], database: str
) -> None:
    now_us = time.time_ns() // 1000
    server = start_server("--db", database, "--workers", "2")
    until(lambda: len(children_of(server.process.pid)) == 2, "two processes were not started")
    before = children_of(server.process.pid)
    for i in range(20):  # a connection each, so that both take some
        assert httpx.post(f"{server.url}/ingest", content=line(f"r{i}", now_us), timeout=20).json()["accepted"] == 1
    assert len(httpx.get(f"{server.url}/runs", timeout=20).json()["runs"]) == 20
    with httpx.Client(base_url=server.url, timeout=20) as http:
        (sender,) = health_of(http)["senders"]  # whichever process answers
    assert (sender["requests"], sender["delivered"]) == (20, 20)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(children_of(server.process.pid) - before) == 1, "no other process was started")
    assert len(httpx.get(f"{server.url}/runs", timeout=20).json()["runs"]) == 20
    children = children_of(server.process.pid)
    assert server.terminate() == 0
    until(lambda: not any(is_running(child) for child in children), "a process was left behind")


def test_a_process_that_is_told_to_end_as_it_begins_ends() -> None:
    """The moment after the fork, at which the handler is still the parent's. A process that missed it would serve for a minute,
    as the sleep stands for, beyond what the test waits.
    """
    code = """if True:
        import os, signal, time
        from xray_server.process.workers import run_workers
        os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
        raise SystemExit(run_workers(1, lambda number: print("serves", flush=True) or time.sleep(60) or 0))
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("ended with 15; starting another") == 4
    assert "die as they start" in ended.stderr


@pytest.mark.stack
def test_processes_end_with_their_parent_even_when_it_is_killed(
    start_server: Callable[..., ServerProcess], database: str
) -> None:
    server = start_server("--db", database, "--workers", "2")
    until(lambda: len(children_of(server.process.pid)) == 2, "two processes were not started")
    children = children_of(server.process.pid)
    assert httpx.get(f"{server.url}/health", timeout=20).status_code == 200
    server.kill()
    until(lambda: not any(is_running(child) for child in children), "a process was left behind")


@pytest.mark.stack
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_prunes_what_is_too_old_when_it_starts(
    start_server: Callable[..., ServerProcess], tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/xray.db" if kind == "sqlite" else request.getfixturevalue("postgres")
    now_us = time.time_ns() // 1000
    server = start_server("--db", url)
    body = "\n".join([line("old", now_us - 60 * DAY_US), line("new", now_us)])
    assert httpx.post(f"{server.url}/ingest", content=body, timeout=20).json()["accepted"] == 2
    assert server.terminate() == 0
    server = start_server("--db", url, "--retain", "30d")
    until(
        lambda: [r["run_id"] for r in httpx.get(f"{server.url}/runs", timeout=20).json()["runs"]] == ["new"],
        "not pruned",
    )
    assert server.terminate() == 0


def test_a_database_of_an_older_schema_is_brought_up_to_date_with_its_data_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first schema of SQLite, filled by its own statements' rows, opened by this program."""
    from importlib import resources

    from xray_server.backends.sqlite.lock import FileLock
    from xray_server.backends.sqlite.store import SQLiteStore
    from xray_server.backends.sqlite.write import Writer
    from xray_server.records.schema import RunRecord, StepRecord, VerdictSet, VerdictsRecord
    from xray_server.store import Batch

    path = tmp_path / "old.db"
    first = (
        resources.files("xray_server.backends.sqlite").joinpath("migrations/0001_first.sql").read_text(encoding="utf-8")
    )
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(f"BEGIN;\n{first}\nPRAGMA user_version = 1;\nCOMMIT;")
    db.executescript(
        "CREATE TABLE deleted_run (project, digest); CREATE TABLE deleted_item (project, fingerprint, at_us)"
    )  # looked into by today's writer
    Writer(db, FileLock(path)).write([Batch([
        RunRecord(v=1, run_id="r", part="a", pipeline="p"),
        StepRecord(v=1, run_id="r", step_id="s", attempt=1, part="a", name="filter"),
        VerdictsRecord(1, "r", "s", [VerdictSet("rejected", 1, "late", ["item"])], 1, "a", "0"),
    ])])  # fmt: skip
    db.executescript("DROP TABLE deleted_run; DROP TABLE deleted_item")
    db.close()
    store = SQLiteStore(path)
    (found,) = store.item_runs("default", "item", pipeline=None, limit=10).items
    assert (found.run_id, found.sightings[0].reason) == ("r", "late")
    assert "from schema 1 to" in caplog.text
    (step,) = store.step("default", "r", "s")
    assert (step.state["name"], step.attempt) == ("filter", 1)
    assert store.check() == []
    store.close()


def test_a_process_that_cannot_start_says_why() -> None:
    program = (
        "from xray_server.process.workers import run_workers\n"
        "def serve_one(number):\n"
        "    raise OSError('the disk is away')\n"
        "raise SystemExit(run_workers(1, serve_one))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "OSError: the disk is away" in done.stderr
    assert "die as they start" in done.stderr
