"""Records that the server will never take, kept for a human to look at: bounded in number and bytes, oldest out first.

One file each: a JSON line that says when and why, then the record as it was sent.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from xray_core.model import new_id

MAX_RECORDS: Final = 200
MAX_BYTES: Final = 16 * 1024 * 1024


class Quarantine:
    """The quarantine of one server's spool. Used by the sender, one thread at a time; blocks on the disk.

    Args:
        directory: where the files go; None keeps nothing (the caller counts all the same).
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def keep(self, record: bytes, *, error: str) -> None:
        """Keep one record.

        Args:
            record: the line as it was sent, or the payload that could not become one.
            error: why the server refused it, or why it was not sent.

        Raises:
            OSError: the disk does not take it.
        """
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, exist_ok=True)
        why = json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "error": error[:2000]})
        path = self._directory / f"{new_id().replace('-', '')}.rec"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, why.encode() + b"\n" + record)
        finally:
            os.close(fd)
        self._trim()

    def records(self) -> list[Path]:
        """The files, oldest first (their names sort by time)."""
        if self._directory is None or not self._directory.is_dir():
            return []
        return sorted(path for path in self._directory.iterdir() if path.suffix == ".rec")

    def reasons(self) -> dict[str, int]:
        """Why records are here: error -> how many."""
        reasons: dict[str, int] = {}
        for path in self.records():
            try:
                with path.open("rb") as file:
                    error = str(json.loads(file.readline(16_384))["error"])
            except (OSError, ValueError, KeyError, TypeError):
                error = "unreadable"
            reasons[error] = reasons.get(error, 0) + 1
        return reasons

    def _trim(self) -> None:
        kept = self.records()
        sizes = [path.stat().st_size for path in kept]
        while kept and (len(kept) > MAX_RECORDS or sum(sizes) > MAX_BYTES):
            kept.pop(0).unlink(missing_ok=True)
            sizes.pop(0)
