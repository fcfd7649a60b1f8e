"""Migrations of SQLite: brings the schema up to date when the store is opened."""

from __future__ import annotations

import sqlite3
from importlib import resources
from typing import Final

from xray_core.errors import ConfigurationError
from xray_server.backends.relational import blocks, item_index
from xray_server.backends.relational.migrations import log_migration

_OURS: Final = {"project", "word", "part", "run", "step"}  # tables that every schema of ours has


def check_ours(db: sqlite3.Connection, location: str) -> None:
    """Look before anything is written: a file of another program stays as it is.

    Raises:
        ConfigurationError: it holds tables, and they are not ours.
    """
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and not tables >= _OURS:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {location} is a database of another program (it has the table {min(tables)!r}); name another file"
        )


def check_current(db: sqlite3.Connection, location: str) -> None:
    """See that a file that is only read has a schema that can be read as it is.

    Raises:
        ConfigurationError: it is not ours, or older or newer than this program.
    """
    check_ours(db, location)
    version, newest = int(db.execute("PRAGMA user_version").fetchone()[0]), _migrations()[-1][0]
    if version != newest:
        how = "open it once where it can be written" if version < newest else "upgrade X-Ray"
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {location} has schema {version} and can only be read; this X-Ray reads {newest}: {how}"
        )


_FOLDER: Final = resources.files("xray_server.backends.sqlite").joinpath("migrations")


def _migrations() -> list[tuple[int, str]]:
    """(number, name of the file) of each, in order."""
    names = sorted(file.name for file in _FOLDER.iterdir() if file.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), name) for name in names]


def migrate(db: sqlite3.Connection, location: str) -> None:
    """Bring the schema up to date, one numbered file a transaction; `user_version` says how far it is.

    Raises:
        ConfigurationError: the database was written by a newer X-Ray.
    """
    db.create_function("xray_last_chunk", 1, item_index.last_key, deterministic=True)  # for 0007
    db.create_aggregate("xray_sample_block", 5, blocks.SampleBlockAggregate)  # type: ignore[arg-type]  # for 0005
    steps = _migrations()
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > steps[-1][0]:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {location} was written by a newer X-Ray (schema {version}; this one knows "
            f"{steps[-1][0]}): upgrade X-Ray, or name another file"
        )
    log_migration(location, version, steps[-1][0])
    for number, name in steps:
        if number <= version:
            continue
        try:
            db.executescript(
                f"BEGIN IMMEDIATE;\n{_FOLDER.joinpath(name).read_text(encoding='utf-8')}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if int(db.execute("PRAGMA user_version").fetchone()[0]) < number:  # else another process was first
                raise
