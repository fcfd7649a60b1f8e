"""The bounds of what a record may hold. The client clamps by them, the server validates by them: nothing else has any.

A field out of its bounds costs that field and never the record: it is left out, and the record says `clamped.<field>`
among what was dropped. Names and ids that are too long keep their head and a hash of the whole, so that they still name
one thing. Nothing here calls user code.
"""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import xxhash

from xray_core.item_ids import MAX_ITEM_ID_CHARS as MAX_ITEM_ID_CHARS
from xray_core.item_ids import item_id_text
from xray_core.model import epoch_us
from xray_core.objects.structure import type_name, view
from xray_core.safety import reraise_interrupt

MAX_TIME_US: Final = 253_402_300_799_999_999  # the last microsecond of the year 9999
MAX_INT: Final = (1 << 53) - 1  # what every JSON reader and every database holds exactly
MAX_COUNT: Final = 10**12  # nine million steps of it still add up within 64 bits
MAX_DURATION_US: Final = 366 * 86_400_000_000
MAX_ATTEMPT: Final = 1_000_000
MAX_ID_CHARS: Final = 256  # of a run, a step, a part
MAX_WORD_CHARS: Final = 512  # of a name, a type, a reason
MAX_NAME_CHARS: Final = 200  # what the client keeps of a name; the rest is room for those who post
MAX_COUNTER_CHARS: Final = 256
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64  # of nested JSON

CLAMPED: Final = "clamped."
"""Before the name of a field that was left out."""

_HASH_CHARS: Final = 17  # "#" and 16 hex digits


def name_text(value: object, limit: int = MAX_NAME_CHARS) -> str:
    """A name as short valid text. What has none that could be read without user code is named by its type."""
    if type(value) is str:
        text = value
    else:
        seen = view(value, 0)
        plain = seen.kind in ("atom", "text")
        text = str(seen.value) if plain else f"<{seen.type_name or type_name(type(value))}>"
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > limit:
        text = f"{text[: limit - _HASH_CHARS]}#{xxhash.xxh3_64_hexdigest(text.encode())}"
    return text


def id_text(value: object) -> str | None:
    """The id of a run or a step: spelled as an item's; None where there is none, or it cannot be read."""
    if type(value) is str and 0 < len(value) <= MAX_ID_CHARS and value.isascii():
        return value
    try:
        return item_id_text(value) or None
    except (TypeError, ValueError):
        return None


def number(value: object) -> float | None:
    """A finite number as JSON has it: of Python, decimal, fractions or numpy; None for NaN, infinity and all else."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None  # type: ignore[arg-type, return-value]  # a float, by its kind
    if kind in (Decimal, Fraction):
        try:
            plain: Any = float(value)  # type: ignore[arg-type]  # one of the two
        except (OverflowError, ValueError):
            return None
    else:
        plain = view(value, 0).value
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        return None
    try:
        found = float(plain)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: object, *, least: int = -MAX_INT, most: int = MAX_INT) -> int | None:
    """A whole number within bounds, also where it comes as 3.0 or Decimal("3"); None for anything else."""
    if type(value) is int:
        return value if least <= value <= most else None
    found = number(value)
    if found is None or not found.is_integer() or not least <= found <= most:
        return None
    return int(found)


def count(value: object) -> int | None:
    """How many there are; None for what is no such number, negative, or above 10**12."""
    return whole(value, least=0, most=MAX_COUNT)


def moment_us(value: object) -> int | None:
    """A moment as the wire has it; None for what is no datetime, or lies before 1970 or after 2255."""
    if not isinstance(value, datetime.datetime):
        return None
    try:
        found = epoch_us(value)
    except Exception as error:  # noqa: BLE001  # a time zone of the user's own that raises
        reraise_interrupt(error)
        return None
    return found if 0 <= found <= MAX_INT else None  # MAX_INT: the year 2255; revisions follow from ends


_MAY_GO: Final = ("decisions", "metadata", "output", "input", "error", "tags", "origin", "items")


def shortened(record: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """A record that fits into a line of the wire: its largest values go, or the largest details of its samples."""
    import msgspec

    def size(value: Any) -> int:
        return len(msgspec.json.encode(value))

    short = dict(record)
    left = size(short)
    samples = short.get("samples")
    if isinstance(samples, list):
        short["samples"] = kept = list(samples)
        for place in sorted(range(len(kept)), key=lambda place: -size(kept[place].get("details"))):
            if left <= most_bytes:
                break
            left -= size(kept[place].get("details"))
            kept[place] = {**kept[place], "details": {"$omitted": "too large"}}
        return short
    sizes = {name: size(short[name]) for name in _MAY_GO if name in short}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if left <= most_bytes:
            break
        left -= sizes[name]
        del short[name]
        dropped = short.get("dropped") or {}
        short["dropped"] = {**dropped, CLAMPED + name: 1}
    return short


def encodable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the fields that hold what JSON cannot; it says which."""
    import msgspec

    sound: dict[str, Any] = {}
    gone: dict[str, int] = {}
    for name, value in record.items():
        try:
            msgspec.json.encode(value)
            sound[name] = value
        except Exception as error:  # noqa: BLE001  # whatever an encoder may raise
            reraise_interrupt(error)
            gone[CLAMPED + name] = 1
    if gone:
        sound["dropped"] = {**(sound.get("dropped") or {}), **gone}
    return sound
