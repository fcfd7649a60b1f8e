"""Values in ClickHouse's SQL: bound here, into the text. Lists of thousands of keys do not fit the parameters of a URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

# of a statement that reads much
SCAN: Final = "SETTINGS max_threads = 4"
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0"})


def bind(statement: str, *values: Any) -> str:
    """The statement with its values where `?` stands; a list or a tuple in parentheses.

    Raises:
        TypeError: a value of another type than str, int, float, bytes and sequences of these.
        ValueError: not as many values as marks.
    """
    pieces = statement.split("?")
    if len(pieces) != len(values) + 1:
        raise ValueError(f"{len(pieces) - 1} marks and {len(values)} values")
    bound = [pieces[0]]
    for value, piece in zip(values, pieces[1:]):
        bound += [literal(value), piece]
    return "".join(bound)


def literal(value: Any) -> str:
    """A value as ClickHouse reads it."""
    if isinstance(value, str):
        return f"'{value.translate(_ESCAPES)}'"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return f"unhex('{value.hex()}')"
    if isinstance(value, Sequence):
        # one element alone is no tuple without its comma
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    raise TypeError(f"{type(value).__name__} cannot stand in a statement")


def keys(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Keys to look for with IN, each once."""
    return list(dict.fromkeys(map(tuple, rows)))
