"""What an answer leaves out: parts of a store that did not answer while the rest did.

Whoever answers a request begins a list with `noting_missing`; the store enters what it had to leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_missing: ContextVar[list[str] | None] = ContextVar("xray_missing", default=None)


@contextmanager
def noting_missing() -> Iterator[list[str]]:
    """The names of what is left out of the answers within the block; threads that are given its context share it."""
    found: list[str] = []
    token = _missing.set(found)
    try:
        yield found
    finally:
        _missing.reset(token)


def note_missing(name: str) -> None:
    """A part of the store was left out of an answer."""
    found = _missing.get()
    if found is not None and name not in found:
        found.append(name)


def left_out() -> tuple[str, ...]:
    """What has been left out of the answers so far."""
    return tuple(_missing.get() or ())
