"""Transports without a network: one that keeps what it was given, one that keeps nothing. For tests and dry runs."""

from __future__ import annotations

import gzip
from typing import Any

from xray_core import wire
from xray_core.transport import Reply


class MemoryTransport:
    """Takes everything, and keeps it decoded in `records`, in the order of arrival. Grows without bound: for tests."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.closed = False

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        """Keep every line; always 200. `timeout_s` has no meaning here."""
        self.records += [wire.from_line(line) for line in gzip.decompress(body).splitlines()]
        return Reply(200)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind ("run", "step", "verdicts", "samples", "client"), in the order of arrival."""
        return [record for record in self.records if record.get("kind") == kind]


class NullTransport:
    """Takes everything and keeps nothing."""

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        """Keep nothing; always 200."""
        return Reply(200)

    def close(self) -> None:
        """There is nothing to close."""
