"""What is known of items that the user gives beside their ids: the key, how many are different, and sums of what they hold."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from xray_core.capture import collections, item_values
from xray_core.capture.budget import no_tick
from xray_core.capture.columns import Ids
from xray_core.capture.inference.id_sets import IdSet
from xray_core.safety import guard


def given_about(items: Any, key: Any, ids: Ids, hashes: array[int]) -> dict[str, Any]:
    """Further fields of the item set of `items`, whose ids were read by `key`."""
    about: dict[str, Any] = {"distinct": IdSet(hashes, ids.texts).n}
    if isinstance(key, str):
        about["key"] = key
    elif isinstance(key, Sequence):
        about["key"] = list(key)
    if key is not None:
        with guard("reading what items hold"):
            found = collections.find(items, nested=False)
            if found is not None:
                read = item_values.read(found, no_tick, _names(about))  # the user asked for it
                about.update(item_values.summed(read, hashes, ids.rows, _names(about)))
    return about


def _names(about: dict[str, Any]) -> list[str]:
    key = about.get("key", [])
    return [key] if isinstance(key, str) else key
