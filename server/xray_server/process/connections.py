"""HTTP/1.1 connections, with a bound on how long a request may take to arrive. Owns that bound; the rest is uvicorn's.

uvicorn bounds a connection's rest between requests alone. What reads a body bounds it too, and says so (http/bodies.py); headers,
and bodies that nobody reads, are bounded here: a client that dribbles them would hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_TIMEOUT_S: Final = 10.0
BODY_TIMEOUT_S: Final = 60.0
MAX_HEADER_BYTES: Final = 64 * 1024
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PunctualProtocol(H11Protocol):
    """uvicorn's own h11 protocol; a connection without whole headers after `header_timeout_s`, or without the whole body
    `body_timeout_s` after them, is closed, with a 408 where nothing was answered yet.
    """

    header_timeout_s: ClassVar[float] = HEADER_TIMEOUT_S
    body_timeout_s: ClassVar[float] = BODY_TIMEOUT_S
    _waiting: asyncio.TimerHandle | None = None
    _waits_for_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._arm(self.header_timeout_s)

    def data_received(self, data: bytes) -> None:
        """Bytes came; the wait goes on until a request is whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # part of a request's headers
            self._arm(self.header_timeout_s)

    def handle_events(self) -> None:
        """What came is taken, or what came before and had to wait for the request before it."""
        super().handle_events()
        body = self.conn.their_state is h11.SEND_BODY
        if body != self._waits_for_body or (self.conn.their_state is not h11.IDLE and not body):
            self._disarm()
        self._waits_for_body = body
        if body:
            self._arm(self.body_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self, timeout_s: float) -> None:
        if self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(timeout_s, self._give_up)

    def _disarm(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            if not (self._waits_for_body and self.cycle is not None and self.cycle.response_started):
                self.transport.write(_TOO_SLOW)
            self.transport.close()


def limits() -> dict[str, Any]:
    """What uvicorn is to be configured with."""
    return {"http": PunctualProtocol, "h11_max_incomplete_event_size": MAX_HEADER_BYTES}
