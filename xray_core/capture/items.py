"""Item ids out of whatever collection the user has. Reads known collections only; an iterator is left untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from xray_core.model import item_id_text

_COLUMNS = frozenset({"numpy", "pandas", "polars", "pyarrow"})


def ids_of(items: Any, key: str | Callable[[Any], Any] | None) -> list[str]:
    """The ids of `items` in their order, in their one spelling.

    Args:
        items: a list, tuple, set, dict (its keys), dict view, range, or a numpy / pandas / polars / pyarrow column;
            with a str `key` also a DataFrame or table.
        key: None: the items are ids. A str: the dict key, else attribute, of each item. A function: called for each.

    Raises:
        TypeError: an iterator or an unknown type (reading it could consume it or run a query), or an item without an id.
    """
    if type(items).__module__.partition(".")[0] in _COLUMNS:
        items, key = _column(items, key)
    if not isinstance(items, (list, tuple, set, frozenset, dict, range, type({}.keys()), type({}.values()))):
        raise TypeError(f"pass the items as a list, tuple, set or dict, not {type(items).__qualname__}")
    found: Iterable[Any]
    if key is None:
        found = items
    elif callable(key):
        found = map(key, items)
    else:
        name = key
        found = (each[name] if isinstance(each, dict) else getattr(each, name) for each in items)
    return [each if type(each) is str and each.isascii() and len(each) <= 256 else item_id_text(each) for each in found]


def _column(items: Any, key: Any) -> tuple[Any, Any]:
    """A column of a well-known library as a list; the key is used up when it chose the column."""
    if isinstance(key, str):
        items, key = items[key], None
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(items, method):
            return getattr(items, method)(), key
    raise TypeError(f"{type(items).__qualname__} has no column to read; pass key=")
