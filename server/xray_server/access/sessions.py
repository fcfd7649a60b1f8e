"""Sessions of browsers: a signed token in a cookie stands for a key that signed in, until it expires, is ended, or its key is.

The secret that signs is drawn when the server starts and shared by its worker processes; it is written nowhere, so whoever
has the database cannot sign, and a restart signs everybody out. Which tokens were ended each process knows for itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

SESSION_S: Final = 12 * 3600
MAX_ENDED: Final = 10_000  # remembered; beyond, the oldest is forgotten, and ends when it expires


class Sessions:
    """Who is signed in. Any thread; nothing blocks.

    Args:
        secret: 32 random bytes, the same in all processes that answer under one name; None draws one.
        clock: seconds, monotonic, the same in all of them.
    """

    def __init__(self, secret: bytes | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, key_id: str) -> str:
        """A token for a new session of a key."""
        said = f"{key_id}.{int(self._clock()) + SESSION_S}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._signature(said)}"

    def key_id(self, token: str) -> str | None:
        """The key whose session a token is, or None once it has ended."""
        said, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), self._signature(said).encode()):
            return None
        key_id, ends_s, _ = said.split(".")
        with self._lock:
            return key_id if self._clock() < int(ends_s) and said not in self._ended else None

    def end(self, token: str) -> None:
        """End a session. What is no token of ours is not remembered."""
        if self.key_id(token) is None:
            return
        with self._lock:
            self._ended[token.rpartition(".")[0]] = None
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)

    def _signature(self, said: str) -> str:
        return hmac.new(self._secret, said.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
