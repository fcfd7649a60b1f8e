"""Which HTTP error each exception becomes. All have one shape; the pages show the same errors as HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from xray_server.answers import error_response
from xray_server.errors import BadCursorError, HTTPError, NotKnownError, StoreUnavailableError
from xray_server.http.representation import allowed_methods

RenderError = Callable[[Request, HTTPError], Response]
_MAX_NAMED: Final = 100  # wrong parameters of one request


def add_error_handlers(app: FastAPI, render: RenderError) -> None:
    """Answer every exception that a route may raise, and requests for which there is no route.

    Args:
        app: gets the handlers.
        render: makes an error page; used for what a browser asks of the pages.
    """

    def answer(request: Request, error: HTTPError, detail: list[dict[str, Any]] | None = None) -> Response:
        shown = is_page(request.method, request.scope["path"]) or wants_html(request.headers.get("accept", ""))
        return render(request, error) if shown else error_response(error, detail)

    @app.exception_handler(HTTPError)
    async def refused(request: Request, error: HTTPError) -> Response:
        return answer(request, error)

    @app.exception_handler(BadCursorError)
    async def bad_cursor(request: Request, error: BadCursorError) -> Response:
        return answer(request, HTTPError(422, f"cursor: {error}", field="cursor"))

    @app.exception_handler(StoreUnavailableError)
    async def unavailable(request: Request, error: StoreUnavailableError) -> Response:
        return answer(request, HTTPError(503, str(error), retry_after_s=2))

    @app.exception_handler(NotKnownError)
    async def not_known(request: Request, error: NotKnownError) -> Response:
        return answer(request, HTTPError(404, str(error), field=error.field))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        detail = [
            {"loc": list(each["loc"]), "field": ".".join(map(str, each["loc"][1:])), "msg": _message(each)}
            for each in error.errors()[:_MAX_NAMED]
        ]
        return answer(request, HTTPError(422, "; ".join(f"{each['field']}: {each['msg']}" for each in detail)), detail)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        """Who asked went away before its body had arrived: nobody's mistake here, and nobody reads the answer."""
        return Response(status_code=499)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        """An unknown path (404) or a method that a path does not have (405): raised by the router."""
        path = request.scope["path"][:256]
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(allowed_methods(app.routes, request.scope))
        messages = {
            404: f"there is no {path!r} here; /openapi.json lists all routes",
            405: f"{path!r} takes no {request.method[:20]}; it takes {headers.get('Allow', 'others')}",
        }
        message = messages.get(error.status_code, str(error.detail))
        return answer(request, HTTPError(error.status_code, message, headers=headers))


def is_page(method: str, path: str) -> bool:
    """Whether a browser shows the answer: a page, or what a form of a page sends."""
    return method in ("GET", "HEAD", "POST") and (path in ("/", "/docs", "/ui") or path.startswith("/ui/"))


def wants_html(accept: str) -> bool:
    """Whether who asks is a browser that shows the answer: an error is then a page, whatever was asked for."""
    return accept.lower().startswith("text/html")


def _message(error: Any) -> str:
    return (
        "there is no such parameter"
        if error["type"] == "extra_forbidden"
        else str(error["msg"]).removeprefix("Value error, ")
    )
