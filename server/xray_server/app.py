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
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xray_core.safety import swallow
from xray_server import explain_routes, pages, posted, queries
from xray_server.access import Project, keep_escaped_slashes
from xray_server.commit import MAX_WAITING_BATCHES, Committer, QueueFullError
from xray_server.ingest import (
    MAX_BODY_BYTES,
    MAX_DECOMPRESSED_BYTES,
    Decoded,
    EncodingError,
    TooLargeError,
    decode,
    decompress,
    too_deep,
)
from xray_server.params import NoParameters, RunParameters, RunsParameters, StepsParameters
from xray_server.store import BadCursorError, Batch, Store, StoreUnavailableError

BODY_TIMEOUT_S: Final = 30.0
MAX_UPLOADING_BYTES: Final = 256 * 1024 * 1024  # of all bodies that are being received or decoded
_READ_THREADS: Final = 8  # each holds a database connection
_DECODE_THREADS: Final = 2

_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
]


class JsonResponse(JSONResponse):
    """msgspec in place of json: faster, and NaN becomes null."""

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class HTTPError(Exception):
    """An answer other than 2xx: the status, what was wrong, and the field where one is to blame."""

    def __init__(
        self, status: int, message: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after_s = status, message, field, retry_after_s

    def response(self) -> Response:
        detail = [{"loc": self.field.split(".") if self.field else [], "field": self.field, "msg": self.message}]
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status in (400, 408, 413, 415):
            headers["Connection"] = "close"  # what is left of the body is not read
        return JsonResponse({"error": self.message, "detail": detail}, self.status, headers=headers)


class Guard:
    """Around every request: security headers, no writes from other sites' pages, and an answer to whatever went wrong."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        keep_escaped_slashes(scope)
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and _from_elsewhere(scope):
            answer = HTTPError(403, "a page of another site may not write here").response()
            await answer(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # logged once per site; the client gets a plain answer
            swallow(f"server {scope['method']} {scope['path']}"[:100], error)
            if started:
                raise
            answer = HTTPError(500, "the server made a mistake; its log says more").response()
            await answer(scope, receive, send_with_headers)


def _from_elsewhere(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    return bool(origin) and urlsplit(origin).netloc.lower() != headers.get(b"host", b"").decode("latin-1").lower()


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
) -> FastAPI:
    """The ASGI application over a store. It closes neither the store nor anything else that it was given.

    Args:
        body_timeout_s: how long one body may take to arrive.
        max_body_bytes: of one body as it arrives; max_decompressed_bytes: of what it unpacks to.
        max_waiting_batches: requests that may wait for the commit; more are turned away with 429.
    """
    committer = Committer(store, max_waiting_batches=max_waiting_batches)
    uploads = Uploads()
    decoding = anyio.CapacityLimiter(_DECODE_THREADS)
    started_s = time.monotonic()
    version = metadata.version("xray-pipelines")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _READ_THREADS
        yield
        await anyio.to_thread.run_sync(committer.close)

    app = FastAPI(
        title="X-Ray",
        version=version,
        description="Why did the pipeline make this decision?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonResponse,
    )
    app.state.committer = committer
    app.state.store = store
    app.add_middleware(Guard)

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

    @app.get("/health", responses=_answer("status", "store", "ingest", "clients") | _READ_ERRORS, tags=["operate"])
    def get_health(project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server lives, what it has, how far behind it is, and what its clients had to drop."""
        return JsonResponse(told_health(project))

    explain_routes.add_explanations(app, store)

    def told_health(project: str) -> queries.Json:
        return queries.health(store, project, committer.counters(), version=version, started_s=started_s)

    pages.add_pages(app, store, told_health)
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
    texts = {400: "bad encoding", 403: "from another site's page", 404: "no such thing", 408: "too slow",
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
