"""Asks the server for a JSON answer. Knows the address, the key and what an error answer means; not what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from xray_core.addresses import path_segment
from xray_core.errors import ApiError, NotFoundError
from xray_core.item_ids import ItemId, item_id_text
from xray_core.objects.redaction import Redactor
from xray_core.transport.http import authorized, session_for

if TYPE_CHECKING:
    from xray_core.settings import Settings


class HttpReader:
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
        return self._ask("GET", path, parameters, None)

    def send(self, method: str, *path: str, body: Any = None, **parameters: Any) -> dict[str, Any]:
        """The answer to another method, with a body as JSON where there is one. Raises as `get` does."""
        return self._ask(method, path, parameters, body)

    def text(self, *path: str, **parameters: Any) -> str:
        """The answer to GET as text, where it is a file. Raises as `get` does."""
        answer = self._answer("GET", path, parameters, None)
        return answer.content.decode() if answer.ok else str(self._decoded(answer))

    def item(self, item_id: ItemId) -> str:
        """An item's id as it may stand in an address, which servers and proxies log: of one that is a secret the name under
        which the item is kept.

        Raises:
            TypeError, ValueError: it cannot be an id.
        """
        return Redactor(self._settings.redact).item_id(item_id_text(item_id))

    def _ask(self, method: str, path: tuple[str, ...], parameters: Mapping[str, Any], body: Any) -> dict[str, Any]:
        return self._decoded(self._answer(method, path, parameters, body))

    def _answer(self, method: str, path: tuple[str, ...], parameters: Mapping[str, Any], body: Any) -> Any:
        import requests

        if self._session is None:
            self._session = session_for(self._settings.api_url)
            self._session.auth = partial(authorized, self._settings.api_key)
        url = "/".join([self._settings.api_url, *(path_segment(part) for part in path)])
        query = {name: _text(value) for name, value in parameters.items() if value is not None}
        try:
            return self._session.request(method, url, params=query, json=body, timeout=self._settings.timeout_s)
        except (requests.RequestException, ValueError) as error:  # the latter: of an address that is none
            raise ApiError(
                f"cannot reach the X-Ray server at {self._settings.api_url} ({_cause(error)}); "
                "start one with `xray serve`, or set XRAY_API_URL"
            ) from None

    def _decoded(self, answer: Any) -> dict[str, Any]:
        try:
            decoded = answer.json()
        except ValueError:
            decoded = None
        if answer.ok and isinstance(decoded, dict):
            return decoded
        words = decoded.get("error") if isinstance(decoded, Mapping) else None
        text = str(
            words or f"{self._settings.api_url} answered {answer.status_code}, which is not an X-Ray server's answer"
        )
        if answer.status_code == 404 and words:
            raise NotFoundError(text, status=404)
        if answer.status_code in (401, 403):
            text += "; set XRAY_API_KEY to a key that may read"
        raise ApiError(text, status=answer.status_code)

    def __enter__(self) -> HttpReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next question opens another."""
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
