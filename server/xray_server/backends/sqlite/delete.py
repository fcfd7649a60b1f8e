"""Deleting one run from SQLite, in one transaction, on a connection of its own: as pruning, but at once and for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from xray_server.backends.relational.ids import id_key
from xray_server.backends.relational.rows import RunKey
from xray_server.backends.sqlite import prune
from xray_server.backends.sqlite.lock import FileLock, transaction
from xray_server.store.questions import digest_of


def delete_run(db: sqlite3.Connection, lock: FileLock, project: str, run_id: str, at_us: int) -> bool:
    """Delete a run with all that hangs on it; False when there is no such run."""
    with transaction(db, lock):
        row = db.execute(
            "SELECT run.pk, run.project FROM run JOIN project ON project.id = run.project WHERE project.name = ? AND run.id = ?",
            (project, id_key(run_id)),
        ).fetchone()
        if row is None:
            return False
        pk, number = row
        db.execute("INSERT OR REPLACE INTO deleted_run VALUES (?, ?, ?)", (number, digest_of(run_id), at_us))
        prune.forget_run(db, pk)
    prune.free_pages(db)
    return True


def deleted_among(db: sqlite3.Connection, runs: Collection[RunKey]) -> set[RunKey]:
    """Those of these runs that were deleted. Asked within the transaction that would write them."""
    if db.execute("SELECT 1 FROM deleted_run LIMIT 1").fetchone() is None:
        return set()
    return {
        (project, run_id)
        for project, run_id in runs
        if db.execute(
            "SELECT 1 FROM deleted_run WHERE project = ? AND digest = ?", (project, digest_of(run_id))
        ).fetchone()
    }
