"""Cursors of paged lists: the sort key of the last row, encoded as text. Knows no SQL."""

from __future__ import annotations

import base64
import binascii

from xray_server.store import BadCursorError


def make_cursor(*key: int) -> str:
    """The place after which a list goes on."""
    return base64.urlsafe_b64encode(".".join(map(str, key)).encode()).decode().rstrip("=")


def parse_cursor(cursor: str, parts: int = 2) -> list[int]:
    """The key that `make_cursor` was given.

    Raises:
        BadCursorError: no such key is in it.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        key = [int(number) for number in text.split(".")]
    except (ValueError, binascii.Error):
        key = []
    if len(key) != parts or any(not -(1 << 62) < number < 1 << 62 for number in key):
        raise BadCursorError("not a cursor of this list")
    return key
