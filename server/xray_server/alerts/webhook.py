"""The signed webhook: one POST of JSON to an address that was checked, and to no other.

The name is resolved once, every address it has is checked, and the connection is made to one of those addresses (TLS still
verifies the name), so that a name that resolves differently a moment later leads nowhere else. Redirects are not followed.
The signature is HMAC-SHA256 over `<timestamp>.<body>`: the receiver knows who sent it, and that it is not an old one.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from typing import Final
from urllib.parse import urlsplit

from xray_server.alerts.targets import resolve
from xray_server.errors import NotDeliveredError

TIMEOUT_S: Final = 10.0
_READ_BYTES: Final = 64 * 1024


def sign(secret: str, timestamp_s: int, body: bytes) -> str:
    """The value of `X-XRay-Signature`."""
    return "v1=" + hmac.new(secret.encode(), b"%d." % timestamp_s + body, hashlib.sha256).hexdigest()


def post(
    url: str, body: bytes, *, secret: str, event_id: str, now_s: int, allow_private: bool, timeout_s: float = TIMEOUT_S
) -> None:
    """Deliver; returns when the target answered 2xx. Blocks, in all about `timeout_s` after the name is resolved.

    Raises:
        TargetRefusedError: the address is not public.
        NotDeliveredError: anything else, in a few words that name no secret.
    """
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme.lower() == "https"
    port = parts.port or (443 if tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "xray-alerts",
        "X-XRay-Event": event_id,
        "X-XRay-Timestamp": str(now_s),
        "X-XRay-Signature": sign(secret, now_s, body),
        "Connection": "close",
    }
    try:
        addresses = resolve(host, port, allow_private=allow_private)
        connection = _Pinned(host, port, addresses, tls=tls, timeout_s=timeout_s)
        # a timeout of a socket is for one read; a target that answers a byte at a time would hold us for ever
        watchdog = threading.Timer(timeout_s, connection.abort)
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(_READ_BYTES)
        finally:
            watchdog.cancel()
            connection.close()
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise NotDeliveredError(f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"[:200]) from None
    if 300 <= answer.status < 400:
        raise NotDeliveredError(f"answered {answer.status}: redirects are not followed; give the address it leads to")
    if not 200 <= answer.status < 300:
        raise NotDeliveredError(f"answered {answer.status}")


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the given addresses, whatever the name would resolve to now."""

    def __init__(self, host: str, port: int, addresses: list[str], *, tls: bool, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._addresses, self._tls, self._timeout_s = addresses, tls, timeout_s
        self.default_port = 443 if tls else 80  # so that Host carries a port only where it must

    def connect(self) -> None:
        problem: OSError | None = None
        for address in self._addresses[:4]:
            try:
                raw = socket.create_connection((address, self.port), timeout=self._timeout_s)
                break
            except OSError as error:
                problem = error
        else:
            raise problem or OSError("the name has no address")
        self.sock = raw
        if self._tls:
            self.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host)

    def abort(self) -> None:
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
