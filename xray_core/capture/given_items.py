"""What is known of items that the user gives beside their ids: the key, how many are different, and sums of what they hold."""

from __future__ import annotations

from array import array
from typing import Any

from xray_core.bounds import name_text
from xray_core.capture import collections, item_values
from xray_core.capture.budget import no_tick
from xray_core.capture.columns import Ids
from xray_core.capture.inference.id_sets import IdSet
from xray_core.safety import guard


def given_about(items: Any, key: Any, ids: Ids, hashes: array[int]) -> dict[str, Any]:
    """Further fields of the item set of `items`, whose ids were read by `key`."""
    about: dict[str, Any] = {"distinct": IdSet(hashes, ids.texts).n}
    names = _names(key)
    if names:
        short = [name_text(name) for name in names]
        about["key"] = short[0] if isinstance(key, str) else short
    if key is not None:
        with guard("reading what items hold"):
            found = collections.find(items, nested=False)
            if found is not None:
                read = item_values.read(found, no_tick, names)  # the user asked for it
                about.update(item_values.summed(read, hashes, ids.rows, names))
    return about


def _names(key: Any) -> list[str]:
    """The fields that name an item; none where a function does, and of what is no list of names (nothing was read by it)."""
    if isinstance(key, str):
        return [key]
    if isinstance(key, list | tuple) and all(isinstance(name, str) for name in key):
        return list(key)
    return []
