"""Copies of small plain values, taken where a look at the values has to wait: what the program does to them afterwards does not show.

Numbers, texts and nulls, and the built-in containers of these, however nested. Anything else is no plain value: to copy it would
take its own code, or more than a moment.
"""

from __future__ import annotations

from itertools import chain
from sys import getsizeof
from typing import Any, Final

MAX_CELLS: Final = 1_000
MAX_BYTES: Final = 64_000  # of the cells themselves
_MAX_DEPTH: Final = 6
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_ROWS: Final = frozenset({dict})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})


class NotPlainError(Exception):
    """A value that is not plain, or not small."""


def copied(value: Any) -> Any:
    """A value that is equal, in the same types and order, and shares with it only what nobody can change.

    Raises:
        NotPlainError: see above.
    """
    cells: list[Any] = []
    try:
        copy = _copied(value, cells, 0)
        if len(cells) > MAX_CELLS or not set(map(type, cells)) <= _SCALARS or sum(map(getsizeof, cells)) > MAX_BYTES:
            raise NotPlainError
    except NotPlainError:
        raise
    except Exception as error:  # a container that another thread changes, or whose size nobody can tell
        raise NotPlainError from error
    return copy


def _copied(value: Any, cells: list[Any], depth: int) -> Any:
    """The copy; what it holds besides containers is added to `cells`, names too."""
    kind = type(value)
    if kind in _SCALARS:
        cells.append(value)
        return value
    if depth > _MAX_DEPTH or kind not in _CONTAINERS or len(value) + len(cells) > MAX_CELLS:
        raise NotPlainError
    copy = kind(value)
    if kind is dict:
        cells += copy
        if set(map(type, copy.values())) <= _SCALARS:
            cells += copy.values()
            return copy
        return {name: _copied(each, cells, depth + 1) for name, each in copy.items()}
    kinds = set(map(type, copy))
    if kinds <= _SCALARS:
        cells += copy
        return copy
    if kind is list and kinds == _ROWS:
        rows = list(map(dict.copy, copy))
        if sum(map(len, rows)) + len(cells) > MAX_CELLS:
            raise NotPlainError
        values = list(chain.from_iterable(map(dict.values, rows)))
        if set(map(type, values)) <= _SCALARS:
            cells += values
            cells += set(chain.from_iterable(rows))
            return rows
    if kind is not list and kind is not tuple:  # a set of tuples: they would be copied in another order
        raise NotPlainError
    return kind([_copied(each, cells, depth + 1) for each in copy])
