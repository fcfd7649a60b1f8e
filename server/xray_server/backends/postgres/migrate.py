"""Migrations of PostgreSQL: brings the schema up to date when the store is opened."""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

from psycopg import Connection

from xray_core.errors import ConfigurationError
from xray_server.backends.postgres import samples
from xray_server.backends.relational.migrations import log_migration

_MIGRATION_LOCK: Final = 0x5872


def migrate(db: Connection[Any], location: str) -> None:
    """Bring the schema up to date, one numbered file a transaction, under a lock that all processes share.

    Raises:
        ConfigurationError: the database was written by a newer X-Ray.
    """
    files = sorted(
        (int(file.name.split("_", 1)[0]), file)
        for file in resources.files("xray_server.backends.postgres").joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    )
    db.execute("SET lock_timeout = 0; SET statement_timeout = 0")  # a large database takes its time; others wait for it
    db.execute("SELECT pg_advisory_lock(%s, hashtext(current_schema()))", (_MIGRATION_LOCK,))
    try:
        row = db.execute("SELECT to_regclass('schema_version')").fetchone()
        if row is None or row[0] is None:
            db.execute(
                "CREATE TABLE schema_version (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
            )
        found = db.execute("SELECT coalesce(max(number), 0) FROM schema_version").fetchone()
        version = int(found[0]) if found else 0
        if version > files[-1][0]:
            raise ConfigurationError(
                f"XRAY_DATABASE_URL: {location} was written by a newer X-Ray (schema {version}; this one knows "
                f"{files[-1][0]}): upgrade X-Ray, or name another database"
            )
        log_migration(location, version, files[-1][0])
        for number, file in files:
            if number > version:
                with db.transaction():
                    db.execute(file.read_text(encoding="utf-8").encode())
                    if number == 4:
                        samples.move_chunks(db)
                    db.execute("INSERT INTO schema_version (number) VALUES (%s)", (number,))
    finally:
        if not db.closed:
            db.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", (_MIGRATION_LOCK,))
