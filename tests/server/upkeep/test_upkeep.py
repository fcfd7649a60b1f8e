"""`xray export`, `import`, `backup`, `prune` and `check-store`, as commands.

Tests backends/sqlite/backup.py, cli/upkeep.py and upkeep/export.py.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from xray_server.backends import open_store
from xray_server.backends.sqlite.backup import back_up
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.records.schema import RunRecord, StepRecord
from xray_server.store import Batch, RunFilter
from xray_server.upkeep.export import export_to, import_from

from tests.server import postgresql
from tests.server.backends.contract.test_keeping import AGES, NOW_US, PROJECT, everything, run_of
from tests.server.make_records import records_of
from xray_core.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "xray.db"
    with closing(SQLiteStore(path)) as store:
        for days in AGES:
            store.write([Batch(run_of("p", days), PROJECT, NOW_US)])
    return path


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[str]:
    with postgresql.schema(postgres_url) as own:
        yield own


def xray(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    return subprocess.run(
        [sys.executable, "-m", "xray_server", *arguments],
        input=given,
        capture_output=True,
        env=environ,
        timeout=60,
        check=False,
    )


def test_a_sqlite_store_moves_to_postgresql_and_back_through_a_pipe(file: Path, postgres: str, tmp_path: Path) -> None:
    exported = xray("export", "--db", f"sqlite:///{file}", "-")
    assert exported.returncode == 0, exported.stderr
    assert xray("import", "--db", postgres, "-", given=exported.stdout).returncode == 0
    assert xray("export", "--db", postgres, str(tmp_path / "back.ndjson.gz")).returncode == 0
    assert xray("import", "--db", f"sqlite:///{tmp_path}/back.db", str(tmp_path / "back.ndjson.gz")).returncode == 0
    with closing(open_store(f"sqlite:///{file}")) as first, closing(open_store(postgres)) as second:
        with closing(open_store(f"sqlite:///{tmp_path}/back.db")) as third:
            assert everything(first) == everything(second) == everything(third)


def test_a_run_may_be_called_as_a_line_of_the_export_is(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "a.db")) as store:
        store.write(
            [Batch([RunRecord(v=1, run_id="export-run", part="a"), StepRecord(v=1, run_id="export-end", step_id="s")])]
        )
        export_to(store, tmp_path / "all.ndjson")
    with closing(SQLiteStore(tmp_path / "b.db")) as store:
        assert import_from(store, tmp_path / "all.ndjson", target="b").whole
        assert {run.run_id for run in store.runs("default", RunFilter(), limit=9).items} == {"export-run", "export-end"}


def test_a_backup_is_one_state_of_a_database_that_is_written_to(file: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    written = []

    def write() -> None:
        with closing(SQLiteStore(file)) as store:
            for i in range(100_000):
                if stop.is_set():
                    return
                store.write([Batch(run_of(f"w{i}", 1), PROJECT, NOW_US)])
                written.append(i)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        back_up(file, tmp_path / "copy.db")
    finally:
        stop.set()
        thread.join(30)
    with closing(SQLiteStore(tmp_path / "copy.db")) as copy:
        assert copy.check() == []
        runs = copy.runs(PROJECT, RunFilter(), limit=1000).items
        assert len(runs) >= len(AGES)
        assert all(run.step_count == len(copy.run_steps(PROJECT, run.run_id, limit=10).items) == 3 for run in runs)


def test_prune_and_check_say_what_they_did_and_found(file: Path) -> None:
    answer = xray("prune", "--db", f"sqlite:///{file}", "--retain", "1h")
    assert (answer.returncode, answer.stderr.decode().strip()) == (
        0, "details: 6 rows removed, verdicts: 6 rows removed, ledgers: 42 rows removed",
    )  # fmt: skip
    assert xray("check-store", "--db", f"sqlite:///{file}").returncode == 0


def test_a_damaged_file_is_found(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # a leaf of the index, not of what every start reads
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'step_reason'").fetchone()[0]
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
    with file.open("r+b") as raw:
        raw.seek((root - 1) * page_bytes + page_bytes // 2)
        raw.write(b"\xff" * (page_bytes // 2))
    answer = xray("check-store", "--db", f"sqlite:///{file}")
    assert answer.returncode == 1
    assert b"Traceback" not in answer.stderr
    assert main(["doctor", "--server", f"sqlite:///{file}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "-"], "which store"),
        (["export", "--db", "sqlite:////no/such.db", "-"], "no file"),
        (["import", "--db", "sqlite:///x.db", "/no/such/file"], "no file"),
        (["backup", "--db", "postgresql://h/d", "copy.db"], "pg_dump"),
        (["prune", "--db", "sqlite:////no/such.db", "--retain", "30d"], "no file"),
        (["prune", "--db", "sqlite:///x.db", "--retain", "soon"], "--retain"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], words: str) -> None:
    answer = xray(*arguments)
    assert answer.returncode == 2
    assert words in answer.stderr.decode()
    assert "Traceback" not in answer.stderr.decode()


def test_the_command_deletes_an_item_from_every_run_or_says_that_none_holds_it(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_store(database)) as store:
        store.write([Batch(records_of(1, "a"), "default", 1)])
        held = next(each.ids[0] for each in store.sets("default", "run-1") if each.ids)
    assert main(["delete", "--item", held, "--db", database]) == 0
    said = capsys.readouterr().err
    assert "is deleted from 1 run\n" in said
    assert "item deleted project=default by=" in said
    assert main(["delete", "--item", held, "--db", database]) == 1
    assert "no run of project 'default' holds" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["delete", "--db", database])
