"""Places in paged lists that go by time and then by identity, over all shards, and the cursors that name them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from xray_server.store import BadCursorError

_TYPES: Final = {"i": int, "s": str}


def make_place(*key: int | str) -> str:
    """The cursor after which a list goes on."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def parse_place(cursor: str, types: str) -> list[Any]:
    """The key that `make_place` was given.

    Args:
        types: a letter for each of its values: i for an integer, s for a text.

    Raises:
        BadCursorError: no such key is in it.
    """
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[int | str])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        key = []
    good = len(key) == len(types) and all(type(value) is _TYPES[letter] for value, letter in zip(key, types))
    if not good or any(isinstance(value, int) and not 0 <= value < 1 << 62 for value in key):
        raise BadCursorError("not a cursor of this list")
    return list(key)


def newest_first(rows: Sequence[Sequence[Any]], limit: int) -> list[tuple[Any, ...]]:
    """The first rows of those of all shards; each begins with its place."""
    return sorted(map(tuple, rows), reverse=True)[:limit]
