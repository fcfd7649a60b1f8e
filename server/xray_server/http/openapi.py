"""What the OpenAPI document says of answers and bodies; docs/http-api.md has their fields in full."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from xray_server.http.models.operating import ErrorAnswer

Responses = dict[int | str, dict[str, Any]]

_DESCRIPTIONS: Final = {
    400: "bad encoding",
    401: "no valid key",
    403: "the key may not do this, or another site's page asks",
    404: "no such thing",
    408: "too slow",
    413: "too large",
    415: "unknown encoding",
    421: "under this name only with keys",
    422: "a field is wrong",
    429: "behind, or too many requests; see Retry-After",
    503: "store unavailable, or it keeps nothing of the kind",
}


def add_schemas(app: FastAPI, schemas: dict[str, Any]) -> None:
    """Let the document hold these schemas too, which its bodies refer to."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation says to extend it


def errors(*statuses: int) -> Responses:
    """The error answers of these statuses; all have one shape (`xray_server.answers.error_response`)."""
    return {status: {"description": _DESCRIPTIONS[status], "model": ErrorAnswer} for status in statuses}


def answer(model: Any) -> Responses:
    """A 200 answer of this shape (`xray_server.http.models`)."""
    return {200: {"description": model.__doc__, "model": model}}


def request_body(media_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "description": description, "content": {media_type: {"schema": schema}}}}


READ_ERRORS: Final = errors(422, 503)
NOT_FOUND: Final = errors(404)
WRITE_ERRORS: Final = errors(400, 403, 408, 413, 415, 422, 429, 503)
