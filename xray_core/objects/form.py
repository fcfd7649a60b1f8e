"""How a value is written, beside what it is: types, the order of fields, the index of a frame.

Fingerprints and sums compare by value: 5 is 5.0, a tuple is a list, a dict is one whatever the order of its keys. Code may tell
these apart, so two values prove that a step was given the same only where their forms are equal too. Runs no code of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import xxhash

from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.structure import library_of, reader_of_unshown, type_name, view
from xray_core.safety import reraise_interrupt

UNKNOWN: Final = ""  # of what could not be looked at, or not whole: never equal to another
_MAX_NODES: Final = 20_000
_MAX_CELLS: Final = 100_000  # of columns of objects, of which types alone are looked at: 30 ns each
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


def _name(kind: type) -> str:
    return _PLAIN.get(kind) or type_name(kind)


class _Walk:
    __slots__ = ("cells", "nodes", "tokens", "unshown")

    def __init__(self) -> None:
        self.nodes = _MAX_NODES
        self.cells = _MAX_CELLS
        self.unshown: dict[int, Callable[[Any], list[tuple[str, Any]]]] = {}  # by type, which the value keeps alive
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
            self._of_library(value)
            return
        seen = view(value, self.nodes)
        self.tokens.append(type_name(kind))
        read = self.unshown.get(id(kind))
        if read is None:
            read = self.unshown[id(kind)] = reader_of_unshown(kind)
        for name, each in read(value):
            self.tokens.append(name)
            self._label(each)
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

    def _of_library(self, value: Any) -> None:
        if hasattr(value, "columns") or hasattr(value, "schema"):
            self._frame(value)
            return
        self.tokens += [type_name(type(value)), self._dtype(value)]
        if hasattr(value, "flags") and hasattr(value.flags, "c_contiguous"):
            self.tokens.append(str(value.flags.c_contiguous))
        if hasattr(value, "index") and hasattr(value.index, "dtype"):
            self._index(value.index)
        self._label([getattr(value, name, None) for name in ("name", "attrs")])

    def _frame(self, frame: Any) -> None:
        """The columns with their names and types, and the index of one of pandas."""
        names = list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)
        self.tokens.append(type(frame).__name__)
        self._label([*names, getattr(getattr(frame, "schema", None), "metadata", None)])
        is_pandas = library_of(type(frame)) == "pandas"
        for place, name in enumerate(names):
            self.tokens.append(self._dtype(frame.iloc[:, place] if is_pandas else frame[name]))
        if is_pandas:
            self._label([*frame.columns.names, frame.attrs])
            self._index(frame.index)

    def _index(self, index: Any) -> None:
        self._label(list(index.names))
        if type(index).__name__ == "RangeIndex":
            self.tokens.append(f"{index.start}:{index.stop}:{index.step}")
        else:
            self.tokens += [self._dtype(index), _print(index)]

    def _label(self, label: Any) -> None:
        self.visit(label, 1)
        self.tokens.append(_print(label))

    def _dtype(self, column: Any) -> str:
        """The type of a column, of categories with their order; of objects that of each."""
        dtype: Any = getattr(column, "dtype", None)
        told = str(dtype if dtype is not None else getattr(column, "type", ""))
        kind = told.lower()
        if kind == "category":
            return f"{told}{dtype.ordered}{self._dtype(dtype.categories)}{_print(dtype.categories)}"
        if kind.startswith("enum"):
            return told + _print(dtype.categories)
        if kind.startswith(("categorical", "dictionary")) or (kind == "object" and told != kind):
            raise _UnknownError  # the order of its categories is not told, or polars holds what it does not know
        if kind == "object":
            self._objects(column)
        return told

    def _objects(self, column: Any) -> None:
        values = column.tolist()
        self.cells -= len(values)
        if self.cells < 0:
            raise _UnknownError
        kinds = set(map(type, values))
        if kinds <= _PLAIN.keys():
            self.tokens.append(kinds_of(values))
        else:
            self._sequence(values, 1)


def _print(values: Any) -> str:
    made = fingerprint(values)
    if made["partial"]:
        raise _UnknownError
    return str(made["exact"])
