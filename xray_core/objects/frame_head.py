"""The first rows of a frame, a column or an array, so that a reader sees what is in it. Reads no more than it shows.

Knows pandas, polars, pyarrow and numpy by their names and loads none of them. Of a user's subclass nothing is read: slicing it would
call the user's constructor. A lazy frame is not run.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from xray_core.objects.structure import library_of
from xray_core.safety import reraise_interrupt

MAX_ROWS: Final = 5
MAX_COLUMNS: Final = 20


def head_of(value: Any) -> dict[str, Any]:
    """`{columns: {name: type}, head: rows}` of a frame, `{head: values}` of a column; empty for anything else.

    Rows are dicts, so that a column named as a secret is treated as one. What is in them is not yet cleaned.
    """
    kind = type(value)
    library = library_of(kind)
    read = _READERS.get((library, kind.__name__)) if library is not None else None
    try:
        return read(value) if read is not None else {}
    except Exception as error:  # noqa: BLE001  # an exotic column type: the shape is shown all the same
        reraise_interrupt(error)
        return {}


def _pandas_frame(value: Any) -> dict[str, Any]:
    shown = value.iloc[:MAX_ROWS, :MAX_COLUMNS]
    names = list(shown.columns)
    cells = [shown.iloc[:, n].tolist() for n in range(len(names))]
    return {"columns": _named(names, map(str, shown.dtypes)), "head": [_named(names, row) for row in zip(*cells)]}


def _pandas_column(value: Any) -> dict[str, Any]:
    return {"head": value[:MAX_ROWS].tolist() if not hasattr(value, "iloc") else value.iloc[:MAX_ROWS].tolist()}


def _polars_frame(value: Any) -> dict[str, Any]:
    shown = value[:MAX_ROWS, :MAX_COLUMNS]
    return {"columns": _named(shown.columns, map(str, shown.dtypes)), "head": shown.to_dicts()}


def _polars_column(value: Any) -> dict[str, Any]:
    return {"head": value.head(MAX_ROWS).to_list()}


def _arrow_frame(value: Any) -> dict[str, Any]:
    fields = list(islice(value.schema, MAX_COLUMNS))
    shown = value.slice(0, MAX_ROWS)
    cells = [shown.column(n).to_pylist() for n in range(len(fields))]
    names = [field.name for field in fields]
    return {
        "columns": _named(names, (str(field.type) for field in fields)),
        "head": [_named(names, row) for row in zip(*cells)],
    }


def _arrow_column(value: Any) -> dict[str, Any]:
    return {"head": value.slice(0, MAX_ROWS).to_pylist()}


def _numpy_array(value: Any) -> dict[str, Any]:
    if value.ndim == 0 or value.ndim > 2:
        return {}
    return {"head": (value[:MAX_ROWS] if value.ndim == 1 else value[:MAX_ROWS, :MAX_COLUMNS]).tolist()}


def _named(names: list[Any], values: Any) -> dict[Any, Any]:
    """By name; a name that stands twice gets its place after it."""
    named: dict[Any, Any] = {}
    for place, (name, value) in enumerate(zip(names, values)):
        named[f"{name} ({place})" if type(name) is str and name in named else name] = value
    return named


_READERS: Final = {
    ("pandas", "DataFrame"): _pandas_frame,
    ("pandas", "Series"): _pandas_column,
    ("pandas", "Index"): _pandas_column,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_column,
    ("pyarrow", "Table"): _arrow_frame,
    ("pyarrow", "RecordBatch"): _arrow_frame,
    ("pyarrow", "ChunkedArray"): _arrow_column,
    ("numpy", "ndarray"): _numpy_array,
}
