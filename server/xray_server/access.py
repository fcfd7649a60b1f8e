"""Whose data a request is about, and ids in paths. The seam for keys: until there are any, all is one project."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Depends, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

from xray_server.store import DEFAULT_PROJECT

# Stands for an escaped slash while a path is matched, so that ids such as URLs work in `/runs/{run_id:id}`. Private use.
_SLASH: Final = "\uf02f"


def project_of(request: Request) -> str:
    """The project that the request's key belongs to."""
    return DEFAULT_PROJECT


Project = Annotated[str, Depends(project_of)]


class _IdConvertor(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/")

    def to_string(self, value: str) -> str:
        return value.replace("/", _SLASH)


register_url_convertor("id", _IdConvertor())


def keep_escaped_slashes(scope: Scope) -> None:
    """ASGI servers unescape the path before it is matched; an escaped slash belongs to an id, not to the path."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        escaped = raw.split(b"?", 1)[0].decode("latin-1").replace("%2f", "%2F").replace("%2F", "%EF%80%AF")
        scope["path"] = unquote(escaped)
