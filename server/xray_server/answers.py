"""Answers of the HTTP API: JSON, and what a refusal looks like. Knows nothing of what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.responses import JSONResponse, Response


class JsonResponse(JSONResponse):
    """msgspec in place of json: faster, and NaN becomes null."""

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class HTTPError(Exception):
    """An answer other than 2xx: the status, what was wrong, and the field where one is to blame."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after_s = status, message, field, retry_after_s
        self.headers = dict(headers or {})

    def response(self) -> Response:
        detail = [{"loc": self.field.split(".") if self.field else [], "field": self.field, "msg": self.message}]
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status in (400, 408, 413, 415):
            headers["Connection"] = "close"  # what is left of the body is not read
        return JsonResponse({"error": self.message, "detail": detail}, self.status, headers=headers)
