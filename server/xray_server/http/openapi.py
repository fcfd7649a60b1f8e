"""What the OpenAPI document says of answers and bodies; docs/http-api.md has their fields in full."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from xray_server.http import models

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


def add_schemas(app: FastAPI, schemas: Callable[[], dict[str, Any]]) -> None:
    """Let the document hold the shapes of all answers, and these too, which its bodies refer to.

    They are made when somebody asks for the document: FastAPI would make each of them for each answer of each route, at
    every start, and take a third of a second for it.
    """
    make = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        document = make()
        if not known:
            document.setdefault("components", {}).setdefault("schemas", {}).update({**_shapes(), **schemas()})
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation says to extend it


@cache
def _shapes() -> dict[str, Any]:
    """The schemas of `xray_server.http.models`, by name."""
    shapes = [(name, shape) for name, shape in vars(models).items() if is_typeddict(shape)]
    adapters = [(name, "serialization", TypeAdapter(shape)) for name, shape in shapes]
    _, document = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = document["$defs"]
    return found


def _of_shape(model: Any) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def errors(*statuses: int) -> Responses:
    """The error answers of these statuses; all have one shape (`xray_server.answers.error_response`)."""
    content = _of_shape(models.ErrorAnswer)
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


def answer(model: Any, *, files: bool = False) -> Responses:
    """A 200 answer of this shape (`xray_server.http.models`); with `files` also its rows as CSV or NDJSON."""
    content = _of_shape(model)
    if files:
        content |= {kind: {"schema": {"type": "string"}} for kind in ("text/csv", "application/x-ndjson")}
    return {200: {"description": model.__doc__, "content": content}}


def request_body(media_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "description": description, "content": {media_type: {"schema": schema}}}}


READ_ERRORS: Final = errors(422, 503)
NOT_FOUND: Final = errors(404)
WRITE_ERRORS: Final = errors(400, 403, 408, 413, 415, 422, 429, 503)
