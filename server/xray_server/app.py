"""The HTTP API: routes, limits on requests, and how errors are told. `create_app` makes the ASGI application.

Owns what HTTP asks and answers. Knows the Store protocol and the read models; no SQL, no HTML (pages.py).
"""

from __future__ import annotations

import time
from asyncio import wrap_future
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer

from xray_server.access.admission import Access, Asker, Identity, Project
from xray_server.access.keys import FRESH_S, Keyring
from xray_server.access.rates import PER_S, Rates
from xray_server.access.sessions import Sessions
from xray_server.alerts.service import Alerts, AlertSettings
from xray_server.alerts.store import KeepsAlerts
from xray_server.answers import HTTPError, JsonResponse
from xray_server.http import explain_routes
from xray_server.http.alert_routes import add_alerts
from xray_server.http.health import health
from xray_server.http.metrics import CONTENT_TYPE as METRICS_TYPE
from xray_server.http.metrics import Metrics
from xray_server.http.middleware import Guard
from xray_server.http.params import NoParameters, RunParameters, RunsParameters, StepsParameters
from xray_server.ingest import run_document as posted
from xray_server.ingest.committer import MAX_WAITING_BATCHES, Committer, QueueFullError
from xray_server.ingest.ndjson import (
    MAX_BODY_BYTES,
    MAX_DECOMPRESSED_BYTES,
    Decoded,
    EncodingError,
    TooLargeError,
    decode,
    decompress,
    too_deep,
)
from xray_server.pages import routes as pages
from xray_server.pages.alerts import add_alert_pages
from xray_server.pages.sign_in import add_sign_in
from xray_server.read import runs as queries
from xray_server.store import BadCursorError, Batch, Store, StoreUnavailableError
from xray_server.store.keys import KeyStore

BODY_TIMEOUT_S: Final = 30.0
MAX_UPLOADING_BYTES: Final = 256 * 1024 * 1024  # of all bodies that are being received or decoded
_READ_THREADS: Final = 8  # each holds a database connection
_DECODE_THREADS: Final = 2


class Uploads:
    """How much of all bodies is in memory: received and not yet handed to the committer."""

    def __init__(self, max_bytes: int = MAX_UPLOADING_BYTES) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes

    def take(self, size_bytes: int) -> None:
        if self.bytes + size_bytes > self._max_bytes:
            raise HTTPError(429, "too many bodies at once", retry_after_s=1)
        self.bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.bytes -= size_bytes


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
        session_secret: signs the browsers' sessions; processes that share an address share it.
    """
    alerts = None
    if isinstance(store, KeepsAlerts):
        alerts = Alerts(store, store.alert_store(), alert_settings or AlertSettings())
    committer = Committer(
        store, max_waiting_batches=max_waiting_batches, after_commit=None if alerts is None else alerts.committed
    )
    uploads = Uploads()
    decoding = anyio.CapacityLimiter(_DECODE_THREADS)
    keyring = Keyring(store if isinstance(store, KeyStore) else None, fresh_s=keys_fresh_s)
    access = Access(keyring, Sessions(session_secret), closed=closed, any_host=any_host)
    started_s = time.monotonic()
    version = metadata.version("xray-pipelines")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _READ_THREADS
        if alerts is not None:
            alerts.start()
        yield
        await anyio.to_thread.run_sync(committer.close)
        if alerts is not None:
            await anyio.to_thread.run_sync(alerts.close)

    app = FastAPI(
        title="X-Ray",
        version=version,
        description="Why did the pipeline make this decision?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonResponse,
        # for the document alone: what decides is the guard, before any route is looked up
        dependencies=[Depends(HTTPBearer(auto_error=False, description="a key; none needed while there are none"))],
        responses=_errors(401, 403, 421, 429, 503),
    )
    app.state.committer = committer
    app.state.store = store
    metrics = Metrics(committer.counters, store)
    app.add_middleware(Guard, access=access, rates=Rates(rate_per_key_s), metrics=metrics)

    @app.exception_handler(HTTPError)
    async def told(_: Request, error: HTTPError) -> Response:
        return error.response()

    @app.exception_handler(BadCursorError)
    async def bad_cursor(_: Request, error: BadCursorError) -> Response:
        return HTTPError(422, f"cursor: {error}", field="cursor").response()

    @app.exception_handler(StoreUnavailableError)
    async def unavailable(_: Request, error: StoreUnavailableError) -> Response:
        return HTTPError(503, str(error), retry_after_s=2).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        detail = [
            {"loc": list(each["loc"]), "field": ".".join(map(str, each["loc"][1:])), "msg": _words(each)}
            for each in error.errors()
        ]
        text = "; ".join(f"{each['field']}: {each['msg']}" for each in detail)
        return JsonResponse({"error": text, "detail": detail}, 422)

    async def body_of(request: Request) -> bytes:
        """The body of a request, unpacked, within the limits."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            raise HTTPError(415, f"Content-Encoding {encoding[:50]!r} is not known here; send gzip, or none")
        too_large = HTTPError(413, f"the body is larger than {max_body_bytes} bytes; send it in pieces")
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > max_body_bytes):
            raise too_large
        body = bytearray()
        taken = 0
        try:
            with anyio.fail_after(body_timeout_s):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > max_body_bytes:
                        raise too_large
                    uploads.take(len(chunk))
                    taken += len(chunk)
                    body += chunk
            if encoding in ("identity", ""):
                return bytes(body)
            unpack = partial(decompress, bytes(body), max_bytes=max_decompressed_bytes)
            return await anyio.to_thread.run_sync(unpack, limiter=decoding)
        except TimeoutError:
            raise HTTPError(408, f"the body did not arrive within {body_timeout_s:g} s") from None
        except TooLargeError as error:
            raise HTTPError(413, str(error)) from None
        except EncodingError as error:
            raise HTTPError(400, str(error)) from None
        finally:
            uploads.give_back(taken)

    async def commit(batch: Batch, size_bytes: int) -> dict[int, str]:
        """Wait until the batch is committed; what the store refused of it."""
        if not batch.records:
            return {}
        try:
            return await wrap_future(committer.submit(batch, size_bytes))
        except QueueFullError as error:
            raise HTTPError(429, str(error), retry_after_s=error.retry_after_s) from None

    @app.post(
        "/ingest", openapi_extra=_INGEST_BODY, responses=_answer("accepted", "refused") | _WRITE_ERRORS, tags=["write"]
    )
    async def ingest(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Records as NDJSON, gzip'd or plain; answers after the commit, line by line."""
        body = await body_of(request)
        decoded: Decoded = await anyio.to_thread.run_sync(decode, body, limiter=decoding)
        batch = Batch(decoded.records, project, time.time_ns() // 1000)
        not_kept = await commit(batch, len(body))
        for position, why in not_kept.items():
            decoded.refuse(decoded.lines[position], why)
        refused = [{"line": line, "error": why} for line, why in sorted(decoded.refused)]
        accepted = len(decoded.records) - len(not_kept)
        return JsonResponse({"accepted": accepted, "refused": refused})

    @app.post("/runs", openapi_extra=_RUN_BODY, responses=_answer("run_id", "accepted") | _WRITE_ERRORS, tags=["write"])
    async def post_run(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """One run with its steps, or a part of it; sending it again merges."""
        body = await body_of(request)

        def records() -> tuple[str, list[Any]]:
            run = posted.decode_run(body)
            if too_deep(body):
                raise posted.ShapeError("body", "nested too deep")
            return run.run_id, posted.records_of(run)

        try:
            run_id, found = await anyio.to_thread.run_sync(records, limiter=decoding)
        except posted.ShapeError as error:
            raise HTTPError(422, f"{error.field}: {error}", field=error.field) from None
        refused = await commit(Batch(found, project, time.time_ns() // 1000), len(body))
        for why in refused.values():
            raise HTTPError(422, why, field="body")
        return JsonResponse({"run_id": run_id, "accepted": len(found)})

    @app.get("/runs", responses=_answer("runs", "next_cursor") | _READ_ERRORS, tags=["read"])
    def get_runs(project: Project, query: Annotated[RunsParameters, Query()]) -> Response:
        """Runs, newest first."""
        return JsonResponse(queries.list_runs(store, project, query.where(), limit=query.limit, cursor=query.cursor))

    @app.get(
        "/runs/{run_id:id}",
        responses=_answer("run_id", "steps", "next_cursor") | _READ_ERRORS | _NOT_FOUND,
        tags=["read"],
    )
    def get_run(run_id: str, project: Project, query: Annotated[RunParameters, Query()]) -> Response:
        """One run with its steps, in pages of steps."""
        run = queries.one_run(store, project, run_id, limit=query.limit, cursor=query.cursor, samples=query.samples)
        if run is None:
            raise HTTPError(404, f"there is no run {run_id[:256]!r}", field="run_id")
        return JsonResponse(run)

    @app.get("/steps", responses=_answer("steps", "next_cursor") | _READ_ERRORS, tags=["read"])
    def get_steps(project: Project, query: Annotated[StepsParameters, Query()]) -> Response:
        """Steps across runs, newest first; all filters given must hold."""
        return JsonResponse(queries.list_steps(store, project, query.where(), limit=query.limit, cursor=query.cursor))

    @app.get("/health", responses=_answer("status") | _READ_ERRORS, tags=["operate"])
    def get_health(asker: Asker, _: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server lives; to a key that may read also what it has, how far behind it is, what clients dropped."""
        if not asker.may("read"):
            return JsonResponse({"status": "ok"})
        try:
            return JsonResponse(told_health(asker))
        except StoreUnavailableError as error:  # restarting what lives would not bring the store back: see /ready
            return JsonResponse({"status": "store unavailable", "error": str(error)})

    @app.get("/ready", responses=_answer("ready") | _errors(422, 503), tags=["operate"])
    def get_ready(_: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server can take and answer requests: its store answers and its writer runs."""
        store.health()
        if not committer.alive:
            raise HTTPError(503, "the server is stopping", retry_after_s=2)
        return JsonResponse({"ready": True})

    @app.get("/metrics", response_class=PlainTextResponse, responses=_errors(422), tags=["operate"])
    def get_metrics(_: Annotated[NoParameters, Query()]) -> Response:
        """Counters and gauges of this process for Prometheus. Takes a key of scope metrics or admin."""
        return Response(metrics.render(), media_type=METRICS_TYPE)

    explain_routes.add_explanations(app, store)
    add_alerts(app, alerts)

    def told_health(asker: Identity) -> queries.Json:
        counters = committer.counters()
        whole = asker.may("admin")  # figures of the whole server add up all projects
        told = health(store, asker.project, counters, version=version, started_s=started_s, whole=whole)
        return {**told, "alerts": alerts.health()} if whole and alerts is not None else told

    drawn = pages.add_pages(app, store, told_health)
    add_alert_pages(app, drawn, alerts)
    add_sign_in(app, access, drawn)
    return app


def _words(error: Any) -> str:
    return "there is no such parameter" if error["type"] == "extra_forbidden" else str(error["msg"])


def _body(content: dict[str, Any], description: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "description": description, "content": content}}


_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {"error": {"type": "string"}, "detail": {"type": "array", "items": {"type": "object"}}},
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    texts = {400: "bad encoding", 401: "no valid key", 403: "the key may not, or another site's page asks", 421: "under this name only with keys", 404: "no such thing", 408: "too slow",
             413: "too large", 415: "unknown encoding", 422: "a field is wrong", 429: "behind; Retry-After", 503: "store unavailable"}  # fmt: skip
    return {status: {"description": texts[status], "content": content} for status in statuses}


def _answer(*fields: str) -> dict[int | str, dict[str, Any]]:
    """What a 200 holds; docs/http-api.md has the fields in full."""
    schema = {"type": "object", "required": list(fields), "properties": {name: {} for name in fields}}
    return {200: {"description": "as in docs/http-api.md", "content": {"application/json": {"schema": schema}}}}


_READ_ERRORS: Final = _errors(422, 503)
_NOT_FOUND: Final = _errors(404)
_WRITE_ERRORS: Final = _errors(400, 403, 408, 413, 415, 422, 429, 503)
_INGEST_BODY: Final = _body(
    {"application/x-ndjson": {"schema": {"type": "string"}}}, "one record a line (docs/http-api.md), gzip'd or plain"
)
_RUN_BODY: Final = _body({"application/json": {"schema": posted.json_schema()}}, "a run with its steps")
