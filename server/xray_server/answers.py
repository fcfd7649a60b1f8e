"""Answers of the HTTP API: JSON, and the one shape of an error. Knows nothing of what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi.responses import JSONResponse, Response

from xray_server.errors import HTTPError

_CLOSING: frozenset[int] = frozenset({400, 408, 413, 415})  # what is left of the body is not read


class JsonResponse(JSONResponse):
    """msgspec in place of json: faster, and NaN becomes null."""

    def render(self, content: Any) -> bytes:
        """The body as JSON text."""
        return msgspec.json.encode(content)


def error_response(error: HTTPError, detail: Sequence[dict[str, Any]] | None = None) -> Response:
    """An error as JSON: `{"error": TEXT, "detail": [{"loc": [...], "field": ..., "msg": TEXT}]}`.

    Args:
        error: the status, the text and the headers.
        detail: what was wrong, one entry a field; None: one entry, made of the error.
    """
    if detail is None:
        detail = [{"loc": error.field.split(".") if error.field else [], "field": error.field, "msg": error.message}]
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status in _CLOSING:
        headers["Connection"] = "close"
    return JsonResponse({"error": error.message, "detail": detail}, error.status, headers=headers)
