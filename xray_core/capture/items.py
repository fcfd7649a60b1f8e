"""Item ids out of whatever collection the user has. Reads known collections only; an iterator is left untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from xray_core.capture import columns
from xray_core.capture.columns import Ids, NotIdsError
from xray_core.safety import reraise_interrupt

_NO_ID: Final = object()

Key = str | Sequence[str] | Callable[[Any], Any] | None


def read_items(items: Any, key: Key) -> Ids:
    """The ids of `items` in their order.

    Args:
        items: a list, tuple, set, dict (its keys), dict view, range, or a numpy / pandas / polars / pyarrow column;
            with a `key` also a frame, or records of any kind.
        key: None: the items are ids. A str: the column of a frame; the dict key, else attribute, of each item; several make
            a composite. A function: called for each.

    Raises:
        NotIdsError: an iterator or an unknown type (reading it could consume it or run a query), or no item has an id.
    """
    if key is None or (not callable(key) and columns.kind_of(items) == "frame"):
        return columns.read_ids(items, key)
    if columns.kind_of(items) == "frame":
        raise NotIdsError("a frame takes the name of its column of ids as key=, not a function")
    values = columns.values_of(items) if columns.kind_of(items) == "column" else items
    columns.id_columns(
        values if not isinstance(values, list) else []
    )  # what it refuses without a key, it refuses with one
    read = key if callable(key) else _by_name([key] if isinstance(key, str) else list(key))
    ids = columns.spell([_id_of(each, read) for each in values])
    if not ids.texts and ids.size:
        raise NotIdsError(f"none of the {ids.size:,} items has an id by {key!r}")
    return ids


def _id_of(item: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(item)
    except Exception as error:  # noqa: BLE001  # one item without an id costs that one alone
        reraise_interrupt(error)
        return _NO_ID


def _by_name(names: list[str]) -> Callable[[Any], Any]:
    def field(item: Any, name: str) -> Any:
        return item[name] if isinstance(item, Mapping) else getattr(item, name)

    if len(names) == 1:
        (name,) = names
        return lambda item: field(item, name)
    return lambda item: tuple([field(item, name) for name in names])
