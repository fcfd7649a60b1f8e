"""Deleting one run from PostgreSQL, in one transaction; writers wait for it, and see it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from psycopg import Connection, Cursor, sql

from xray_server.backends.postgres.prune import forget_run
from xray_server.backends.postgres.text import escape_text, id_bytes
from xray_server.backends.relational.rows import RunKey
from xray_server.store.questions import digest_of

LOCK: Final = 0x44656C65  # writers share it, deletion has it alone: no run is written while it is looked for


def delete_run(db: Connection[Any], project: str, run_id: str, at_us: int) -> bool:
    """Delete a run with all that hangs on it; False when there is no such run."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", (LOCK,))
        row = db.execute(
            "SELECT run.pk, run.project FROM run JOIN project ON project.id = run.project "
            "WHERE project.text = %s AND run.id = %s FOR UPDATE OF run",
            (escape_text(project), id_bytes(run_id)),
        ).fetchone()
        if row is None:
            return False
        pk, number = row
        db.execute(
            "INSERT INTO deleted_run VALUES (%s, %s, %s) ON CONFLICT (project, digest) DO UPDATE SET at_us = excluded.at_us",
            (number, digest_of(run_id), at_us),
        )
        forget_run(db, pk)
    return True


def deleted_among(cursor: Cursor[Any], runs: Collection[RunKey]) -> set[RunKey]:
    """Those of these runs that were deleted. Asked within the transaction that would write them."""
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, hashtext(current_schema()))", (LOCK,))
    if not runs or cursor.execute("SELECT 1 FROM deleted_run LIMIT 1").fetchone() is None:
        return set()
    digests = {(project, digest_of(run_id)): (project, run_id) for project, run_id in runs}
    found = cursor.execute(
        sql.SQL("SELECT d.project, d.digest FROM deleted_run d JOIN unnest(%s::int[], %s::bytea[]) AS k(project, digest) "
                "ON d.project = k.project AND d.digest = k.digest"),
        [[project for project, _ in digests], [digest for _, digest in digests]],
    )  # fmt: skip
    return {digests[project, bytes(digest)] for project, digest in found.fetchall()}
