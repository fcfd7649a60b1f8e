"""A transport whose requests are surrounded by context managers, as those of plugins that watch HTTP clients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from xray_core.safety import swallow
from xray_core.transport import Reply, Transport


def _leave(stack: ExitStack, *of_error: Any) -> None:
    try:
        stack.__exit__(*of_error)
    except Exception as error:  # noqa: BLE001  # as above; also the request's own error, which passes through them
        if error is not of_error[1]:
            swallow("a plugin's xray_sending", error)


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
        stack = ExitStack()
        for each in self._around():
            try:
                stack.enter_context(each)
            except Exception as error:  # noqa: BLE001  # a plugin's mistake costs no record
                swallow("a plugin's xray_sending", error)
        try:
            reply = self._inner.send(body, timeout_s=timeout_s)
        except BaseException:  # told to them, and raised on, whatever they say of it
            _leave(stack, *sys.exc_info())
            raise
        _leave(stack, None, None, None)
        return reply

    def close(self) -> None:
        """Close the other transport."""
        self._inner.close()
