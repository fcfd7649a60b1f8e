"""Who asks, what they may, and whose data a request is about; also how ids stand in paths.

Every request passes `Access.admit` before any route is looked up, and what no rule below names needs a key: a new endpoint
is closed until someone opens it. Knows keys and sessions; nothing of what the endpoints do.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
from fastapi import Depends, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

from xray_core.addresses import DOT
from xray_server.access.keys import SCOPES, Keyring
from xray_server.access.sessions import Sessions
from xray_server.access.trusted import TrustedHeader
from xray_server.errors import HTTPError
from xray_server.store import DEFAULT_PROJECT, StoreUnavailableError
from xray_server.store.keys import Key

COOKIE: Final = "xray_session"
SIGN_IN: Final = "/ui/sign-in"
SIGN_OUT: Final = "/ui/sign-out"
_PUBLIC: Final = frozenset({"/health", "/ready", SIGN_IN, SIGN_OUT})
_INGEST: Final = frozenset({"/ingest", "/runs", "/v1/traces"})
_ASKS_BY_POST: Final = frozenset({"/mcp"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ABOUT_ITSELF: Final = frozenset({"/health", "/ready", "/metrics"})
SOON_S: Final = 0.02
FIRST_S: Final = 2.0  # when the server has just begun and knows no keys at all
_MAX_COOKIE_CHARS: Final = 4_096

# Stands for an escaped slash while a path is matched, so that ids such as URLs work in `/runs/{run_id:id}`. Private use.
_SLASH: Final = "\uf02f"


def needed_scope(method: str, path: str) -> str | None:
    """What a key must allow for a request; None when it needs none."""
    if path in _PUBLIC or path.startswith("/static/"):
        return None
    if path == "/metrics":
        return "metrics"
    if method in _SAFE or path in _ASKS_BY_POST:
        return "read"
    return "ingest" if path in _INGEST else "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: the project they see, what they may do, and how they showed it."""

    project: str
    allowed: frozenset[str]
    via: Literal["open", "key", "session", "header", "nothing"]
    key_id: str | None = None
    key_name: str | None = None

    def may(self, scope: str) -> bool:
        """Whether a scope is among what they may do."""
        return scope in self.allowed


_OPEN: Final = Identity(DEFAULT_PROJECT, SCOPES["admin"], "open")
NOBODY: Final = Identity(DEFAULT_PROJECT, frozenset(), "nothing")


class Access:
    """Decides who asks and whether they may.

    While no key was ever created everybody is let in, unless `closed`; a server that only this machine should reach then
    also looks at the Host header, since a page from anywhere can have its own name lead to 127.0.0.1 (DNS rebinding).

    Args:
        keyring: the keys.
        closed: a key is needed even while there is none: the address can be reached by others.
        any_host: without keys, answer under any name (`--insecure`).
        trusted: the header by which an authenticating proxy says who asks; None: there is none.
    """

    def __init__(
        self,
        keyring: Keyring,
        sessions: Sessions,
        *,
        closed: bool = False,
        any_host: bool = False,
        trusted: TrustedHeader | None = None,
    ) -> None:
        self.keyring = keyring
        self.sessions = sessions
        self._trusted = trusted
        self._closed = closed
        self._any_host = any_host
        self._refreshing = anyio.Lock()
        self._one_at_a_time = anyio.CapacityLimiter(1)  # its own: never behind slow questions of others

    @property
    def open(self) -> bool:
        """Whether everybody is let in: no key was ever created, and the address is this machine's alone."""
        return not (self._closed or self.keyring.any or self._trusted is not None)

    async def refresh(self) -> None:
        """See that the keys are fresh. Raises StoreUnavailableError."""
        if self.keyring.stale:
            async with self._refreshing:
                if self.keyring.stale:
                    await anyio.to_thread.run_sync(
                        self.keyring.refresh, limiter=self._one_at_a_time, abandon_on_cancel=True
                    )

    async def admit(self, scope: Scope) -> Identity:
        """Who asks.

        Raises:
            HTTPError: 401 without a valid key, 403 with one that may not, 421 under another machine's name.
            StoreUnavailableError: the keys cannot be read.
        """
        needed = needed_scope(scope["method"], scope["path"])
        # what tells how the server is does not wait for the store: with the keys that are known it answers at once
        patience_s = None
        if scope["path"] in _ABOUT_ITSELF:
            patience_s = SOON_S if self.keyring.read else FIRST_S
        try:
            with anyio.move_on_after(patience_s):
                await self.refresh()
        except StoreUnavailableError:
            if patience_s is None:
                raise
        if not self.keyring.read:
            if needed is None:
                return NOBODY  # alive, and says so
            raise StoreUnavailableError("the keys could not be read yet")
        headers = dict(scope["headers"])
        if self.open:
            host = headers.get(b"host", b"").decode("latin-1")
            if not self._any_host and not is_loopback_host(host):
                raise HTTPError(
                    421,
                    "without keys this server answers only under the names of its own machine (127.0.0.1, localhost); "
                    "create a key: xray keys create NAME --scope admin",
                )
            return _OPEN
        method = scope["method"]
        user = None if self._trusted is None else self._trusted.user(scope)
        identity = (
            self._by_key(headers)
            or self._by_header(user, method, needed, headers)
            or self._by_session(method, needed, headers)
            or NOBODY
        )
        if needed is None or identity.may(needed):
            return identity
        if identity.via == "nothing":
            raise HTTPError(
                401,
                "this server wants a key: Authorization: Bearer xray_... (`xray keys create` makes one)",
                headers={"WWW-Authenticate": 'Bearer realm="xray"'},
            )
        scope.setdefault("state", {})["identity"] = identity  # the log says whose key it was
        raise HTTPError(403, f"the key {identity.key_name!r} may not do this; it takes a key of scope {needed}")

    def _by_key(self, headers: dict[bytes, bytes]) -> Identity | None:
        kind, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        key = self.keyring.find(text.strip()) if kind.lower() == "bearer" else None
        return None if key is None else _identity(key, "key")

    def _by_header(
        self, user: str | None, method: str, needed: str | None, headers: dict[bytes, bytes]
    ) -> Identity | None:
        # the proxy adds its header to whatever a browser sends, another site's forms included
        if user is None or self._trusted is None or not _may_write(method, needed, headers):
            return None
        return Identity(DEFAULT_PROJECT, self._trusted.allowed(user), "header", key_name=user)

    def _by_session(self, method: str, needed: str | None, headers: dict[bytes, bytes]) -> Identity | None:
        if not _may_write(method, needed, headers):
            return None
        key_id = self.sessions.key_id(session_token(headers.get(b"cookie", b"").decode("latin-1")) or "")
        key = self.keyring.by_id(key_id) if key_id else None
        return None if key is None else _identity(key, "session")


def _may_write(method: str, needed: str | None, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser's request counts: records are sent with a key, and what a page sends must be this server's page."""
    return needed != "ingest" and (method in _SAFE or from_own_page(headers))


def _identity(key: Key, via: Literal["key", "session"]) -> Identity:
    return Identity(key.project, SCOPES.get(key.scope, frozenset()), via, key.key_id, key.name)


def session_token(cookies: str) -> str | None:
    """The session's token in a Cookie header."""
    if len(cookies) > _MAX_COOKIE_CHARS:
        return None
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def from_own_page(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says that a page of this very server sent the request."""
    site = headers.get(b"origin", b"").partition(b"://")[2]
    return bool(site) and site.lower() == headers.get(b"host", b"").lower()


def from_other_page(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says that another site's page sent the request. Programs send no Origin."""
    return b"origin" in headers and not from_own_page(headers)


def is_loopback_host(host: str) -> bool:
    """Whether a Host header names this machine, whatever the port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def identity_of(request: Request) -> Identity:
    """Who asks, as `admit` found. There is no request without: a route that were reached around it would fail."""
    identity: Identity = request.state.identity
    return identity


def project_of(request: Request) -> str:
    """The project that the request's key belongs to."""
    return identity_of(request).project


Project = Annotated[str, Depends(project_of)]
Asker = Annotated[Identity, Depends(identity_of)]


class _IdConvertor(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        if value in (DOT, DOT * 2):
            return value.replace(DOT, ".")
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
