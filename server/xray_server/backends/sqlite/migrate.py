"""Migrations of SQLite: brings the schema up to date when the store is opened."""

from __future__ import annotations

import sqlite3
from importlib import resources

from xray_core.errors import ConfigurationError
from xray_server.backends.relational import blocks, item_index
from xray_server.backends.relational.migrations import log_migration


def migrate(db: sqlite3.Connection, location: str) -> None:
    """Bring the schema up to date, one numbered file a transaction; `user_version` says how far it is.

    Raises:
        ConfigurationError: the database was written by a newer X-Ray.
    """
    files = sorted(
        (file for file in resources.files("xray_server.backends.sqlite").joinpath("migrations").iterdir()),
        key=lambda file: file.name,
    )
    db.create_function("xray_last_chunk", 1, item_index.last_key, deterministic=True)  # for 0007
    db.create_aggregate("xray_sample_block", 5, blocks.SampleBlockAggregate)  # type: ignore[arg-type]  # for 0005
    steps = [(int(file.name.split("_", 1)[0]), file) for file in files if file.name.endswith(".sql")]
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > steps[-1][0]:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {location} was written by a newer X-Ray (schema {version}; this one knows "
            f"{steps[-1][0]}): upgrade X-Ray, or name another file"
        )
    log_migration(location, version, steps[-1][0])
    for number, file in steps:
        if number <= version:
            continue
        try:
            db.executescript(
                f"BEGIN IMMEDIATE;\n{file.read_text(encoding='utf-8')}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if int(db.execute("PRAGMA user_version").fetchone()[0]) < number:  # else another process was first
                raise
