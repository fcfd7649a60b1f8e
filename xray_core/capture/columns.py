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

from xray_core.item_ids import MAX_ITEM_ID_CHARS, SEPARATOR, NullIdError, item_id_text

LIBRARIES: Final = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_FRAMES: Final = frozenset({"DataFrame", "Table", "RecordBatch"})
_LAZY: Final = frozenset({"LazyFrame", "Expr", "Expression", "Dataset", "Scanner", "LazyGroupBy"})
_LISTS: Final[tuple[type, ...]] = (list, tuple, set, frozenset, dict, range, deque, type({}.keys()), type({}.values()))
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

    texts: list[bytes]
    rows: Sequence[int] | None = None
    nulls: int = 0
    odd: int = 0

    @property
    def size(self) -> int:
        """The number of rows, those without an id included."""
        return len(self.texts) + self.nulls + self.odd


def hash_all(texts: Iterable[bytes], seed: int = 0) -> array[int]:
    """The 64-bit xxh3 of each text, as an array("Q"). With 0 for `seed` it is `verdicts.hash64` of the same text."""
    return array("Q", map(xxh3, texts, repeat(seed)) if seed else map(xxh3, texts))


def hash_ids(items: Any, key: str | Sequence[str] | None = None) -> array[int]:
    """The 64-bit fingerprints of the ids of a column, a list or a frame, in order; rows without an id are left out.

    Raises:
        NotIdsError: as `read_ids` does.
    """
    return hash_all(read_ids(items, key).texts)


def read_ids(items: Any, key: str | Sequence[str] | None = None) -> Ids:
    """The ids of `items`.

    Args:
        items: a list, tuple, set, dict (its keys), range or dict view of ids; a numpy, pandas, polars or pyarrow column or
            index; with a `key` a frame.
        key: the column of a frame that holds the ids; several make a composite.

    Raises:
        NotIdsError: anything else, and a mask (booleans are no ids).
    """
    kind = kind_of(items)
    if kind == "frame":
        if key is None:
            raise NotIdsError("a frame is no list of ids: pass its column of ids, as in df['id']")
        names = [key] if isinstance(key, str) else list(key)
        return composite([items[name] for name in names])
    if kind == "lazy":
        raise NotIdsError(f"a {type(items).__name__} has no values yet: collect it, and pass the column of ids")
    if kind == "column":
        return _of_column(items)
    if isinstance(items, (str, bytes)):
        raise NotIdsError("one text is no list of ids: pass a list, or use the method for one item")
    values: Any = items
    if not isinstance(items, _LISTS):
        raise NotIdsError(f"pass the ids as a list, tuple, set or column, not {type(items).__qualname__}")
    return spell(values)


def composite(columns: Sequence[Any]) -> Ids:
    """The ids that several columns of one frame make together; of one column, its values."""
    if len(columns) == 1:
        return _of_column(columns[0])
    parts = [values_of(column) for column in columns]
    return _spell_tuples(list(zip(*parts)), parts)


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


def _of_column(column: Any) -> Ids:
    dtype = getattr(column, "dtype", None)
    if dtype is None:
        dtype = getattr(column, "type", None)
    name = str(dtype).lower()
    if name.startswith("bool"):
        raise NotIdsError("a mask is no list of ids: pass the ids where it is true, as in df['id'][mask]")
    if len(getattr(column, "shape", ())) > 1:
        raise NotIdsError("an array of several dimensions is no list of ids: pass one column of it")
    library = type(column).__module__.partition(".")[0]
    if library == "polars" and name in _POLARS_PLAIN:
        return _from_bytes(_polars_texts(column), column)
    if library == "pyarrow" and name in ("string", "large_string", "string_view"):
        return _from_bytes(column.cast("binary" if name == "string" else "large_binary").to_pylist(), column)
    if library == "numpy" and name.startswith(("datetime64", "timedelta64")):
        return spell(list(column))  # `tolist` would give nanoseconds as plain numbers
    return spell(values_of(column))


# Types whose text is, in polars, the one spelling.
_POLARS_PLAIN: Final = frozenset(
    {"string", "str", "utf8", "int8", "int16", "int32", "int64", "int128", "uint8", "uint16", "uint32", "uint64"}
)


def _polars_texts(column: Any) -> list[bytes | None]:
    """Texts and whole numbers, spelled and encoded by polars itself: a third of the time."""
    polars = sys.modules["polars"]
    if not str(column.dtype).lower().startswith("str"):
        column = column.cast(polars.String)
    texts: list[bytes | None] = column.cast(polars.Binary).to_list()
    return texts


def _from_bytes(texts: list[bytes | None], column: Any) -> Ids:
    if None in texts or not _short(texts):
        return spell(values_of(column))
    return Ids(texts)  # type: ignore[arg-type]  # no None among them


def _short(texts: Collection[Any]) -> bool:
    return not texts or max(map(len, texts)) <= MAX_ITEM_ID_CHARS


def spell(values: Collection[Any]) -> Ids:
    """The ids in a collection of values.

    Raises:
        NotIdsError: all of them are booleans: a mask.
    """
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is bool:
            raise NotIdsError("a mask is no list of ids: pass the ids where it is true")
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
        except Exception:  # noqa: BLE001  # one odd id costs that id alone
            odd += 1
    return Ids(texts, rows if nulls or odd else None, nulls, odd)
