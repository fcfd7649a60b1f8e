"""What the OpenAPI document says of answers and bodies; docs/http-api.md has their fields in full."""

from __future__ import annotations

from typing import Any, Final

Responses = dict[int | str, dict[str, Any]]

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {"error": {"type": "string"}, "detail": {"type": "array", "items": {"type": "object"}}},
}
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


def errors(*statuses: int) -> Responses:
    """The error answers of these statuses; all have one shape (`xray_server.answers.error_response`)."""
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses}


def answer(*fields: str) -> Responses:
    """A 200 answer: an object with at least these fields."""
    schema = {"type": "object", "required": list(fields), "properties": {name: {} for name in fields}}
    return {200: {"description": "as in docs/http-api.md", "content": {"application/json": {"schema": schema}}}}


def request_body(media_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "description": description, "content": {media_type: {"schema": schema}}}}


READ_ERRORS: Final = errors(422, 503)
NOT_FOUND: Final = errors(404)
WRITE_ERRORS: Final = errors(400, 403, 408, 413, 415, 422, 429, 503)
