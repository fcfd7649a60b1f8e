"""Heads: the beginnings of large values, which lists carry in their place. Knows no HTTP and no SQL.

A list answers which runs and steps there are; what went in and came out of each, whole, is in the answer about that one. A
head has the kind of its value (text, list or object), so that whoever reads it needs no other code; how large the whole is
stands beside it, under `truncated`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

HEAD_BYTES: Final = 2_048  # of one value, as JSON
_MAX_TEXT_CHARS: Final = 500
_MAX_DEPTH: Final = 4
_PLAIN: Final = (type(None), bool, int, float)

encode = msgspec.json.Encoder().encode


def row(values: Mapping[str, Any], fields: Collection[str] | None = None) -> dict[str, Any]:
    """A row of a list.

    Args:
        values: all that is known, under the names of the API.
        fields: those to answer, whole; None: all, and of those that are large their heads.
    """
    if fields is not None:
        return {name: value for name, value in values.items() if name in fields}
    made: dict[str, Any] = {}
    truncated: dict[str, int] = {}
    for name, value in values.items():
        made[name] = value
        if isinstance(value, _PLAIN) or (isinstance(value, (str, list, dict)) and not value):
            continue
        size_bytes = len(encode(value))
        if size_bytes > HEAD_BYTES:
            made[name], truncated[name] = head(value), size_bytes
    made["truncated"] = truncated
    return made


def head(value: Any, max_bytes: int = HEAD_BYTES) -> Any:
    """The beginning of a JSON value, of about `max_bytes` at most."""
    return _head(value, [max_bytes], 0)


def _head(value: Any, left: list[int], depth: int) -> Any:
    if isinstance(value, str):
        room = max(0, min(_MAX_TEXT_CHARS, left[0] // 2))
        made: Any = value if len(value) <= room else f"{value[:room]}…"
        left[0] -= len(made.encode("utf-8", "replace")) + 3
        return made
    if isinstance(value, _PLAIN):
        left[0] -= 8
        return value
    if depth >= _MAX_DEPTH:
        left[0] -= 4
        return "…"
    if isinstance(value, Mapping):
        made = {}
        for name, each in value.items():
            left[0] -= len(name) + 4
            if left[0] <= 0:
                break
            made[name] = _head(each, left, depth + 1)
        return made
    if isinstance(value, Sequence):
        made = []
        for each in value:
            if left[0] <= 0:
                break
            made.append(_head(each, left, depth + 1))
        return made
    return _head(msgspec.to_builtins(value), left, depth)
