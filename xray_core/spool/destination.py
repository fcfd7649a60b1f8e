"""Where in the spool the records for one server wait. Records for different servers never mix.

`<spool_dir>/<host>-<hash of the address>/` holds segments, `quarantine/` and `server`, a file with the address.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from xray_core.addresses import without_password

_ADDRESS_FILE: Final = "server"


def directory_for(spool_dir: Path, api_url: str) -> Path:
    """The directory of the records that go to `api_url`; it need not exist."""
    address = without_password(api_url)
    host = re.sub(r"[^A-Za-z0-9.]+", "_", urlsplit(address).netloc)[:60]
    return spool_dir / f"{host}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def prepare(directory: Path, api_url: str) -> None:
    """Make the directory (0700, and so each missing parent) and say in it where its records go.

    Raises:
        OSError: it cannot be made, or is not ours to write to.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    address = directory / _ADDRESS_FILE
    if not address.exists():
        fd = os.open(address, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, without_password(api_url).encode())
        finally:
            os.close(fd)


def address_of(directory: Path) -> str | None:
    """The server that a directory's records wait for; None where it does not say."""
    try:
        return (directory / _ADDRESS_FILE).read_text("utf-8", "replace")[:2000] or None
    except OSError:
        return None
