"""Frames and arrays of numpy, pandas, polars and pyarrow, fingerprinted whole: a 64-bit hash for each cell, by its value.

Equal cells have equal hashes whatever the library and the type of the column: 1 and 1.0, a null and NaN, text and categories.
Bounded: what is larger than the bounds below, or needs numpy where the pipeline has not loaded it, is not read (None).
Imports none of the libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import xxhash

MAX_NUMBERS: Final = 1_000_000  # cells; 20 ns each, in the caller's thread
MAX_TEXTS: Final = 100_000  # cells; 100 ns each
MAX_COLUMNS: Final = 1_000
_LIBRARIES: Final = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_FRAMES: Final = frozenset({"DataFrame", "Table", "RecordBatch"})
_COLUMNS: Final = frozenset({"Series", "Index", "ChunkedArray", "Array", "ExtensionArray"})
_NULL: Final = 0x9E37_79B9_7F4A_7C15
_FLAG: Final = 0x5851_F42D_4C95_7F2D  # a flag is no number, a time neither
_TIME: Final = 0x1405_7B7E_F767_814F
_xxh3 = xxhash.xxh3_64_intdigest
_digest = xxhash.xxh3_64_digest

# What values cost at least, on a machine of today.
_COST_OF_NUMBER_S: Final = 20e-9
_COST_OF_BARE_NUMBER_S: Final = 2e-9
_COST_OF_TEXT_S: Final = 100e-9
_COST_OF_COLUMN_S: Final = 20e-6

Tick = Callable[[float], None] | None
Pair = tuple[bytes, bytes]
CellHash = Callable[[Any], int]


class _TooLargeError(Exception):
    """More cells than the bounds allow."""


def read(value: Any, cell: CellHash, nodes: int, tick: Tick = None) -> Pair | list[Any] | None:
    """A frame's or array's fingerprint (exact, whatever the order of the rows); a small column's values; None: not read.

    Args:
        cell: hashes a value of no known column type.
        nodes: how many values may be given out as a list, or be handed to `cell`.
        tick: told what the reading costs at least, in seconds; raises where there is no time for it.
    """
    kind = type(value)
    if _root(kind) not in _LIBRARIES:
        return None  # a subclass's methods may be the program's
    known = {base.__name__ for base in type.__dict__["__mro__"].__get__(kind) if _root(base) in _LIBRARIES}
    numpy = sys.modules.get("numpy")
    budget = _Budget(numpy, cell, nodes)
    if tick is not None and (numpy is not None or not known & _FRAMES):
        tick(_cost_s(value, known))
    try:
        if known & _FRAMES:
            return None if numpy is None else _frame(value, budget)
        if "ndarray" in known:
            if value.ndim == 1 and value.dtype.kind not in "Mm" and len(value) <= nodes:
                return list(value.tolist())
            return _array(value, budget)
        if known & _COLUMNS:
            if len(value) <= nodes:
                return list((value.to_pylist if hasattr(value, "to_pylist") else value.to_list)())
            return None if numpy is None else _combined([("", budget.hashes(value))], len(value), numpy)
    except _TooLargeError:
        pass
    return None


def _cost_s(value: Any, known: set[str]) -> float:
    """What reading a frame, array or column costs at least, in seconds."""
    if "ndarray" in known:
        return float(value.size * (_COST_OF_NUMBER_S if value.size <= MAX_NUMBERS else _COST_OF_BARE_NUMBER_S))
    if not known & _FRAMES:
        return len(value) * _cost_of_value_s(_type_name(value))
    types = list(value.schema.types if hasattr(value, "schema") and hasattr(value.schema, "types") else value.dtypes)
    if len(types) > MAX_COLUMNS:
        return 0.0  # which is not read
    return sum(_COST_OF_COLUMN_S + len(value) * _cost_of_value_s(str(each).lower()) for each in types)


def _cost_of_value_s(type_name: str) -> float:
    return _COST_OF_TEXT_S if _is_of_texts(type_name) or type_name == "object" else _COST_OF_NUMBER_S


def _frame(frame: Any, budget: _Budget) -> Pair:
    names = list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)
    if len(names) > MAX_COLUMNS or len(set(map(str, names))) < len(names):
        raise _TooLargeError
    columns = [(str(name), budget.hashes(frame[name])) for name in names]
    index = getattr(frame, "index", None)
    if index is not None and type(index).__name__ != "RangeIndex":
        columns.append(("(index)", budget.hashes(index)))
    return _combined(columns, len(frame), budget.numpy)


def _array(array: Any, budget: _Budget) -> Pair:
    if array.dtype.kind in "biuf" and array.size > MAX_NUMBERS:
        return _large_array(array, budget)
    exact, unordered = _combined([(str(array.shape), budget.hashes(array.reshape(-1)))], array.size, budget.numpy)
    return exact, unordered if array.ndim == 1 else exact


def _large_array(array: Any, budget: _Budget) -> Pair:
    """Two nanoseconds a number, without saying whether it is the order that differs."""
    hasher = xxhash.xxh3_64(f"{array.shape}{array.dtype.kind == 'b'}".encode())
    flat = array.reshape(-1)
    for start in range(0, len(flat), MAX_NUMBERS):
        hasher.update(budget.canonical(flat[start : start + MAX_NUMBERS]))
    return hasher.digest(), hasher.digest()


def _combined(columns: Sequence[tuple[str, Any]], rows: int, numpy: Any) -> Pair:
    """Columns of cell hashes by name: the order of the columns means nothing, that of the rows does in the first alone."""
    exact = []
    row = numpy.zeros(rows, numpy.uint64)
    for name, hashes in sorted(columns, key=lambda column: column[0]):
        text = name.encode("utf-8", "surrogatepass")
        exact.append(_digest(text + b"\x00" + hashes.tobytes()))
        row += _mixed(hashes ^ numpy.uint64(_xxh3(text)), numpy)
    total = int(_mixed(row, numpy).sum(dtype=numpy.uint64)) if rows else 0
    head = b"F%d,%d:" % (rows, len(columns))
    names = b"\x00".join(sorted(name.encode("utf-8", "surrogatepass") for name, _ in columns))
    return _digest(head + b"".join(exact)), _digest(head + names + total.to_bytes(8, "little"))


def _mixed(hashes: Any, numpy: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea, Flood, 2014): spreads each bit over all others."""
    mixed = hashes ^ (hashes >> numpy.uint64(30))
    mixed *= numpy.uint64(0xBF58_476D_1CE4_E5B9)
    mixed ^= mixed >> numpy.uint64(27)
    mixed *= numpy.uint64(0x94D0_49BB_1331_11EB)
    mixed ^= mixed >> numpy.uint64(31)
    return mixed


class _Budget:
    """What is left of the bounds, and the hashing within them."""

    def __init__(self, numpy: Any, cell: CellHash, nodes: int) -> None:
        self.numpy = numpy
        self._cell = cell
        self._left = {"numbers": MAX_NUMBERS, "times": MAX_NUMBERS, "texts": MAX_TEXTS, "others": nodes}

    def hashes(self, column: Any) -> Any:
        """A uint64 for each cell of a column."""
        kind = _kind_of(column)
        self._left[kind] -= len(column)
        if self._left[kind] < 0:
            raise _TooLargeError
        if kind == "numbers":
            return self._numbers(column)
        if kind == "times":
            return self._times(column)
        values = _listed(column)
        return self.numpy.fromiter(map(self._cell_of, values), self.numpy.uint64, len(values))

    def _numbers(self, column: Any) -> Any:
        numpy = self.numpy
        flags = _type_name(column).startswith("bool")
        values = column if isinstance(column, numpy.ndarray) else numpy.asarray(column.to_numpy())
        if values.dtype.kind == "O":  # with nulls
            values = numpy.array([float("nan") if _is_null(each) else each for each in _listed(column)], numpy.float64)
        bits = self.canonical(values)
        if flags:
            bits[bits != self.numpy.uint64(_NULL)] ^= numpy.uint64(_FLAG)
        return _mixed(bits, numpy)

    def canonical(self, values: Any) -> Any:
        """Numbers as the bits of doubles, one for each value; where these have too few digits, as integers."""
        numpy = self.numpy
        if values.dtype.kind in "iu" and len(values) and max(abs(int(values.max())), abs(int(values.min()))) >= 1 << 53:
            return values.astype(numpy.uint64) ^ numpy.uint64(1)
        doubles = values.astype(numpy.float64)
        doubles += 0.0  # -0.0 becomes 0.0
        bits = doubles.view(numpy.uint64)
        bits[numpy.isnan(doubles)] = _NULL
        return bits

    def _times(self, column: Any) -> Any:
        """In nanoseconds, UTC; a zone changes how a moment is shown, not when it is."""
        numpy = self.numpy
        if getattr(getattr(column, "dtype", None), "tz", None) is not None and _root(type(column)) == "pandas":
            column = (column.dt if hasattr(column, "dt") else column).tz_convert(None)
        values = column if isinstance(column, numpy.ndarray) else numpy.asarray(column.to_numpy())
        bits = values.astype("M8[ns]").view(numpy.int64).astype(numpy.uint64) ^ numpy.uint64(_TIME)
        bits[numpy.isnat(values)] = _NULL
        return _mixed(bits, numpy)

    def _cell_of(self, value: Any) -> int:
        if type(value) is str:
            return _xxh3(value.encode("utf-8", "surrogatepass"))
        if _is_null(value):
            value = float("nan")
        if type(value) in (int, float, bool) and (type(value) is not int or -(1 << 53) < value < 1 << 53):
            return int(self._numbers(self.numpy.array([value]))[0])
        return self._cell(value)


def _kind_of(column: Any) -> str:
    name = _type_name(column)
    if name.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
        return "numbers"
    if name.startswith(("datetime", "timestamp", "date32", "date64")) or name == "date":
        return "times"
    return "texts" if _is_of_texts(name) or (name == "object" and _all_texts(column)) else "others"


def _is_of_texts(name: str) -> bool:
    return name.startswith(("str", "large_string", "<u", "utf8"))


def _type_name(column: Any) -> str:
    dtype = getattr(column, "dtype", None)
    return str(dtype if dtype is not None else getattr(column, "type", None)).lower()


def _all_texts(column: Any) -> bool:
    return len(column) <= MAX_TEXTS and set(map(type, column.tolist())) <= {str, type(None), float}


def _listed(column: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    raise _TooLargeError


def _is_null(value: Any) -> bool:
    if value is None or (type(value) is float and value != value):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def _root(kind: type) -> str:
    module = type.__dict__["__module__"].__get__(kind)
    return module.partition(".")[0] if isinstance(module, str) else ""
