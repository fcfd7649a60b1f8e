"""Taking items out of records: their details go, and in sets a name that means nothing stands where their ids were.

So the ledger, every other item's answer and every comparison stay what they were. What is erased is known by the 64-bit hash
of its id (`xray_core.verdicts.hash64`), which nobody can read the id out of, and, where the id itself is at hand, by the id as
a word of any text. Knows no SQL.
"""

from __future__ import annotations

import math
import re
import secrets
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_core.model import HASH_MODULUS
from xray_server.records.documents import RUN_FIELDS, STEP_FIELDS, pack_values, unpack_values
from xray_server.records.schema import decode_json, encode_json, read_samples, sample_text

PLACE: Final = "[deleted]#"
_SHORTEST_WORD_CHARS: Final = 6  # of an id that is looked for inside texts: a shorter one is too often another word
_WORD: Final = re.compile(rf"\w[\w.:@/+-]{{{_SHORTEST_WORD_CHARS - 2},}}\w")
_MAX_TEXT_CHARS: Final = 100_000
MASKED: Final = "[redacted]#"
_KEYS: Final = frozenset({"id", "item_id", "key", "item"})  # of a record: under these a number names an item too
# What may hold ids, and what was captured of them, in a run's and in a step's documents.
_VALUES: Final = ("input", "output", "scores")
_OBJECTS: Final = (
    "error",
    "tags",
    "metadata",
)  # each entry is by itself: one may name the item, and the others not be about it
_DECISIONS, _ITEMS = STEP_FIELDS.index("decisions"), STEP_FIELDS.index("items")
_SUMS, _ORDERS = STEP_FIELDS.index("sums"), STEP_FIELDS.index("orders")

Changed = Counter[tuple[str, str | None]]  # (outcome or "in"/"out", reason) -> how often the item stood in the set


@dataclass(frozen=True, slots=True)
class ErasedItem:
    """An item that was deleted.

    Attributes:
        hash64: of its id.
        at_us: when: runs that started later may hold it again.
    """

    hash64: int
    at_us: int


class Erasure:
    """What is taken out: items by their hashes, and one by its id where that is at hand."""

    def __init__(self, items: Iterable[ErasedItem], item_id: str | None = None) -> None:
        self._places = {each.hash64: f"{PLACE}{secrets.token_hex(4)}" for each in items}
        self._fingerprints = {hash64 & verdicts.MASK: place for hash64, place in self._places.items()}
        self._hashes = {hash64 & verdicts.MASK: hash64 for hash64 in self._places}
        self._word = None
        if item_id is not None and len(item_id) >= _SHORTEST_WORD_CHARS:
            self._word = re.compile(rf"(?<!\w){re.escape(item_id)}(?!\w)")
            self._word_place = self.place(item_id) or PLACE

    def __bool__(self) -> bool:
        return bool(self._places)

    @property
    def fingerprints(self) -> set[int]:
        """Those of the items."""
        return set(self._fingerprints)

    def place(self, text: str) -> str | None:
        """What stands for an id that is erased; None of any other text."""
        if text.startswith(MASKED):  # an id that was masked where it was captured is known by its fingerprint
            return self._fingerprints.get(verdicts.fingerprint(text))
        return self._places.get(verdicts.hash64(text))

    # -- sets ------------------------------------------------------------------------------------------------------

    def ids(self, ids: Sequence[str], values: bytes | None = None) -> tuple[list[str], bytes | None, int]:
        """Ids of a set and their declared values, of which those of the erased go; and how many of them were erased."""
        made = [self.place(each) or each for each in ids]
        gone = [at for at, (new, old) in enumerate(zip(made, ids)) if new is not old]
        if gone and values is not None:
            numbers = verdicts.numbers_of(values)
            for at in gone:
                numbers[at] = math.nan
            values = verdicts.pack_numbers(numbers)
        return made, values, len(gone)

    def fp40(self, blob: bytes, values: bytes | None = None) -> tuple[bytes, bytes | None, int]:
        """A set of fingerprints, as `ids`."""
        held = [fingerprint for fingerprint in self._fingerprints if verdicts.contains(blob, fingerprint)]
        if not held:
            return blob, values, 0
        known = verdicts.decode(blob)
        gone = [at for at, fingerprint in enumerate(known) if fingerprint in self._fingerprints]
        hashes = array("Q", known)
        for at in gone:
            hashes[at] = verdicts.hash64(self._fingerprints[known[at]])
        if values is None:
            return verdicts.encode(hashes), None, len(gone)
        numbers = verdicts.numbers_of(values)
        for at in gone:
            numbers[at] = math.nan
        return *verdicts.encode_with(hashes, numbers), len(gone)

    def samples(self, text: bytes) -> bytes | None:
        """The text of a record of samples without those of erased items; None where it holds none."""
        samples = read_samples(text)
        kept = [each for each in samples if self.place(each.item_id) is None]
        changed = len(kept) < len(samples)
        for each in kept:  # the details of one item may name another
            details = self.value(each.details)
            if details != each.details:
                each.details, changed = details, True
        return bytes(sample_text(kept)) if changed else None

    # -- documents -------------------------------------------------------------------------------------------------

    def run(self, values: Sequence[Any]) -> list[Any]:
        """A run's part, in the order of RUN_FIELDS."""
        return [self._field(name, value) for name, value in zip(RUN_FIELDS, values)]

    def step(self, values: Sequence[Any], changed: Changed | None = None) -> list[Any]:
        """A step's part, in the order of STEP_FIELDS.

        Args:
            changed: how often an erased item stood in which of the part's sets: the sums of hashes follow.
        """
        made = [self._field(name, value) for name, value in zip(STEP_FIELDS, values)]
        missing = len(STEP_FIELDS) - len(made)  # a document ends with the last field that has a value
        made += [None] * missing
        if made[_DECISIONS]:
            made[_DECISIONS] = [self._decision(each) for each in made[_DECISIONS]]
        if made[_ITEMS] and made[_ITEMS].get("links"):
            links = [[self.place(each) or each for each in link] for link in made[_ITEMS]["links"]]
            made[_ITEMS] = {**made[_ITEMS], "links": links}
        if changed:
            self._sums(made, changed)
        return made[: len(made) - missing]

    def state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A run's state, its fields by name."""
        return {name: self._field(name, value) for name, value in state.items()}

    def value(self, value: Any) -> Any:
        """A captured value: of a record about an erased item only the names of its fields stay."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            theirs = any(self._names(key, each) for key, each in value.items())
            return {self._text(key): self._about(key, each, theirs) for key, each in value.items()}
        if isinstance(value, Sequence):
            if any(isinstance(each, Sequence) and not isinstance(each, str) for each in value):
                return [self._row(each) for each in value]
            return [self.value(each) for each in value]
        return value

    def _about(self, key: str, value: Any, theirs: bool) -> Any:
        """A field of a record, which may be `theirs`: about an erased item."""
        if theirs:
            return self.place(value) if isinstance(value, str) else None
        return None if self.place(key) is not None else self.value(value)

    def _row(self, row: Any) -> Any:
        """A row of a table: one that names an erased item loses all its values."""
        plain = isinstance(row, Sequence) and not isinstance(row, str) and not any(isinstance(each, (Mapping, list)) for each in row)  # fmt: skip
        if plain and any(isinstance(each, str) and self.place(each) is not None for each in row):
            return [self.place(each) if isinstance(each, str) else None for each in row]
        return self.value(row)

    def _field(self, name: str, value: Any) -> Any:
        """A field of a run or step."""
        if name in _OBJECTS and isinstance(value, Mapping):
            return {key: self.value(each) for key, each in value.items()}
        return self.value(value) if name in _VALUES else value

    def _names(self, key: str, value: Any) -> bool:
        """Whether a field of a record names an erased item."""
        if isinstance(value, str):
            return self.place(value) is not None
        named = key in _KEYS or key.endswith("_id")
        return named and type(value) in (int, float) and self.place(item_id_text(value)) is not None

    def _text(self, text: str) -> str:
        place = self.place(text)
        if place is not None:
            return place
        if self._word is not None:
            return self._word.sub(self._word_place, text)
        # the id itself is not known any more: what may be one is tried
        return _WORD.sub(lambda word: self.place(word[0]) or word[0], text) if len(text) <= _MAX_TEXT_CHARS else text

    def _decision(self, decision: Mapping[str, Any]) -> dict[str, Any]:
        """A decision stays one: what was chosen and what else there was, without what it says of an erased item."""
        selected = decision.get("selected")
        theirs = isinstance(selected, str) and self.place(selected) is not None
        made = {name: self.value(value) for name, value in decision.items()}
        if theirs:
            made |= {name: None for name in ("score", "details") if name in made}
        return made

    def _sums(self, values: list[Any], changed: Changed) -> None:
        """Bring sums of hashes into line with the sets; what cannot be brought into line (orders, sums of values) goes."""
        sums, items = values[_SUMS], values[_ITEMS]
        orders = values[_ORDERS]
        for (outcome, reason), times in changed.items():
            if outcome in ("in", "out"):
                if items and items.get(outcome):
                    items = {**items, outcome: self._item_set(items[outcome], times)}
                continue
            of_outcome = dict((sums or {}).get(outcome) or {})
            if (reason or "") in of_outcome:
                of_outcome[reason or ""] = self._moved(of_outcome[reason or ""], times)
                sums = {**(sums or {}), outcome: of_outcome}
            if orders and orders.get(outcome):
                orders = {**orders, outcome: None}
        values[_SUMS], values[_ITEMS], values[_ORDERS] = sums, items, orders

    def _item_set(self, item_set: Mapping[str, Any], times: int) -> dict[str, Any]:
        made = {name: value for name, value in item_set.items() if name not in ("order", "rows")}
        if made.get("n", 0) <= times:
            made.pop("columns", None)
        if made.get("sum") is not None:
            made["sum"] = self._moved(made["sum"], times)
        return made

    def _moved(self, digest: str, times: int) -> str:
        """A sum of hashes in which the place's hash stands for the item's; where it is known whose."""
        if len(self._places) != 1:
            return digest
        ((old, place),) = self._places.items()
        if old <= verdicts.MASK:  # a fingerprint alone
            return digest
        return f"{(int(digest, 16) + times * (verdicts.hash64(place) - old)) % HASH_MODULUS:016x}"


def erased_chunk(erasure: Erasure, head: Sequence[Any], data: bytes, *, fp40: int) -> tuple[list[Any], bytes, Changed]:
    """A stored chunk of verdicts without the erased.

    Args:
        head: [outcome code, reason, n, form, offset, length] of each set, and where its values lie, if it has any;
        `fp40`: the form of fingerprints.

    Returns:
        the head and the data as they are now, and how often an erased item stood in each set, by (outcome code, reason).
    """
    now: list[Any] = []
    blobs: list[bytes] = []
    at = 0
    changed: Counter[Any] = Counter()
    for code, reason, n, form, offset, length, *declared in head:
        blob = bytes(data[offset : offset + length])
        values, limit = unpack_values(declared, data)
        if form == fp40:
            blob, values, times = erasure.fp40(blob, values)
        else:
            ids, values, times = erasure.ids(decode_json(blob), values)
            blob = encode_json(ids) if times else blob
        if times:
            changed[code, reason] += times
        now.append([code, reason, n, form, at, len(blob)])
        blobs.append(blob)
        at += len(blob)
        if values is not None:
            packed = pack_values(values)
            now[-1] += [at, len(packed), limit]
            blobs.append(packed)
            at += len(packed)
    return now, b"".join(blobs), changed
