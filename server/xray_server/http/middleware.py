"""Around every request: who may and how often, security headers, no writes from other sites' pages, an answer to whatever
went wrong, and a line in the log and the metrics.

Nothing sends CORS headers: no page of another origin may read what is answered here. Owns what holds for all endpoints alike.
"""

from __future__ import annotations

import math
import time
from typing import Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_core.safety import swallow
from xray_server.access.admission import (
    NOBODY,
    SIGN_IN,
    Access,
    Identity,
    from_other_page,
    keep_escaped_slashes,
    needed_scope,
)
from xray_server.access.rates import Rates
from xray_server.answers import error_response
from xray_server.errors import HTTPError, RequestFailedError
from xray_server.http import prefix
from xray_server.http.errors import RenderError, is_page, wants_html
from xray_server.http.logs import REQUEST_ID, log_audit, log_request, place_of, request_id
from xray_server.http.metrics import Metrics
from xray_server.store import StoreUnavailableError
from xray_server.store.incomplete import noting_missing

_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
]
MAX_PARAMETERS: Final = 1_000  # no question has so many; naming each that is wrong takes a second for ten thousand
_REFUSED: Final = {401: "no_key", 403: "may_not", 421: "host"}
_PRIVATE: Final = (b"cache-control", b"no-store")  # what took a key to see is not for caches


class Guard:
    """ASGI middleware; outermost."""

    def __init__(
        self, app: ASGIApp, access: Access, rates: Rates, metrics: Metrics, render: RenderError, root_path: str = ""
    ) -> None:
        self._app = app
        self._render = render
        self._root_path = prefix.checked(root_path)
        self._access = access
        self._rates = rates
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        prefix.take(scope, self._root_path)
        keep_escaped_slashes(scope)
        began_s = time.monotonic()
        status = 0
        missing: list[str] = []
        given = dict(scope["headers"])
        name, host = request_id(given), given.get(b"host", b"")
        token = REQUEST_ID.set(name)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = [_under_prefix(key, value, host) for key, value in message.get("headers", ())]
                headers = [*sent, *_HEADERS, (b"x-request-id", name.encode())]
                if missing:  # a client that adds up must know that it was not told all
                    headers.append((b"x-xray-incomplete", "; ".join(missing).encode("ascii", "replace")))
                if not scope["path"].startswith("/static/") and all(name != b"cache-control" for name, _ in headers):
                    headers.append(_PRIVATE)
                message["headers"] = headers
            await send(message)

        try:
            with noting_missing() as missing:
                await self._answer(scope, receive, send_with_headers)
        except Exception as error:  # logged once per site; the client gets a plain answer
            swallow(f"server {scope['method'][:10]} {route_of(scope)}", RequestFailedError(place_of(error)))
            if status:
                raise
            answer = self._error(scope, HTTPError(500, "the server made a mistake; its log says more"))
            await answer(scope, receive, send_with_headers)
        finally:
            self._tell(scope, status or 499, time.monotonic() - began_s)
            REQUEST_ID.reset(token)

    def _tell(self, scope: Scope, status: int, duration_s: float) -> None:
        """Into the log and the metrics. Status 499: the client went before it had an answer."""
        method, route = scope["method"][:10], route_of(scope)
        self._metrics.observe(method=method, route=route, status=status, duration_s=duration_s)
        asker: Identity | None = scope.get("state", {}).get("identity")
        if needed_scope(method, scope["path"]) == "admin" and (status < 400 or status in _REFUSED):
            log_audit(
                "done" if status < 400 else "refused",
                method=method,
                route=route,
                status=status,
                client=(scope.get("client") or ("unknown",))[0],
                key=asker.key_name if asker else None,
                project=asker.project if asker else None,
            )
        log_request(
            status=status,
            method=method,
            route=route,
            duration_ms=round(duration_s * 1000, 1),
            client=(scope.get("client") or ("unknown",))[0],
            key=asker.key_name if asker else None,
            project=asker.project if asker else None,
        )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Response | None = None
        try:
            if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
                raise HTTPError(422, f"a request has at most {MAX_PARAMETERS:,} parameters")
            if scope["method"] not in ("GET", "HEAD", "OPTIONS") and from_other_page(dict(scope["headers"])):
                raise HTTPError(403, "a page of another site may not write here")
            identity = await self._access.admit(scope)
            scope.setdefault("state", {})["identity"] = identity
            wait_s = self._rates.take(identity.key_id) if identity.key_id else 0.0
            if wait_s:
                self._metrics.refuse("rate")
                raise HTTPError(429, "this key asks too often", retry_after_s=math.ceil(wait_s))
        except HTTPError as error:
            if error.status in _REFUSED:
                self._metrics.refuse(_REFUSED[error.status])
            shown = error.status == 401 and scope["method"] in ("GET", "HEAD") and is_page("GET", scope["path"])
            refusal = _to_sign_in(scope) if shown else self._error(scope, error)
        except StoreUnavailableError as error:
            refusal = self._error(scope, HTTPError(503, str(error), retry_after_s=2))
        await (refusal or self._app)(scope, receive, send)

    def _error(self, scope: Scope, error: HTTPError) -> Response:
        """An error of our own: a page where a browser shows it, else JSON."""
        request = Request(scope)
        if wants_html(request.headers.get("accept", "")):
            scope.setdefault("state", {}).setdefault("identity", NOBODY)
            return self._render(request, error)
        return error_response(error)


def _under_prefix(name: bytes, value: bytes, host: bytes) -> tuple[bytes, bytes]:
    """A header of an answer; a redirect leads to where the proxy serves us, by its path alone: the router's own, to a path
    without the slash at its end, say what we are called here, which need not be what the browser was told.
    """
    if name.lower() != b"location":
        return name, value
    _, mark, rest = value.partition(b"://" + host + b"/")
    path = b"/" + rest if mark else value
    return name, prefix.base().encode() + path if path.startswith(b"/") and not path.startswith(b"//") else value


def route_of(scope: Scope) -> str:
    """The route of a request as it is declared, without the ids in it: these are the users' data."""
    return str(getattr(scope.get("route"), "path", "/static" if scope["path"].startswith("/static/") else "none"))


def _to_sign_in(scope: Scope) -> Response:
    address = (scope.get("raw_path") or b"/ui").decode("latin-1").split("?", 1)[0]
    query = scope["query_string"].decode("latin-1")
    target = f"{address}?{query}" if query else address
    return RedirectResponse(f"{SIGN_IN}?next={quote(target, safe='')}", 303)
