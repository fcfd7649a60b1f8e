"""GET a JSON answer of the server. Knows the address, the key and what an error answer means; not what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xray_core.errors import ApiError, NotFoundError

if TYPE_CHECKING:
    from xray_core.settings import Settings


class Reader:
    """Reads from one server. `requests` is loaded with the first question. One thread at a time.

    Args:
        settings: `api_url`, `api_key` and `timeout_s` are used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: Any = None

    def get(self, *path: str, **parameters: Any) -> dict[str, Any]:
        """The answer to GET /path[0]/path[1]...; parameters that are None are left out. Blocks up to `timeout_s`.

        Raises:
            NotFoundError: 404, with the server's words.
            ApiError: no answer, not JSON, or another error; one line that says what to do.
        """
        import requests

        if self._session is None:
            self._session = requests.Session()
            if self._settings.api_key is not None:
                self._session.headers["Authorization"] = f"Bearer {self._settings.api_key}"
        url = "/".join([self._settings.api_url, *(quote(part, safe="") for part in path)])
        query = {name: _text(value) for name, value in parameters.items() if value is not None}
        try:
            answer = self._session.get(url, params=query, timeout=self._settings.timeout_s)
        except requests.RequestException as error:
            raise ApiError(
                f"cannot reach the X-Ray server at {self._settings.api_url} ({_cause(error)}); "
                "start one with `xray serve`, or set XRAY_API_URL"
            ) from None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.ok and isinstance(body, dict):
            return body
        told = body.get("error") if isinstance(body, Mapping) else None
        text = str(
            told or f"{self._settings.api_url} answered {answer.status_code}, which is not an X-Ray server's answer"
        )
        if answer.status_code == 404 and told:
            raise NotFoundError(text, status=404)
        if answer.status_code in (401, 403):
            text += "; set XRAY_API_KEY to a key that may read"
        raise ApiError(text, status=answer.status_code)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


def _text(value: Any) -> Any:
    return "true" if value is True else "false" if value is False else value


def _cause(error: BaseException) -> str:
    """The innermost reason of a connection error, in few words."""
    seen: BaseException = error
    while True:
        inner = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    return str(getattr(seen, "strerror", None) or type(seen).__name__)
