"""How an answer is carried: `HEAD`, `OPTIONS`, entity tags with 304, and gzip. Knows nothing of what is answered.

Every path that answers GET answers HEAD with the same headers, and every path OPTIONS with the methods that it takes. An
answer that comes in one piece gets a weak entity tag of its bytes; a client that sends it back as `If-None-Match` gets 304 while
nothing changed. Streams pass through as they are.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import anyio.to_thread
from fastapi import FastAPI
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_server.errors import HTTPError

_MIN_GZIP_BYTES: Final = 1_000
_MAX_INLINE_BYTES: Final = 100_000  # above, compressing would hold up the other requests: a thread does it
_GZIP_LEVEL: Final = 4
_TEXT: Final = ("text/", "application/json", "image/svg+xml", "application/javascript")


class Representation:
    """ASGI middleware, around the application and within the guard."""

    def __init__(self, app: ASGIApp, routes: FastAPI) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            allowed = allowed_methods(self._routes.routes, scope)
            if allowed:
                await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
                return
        if scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        carrier = _Carrier(scope, send)
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self._app(asked, receive, carrier.send)
        scope.update((name, asked[name]) for name in ("route", "endpoint") if name in asked)  # for the log


class _Carrier:
    """Sends one answer on. What comes in one piece is held until it is known whole."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._head = scope["method"] == "HEAD"
        self._asked = Headers(scope=scope)
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is None or message["type"] != "http.response.body":
            if not self._head:
                await self._send(message)
            return
        if message.get("more_body"):
            await self._send(start)
        else:
            message = await self._whole(start, message)
        await self._send({**message, "body": b"", "more_body": False} if self._head else message)

    async def _whole(self, start: Message, message: Message) -> Message:
        """Send the start of an answer whose body is known; the body as it goes out."""
        headers = MutableHeaders(raw=start["headers"])
        body: bytes = message.get("body", b"")
        if start["status"] == 200 and "etag" not in headers:
            headers["ETag"] = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            if _same(self._asked.get("if-none-match"), headers["ETag"]):
                for name in ("content-length", "content-type"):
                    del headers[name]
                await self._send({**start, "status": 304})
                return {**message, "body": b""}
        if len(body) >= _MIN_GZIP_BYTES and _is_text(headers) and "content-encoding" not in headers:
            headers.add_vary_header("Accept-Encoding")
            if _takes_gzip(self._asked.get("accept-encoding", "")):
                body = await _compressed(body)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(body))
        await self._send(start)
        return {**message, "body": body}


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """The methods that a path takes, sorted; none where there is no such path."""
    methods: set[str] = set()
    for route in routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            methods |= {"GET"} if isinstance(route, Mount) else getattr(route, "methods", None) or set()
    if "GET" in methods:
        methods.add("HEAD")
    return sorted({*methods, "OPTIONS"}) if methods else []


def no_repeats(pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse a parameter that is given twice: only one of its values could be taken, and nobody would know which.

    Conditions on details (`details.price_gt`) may be many, and must all hold.
    """
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            field = name[:100]
            raise HTTPError(422, f"{field}: given more than once; give one value", field=field)
        if not name.startswith("details."):
            seen.add(name)


async def _compressed(body: bytes) -> bytes:
    if len(body) <= _MAX_INLINE_BYTES:
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return await anyio.to_thread.run_sync(lambda: gzip.compress(body, _GZIP_LEVEL, mtime=0))


def _same(asked: str | None, tag: str) -> bool:
    if asked is None:
        return False
    return asked.strip() == "*" or any(each.strip().removeprefix("W/") == tag[2:] for each in asked.split(","))


def _is_text(headers: Any) -> bool:
    kind: str = headers.get("content-type", "")
    return kind.startswith(_TEXT) and not kind.startswith("text/event-stream")


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
