"""Keeping a SQLite file well: a copy of it while it is written to, and whether it is sound. On connections of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

_PAGES_A_STEP: Final = 4_096  # 16 MB
_PAUSE_S: Final = 0.01


def make_private(path: Path) -> None:
    """Make an empty file that only its owner reads, unless there is one: SQLite makes its other files with the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))


def back_up(path: Path, to: Path, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Copy a database, in use or not, to a file that is a database too. One state of it: writers do not wait.

    Args:
        on_progress: called with the pages copied, and the pages in all.

    Raises:
        FileExistsError: `to` is there already.
        sqlite3.Error: it cannot be read, or the copy is not sound.
    """
    if to.exists():
        raise FileExistsError(f"{to} is there already; name another file, or remove it")
    part = to.with_name(to.name + ".part")
    part.unlink(missing_ok=True)
    make_private(part)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source, closing(sqlite3.connect(part)) as copy:
        # within one read transaction: otherwise each write by another connection would begin the copy anew
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        source.backup(
            copy, pages=_PAGES_A_STEP, sleep=_PAUSE_S, progress=lambda _, left, total: on_progress(total - left, total)
        )
        source.execute("ROLLBACK")
        problems = check(copy)
    if problems:
        part.unlink()
        raise sqlite3.DatabaseError(f"the copy is not sound: {problems[0]}")
    part.replace(to)


def check(db: sqlite3.Connection) -> list[str]:
    """What is wrong with a database, in SQLite's words; nothing when it is sound. Reads all of it."""
    rows = db.execute("PRAGMA integrity_check(10)").fetchall()
    return [text for (text,) in rows if text != "ok"]
