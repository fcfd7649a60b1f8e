"""Keys: what they are, how they are made and kept, and which one a text is. Knows no HTTP and no SQL.

A key is `xray_<id>_<secret>`: the id is public and names the row, the secret is 256 random bits. Only its SHA-256 is kept. A
slow password hash would add nothing: it protects secrets that can be guessed, and no one guesses 256 random bits; it would
cost every request what it costs an attacker. Digests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from xray_core.errors import ConfigurationError
from xray_server.store import DEFAULT_PROJECT, StoreUnavailableError
from xray_server.store.keys import Key, KeyStore

PREFIX: Final = "xray"
# What each scope may do. `metrics` is for the scraper, which should need no key that can read runs.
SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    "metrics": frozenset({"metrics"}),
    "admin": frozenset({"ingest", "read", "metrics", "admin"}),
}
FRESH_S: Final = 1.0  # a key that was created or revoked is known to a running server after this long
STALE_S: Final = 60.0  # how long the server goes on with the keys it knows while the store cannot answer
_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(r"xray_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NO_DIGEST: Final = bytes(32)


def new_key(name: str, *, scope: str, project: str = DEFAULT_PROJECT, now_us: int) -> tuple[Key, str]:
    """A new key and its text, which nobody can be shown again.

    Raises:
        ConfigurationError: the name, scope or project is not one.
    """
    if scope not in SCOPES:
        raise ConfigurationError(f"{scope!r} is no scope; there are: {', '.join(SCOPES)}")
    for what, value in (("name", name), ("project", project)):
        if not _NAME.fullmatch(value):
            raise ConfigurationError(
                f"{value!r} is no {what}: letters, digits, '.', '_' and '-', 64 at most, the first a letter or digit"
            )
    key_id = secrets.token_hex(4)
    text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return Key(key_id, name, scope, project, digest_of(text), now_us), text


def digest_of(text: str) -> bytes:
    """The SHA-256 of a key's text: all that is kept of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Keyring:
    """The keys that a server knows: a copy of the store's, read again when it is `FRESH_S` old.

    `find` and `by_id` may be called from any thread and do not block; `refresh` blocks for one question to the store.

    Args:
        store: None when the store keeps no keys; then there are none.
        clock: seconds, monotonic.
    """

    def __init__(
        self, store: KeyStore | None, *, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._fresh_s = fresh_s
        self._clock = clock
        self._in_use: Mapping[str, Key] = {}
        self._any = False
        self._read_at_s: float | None = None

    @property
    def stale(self) -> bool:
        """Whether the keys are to be read again."""
        return self._read_at_s is None or self._clock() - self._read_at_s >= self._fresh_s

    @property
    def read(self) -> bool:
        """Whether the keys were read once."""
        return self._read_at_s is not None

    @property
    def any(self) -> bool:
        """Whether a key was ever created. A database whose keys are all revoked is closed, not open."""
        return self._any

    def refresh(self) -> None:
        """Read the keys again.

        Raises:
            StoreUnavailableError: the store has not answered for `STALE_S`, or never has.
        """
        now_s = self._clock()
        try:
            found = [] if self._store is None else self._store.keys()
        except StoreUnavailableError:
            if self._read_at_s is None or now_s - self._read_at_s > STALE_S:
                raise
            return
        self._any = bool(found)
        self._in_use = {key.key_id: key for key in found if key.revoked_us is None}
        self._read_at_s = now_s

    def find(self, text: str) -> Key | None:
        """The key in use that a text is."""
        shape = _SHAPE.fullmatch(text)
        key = self._in_use.get(shape[1]) if shape else None
        same = hmac.compare_digest(digest_of(text), _NO_DIGEST if key is None else key.digest)
        return key if same else None

    def by_id(self, key_id: str) -> Key | None:
        """The key in use with that id."""
        return self._in_use.get(key_id)
