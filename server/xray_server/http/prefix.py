"""The path under which a proxy serves X-Ray: where links, redirects and static files then begin.

Said by `--root-path`, else by the proxy's `X-Forwarded-Prefix`. Requests may come with the prefix or without: a proxy may strip
it. What a request says of it goes into no answer but its own.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Final

from starlette.types import Scope

from xray_core.errors import ConfigurationError

_PREFIX: ContextVar[str] = ContextVar("xray_prefix", default="")
_SHAPE: Final = re.compile(r"(/[A-Za-z0-9._~-]+){1,16}")  # a path of ours and nothing else: no host, no dots alone
_MAX_CHARS: Final = 200


def base() -> str:
    """What every address of this request's answer begins with: "" or "/xray"."""
    return _PREFIX.get()


def checked(root_path: str) -> str:
    """A path as `--root-path` takes it, without a slash at its end.

    Raises:
        ConfigurationError: it is none.
    """
    path = root_path.rstrip("/")
    if path and not _is_prefix(path):
        raise ConfigurationError(f"--root-path {root_path!r}: write a path such as /xray")
    return path


def take(scope: Scope, root_path: str) -> None:
    """Find the prefix of a request, and take it off its path."""
    given = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1").rstrip("/")
    prefix = root_path or (given if _is_prefix(given) else "")
    _PREFIX.set(prefix)
    if prefix and (scope["path"] == prefix or scope["path"].startswith(f"{prefix}/")):
        scope["path"] = scope["path"][len(prefix) :] or "/"
        raw: bytes = scope.get("raw_path") or b""
        if raw.startswith(prefix.encode()):
            scope["raw_path"] = raw[len(prefix) :] or b"/"


def _is_prefix(path: str) -> bool:
    return len(path) <= _MAX_CHARS and bool(_SHAPE.fullmatch(path)) and not {".", ".."} & set(path.split("/"))
