"""A transport whose requests are surrounded by context managers, as those of plugins that watch HTTP clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from xray_core.safety import swallow
from xray_core.transport import Reply, Transport


class Surrounded:
    """Sends through another transport.

    Args:
        around: called for each request; one that cannot be entered is left out.
    """

    def __init__(self, inner: Transport, around: Callable[[], Iterable[AbstractContextManager[Any]]]) -> None:
        self._inner = inner
        self._around = around

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        """As the transport does; see there."""
        with ExitStack() as stack:
            for each in self._around():
                try:
                    stack.enter_context(each)
                except Exception as error:  # noqa: BLE001  # a plugin's mistake costs no record
                    swallow("a plugin's xray_sending", error)
            return self._inner.send(body, timeout_s=timeout_s)

    def close(self) -> None:
        """Close the other transport."""
        self._inner.close()
