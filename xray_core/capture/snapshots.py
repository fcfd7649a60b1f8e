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
_FLAT: Final = frozenset({list, tuple, set, frozenset})


class NotPlainError(Exception):
    """A value that is not plain, or not small."""


def copied(value: Any) -> Any:
    """A value that is equal, in the same types and order, and shares with it only what nobody can change.

    Raises:
        NotPlainError: see above.
    """
    room = _Room()
    try:
        return room.copied(value, 0)
    except NotPlainError:
        raise
    except Exception as error:  # a container that another thread changes, or whose size nobody can tell
        raise NotPlainError from error


class _Room:
    __slots__ = ("bytes", "cells")

    def __init__(self) -> None:
        self.cells = MAX_CELLS
        self.bytes = MAX_BYTES

    def copied(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            self._take((value,))
            return value
        if depth > _MAX_DEPTH or (kind is not dict and kind not in _FLAT) or len(value) > self.cells:
            raise NotPlainError
        if kind is dict:
            return self._map(dict(value), depth)
        copy = kind(value)
        kinds = set(map(type, copy))
        if kinds <= _SCALARS:
            self._take(copy)
            return copy
        if kind is list and kinds == _ROWS:
            rows = list(map(dict.copy, copy))
            cells = list(chain.from_iterable(map(dict.values, rows)))
            if set(map(type, cells)) <= _SCALARS:
                self._take_names(set(chain.from_iterable(rows)))
                self._take(cells)
                return rows
        if kind is not list and kind is not tuple:  # a set of tuples: they would be copied in another order
            raise NotPlainError
        return kind([self.copied(each, depth + 1) for each in copy])

    def _map(self, copy: dict[Any, Any], depth: int) -> dict[Any, Any]:
        self._take_names(copy)
        if set(map(type, copy.values())) <= _SCALARS:
            self._take(copy.values())
            return copy
        return {name: self.copied(each, depth + 1) for name, each in copy.items()}

    def _take_names(self, names: Any) -> None:
        if not set(map(type, names)) <= _SCALARS:
            raise NotPlainError
        self._take(names)

    def _take(self, cells: Any) -> None:
        self.cells -= len(cells)
        self.bytes -= sum(map(getsizeof, cells))
        if self.cells < 0 or self.bytes < 0:
            raise NotPlainError
