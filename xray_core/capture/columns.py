"""Columns and lists of ids, read and fingerprinted as a whole: lists, numpy, pandas, polars and pyarrow.

`read_ids` spells every id as `item_ids.item_id_text` does, `hash_all` fingerprints them. Both work column by column where
the values are of one kind. Imports none of the libraries: what is handed in brings its own. Knows nothing of steps.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import xxhash

from xray_core.capture import packed_texts
from xray_core.capture.packed_texts import PackedTexts
from xray_core.item_ids import MAX_ITEM_ID_CHARS, SEPARATOR, NullIdError, item_id_text
from xray_core.safety import reraise_interrupt

LIBRARIES: Final = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_FRAMES: Final = frozenset({"DataFrame", "Table", "RecordBatch"})
_LAZY: Final = frozenset({"LazyFrame", "Expr", "Expression", "Dataset", "Scanner", "LazyGroupBy"})
LISTS: Final[tuple[type, ...]] = (list, tuple, set, frozenset, dict, range, deque, type({}.keys()), type({}.values()))
_SEPARATOR: Final = SEPARATOR.encode()

xxh3 = xxhash.xxh3_64_intdigest


class NotIdsError(TypeError):
    """What was handed in is no list of ids: a frame, a text, a mask, something lazy. The message says what to pass."""


class Ids(NamedTuple):
    """The ids of a collection, in order.

    Attributes:
        texts: one spelling each, UTF-8 (`item_id_text`), of the rows that have one.
        rows: the row of each of `texts`; None where every row has an id.
        nulls: rows without an id (None, NaN, NaT).
        odd: rows whose id is of a type that cannot be read.
    """

    texts: Sequence[bytes]
    rows: Sequence[int] | None = None
    nulls: int = 0
    odd: int = 0

    @property
    def size(self) -> int:
        """The number of rows, those without an id included."""
        return len(self.texts) + self.nulls + self.odd


def hash_all(texts: Iterable[bytes], seed: int = 0) -> array[int]:
    """The 64-bit xxh3 of each text, as an array("Q"). With 0 for `seed` it is `verdicts.hash64` of the same text."""
    if type(texts) is PackedTexts:
        return texts.hashes(seed)
    return array("Q", map(xxh3, texts, repeat(seed)) if seed else map(xxh3, texts))


def read_ids(items: Any, key: str | Sequence[str] | None = None) -> Ids:
    """The ids of `items`; see `id_columns` for what those may be, and what it raises."""
    return ids_in(id_columns(items, key))


def id_columns(items: Any, key: str | Sequence[str] | None = None) -> list[Any]:
    """The column or columns that hold the ids of `items`; several make a composite.

    Args:
        items: a list, tuple, set, dict (its keys), range or dict view of ids; a numpy, pandas, polars or pyarrow column or
            index; with a `key` a frame.
        key: the column of a frame that holds the ids, or the name of a level of its index; several make a composite.

    Raises:
        NotIdsError: anything else, and a mask (booleans are no ids).
    """
    kind = kind_of(items)
    if kind == "frame":
        if key is None:
            raise NotIdsError("a frame is no list of ids: pass its column of ids, as in df['id']")
        return [column_of(items, name) for name in ([key] if isinstance(key, str) else key)]
    if kind == "lazy":
        raise NotIdsError(f"a {type(items).__name__} has no values yet: collect it, and pass the column of ids")
    if kind == "column":
        dtype = getattr(items, "dtype", None)
        name = str(dtype if dtype is not None else getattr(items, "type", None)).lower()
        if name.startswith("bool"):
            raise NotIdsError("a mask is no list of ids: pass the ids where it is true, as in df['id'][mask]")
        if len(getattr(items, "shape", ())) > 1:
            raise NotIdsError("an array of several dimensions is no list of ids: pass one column of it")
        return [items]
    values: Any = items  # which mypy would narrow to `object`
    if isinstance(items, (str, bytes)):
        raise NotIdsError("one text is no list of ids: pass a list, or use the method for one item")
    if not isinstance(items, LISTS):
        raise NotIdsError(f"pass the ids as a list, tuple, set or column, not {type(items).__qualname__}")
    if values and set(map(type, values)) == {bool}:
        raise NotIdsError("a mask is no list of ids: pass the ids where it is true")
    return [items]


def plain_values(column: Any) -> list[Any]:
    """The values of a column, times as times: numpy's own `tolist` makes plain numbers of them."""
    if getattr(getattr(column, "dtype", None), "kind", "") in ("M", "m") and type(column).__module__ == "numpy":
        return list(column)
    return values_of(column)


def ids_in(columns: Sequence[Any]) -> Ids:
    """The ids that the columns make together; of one column, its values."""
    if len(columns) > 1:
        parts = [values_of(column) for column in columns]
        return _spell_tuples(list(zip(*parts)), parts)
    column = columns[0]
    if kind_of(column) is None:
        return spell(column)
    dtype = getattr(column, "dtype", None)
    name = str(dtype if dtype is not None else getattr(column, "type", None)).lower()
    library = type(column).__module__.partition(".")[0]
    if library == "polars" and name in _POLARS_PLAIN:
        return _polars_ids(column, name)
    if library == "pandas" and getattr(dtype, "storage", "") == "pyarrow":
        column = getattr(column, "array", column).__arrow_array__()  # texts that need not become Python's
        library, name = "pyarrow", str(column.type)
    if library == "pyarrow" and name in ("string", "large_string"):
        return _arrow_ids(column, name)
    return spell(plain_values(column))


def part_of(column: Any, start: int, stop: int) -> Any:
    """The rows from `start` up to `stop` of a column or list."""
    library = type(column).__module__.partition(".")[0]
    if library == "pyarrow":
        return column.slice(start, stop - start)
    if library == "pandas" and hasattr(column, "iloc"):
        return column.iloc[start:stop]
    return column[start:stop]


def rows_of(column: Any, rows: Sequence[int]) -> list[Any]:
    """The values in some rows of a column or list."""
    library = type(column).__module__.partition(".")[0]
    if library == "polars":
        return list(column.gather(rows).to_list())
    if library == "pyarrow":
        return list(column.take(sys.modules["pyarrow"].array(rows)).to_pylist())
    if library == "pandas":
        return list((column.iloc if hasattr(column, "iloc") else column)[list(rows)].tolist())
    if library == "numpy":
        return list(column[list(rows)].tolist())
    return [column[row] for row in rows]


def names_of(frame: Any) -> list[Any]:
    """The names of a frame's columns."""
    return list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)


def column_of(frame: Any, name: Any) -> Any:
    """A column of a frame, or a level of its index.

    Raises:
        NotIdsError: there is none of that name.
    """
    names = names_of(frame)
    if name in names:
        return frame[name]
    index = getattr(frame, "index", None)
    if index is not None and name in index.names:
        return index.get_level_values(name)
    raise NotIdsError(f"the frame has no column {name!r}; it has {', '.join(map(str, names[:20]))}")


def kind_of(value: Any) -> str | None:
    """Say "frame", "column" or "lazy" for an object of a known library (or a subclass of one); None for anything else."""
    for base in type(value).__mro__:
        module = base.__module__
        library = module.partition(".")[0] if type(module) is str else ""
        name = base.__name__
        if library == "numpy":
            if name == "ndarray":
                return "column" if value.ndim else None
        elif library in LIBRARIES:
            if name in _FRAMES:
                return "frame"
            if name in _LAZY:
                return "lazy"
            if hasattr(base, "to_list") or hasattr(base, "tolist") or hasattr(base, "to_pylist"):
                return "column"
    return None


def values_of(column: Any) -> list[Any]:
    """The values of a column as Python's own, as far as its library knows how."""
    for method in ("to_pylist", "to_list", "tolist"):  # an arrow-backed pandas column has the last two
        read = getattr(column, method, None)
        if read is not None:
            values: list[Any] = read()
            return values
    return list(column)


# Types whose text is, in polars, the one spelling.
_POLARS_PLAIN: Final = frozenset(
    {"string", "str", "utf8", "int8", "int16", "int32", "int64", "int128", "uint8", "uint16", "uint32", "uint64"}
)


def _polars_ids(column: Any, dtype: str) -> Ids:
    """Texts and whole numbers, spelled, measured and encoded by polars itself: a third of the time."""
    polars = sys.modules["polars"]
    if not dtype.startswith(("str", "utf8")):
        column = column.cast(polars.String)
    if column.null_count() or (column.str.len_bytes().max() or 0) > MAX_ITEM_ID_CHARS:
        return spell(values_of(column))
    packed = packed_texts.of_polars(column)
    return Ids(packed if packed is not None else column.cast(polars.Binary).to_list())


def _arrow_ids(column: Any, dtype: str) -> Ids:
    """Texts, measured and encoded by pyarrow itself."""
    packed = packed_texts.of_arrow(column) if not column.null_count else None
    texts = packed if packed is not None else column.cast("binary" if dtype == "string" else "large_binary").to_pylist()
    most = packed.longest if packed is not None else max(map(len, texts), default=0) if None not in texts else None
    return Ids(texts) if most is not None and most <= MAX_ITEM_ID_CHARS else spell(values_of(column))


def is_null(value: Any) -> bool:
    """Whether a value is none: None, NaN, NaT or pandas' NA."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NaTType", "NAType")
    )


def _short(texts: Collection[Any]) -> bool:
    return not texts or max(map(len, texts)) <= MAX_ITEM_ID_CHARS


def spell(values: Collection[Any]) -> Ids:
    """The ids in a collection of values."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is str:
            try:
                texts = list(map(str.encode, values))
            except UnicodeEncodeError:
                texts = []
            if len(texts) == len(values) and _short(texts):
                return Ids(texts)
        elif kind is int:
            try:
                texts = [b"%d" % value for value in values]
            except ValueError:
                texts = []
            if len(texts) == len(values) and _short(texts):
                return Ids(texts)
        elif kind is tuple:
            tuples = list(values)
            widths = set(map(len, tuples))
            if len(widths) == 1 and widths != {0}:
                return _spell_tuples(tuples, list(map(list, zip(*tuples))))
    return _one_by_one(values)


def _spell_tuples(tuples: list[tuple[Any, ...]], columns: Sequence[Sequence[Any]]) -> Ids:
    """Composite ids: part by part where no part needs an escape, which few do."""
    parts = []
    for column in columns:
        if set(map(type, column)) - {str, int}:
            return _one_by_one(tuples)
        part = spell(column)
        joined = b"".join(part.texts)
        if part.rows is not None or _SEPARATOR in joined or b"\\" in joined:
            return _one_by_one(tuples)
        parts.append(part.texts)
    texts = list(map(_SEPARATOR.join, zip(*parts)))
    return Ids(texts) if _short(texts) else _one_by_one(tuples)


def _one_by_one(values: Iterable[Any]) -> Ids:
    texts: list[bytes] = []
    rows: list[int] = []
    nulls = odd = 0
    for row, value in enumerate(values):
        try:
            texts.append(item_id_text(value).encode())
            rows.append(row)
        except NullIdError:
            nulls += 1
        except Exception as error:  # noqa: BLE001  # one odd id costs that id alone
            reraise_interrupt(error)
            odd += 1
    return Ids(texts, rows if nulls or odd else None, nulls, odd)
