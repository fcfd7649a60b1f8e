"""Masks over the rows of a pandas, polars or pyarrow frame: which reason each row falls for, and the rows that stay.

Everything here is the program's own filtering and may raise as its library would; what is recorded of it is capture's
(`many.py`). Imports none of the libraries: the frame brings its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from xray_core.capture.columns import kind_of
from xray_core.plurals import plural

_MAX_BYTE: Final = 255  # so many reasons are numbered by bytes: what `bulk.py` is fastest with


class Filtered(NamedTuple):
    """What masks make of a frame.

    Attributes:
        kept: the rows that no mask rejects, a frame of the same type.
        codes: for each row 0 if it stays, else the number of the first mask that is true, from 1.
        nulls: how often a mask was neither true nor false; it counts as false.
    """

    kept: Any
    codes: Sequence[int]
    nulls: int


def filtered(frame: Any, masks: Mapping[str, Any]) -> Filtered:
    """Reject rows of `frame` by the first mask that is true.

    Raises:
        TypeError: no frame, a lazy one, or a mask that is not of booleans.
        ValueError: a mask of another length, or a pandas mask with another index.
    """
    kind = kind_of(frame)
    if kind == "lazy":
        raise TypeError(
            f"step.filter needs the rows, and a {type(frame).__name__} has none yet: pass frame.collect(), or filter it "
            "lazily and tell step.judge(ids, reasons) once it is collected"
        )
    if kind != "frame":
        raise TypeError(f"step.filter takes a pandas, polars or pyarrow frame, not {type(frame).__qualname__}")
    for library, work in (("pandas", _pandas), ("polars", _polars), ("pyarrow", _pyarrow)):
        if any(base.__module__.partition(".")[0] == library for base in type(frame).__mro__):
            return work(frame, masks)
    raise TypeError(f"step.filter does not know {type(frame).__qualname__}")


def _checked(name: str, length: int, rows: int) -> None:
    if length != rows:
        raise ValueError(f"the mask of {name!r} has {plural(length, 'row')}, the frame {rows:,}")


def _not_boolean(name: str, dtype: object) -> TypeError:
    return TypeError(f"the mask of {name!r} is not of booleans but {dtype}")


# ---------------------------------------------------------------------- pandas


def _pandas(frame: Any, masks: Mapping[str, Any]) -> Filtered:
    numpy = sys.modules["numpy"]
    codes = numpy.zeros(len(frame), numpy.uint8 if len(masks) <= _MAX_BYTE else numpy.uint32)
    nulls = 0
    for code, (name, mask) in reversed(list(enumerate(masks.items(), 1))):
        true, missing = _pandas_mask(frame, str(name), mask)
        codes[true] = code
        nulls += missing
    kept = frame[codes == 0]
    return Filtered(kept, codes.tobytes() if len(masks) <= _MAX_BYTE else codes.tolist(), nulls)


def _pandas_mask(frame: Any, name: str, mask: Any) -> tuple[Any, int]:
    """A mask as a numpy array of booleans, in the order of the frame's rows; how many of it are null."""
    numpy, pandas = sys.modules["numpy"], sys.modules["pandas"]
    if not isinstance(mask, pandas.Series):
        mask = pandas.Series(_plain(mask), dtype=None if len(mask) else bool)
        _checked(name, len(mask), len(frame))
    else:
        _checked(name, len(mask), len(frame))
        if not mask.index.equals(frame.index):  # as df[mask] does: by the index, not by the place
            places = mask.index.get_indexer_for(frame.index)
            if len(places) != len(frame) or (places < 0).any():
                raise ValueError(f"the mask of {name!r} has another index than the frame")
            mask = mask.take(places)
    if mask.dtype == bool:
        return mask.to_numpy(), 0
    missing = mask.isna()
    if not set(map(type, mask[~missing].tolist())) <= {bool, numpy.bool_}:
        raise _not_boolean(name, mask.dtype)
    return mask.astype(object).where(~missing, False).astype(bool).to_numpy(), int(missing.sum())


def _plain(mask: Any) -> Any:
    """A mask of another library than the frame's as a list."""
    if isinstance(mask, (str, bytes, Mapping)) or not hasattr(mask, "__len__"):
        raise TypeError(f"a mask is a column or a list of booleans, not {type(mask).__qualname__}")
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(mask, method):
            return getattr(mask, method)()
    return list(mask)


# ---------------------------------------------------------------------- polars


def _polars(frame: Any, masks: Mapping[str, Any]) -> Filtered:
    polars = sys.modules["polars"]
    rows = frame.height
    # by numbers, since a frame may have columns of the reasons' names
    named = {f"xray {code}": (str(name), mask) for code, (name, mask) in enumerate(masks.items(), 1)}
    told = frame.with_columns(**{c: mask for c, (_, mask) in named.items() if isinstance(mask, polars.Expr)})
    columns = []
    for column, (name, mask) in named.items():
        if isinstance(mask, polars.Expr):
            series = told[column]
        elif isinstance(mask, polars.Series):
            series = mask.alias(column)
        else:
            series = polars.Series(column, _plain(mask), strict=True, dtype=None if len(mask) else polars.Boolean)
        if series.dtype == polars.Null:
            series = series.cast(polars.Boolean)
        if series.dtype != polars.Boolean:
            raise _not_boolean(name, series.dtype)
        _checked(name, len(series), rows)
        columns.append(series)
    nulls = sum(series.null_count() for series in columns)
    if not columns:
        return Filtered(frame.filter(polars.repeat(True, rows, eager=True)), bytes(rows), 0)
    chain: Any = polars
    for code, column in enumerate(named, 1):
        chain = chain.when(polars.col(column).fill_null(value=False)).then(polars.lit(code, polars.UInt32))
    codes = polars.DataFrame(columns).select(chain.otherwise(polars.lit(0, polars.UInt32)).alias("code"))["code"]
    kept = frame.filter(codes == 0)
    if len(masks) > _MAX_BYTE:
        return Filtered(kept, codes.to_list(), nulls)
    codes = codes.cast(polars.UInt8)
    return Filtered(kept, codes.to_numpy().tobytes() if "numpy" in sys.modules else bytes(codes.to_list()), nulls)


# ---------------------------------------------------------------------- pyarrow


def _pyarrow(frame: Any, masks: Mapping[str, Any]) -> Filtered:
    arrow, compute = sys.modules["pyarrow"], import_module("pyarrow.compute")
    rows = frame.num_rows
    codes: Any = arrow.array([0], arrow.uint32()).take(arrow.array([0] * rows, arrow.int64()))
    nulls = 0
    for code, (name, mask) in reversed(list(enumerate(masks.items(), 1))):
        if isinstance(mask, compute.Expression):
            raise TypeError(f"the mask of {name!r} is an expression: pass its values, as pyarrow.compute.greater(...)")
        column = mask if isinstance(mask, (arrow.Array, arrow.ChunkedArray)) else arrow.array(_plain(mask))
        if isinstance(column, arrow.ChunkedArray):
            column = column.combine_chunks()
        if column.type == arrow.null():
            column = column.cast(arrow.bool_())
        if column.type != arrow.bool_():
            raise _not_boolean(str(name), column.type)
        _checked(str(name), len(column), rows)
        nulls += column.null_count
        codes = compute.if_else(compute.fill_null(column, False), arrow.scalar(code, arrow.uint32()), codes)
    kept = frame.filter(compute.equal(codes, 0))
    if len(masks) > _MAX_BYTE:
        return Filtered(kept, codes.to_pylist(), nulls)
    codes = codes.cast(arrow.uint8())
    codes = codes.combine_chunks() if isinstance(codes, arrow.ChunkedArray) else codes
    values = codes.buffers()[1]
    return Filtered(kept, values.to_pybytes()[codes.offset : codes.offset + rows] if values is not None else b"", nulls)
