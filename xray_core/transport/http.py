"""HTTP to the X-Ray server with requests, which is loaded when the first batch leaves.

Owns connections, headers, timeouts and the reading of answers. Knows nothing of what is in a body, nor of retries.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from xray_core import native
from xray_core.safety import swallow
from xray_core.transport import Refusal, Reply, TransportError

if TYPE_CHECKING:
    import requests

_MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024  # a full batch refused line by line stays far below
_MAX_CONNECT_S: Final = 3.05  # just over TCP's first retransmission after 3 s
# These log every request at DEBUG. A handler that captures what is logged would feed our own traffic back to us.
_CHATTY_LOGGERS: Final = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry", "charset_normalizer")


# Held while the sender's thread imports. A process forked in the middle of that would inherit the modules' import locks,
# held by a thread that it does not have, and hang at its own `import http.client`.
_importing = native.make_lock()
_IMPORT_BEFORE_FORK_S: Final = 10.0
_held_for_fork = False


def _load_requests() -> ModuleType:
    """requests, and what it would import at the first post."""
    with _importing:
        import encodings.idna
        import netrc

        import idna
        import requests

        del encodings, netrc, idna
        return requests


def _before_fork() -> None:
    global _held_for_fork
    if _importing.acquire(timeout=_IMPORT_BEFORE_FORK_S):  # else another thread may be forking, and has to release it
        _held_for_fork = True


def _after_fork_in_parent() -> None:
    global _held_for_fork
    if _held_for_fork:
        _held_for_fork = False
        _importing.release()


def _after_fork_in_child() -> None:
    global _importing, _held_for_fork
    _importing, _held_for_fork = native.make_lock(), False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def session_for(url: str) -> requests.Session:
    """A session that reaches `url` as the environment says: proxies but for this machine's own server, certificates too."""
    session: requests.Session = _load_requests().Session()
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        session.trust_env = False  # no proxy reaches this machine's own loopback
    # requests knows its own two alone, and neither where it trusts no environment; Python's ssl reads the third
    named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))
    session.verify = next(filter(None, named), True)
    return session


def authorized(api_key: str | None, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """A request with the key. For `Session.auth`: a ~/.netrc entry for the host would replace a mere header."""
    if api_key:
        request.headers["Authorization"] = f"Bearer {api_key}"
    return request


class HttpTransport:
    """POSTs bodies to `{api_url}/ingest` over one kept connection, with `Authorization: Bearer` where a key is set.

    Args:
        api_url: the server's address, without a trailing slash.
        api_key: never logged, and never sent to another host (redirects are not followed).
    """

    def __init__(self, api_url: str, *, api_key: str | None = None) -> None:
        self._url = f"{api_url}/ingest"
        self._api_key = api_key
        self._session: requests.Session | None = None
        self._pid = os.getpid()
        self._quiet = _OwnTraffic()

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        """Post one gzip'd NDJSON body and read the answer. Blocks up to about `timeout_s` (name resolution apart).

        Raises:
            TransportError: there was no answer, or none that is HTTP.
        """
        requests = _load_requests()
        deadline = time.monotonic() + timeout_s
        with self._quiet.in_this_thread():
            try:
                with self._connection().post(
                    self._url,
                    data=body,
                    timeout=(min(_MAX_CONNECT_S, timeout_s), timeout_s),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    answer = _read(response, deadline=deadline)
                    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
                    return Reply(response.status_code, _refusals(response.status_code, answer), retry_after_s)
            except (requests.RequestException, OSError, ValueError) as error:
                if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
                    raise TransportError(
                        "the environment's proxy is SOCKS, which needs `pip install requests[socks]`; or name the server "
                        "in NO_PROXY"
                    ) from None
                # The message of a requests exception may hold the URL with what the user put into it.
                timed_out = isinstance(error, requests.Timeout | TimeoutError)
                raise TransportError(_cause(error), timed_out=timed_out) from None

    def close(self) -> None:
        """Close the connection; the next `send` opens another."""
        session, self._session = self._session, None
        self._quiet.remove()
        if session is not None and self._pid == os.getpid():
            session.close()

    def _connection(self) -> requests.Session:
        if self._session is None or self._pid != os.getpid():
            # A forked child drops its parent's connection unused: two processes on one socket garble each other.
            self._pid = os.getpid()
            session = session_for(self._url)
            session.headers.update(
                {
                    "Content-Type": "application/x-ndjson",
                    "Content-Encoding": "gzip",
                    "Accept": "application/json",
                    "User-Agent": _user_agent(),
                }
            )
            session.auth = partial(authorized, self._api_key)
            self._session = session
            self._quiet.install()
        return self._session


def sdk() -> str:
    """Our name and version, as servers are told them."""
    try:
        with _importing:
            from importlib import metadata
        return f"xray-core/{metadata.version('xray-pipelines')}"
    except Exception as error:  # noqa: BLE001  # a name is not worth a delivery
        swallow("version", error)
        return "xray-core/unknown"


def _user_agent() -> str:
    """Our name and version, the host and the process: the health page of the server shows them."""
    try:
        name = socket.gethostname()
    except OSError:
        name = "unknown"
    host = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-._"))[:100]
    return f"{sdk()} ({host}; pid {os.getpid()})"


class _OwnTraffic:
    """Keeps our own requests out of logs and traces, so that what observes them cannot feed them back to us."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self._threads

    def install(self) -> None:
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).addFilter(self.filter)

    def remove(self) -> None:
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).removeFilter(self.filter)

    @contextmanager
    def in_this_thread(self) -> Iterator[None]:
        thread = threading.get_ident()
        self._threads.add(thread)
        token = _suppress_opentelemetry()
        try:
            yield
        finally:
            self._threads.discard(thread)
            if token is not None:
                sys.modules["opentelemetry.context"].detach(token)


def _suppress_opentelemetry() -> Any:
    """Switch OpenTelemetry's instrumentation of requests off in this thread, where the user has it."""
    context = sys.modules.get("opentelemetry.context")
    if context is None:
        return None
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    return context.attach(context.set_value(key, True))


def _read(response: requests.Response, *, deadline: float) -> bytes:
    """The answer's body, bounded in bytes and in time: a socket timeout alone never ends a slow drip."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long to be an X-Ray server's")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return b"".join(parts)


def _refusals(status: int, answer: bytes) -> tuple[Refusal, ...]:
    if not 200 <= status < 300:
        return ()
    # A 2xx that is not ours (a captive portal, a wrong address) must not be taken for a commit.
    decoded = json.loads(answer)
    if not isinstance(decoded, dict) or "accepted" not in decoded:
        raise ValueError("the answer is not an X-Ray server's")
    return tuple(
        Refusal(int(item["line"]), str(item.get("error", ""))[:500])
        for item in decoded.get("refused") or ()
        if isinstance(item, dict) and isinstance(item.get("line"), int)
    )


def _retry_after_s(value: str | None) -> float | None:
    """`Retry-After` in seconds, from either of its two forms (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _cause(error: BaseException) -> str:
    names = [type(error).__name__]
    inner: Any = error
    for _ in range(6):
        inner = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
        if not isinstance(inner, BaseException):
            break
        names.append(type(inner).__name__)
    return " < ".join(dict.fromkeys(names))
