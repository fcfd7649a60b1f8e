"""How a value is written, beside what it is: types, the order of fields, the index of a frame.

Fingerprints and sums compare by value: 5 is 5.0, a tuple is a list, a dict is one whatever the order of its keys. Code may tell
these apart, so two values prove that a step was given the same only where their forms are equal too. Runs no code of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import xxhash

from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.structure import library_of, type_name, view
from xray_core.safety import reraise_interrupt

UNKNOWN: Final = ""  # of what could not be looked at, or not whole: never equal to another
_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 32
_PLAIN: Final[Mapping[type, str]] = {str: "s", int: "i", float: "f", bool: "b", type(None): "n"}
_DICTS: Final = frozenset({dict})
_TEXTS: Final = frozenset({str})


class _UnknownError(Exception):
    """It cannot be told whole."""


def form(value: Any) -> str:
    """8 hex digits, equal where two values are of the same types and in the same order; `UNKNOWN` where that cannot be told."""
    walk = _Walk()
    try:
        walk.visit(value, 0)
    except Exception as error:  # noqa: BLE001  # too large, or a collection that changed under our hands
        reraise_interrupt(error)
        return UNKNOWN
    return digest(walk.tokens)


def digest(tokens: Iterable[str]) -> str:
    """The form of what these say."""
    return xxhash.xxh3_64_hexdigest("\0".join(tokens).encode("utf-8", "surrogatepass"))[:8]


def kinds_of(values: Sequence[Any]) -> str:
    """The types of values: one where all share it, else that of each in its place."""
    kinds = set(map(type, values))
    if len(kinds) <= 1:
        return "".join(map(_name, kinds))
    return "".join([_PLAIN.get(type(each)) or f"<{type_name(type(each))}>" for each in values])


def of_frame(frame: Any) -> list[str]:
    """The columns of a frame with their types, and the index of one of pandas.

    Raises:
        Exception: it cannot be told.
    """
    if hasattr(frame, "dtypes"):  # pandas and polars
        kinds = [str(each) for each in frame.dtypes]
    elif hasattr(frame, "schema"):  # pyarrow
        kinds = [str(each.type) for each in frame.schema]
    else:
        raise _UnknownError
    names = frame.column_names if hasattr(frame, "column_names") else frame.columns
    told = [type(frame).__name__, *chain.from_iterable(zip(map(str, names), kinds))]
    return told + _of_index(frame.index) if library_of(type(frame)) == "pandas" else told


def _of_index(index: Any) -> list[str]:
    if type(index).__name__ == "RangeIndex":
        return [f"{index.start}:{index.stop}:{index.step}"]
    made = fingerprint(index)
    if made["partial"]:
        raise _UnknownError
    return [str(index.dtype), str(made["exact"])]


def _name(kind: type) -> str:
    return _PLAIN.get(kind) or type_name(kind)


class _Walk:
    __slots__ = ("nodes", "tokens")

    def __init__(self) -> None:
        self.nodes = _MAX_NODES
        self.tokens: list[str] = []

    def visit(self, value: Any, depth: int) -> None:
        self.nodes -= 1
        if self.nodes < 0 or depth > _MAX_DEPTH:
            raise _UnknownError
        kind = type(value)
        plain = _PLAIN.get(kind)
        if plain is not None:
            self.tokens.append(plain)
        elif kind is dict:
            self._map(list(value.items()), depth)
        elif kind is list or kind is tuple:
            self.tokens.append(kind.__name__)
            self._sequence(value, depth)
        else:
            self._other(value, depth)

    def _map(self, pairs: Sequence[tuple[Any, Any]], depth: int) -> None:
        self.tokens.append("{")
        for key, value in pairs:
            self.tokens.append(key if type(key) is str else _name(type(key)))
            self.visit(value, depth + 1)
        self.tokens.append("}")

    def _sequence(self, values: Sequence[Any], depth: int) -> None:
        kinds = set(map(type, values))
        if kinds <= _PLAIN.keys():
            self.tokens.append(kinds_of(values))
        elif kinds == _DICTS and self._records(values):
            return
        else:
            for each in values:
                self.visit(each, depth + 1)

    def _records(self, rows: Sequence[dict[Any, Any]]) -> bool:
        """Those of the same plain fields column by column, which is quicker; False: they are not all of the same."""
        names = list(rows[0])
        if not set(map(type, names)) <= _TEXTS or len(set(map(tuple, rows))) != 1:
            return False
        tokens = ["records", *names]
        for name in names:
            values = [row[name] for row in rows]
            if not set(map(type, values)) <= _PLAIN.keys():
                return False
            tokens.append(kinds_of(values))
        self.tokens += tokens
        return True

    def _other(self, value: Any, depth: int) -> None:
        kind = type(value)
        if library_of(kind) is not None and not isinstance(value, (int, float, str)):
            self.tokens += self._of_library(value)
            return
        seen = view(value, self.nodes)
        self.tokens.append(type_name(kind))
        if seen.kind in ("atom", "text"):
            return
        if seen.kind == "map":
            self._map(seen.value, depth)
        elif seen.kind == "sequence" and len(seen.value) == seen.size:
            self._sequence(seen.value, depth)
        elif seen.kind == "set":
            self.tokens += sorted({_name(type(each)) for each in seen.value})
        elif kind not in (bytes, bytearray):
            raise _UnknownError

    def _of_library(self, value: Any) -> list[str]:
        if hasattr(value, "columns") or hasattr(value, "schema"):
            return of_frame(value)
        told = [type_name(type(value)), str(getattr(value, "dtype", None) or getattr(value, "type", ""))]
        return told + _of_index(value.index) if hasattr(value, "index") and hasattr(value.index, "dtype") else told
