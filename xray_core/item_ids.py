"""The one spelling of an item id, whatever type a program or a column holds it in.

What is one value is one item: 5, "5", 5.0, Decimal("5") and numpy's 5 are spelled alike, in the SDK, on the wire, in the
store and in queries. Knows nothing of collections, see `capture.columns` for those.
"""

from __future__ import annotations

import datetime
import enum
import math
import pathlib
import uuid
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

MAX_ITEM_ID_CHARS: Final = 256
SEPARATOR: Final = "|"  # between the parts of a composite id
NULL_PART: Final = "\\N"  # a part without a value; unlike any other, since a backslash in a part is doubled
_MAX_DIGITS: Final = 400  # of a Decimal written out; 1E+1000000 stays as it is
_MAX_NESTED: Final = 4
_KNOWN_ZONES: Final = frozenset({"datetime", "zoneinfo", "pytz", "dateutil", "pandas", "pendulum"})
_LIBRARIES: Final = frozenset({"numpy", "pandas", "pyarrow"})


class LibraryScalar(Protocol):
    """A scalar of numpy, pandas or pyarrow, for type checkers: it has its plain value."""

    def item(self) -> Any:
        """The plain value."""


ItemId: TypeAlias = (
    str
    | int
    | float
    | Decimal
    | uuid.UUID
    | datetime.date
    | datetime.time
    | enum.Enum
    | bytes
    | tuple[Any, ...]
    | LibraryScalar
)
"""What names an item, for type checkers; see `item_id_text`."""


class NullIdError(TypeError):
    """A row without an id: None, NaN, NaT or a library's null. Counted, since it names nothing."""


def item_id_text(item_id: object) -> str:
    """The one spelling of an item id.

    | type | spelled |
    |---|---|
    | str and subclasses | as it is |
    | int, whole float, whole Decimal | its digits: 5.0 is "5" |
    | other floats and Decimals | the shortest digits: Decimal("0.50") is "0.5" |
    | UUID | with hyphens |
    | date, time, datetime | ISO 8601; with a zone, in UTC |
    | Enum | its value's |
    | bytes | as text where it is printable UTF-8, else "0x" and hex digits |
    | tuple (a composite) | its parts with "|" between them; "|" and backslashes in a part get a backslash before them |
    | numpy, pandas and pyarrow scalars | what they stand for |

    Lone surrogates are escaped (they are not UTF-8), and an id longer than 256 characters keeps its head and a hash of
    the whole, so that it still names one item.

    Raises:
        NullIdError: the value is none (None, NaN, NaT, a library's null).
        TypeError: for any other type, bool among them; calling `str()` on it could run user code.
    """
    kind = type(item_id)
    if kind is str:
        text: str = item_id  # type: ignore[assignment]  # narrowed by `kind`, which mypy does not follow
    elif kind is int:
        text = _digits(item_id)  # type: ignore[arg-type]  # as above
    else:
        text = _spelled(item_id, 0)
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > MAX_ITEM_ID_CHARS:
        import xxhash

        text = f"{text[: MAX_ITEM_ID_CHARS - 17]}#{xxhash.xxh3_64_hexdigest(text.encode())}"
    return text


def _spelled(value: Any, nested: int) -> str:
    kind = type(value)
    if isinstance(value, enum.Enum):
        return _spelled(object.__getattribute__(value, "_value_"), nested + 1)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _digits(value)
    if isinstance(value, float):
        return _number(float.__float__(value))
    if value is None:
        raise NullIdError("the item id is None")
    if isinstance(value, uuid.UUID):
        # asyncpg's own class keeps its number elsewhere; another subclass's __str__ would be user code
        return str(value) if _root(kind) == "asyncpg" else uuid.UUID.__str__(value)
    if kind is Decimal:
        return _decimal(value)
    if isinstance(value, bytes):
        return _bytes(bytes.__getitem__(value, slice(None)))
    if isinstance(value, tuple) and nested < _MAX_NESTED and not hasattr(kind, "_fields"):
        parts = [_part(part, nested + 1) for part in tuple.__iter__(value)]
        if all(part == NULL_PART for part in parts):
            raise NullIdError("the item id has no part with a value")
        return SEPARATOR.join(parts)
    if _root(kind) in _LIBRARIES and nested <= _MAX_NESTED:
        return _library_scalar(value, kind, nested)
    if isinstance(value, (datetime.date, datetime.time)):
        return _time(value)
    if isinstance(value, pathlib.PurePath) and _root(kind) == "pathlib":
        return str(value)
    raise TypeError(f"an item id is a str, a number, a UUID, a date, bytes or a tuple of them, not {kind.__qualname__}")


def _part(part: object, nested: int) -> str:
    """One part of a composite id, so that no two composites are spelled alike."""
    try:
        text = _spelled(part, nested)
    except NullIdError:
        return NULL_PART
    return text.replace("\\", "\\\\").replace(SEPARATOR, "\\" + SEPARATOR)


def _digits(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # more digits than Python writes out
        return hex(value)


def _number(value: float) -> str:
    if value != value:
        raise NullIdError("the item id is NaN")
    return _digits(int(value)) if math.isfinite(value) and value == int(value) else float.__repr__(value)


def _decimal(value: Decimal) -> str:
    if value.is_nan():
        raise NullIdError("the item id is NaN")
    if not value.is_finite():
        return repr(float(value))
    if not -_MAX_DIGITS < value.adjusted() < _MAX_DIGITS:
        return str(value)
    if value == value.to_integral_value():
        return _digits(int(value))
    as_float = repr(float(value))
    return as_float if Decimal(as_float) == value else f"{value:f}".rstrip("0")


def _bytes(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() else f"0x{value.hex()}"


def _time(value: datetime.datetime | datetime.date | datetime.time) -> str:
    # by the built-in classes' own methods: a subclass's may be the program's
    if not isinstance(value, (datetime.datetime, datetime.time)):
        return datetime.date.isoformat(value)
    zone = value.tzinfo
    if zone is not None and _root(type(zone)) not in _KNOWN_ZONES:
        raise TypeError("the item id is a time whose zone is a class of the program's own")
    if isinstance(value, datetime.time):
        return datetime.time.isoformat(value)
    moment = value if zone is None else datetime.datetime.astimezone(value, datetime.timezone.utc)
    return datetime.datetime.isoformat(moment)


def _library_scalar(value: Any, kind: type, nested: int) -> str:
    """A numpy, pandas or pyarrow scalar. Their code runs; they hold plain values."""
    library, name = _root(kind), kind.__name__
    if library == "numpy" and name == "datetime64":
        return _datetime64(value)
    if library == "numpy" and getattr(value, "shape", None) == () and value.dtype.kind != "m":
        plain = value[()] if name == "ndarray" else value.item()
        if type(plain) is not kind:
            return _spelled(plain, nested + 1)
    elif library == "pandas":
        if name in ("NaTType", "NAType"):
            raise NullIdError(f"the item id is pandas' {name[:-4]}")
        if name == "Timestamp":
            return str((value if value.tzinfo is None else value.tz_convert("UTC")).isoformat())
        if name in ("Period", "Interval"):
            return str(value)
    elif library == "pyarrow" and hasattr(value, "as_py"):
        return _spelled(value.as_py(), nested + 1)
    raise TypeError(f"an item id is one value, not {library}'s {name}")


def _datetime64(value: Any) -> str:
    """A numpy.datetime64 as a datetime of the same value is spelled, with nine digits where it has nanoseconds."""
    text = str(value)
    if text == "NaT":
        raise NullIdError("the item id is NaT")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if "T" in whole:
        whole += ":00" * (2 - whole.count(":"))
    return f"{whole}.{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}" if fraction else whole


def _root(kind: type) -> str:
    module = type.__dict__["__module__"].__get__(kind)
    return module.partition(".")[0] if isinstance(module, str) else ""
