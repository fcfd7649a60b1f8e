"""Which field names the items: the user's word, else a field that looks like an id and tells rows apart.

A key that names a person (email, phone, name) is never chosen unasked. Knows nothing of steps.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from xray_core.capture.budget import Tick
from xray_core.capture.collections import Collection
from xray_core.capture.columns import Ids, NotIdsError, hash_all
from xray_core.capture.inference.id_sets import IdSet
from xray_core.item_keys import Key
from xray_core.objects.generated import is_of_one_call
from xray_core.objects.sanitize import Sanitizer

MAX_CANDIDATES: Final = 6  # fields read per collection
NEARLY_ALL: Final = 0.8  # of the rows: so many different ids, and a field still names rows (a source may repeat some)
SELF: Final[Key] = ("",)  # the ids name themselves
_FIRST: Final = frozenset({"id", "_id", "item_id", "uuid", "guid", "key", "sku", "pk", ""})
_LAST_WORDS: Final = frozenset({"id", "uuid", "guid", "sku", "pk", "isbn", "ean", "asin", "doi"})
_PERSONAL: Final = frozenset({
    "email", "mail", "ssn", "phone", "mobile", "tel", "telephone", "fax", "name", "firstname", "lastname", "surname", "fullname",
    "username", "nickname", "address", "iban", "passport", "birth", "birthday", "dob", "taxid", "license", "licence", "ip",
})  # fmt: skip
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class Candidate(NamedTuple):
    """A key of one collection, read.

    Attributes:
        rank: 0 for a name like "id", 1 for one like "order_id".
        weak: the keys of a dict of records, which are often no ids ({"train": {...}, "test": {...}}): believed only where an
            argument and the result share them.
        hashes: of each id, in order; `different`: the set of them.
        of_one_call: an id as a call gives itself in every run (`request_id`), which nobody asked for: no item is named by it,
            where it does not lead from an argument to the result.
    """

    key: Key
    rank: int
    ids: Ids
    hashes: array[int]
    different: IdSet
    weak: bool = False
    of_one_call: bool = False

    @property
    def n(self) -> int:
        """How many ids, with repetition."""
        return len(self.hashes)

    @property
    def unique(self) -> bool:
        """Whether no two rows have the same id."""
        return self.different.n == self.n and not self.ids.odd

    @property
    def share(self) -> float:
        """How many rows it tells apart."""
        return self.different.n / self.ids.size if self.ids.size else 1.0


def rank_of(name: str, sanitizer: Sanitizer) -> int | None:
    """How well a field's name suits a key, 0 best; None where it does not, or where it names a person or a secret."""
    rank = _rank_by_words(name)
    return None if rank == 1 and sanitizer.key(name)[1] else rank


@lru_cache(maxsize=4_096)
def _rank_by_words(name: str) -> int | None:
    if name.lower() in _FIRST:
        return 0
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] not in _LAST_WORDS:
        return None
    return None if _PERSONAL & set(words) else 1


def candidates(found: Collection, asked: Key | None, sanitizer: Sanitizer, tick: Tick) -> list[Candidate]:
    """The keys that a collection could have, the likeliest names first; the one that was asked for alone, where it is there.

    Raises:
        whatever `tick` raises.
    """
    if asked is not None and set(asked) <= set(found.fields):
        wanted: list[tuple[int, Key]] = [(0, asked)]
    else:
        ranked: list[tuple[int, Key]] = [
            (rank, (name,)) for name in found.fields if (rank := rank_of(name, sanitizer)) is not None
        ]
        wanted = sorted(ranked, key=lambda each: each[0])[:MAX_CANDIDATES]
    read = []
    for rank, key in wanted:
        try:
            ids = found.ids(key, tick)
        except NotIdsError:
            continue
        if ids.size and (ids.odd or not ids.texts):
            continue  # a field of lists, or of nothing
        hashes = hash_all(ids.texts)
        weak = found.kind == "mapping" and key == SELF
        of_one_call = asked != key and key[0].lower() not in _FIRST and is_of_one_call(key[0])
        read.append(Candidate(key, rank, ids, hashes, IdSet(hashes, ids.texts), weak, of_one_call))
    return read


def best(among: Sequence[Candidate]) -> Candidate | None:
    """The key of a collection that is related to no other: unique first, then by name; None where none tells rows apart."""
    among = [each for each in among if not each.weak and not each.of_one_call]
    unique = [each for each in among if each.unique and not each.ids.nulls]
    if unique:
        return min(unique, key=lambda each: each.rank)
    nearly = [each for each in among if each.share >= NEARLY_ALL]
    return max(nearly, key=lambda each: (each.share, -each.rank)) if nearly else None
