"""`create_app` makes the ASGI application: it wires a store, the committer, access, alerts, the API and the pages together.

The routes are in `xray_server.http` and `xray_server.pages`. Knows the Store protocol; no SQL, no HTML.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib import metadata
from typing import Final, TypeAlias

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer

from xray_server.access.admission import Access
from xray_server.access.keys import FRESH_S, Keyring
from xray_server.access.rates import PER_S, Rates
from xray_server.access.sessions import Sessions
from xray_server.access.trusted import TrustedHeader
from xray_server.alerts.rules import Rule
from xray_server.alerts.service import Alerts, AlertSettings
from xray_server.alerts.store import KeepsAlerts
from xray_server.answers import JsonResponse
from xray_server.http.alert_routes import add_alert_routes
from xray_server.http.bodies import BODY_TIMEOUT_S, Bodies
from xray_server.http.cells import Cells
from xray_server.http.errors import add_error_handlers
from xray_server.http.explain_routes import add_explain_routes
from xray_server.http.health import HealthReport
from xray_server.http.mcp_routes import McpEndpoint, add_mcp
from xray_server.http.metrics import Metrics
from xray_server.http.middleware import Guard
from xray_server.http.openapi import add_schemas, errors
from xray_server.http.operate_routes import add_operate_routes
from xray_server.http.otlp_routes import add_otlp_routes
from xray_server.http.read_routes import add_read_routes
from xray_server.http.representation import Representation, no_repeats
from xray_server.http.senders import Senders
from xray_server.http.write_routes import add_write_routes
from xray_server.ingest import run_document
from xray_server.ingest.committer import MAX_WAITING_BATCHES, Committer
from xray_server.ingest.ndjson import MAX_BODY_BYTES, MAX_DECOMPRESSED_BYTES
from xray_server.pages.alerts import add_alert_pages
from xray_server.pages.marks import add_mark_pages
from xray_server.pages.rendering import Pages
from xray_server.pages.routes import add_pages
from xray_server.pages.sign_in import add_sign_in
from xray_server.store import KeyStore, Store

_READ_THREADS: Final = 8  # each holds a database connection
_VERSION: Final = metadata.version("xray-pipelines")
_Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    store: Store,
    *,
    body_timeout_s: float = BODY_TIMEOUT_S,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_decompressed_bytes: int = MAX_DECOMPRESSED_BYTES,
    max_waiting_batches: int = MAX_WAITING_BATCHES,
    closed: bool = False,
    any_host: bool = False,
    keys_fresh_s: float = FRESH_S,
    alert_settings: AlertSettings | None = None,
    rate_per_key_s: float = PER_S,
    session_secret: bytes | None = None,
    trace_url: str | None = None,
    root_path: str = "",
    trusted: TrustedHeader | None = None,
    cells: Cells | None = None,
) -> FastAPI:
    """The ASGI application over a store. It closes neither the store nor anything else that it was given.

    Args:
        body_timeout_s: how long one body may take to arrive.
        max_body_bytes: of one body as it arrives; max_decompressed_bytes: of what it unpacks to.
        max_waiting_batches: requests that may wait for the commit; more are turned away with 429.
        closed: a key is needed even while there is none; any_host: without keys, answer under any name.
        keys_fresh_s: after how long a key that was created or revoked is known.
        alert_settings: of alerts, where the store keeps them.
        rate_per_key_s: requests a second that one key may make; 0: no limit.
        root_path: the path under which a proxy serves this, as in /xray; "": as X-Forwarded-Prefix says.
        session_secret: signs the browsers' sessions; processes that share an address share it, and `cells` of memory.
        trusted: the header by which an authenticating proxy says who asks.
        trace_url: where a trace is in the user's tracing tool, with `{trace_id}` (and `{span_id}`) in it.
    """
    alerts = _alerts(store, alert_settings)
    committer = Committer(
        store, max_waiting_batches=max_waiting_batches, after_commit=None if alerts is None else alerts.committed
    )
    bodies = Bodies(timeout_s=body_timeout_s, max_bytes=max_body_bytes, max_decompressed_bytes=max_decompressed_bytes)
    keyring = Keyring(store if isinstance(store, KeyStore) else None, fresh_s=keys_fresh_s)
    access = Access(keyring, Sessions(session_secret), closed=closed, any_host=any_host, trusted=trusted)
    health = HealthReport(store, committer, alerts, senders := Senders(cells), version=_VERSION)
    metrics = Metrics(committer.counters, health.store)
    pages = Pages()

    app = _empty_app(_lifespan(committer, alerts))
    app.state.mcp, app.state.committer, app.state.store = add_mcp(app, _VERSION), committer, store
    app.add_middleware(Representation, routes=app)
    app.add_middleware(
        Guard, access=access, rates=Rates(rate_per_key_s), metrics=metrics, render=pages.error, root_path=root_path
    )
    add_error_handlers(app, pages.error)
    add_write_routes(app, store, committer, bodies, senders)
    add_schemas(app, lambda: {**run_document.json_schemas(), "Rule": Rule.model_json_schema()})
    add_otlp_routes(app, store, committer, bodies, trace_url=trace_url)
    add_read_routes(app, store)
    add_operate_routes(app, committer, metrics=metrics, health=health)
    add_explain_routes(app, store)
    add_alert_routes(app, alerts)
    _add_pages(app, store, pages, committer=committer, health=health, alerts=alerts, access=access)
    return app


def _add_pages(
    app: FastAPI,
    store: Store,
    pages: Pages,
    *,
    committer: Committer,
    health: HealthReport,
    alerts: Alerts | None,
    access: Access,
) -> None:
    add_pages(app, store, pages, health)
    add_mark_pages(app, store, committer)
    add_alert_pages(app, pages, alerts)
    add_sign_in(app, access, pages)


def _empty_app(lifespan: _Lifespan) -> FastAPI:
    return FastAPI(
        title="X-Ray",
        version=_VERSION,
        description="Why did the pipeline make this decision?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonResponse,
        # for the document alone: what decides is the guard, before any route is looked up
        dependencies=[
            Depends(HTTPBearer(auto_error=False, description="a key; none needed while there are none")),
            Depends(_each_once),
        ],
        responses=errors(401, 403, 421, 429, 503),
        generate_unique_id_function=lambda route: route.name,
    )


def _alerts(store: Store, settings: AlertSettings | None) -> Alerts | None:
    return Alerts(store, store.alert_store(), settings or AlertSettings()) if isinstance(store, KeepsAlerts) else None


def _each_once(request: Request) -> None:
    no_repeats(request.query_params.multi_items())


def _lifespan(committer: Committer, alerts: Alerts | None) -> _Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _READ_THREADS
        if alerts is not None:
            alerts.start()
        mcp: McpEndpoint | None = app.state.mcp
        async with nullcontext() if mcp is None else mcp.running():
            yield
        await anyio.to_thread.run_sync(committer.close)
        if alerts is not None:
            await anyio.to_thread.run_sync(alerts.close)

    return lifespan
