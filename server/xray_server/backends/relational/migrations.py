"""What a migration says before it starts. The files and their order belong to each backend."""

from __future__ import annotations

from xray_core.safety import log


def log_migration(location: str, version: int, newest: int) -> None:
    """Say that a database with data in it is brought up to date: a million steps may take some seconds, meanwhile nothing
    is served.
    """
    if 0 < version < newest:
        log.warning(
            "X-Ray: bringing %s from schema %d to %d; a large database takes minutes, and as much room again.",
            location, version, newest,
        )  # fmt: skip
