"""`/mcp`: the tools of `xray_mcp` by streamable HTTP, for keys that may read.

Each tool call asks this very application, with the key of whoever called: so an agent sees what its key may see, checked in the one
place where everything is. There are no sessions: any worker may answer any request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from xray_core.addresses import path_segment
from xray_core.errors import ApiError, NotFoundError
from xray_core.safety import log
from xray_server.http.prefix import base

PATH: Final = "/mcp"
_CARRIED: Final = ("authorization", "cookie", "x-forwarded-prefix")
_MAX_REQUEST_BYTES: Final = 1024 * 1024


class McpEndpoint:
    """The ASGI endpoint; `running` must be entered around the application's life.

    The tools are made when the first request for them comes: what they import takes half a second of every server's start.
    """

    def __init__(self, app: FastAPI, version: str) -> None:
        self._app = app
        self._version = version
        self._manager: Any = None
        self._is_running = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve requests within this block."""
        self._asked, self._ready, self._over = anyio.Event(), anyio.Event(), anyio.Event()
        self._is_running = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._serve)
            yield
            self._is_running = False
            self._over.set()
            self._asked.set()

    async def _serve(self) -> None:
        await self._asked.wait()
        if self._over.is_set():
            return
        try:
            manager = await anyio.to_thread.run_sync(self._made)
        except Exception:  # noqa: BLE001  # told by each request, while everything else is served
            log.exception("X-Ray: /mcp is not served.")
            self._ready.set()
            return
        async with manager.run():
            self._manager = manager
            self._ready.set()
            await self._over.wait()
        self._manager = None

    def _made(self) -> Any:
        from mcp.server.transport_security import TransportSecuritySettings
        from xray_mcp.tools import make_server

        server = make_server(self._ask, _base, self._version)
        server.streamable_http_app(
            json_response=True,
            stateless_http=True,
            max_request_body_size=_MAX_REQUEST_BYTES,
            # Host and Origin are looked at by the guard, for all endpoints alike
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        return server.session_manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the session manager."""
        if not self._is_running:
            raise RuntimeError("the application was not started, or is ending")
        self._asked.set()
        await self._ready.wait()
        if self._manager is None:
            raise RuntimeError("the tools could not be made: see the server's log")
        await self._manager.handle_request(scope, receive, send)

    async def _ask(self, ctx: Any, path: tuple[str, ...], parameters: dict[str, Any]) -> dict[str, Any]:
        import httpx2

        given = ctx.request_context.request.headers
        headers = {name: given[name] for name in _CARRIED if name in given}
        transport = httpx2.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            answer = await client.get("/" + "/".join(path_segment(part) for part in path), params=parameters)
        body: Any = answer.json()
        if answer.is_success and isinstance(body, dict):
            return body
        error = NotFoundError if answer.status_code == 404 else ApiError
        raise error(str(body.get("error", "the server did not answer")), status=answer.status_code)


def _base(ctx: Any) -> str:
    """The address under which the caller reached this server, the proxy's path included."""
    return str(ctx.request_context.request.base_url).rstrip("/") + base()


def add_mcp(app: FastAPI, version: str) -> McpEndpoint | None:
    """Mount the endpoint, where the extra `mcp` is installed."""
    if find_spec("mcp") is None:
        return None
    endpoint = McpEndpoint(app, version)
    app.router.routes.append(Route(PATH, endpoint=endpoint, methods=["POST"], include_in_schema=False))
    return endpoint
