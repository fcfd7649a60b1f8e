"""Ids and text as PostgreSQL can keep them: it has no NUL in text, and its order of text depends on the machine.

Ids are bytes, text is escaped and compared byte by byte (COLLATE "C"). Owns these two spellings and nothing else.
"""

from __future__ import annotations

import re
from typing import Any, Final

from xray_server.backends.relational.ids import id_key, id_prefix_ranges, id_text

_ESCAPE: Final = "\ue000"  # of the private use area; doubled where it stands for itself, followed by 0 for NUL
_ESCAPED: Final = re.compile(f"{_ESCAPE}([0{_ESCAPE}])")


def escape_text(text: str) -> str:
    """Text without NUL. What begins with it, begins with this too, but for half an escape."""
    if "\0" not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, _ESCAPE * 2).replace("\0", _ESCAPE + "0")


def unescape_text(text: str) -> str:
    """The text that `escape_text` was given."""
    if _ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda found: "\0" if found[1] == "0" else _ESCAPE, text)


def id_bytes(text: str) -> bytes:
    """An id as bytes: `u` + a UUID's 16 bytes, or `t` + UTF-8."""
    return _tagged(id_key(text))


def id_of_bytes(kept: bytes) -> str:
    """The id that `id_bytes` was given."""
    return id_text(kept[1:]) if kept[:1] == b"u" else kept[1:].decode()


def id_bytes_ranges(prefix: str) -> list[tuple[bytes, bytes]]:
    """From (inclusive) and to (exclusive), in bytes, of the ids that begin with this text."""
    return [(_tagged(low), _tagged(high)) for low, high in id_prefix_ranges(prefix)]


def _tagged(key: Any) -> bytes:
    return b"u" + key if isinstance(key, bytes) else b"t" + key.encode()
