"""Sessions of browsers: a random token in a cookie stands for a key that signed in. In memory; a restart signs everybody out.

Only the digests of tokens are kept, and a session ends with its key. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

SESSION_S: Final = 12 * 3600
MAX_SESSIONS: Final = 10_000


class Sessions:
    """Who is signed in. Any thread; nothing blocks. At the bound the oldest session ends.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._by_digest: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def begin(self, key_id: str) -> str:
        """A token for a new session of a key."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._by_digest) >= self._max:
                self._by_digest.popitem(last=False)
            self._by_digest[_digest(token)] = (key_id, self._clock() + SESSION_S)
        return token

    def key_id(self, token: str) -> str | None:
        """The key whose session a token is, or None once it has ended."""
        with self._lock:
            key_id, ends_s = self._by_digest.get(_digest(token), (None, 0.0))
            return key_id if self._clock() < ends_s else None

    def end(self, token: str) -> None:
        with self._lock:
            self._by_digest.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
