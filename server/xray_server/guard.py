"""Around every request: who may, security headers, no writes from other sites' pages, and an answer to whatever went wrong.

Nothing sends CORS headers: no page of another origin may read what is answered here. Owns what holds for all endpoints alike.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_core.safety import swallow
from xray_server.access import SIGN_IN, Access, from_other_page, keep_escaped_slashes
from xray_server.answers import HTTPError
from xray_server.store import StoreUnavailableError

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
_PRIVATE: Final = (b"cache-control", b"no-store")  # what took a key to see is not for caches


class Guard:
    """ASGI middleware; outermost."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        keep_escaped_slashes(scope)
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = [*message.get("headers", ()), *_HEADERS]
                if not scope["path"].startswith("/static/") and all(name != b"cache-control" for name, _ in headers):
                    headers.append(_PRIVATE)
                message["headers"] = headers
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers)
        except Exception as error:  # logged once per site; the client gets a plain answer
            swallow(f"server {scope['method']} {route_of(scope)}", error)
            if started:
                raise
            answer = HTTPError(500, "the server made a mistake; its log says more").response()
            await answer(scope, receive, send_with_headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Response | None = None
        try:
            if scope["method"] not in ("GET", "HEAD", "OPTIONS") and from_other_page(dict(scope["headers"])):
                raise HTTPError(403, "a page of another site may not write here")
            scope.setdefault("state", {})["identity"] = await self._access.admit(scope)
        except HTTPError as error:
            refusal = _to_sign_in(scope) if error.status == 401 and _is_page(scope) else error.response()
        except StoreUnavailableError as error:
            refusal = HTTPError(503, str(error), retry_after_s=2).response()
        await (refusal or self._app)(scope, receive, send)


def route_of(scope: Scope) -> str:
    """The route of a request as it is declared, without the ids in it: these are the users' data."""
    return str(getattr(scope.get("route"), "path", "unknown route"))


def _is_page(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and (scope["path"] in ("/", "/docs") or scope["path"].startswith("/ui"))


def _to_sign_in(scope: Scope) -> Response:
    address = (scope.get("raw_path") or b"/ui").decode("latin-1").split("?", 1)[0]
    query = scope["query_string"].decode("latin-1")
    target = f"{address}?{query}" if query else address
    return RedirectResponse(f"{SIGN_IN}?next={quote(target, safe='')}", 303)
