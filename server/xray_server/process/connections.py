"""HTTP/1.1 connections, with a bound on how long a request's headers may take. Owns that bound; the rest is uvicorn's.

uvicorn bounds a connection's rest between requests, and app.py how long a body takes; between the first byte of a request and
the end of its headers nothing else looks at the clock, and a client that dribbles them holds a connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_TIMEOUT_S: Final = 10.0
MAX_HEADER_BYTES: Final = 64 * 1024
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PunctualProtocol(H11Protocol):
    """uvicorn's own h11 protocol; a connection without whole headers after `header_timeout_s` is closed with a 408."""

    header_timeout_s: ClassVar[float] = HEADER_TIMEOUT_S
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Bytes came; the wait goes on until a request is whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # part of a request's headers
            self._arm()
        else:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.header_timeout_s, self._give_up)

    def _disarm(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()


def limits() -> dict[str, Any]:
    """What uvicorn is to be configured with."""
    return {"http": PunctualProtocol, "h11_max_incomplete_event_size": MAX_HEADER_BYTES}
