"""Which field names the items, where somebody says so: the spelling of `XRAY_ITEM_KEY`, `XRAY_ITEM_FIELDS` and of the tag `xray/id`.

    XRAY_ITEM_KEY="order_id; nightly/load=sku; nightly/*=order_id,line_no; */rerank=doc_id"

Entries are separated by ";". An entry is KEY, which holds everywhere, or PIPELINE/STEP=KEY, where "*" stands for any text; KEY is
a field's name, or several with commas between that name an item together. Of the entries that match, the one with the fewest
"*" wins, of equals the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

TAG: Final = "xray/id"
MAX_NAMES: Final = 16
_EVERYWHERE: Final = "*/*"

Key = tuple[str, ...]


class _Entry(NamedTuple):
    pattern: str
    key: Key

    def fits(self, place: str) -> bool:
        # "[" is a character of a mapped step's name here, not of a pattern
        return fnmatchcase(place, self.pattern.replace("[", "[[]"))


class ItemKeys:
    """What `XRAY_ITEM_KEY` or `XRAY_ITEM_FIELDS` says. Immutable.

    Raises:
        ValueError: an entry that is none, with what one looks like.
    """

    __slots__ = ("_entries",)

    def __init__(self, text: str = "") -> None:
        entries = [_entry(part) for part in text.split(";") if part.strip()]
        self._entries = sorted(entries, key=lambda each: (each.pattern == _EVERYWHERE, each.pattern.count("*")))

    def of(self, pipeline: str | None, step: str | None) -> Key | None:
        """The names of the fields that are meant in a step, or None."""
        if not self._entries:
            return None
        place = f"{pipeline or ''}/{step or ''}"
        return next((each.key for each in self._entries if each.fits(place)), None)


def key_of(text: str) -> Key:
    """The field's name, or names with commas between.

    Raises:
        ValueError: no name, or too many.
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(names) > MAX_NAMES:
        raise ValueError(f"{text.strip()!r} names no field; write order_id, or order_id,line_no")
    return names


def key_of_tags(tags: Iterable[str]) -> str | None:
    """The key in a framework's tags, where one is `xray/id: order_id`."""
    for tag in tags:
        name, colon, value = tag.partition(":")
        if colon and name.strip() == TAG and value.strip():
            return value.strip()
    return None


def _entry(part: str) -> _Entry:
    place, given, names = part.partition("=")
    if not given:
        return _Entry(_EVERYWHERE, key_of(part))
    place = place.strip()
    if not place.count("/"):
        raise ValueError(f"{part.strip()!r} has no place; write PIPELINE/STEP=KEY, as in nightly/load=order_id")
    return _Entry(place, key_of(names))


def names_of(key: str | Sequence[str]) -> Key:
    """A key as the tuple of its names."""
    return key_of(key) if isinstance(key, str) else tuple(key)
