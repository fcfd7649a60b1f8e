"""Ids as a database keeps them: a UUID as 16 bytes, any other text as it is. Knows no SQL."""

from __future__ import annotations

from typing import Any, Final

_DASHES: Final = frozenset({8, 12, 16, 20})  # the digits of a UUID that a dash comes before
_HEX: Final = frozenset("0123456789abcdef")


def id_key(text: str) -> bytes | str:
    """An id as it is kept: 16 bytes when it is a canonical UUID, else itself. Four times as fast as `uuid.UUID` tells."""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        digits = text.replace("-", "")
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            return text
        return key if key.hex() == digits and len(key) == 16 else text
    return text


def id_text(key: bytes | str) -> str:
    """The id that `id_key` was given."""
    if isinstance(key, str):
        return key
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_prefix_ranges(prefix: str) -> list[tuple[Any, Any]]:
    """The ranges (inclusive, exclusive) of kept ids that begin with this text: of text and, where it can be the beginning
    of a UUID, of UUIDs. `2026-11` may begin the id of a run that is named by its day; `20261101` either.
    """
    ranges: list[tuple[Any, Any]] = [(prefix, prefix + "\U0010ffff")]
    begun = begun_uuid(prefix)
    if begun is not None:
        digits = begun.replace("-", "")
        ranges.append((bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f")) + b"\0"))
    return ranges


def begun_uuid(prefix: str) -> str | None:
    """The text as UUIDs that it may begin are written, with their dashes; None where it can begin none, or is too short to."""
    digits = prefix.replace("-", "").lower()
    dashed = "".join(f"-{digit}" if place in _DASHES else digit for place, digit in enumerate(digits))
    may = 4 <= len(digits) <= 32 and set(digits) <= _HEX and prefix.lower() in (digits, dashed, f"{dashed}-")
    return dashed if may else None
