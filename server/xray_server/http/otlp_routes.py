"""`POST /v1/traces`: OTLP/HTTP, so that an application that is instrumented already needs this server's address alone.

Owns what the protocol says of HTTP: encodings, statuses, partial success. What spans mean is in `xray_server.otlp`.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request, Response

from xray_core.errors import ConfigurationError
from xray_server.access.admission import Project
from xray_server.answers import error_response
from xray_server.errors import EncodingError, HTTPError, StoreUnavailableError, TooLargeError
from xray_server.http.bodies import Bodies
from xray_server.http.openapi import WRITE_ERRORS
from xray_server.http.params import NoParameters
from xray_server.http.write_routes import commit, now_us
from xray_server.ingest.committer import Committer
from xray_server.otlp import receive
from xray_server.otlp.receive import JSON, PROTOBUF
from xray_server.store import Batch, Store

_CONTENT: Final[dict[str, Any]] = {
    PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
    JSON: {"schema": {"type": "object"}},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "an ExportTraceServiceRequest of OTLP, gzip'd or plain",
        "content": _CONTENT,
    }
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "an ExportTraceServiceResponse: how many spans were none, and why", "content": _CONTENT},
    501: {"description": "protobuf, where the server lacks the extra otlp", "content": _CONTENT},
}


def add_otlp_routes(app: FastAPI, store: Store, committer: Committer, bodies: Bodies, *, trace_url: str | None) -> None:
    """Mount the route on the application."""

    async def take(request: Request, project: str, media_type: str) -> Response:
        async with bodies.reading(request) as body:
            decoded = await bodies.decode(partial(receive.decode, body, media_type, trace_url))
        refused = await commit(committer, Batch(decoded.records, project, now_us()), len(body))
        if decoded.retrievers:
            more = await anyio.to_thread.run_sync(receive.nested_records, store, project, decoded)
            await commit(committer, Batch(more, project, now_us()), len(body))
        rejected = decoded.rejected + receive.refused_spans(decoded, list(refused))
        why = decoded.why or next(iter(refused.values()), "")
        return Response(receive.answer(media_type, rejected, why), media_type=media_type)

    @app.post("/v1/traces", openapi_extra=_BODY, responses=WRITE_ERRORS | _ANSWERS, tags=["write"])
    async def traces(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Spans of OpenTelemetry: traces become runs, spans steps; answers after the commit."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON
        if media_type not in (PROTOBUF, JSON):
            raise HTTPError(415, f"Content-Type: expected {PROTOBUF} or {JSON}", field="content-type")
        try:
            return await take(request, project, media_type)
        except EncodingError as error:
            return _failed(media_type, HTTPError(400, str(error)))
        except TooLargeError as error:
            return _failed(media_type, HTTPError(413, str(error)))
        except ConfigurationError as error:
            return _failed(media_type, HTTPError(501, str(error)))
        except StoreUnavailableError as error:
            return _failed(media_type, HTTPError(503, str(error), retry_after_s=2))
        except HTTPError as error:
            return _failed(media_type, error)


def _failed(media_type: str, error: HTTPError) -> Response:
    """The protocol wants a Status in the request's own encoding; in JSON all errors here have one shape."""
    answer = error_response(error)
    if media_type == JSON:
        return answer
    headers = {name: value for name, value in answer.headers.items() if name in ("retry-after", "connection")}
    return Response(receive.failure(error.message), error.status, headers=headers, media_type=media_type)
