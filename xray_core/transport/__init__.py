"""How a body of NDJSON reaches the server: the Transport protocol. Knows nothing of batches, retries or the spool.

`http.HttpTransport` is the real one; `memory.MemoryTransport` and `memory.NullTransport` need no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xray_core.errors import TransportError

__all__ = ["Refusal", "Reply", "Transport", "TransportError"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One line that the server will never take: its 0-based position in the body, and why."""

    line: int
    error: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to one body.

    Attributes:
        status: HTTP status; 2xx means that every line not in `refused` is committed.
        refused: lines that the server refuses for good.
        retry_after_s: what `Retry-After` asked for, in seconds.
    """

    status: int
    refused: Sequence[Refusal] = field(default=())
    retry_after_s: float | None = None


class Transport(Protocol):
    """Takes one gzip'd NDJSON body to the server. Called from one thread at a time; may block up to `timeout_s`."""

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        """Send the body; raises TransportError when there was no answer."""

    def close(self) -> None:
        """Close connections. May be called more than once."""
