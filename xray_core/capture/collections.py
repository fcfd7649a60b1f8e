"""Collections of items in a value: frames, lists of records, lists of ids, one record, and several of these together.

A record is a dict, a dataclass, a namedtuple, a pydantic or attrs object or an ORM row, read by its stored fields. `hold`
takes what must not change until the step ends, cheaply; `Collection.column` reads the ids of one field. Knows nothing of which
field names the items.
"""

from __future__ import annotations

import types
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from xray_core.capture import columns
from xray_core.capture.columns import Ids
from xray_core.objects.structure import is_data_object

MAX_ITEMS: Final = 1_000_000
MAX_PARTS: Final = 1_000  # collections in one list, or named outputs
MAX_FIELDS: Final = 500
MAX_ID_CHARS: Final = 128  # of a text in a list: longer ones are texts, not ids
CHUNK: Final = 1 << 13  # rows read between two looks at the clock

_SEQUENCES: Final = (list, tuple)
_SETS: Final = (set, frozenset)


class OverBudgetError(Exception):
    """The time for looking at items is up."""


class Tick(Protocol):
    """A look at the clock."""

    def __call__(self, cost_s: float = 0.0) -> None:
        """Raise OverBudgetError when the time is up, or does not suffice for so many seconds more."""


Reader = Callable[[Sequence[Any]], list[Any]]  # the values of one field of some records


class Collection(NamedTuple):
    """Items in a value.

    Attributes:
        kind: "frame", "records", "ids" (they name themselves), "mapping" (their keys in a dict name them), "one" (a record),
            "empty" (a list of nothing) or "parts" (several of these, one after the other).
        size: rows.
        fields: names that a key could have, in order; "" for ids that name themselves.
        held: what is read: by field a column or list, or the records.
    """

    kind: str
    size: int
    fields: Sequence[str]
    held: Any
    readers: Callable[[str], Reader] | None = None

    def ids(self, key: Sequence[str], tick: Tick) -> Ids:
        """The ids that one field holds, or that several make together, spelled. Rows without one are counted.

        Raises:
            as `column` does.
        """
        if len(key) == 1:
            return self.column(key[0], tick)
        if self.kind == "parts":
            return _joined([part.ids(key, tick) for part in self.held])
        if self.kind == "empty":
            return Ids([])
        values = [self._values(name) for name in key]
        return _joined([columns.spell(each) for each in _slices(list(zip(*values)), self.size, tick)])

    def _values(self, name: str) -> list[Any]:
        if self.kind == "frame":
            return columns.plain_values(self.held[name])
        records = list(self.held.values()) if self.kind == "mapping" else self.held
        assert self.readers is not None
        return self.readers(name)(records)

    def column(self, name: str, tick: Tick) -> Ids:
        """As `ids`, of one field.

        Raises:
            whatever `tick` raises, and NotIdsError for what are no ids.
        """
        if self.kind == "parts":
            return _joined([part.column(name, tick) for part in self.held])
        if self.kind == "empty":
            return Ids([])
        if self.kind == "frame":
            column = self.held[name]
            return _joined([columns.ids_in([each]) for each in _slices(column, self.size, tick)])
        if name == "" and self.kind in ("ids", "mapping"):
            values = self.held if self.kind == "ids" else list(self.held)
            return _joined([columns.spell(each) for each in _slices(values, self.size, tick)])
        records = list(self.held.values()) if self.kind == "mapping" else self.held
        assert self.readers is not None
        read = self.readers(name)
        return _joined([columns.spell(read(each)) for each in _slices(records, self.size, tick)])


EMPTY: Final = Collection("empty", 0, (), None)


class HeldFrame(NamedTuple):
    """The columns of a pandas frame that may name items."""

    size: int
    columns: dict[str, Any]


def hold(value: Any, wanted: Callable[[str], bool]) -> Any:
    """A value so that what the program does to its containers does not show: a shallow copy of the known kinds.

    Args:
        wanted: whether a field of this name may be asked for. Of a pandas frame only these are copied: a reference to all of
            it would make the program's next assignment copy the frame.

    Returns:
        the copy, or None for what is no collection of items by its type alone.
    """
    kind = type(value)
    if kind in _SEQUENCES or kind in _SETS or kind is dict:
        return kind(value) if len(value) <= MAX_ITEMS else value
    library = _library_of_frame(kind)
    if library == "pandas":
        held = _pandas_columns(value)
        if len(held) > MAX_FIELDS:
            return None
        return HeldFrame(int(value.shape[0]), {name: held[name].copy(deep=True) for name in held if wanted(name)})
    if library == "polars":
        return value.clone()
    if library == "pyarrow" or is_record(kind):
        return value
    return None


def find(held: Any, *, nested: bool = True) -> Collection | None:
    """The items in a value that `hold` gave; None where it holds none.

    Args:
        nested: whether a list (or dict) of collections counts as one.
    """
    kind = type(held)
    if kind is HeldFrame:
        return Collection("frame", held.size, tuple(held.columns), held.columns)
    if _library_of_frame(kind) is not None:
        return _frame(held, kind)
    if kind is dict:
        return _dict(held, nested=nested)
    if kind in _SEQUENCES or kind in _SETS:
        return _list(held, nested=nested)
    if is_record(kind):
        return _records([held], {kind}, "one")
    return None


def is_frame(kind: type) -> bool:
    """Whether a type is a frame or table of a known library itself."""
    return _library_of_frame(kind) is not None


def is_record(kind: type) -> bool:
    """Whether objects of a type are read by their stored fields: data classes of all kinds, never user code."""
    return kind is dict or is_namedtuple(kind) or is_data_object(kind)


def is_namedtuple(kind: type) -> bool:
    """Whether tuples of this type have names for their places."""
    return issubclass(kind, tuple) and type(kind.__dict__.get("_fields")) is tuple


def _frame(frame: Any, kind: type) -> Collection | None:
    library = _library_of_frame(kind)
    if library == "pandas":
        held, size = _pandas_columns(frame), int(frame.shape[0])
    else:
        size = int(frame.num_rows if library == "pyarrow" else frame.shape[0])
        held = {name: frame[name] for name in columns.names_of(frame)[:MAX_FIELDS] if type(name) is str}
    return None if len(held) > MAX_FIELDS else Collection("frame", size, tuple(held), held)


def _pandas_columns(frame: Any) -> dict[str, Any]:
    """The columns that have a name of their own, and an index that has one."""
    names = list(frame.columns)
    single = [name for name in names if type(name) is str] if len(set(names)) == len(names) else []
    held = {name: frame[name] for name in single}
    index = frame.index
    if type(index.name) is str and index.name not in held and type(index).__name__ not in ("RangeIndex", "MultiIndex"):
        held = {index.name: index, **held}
    return held


def _dict(value: dict[Any, Any], *, nested: bool) -> Collection | None:
    if not value:
        return None
    kinds = set(map(type, value.values()))
    if len(kinds) == 1:
        (kind,) = kinds
        if is_record(kind) and all(map(_may_name_an_item, value)):
            found = _records(list(value.values()), kinds, "mapping")
            return None if found is None else found._replace(fields=("", *found.fields), held=value)
    if nested and len(value) <= MAX_PARTS and all(_may_hold_items(each) for each in kinds):
        parts = _parts(list(value.values()))
        if parts is not None:
            return parts
    return _records([value], {dict}, "one")


def _may_name_an_item(key: Any) -> bool:
    """Whether a key of a dict may be an item's id: a number, or a text with a digit. "train" and "test" name fields."""
    return type(key) is int or (type(key) is str and any(map(str.isdigit, key)))


def _list(value: Any, *, nested: bool) -> Collection | None:
    if not value:
        return EMPTY
    kinds = set(map(type, value))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is str or kind is int:
            return _bare_ids(value, kind)
        if is_record(kind):
            return None if type(value) in _SETS else _records(value, kinds, "records")
    if nested and type(value) in _SEQUENCES and len(value) <= MAX_PARTS and all(map(_may_hold_items, kinds)):
        return _parts(value)
    return None


def _bare_ids(value: Any, kind: type) -> Collection | None:
    """A list of ids: different ones, and texts only that look like no sentence."""
    if len(value) <= MAX_ITEMS and len(set(value)) < len(value):
        return None
    if kind is str and not all(map(_may_be_an_id, value)):
        return None
    return Collection("ids", len(value), ("",), list(value) if type(value) in _SETS else value)


def _may_be_an_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID_CHARS and "@" not in text and not any(map(str.isspace, text))


def _records(value: Sequence[Any], kinds: set[type], name: str) -> Collection | None:
    (kind,) = kinds
    read = _reader_of(kind, value[0])
    if read is None:
        return None
    fields, readers = read
    return Collection(name, len(value), tuple(fields[:MAX_FIELDS]), value, readers)


def _parts(values: Sequence[Any]) -> Collection | None:
    """Several collections as one: the results of mapped tasks, the parts of a split."""
    parts = [find(each, nested=False) for each in values]
    return None if None in parts else together(parts)


def together(parts: Sequence[Collection | None]) -> Collection | None:
    """Several collections as one, those that are none left out; they need a field in common."""
    known = [part for part in parts if part is not None and part.kind != "empty"]
    if not known:
        return EMPTY if any(part is not None for part in parts) else None
    if len({part.kind == "ids" for part in known}) > 1:
        return None
    shared = [name for name in known[0].fields if all(name in part.fields for part in known)]
    return Collection("parts", sum(part.size for part in known), tuple(shared), known)


def _may_hold_items(kind: type) -> bool:
    return kind in _SEQUENCES or kind in _SETS or _library_of_frame(kind) is not None


def _reader_of(kind: type, example: Any) -> tuple[list[str], Callable[[str], Reader]] | None:
    """The fields of records of a type, and how each is read, without their own code."""
    if kind is dict:
        return [name for name in example if type(name) is str], _of_dicts
    if is_namedtuple(kind):
        places = {name: place for place, name in enumerate(kind._fields)}  # type: ignore[attr-defined]  # a namedtuple
        return list(places), lambda name: lambda records: [tuple.__getitem__(each, places[name]) for each in records]
    stored = _stored_fields(kind)
    slots = {
        name: slot
        for base in reversed(kind.__mro__)
        for name, slot in base.__dict__.items()
        if type(slot) is types.MemberDescriptorType and not name.startswith("_")
    }
    fields = [name for name in (stored(example) if stored is not None else ()) if not name.startswith("_")]
    fields += [name for name in slots if name not in fields]

    def reader(name: str) -> Reader:
        if name in slots:
            return lambda records: [_in_slot(slots[name], each) for each in records]
        return lambda records: [stored(each).get(name) for each in records] if stored is not None else []

    return fields, reader


def _of_dicts(name: str) -> Reader:
    def read(records: Sequence[Any]) -> list[Any]:
        try:
            return [each[name] for each in records]
        except KeyError:
            return [each.get(name) for each in records]

    return read


def _in_slot(slot: Any, record: Any) -> Any:
    try:
        return slot.__get__(record)
    except AttributeError:  # never set
        return None


def _stored_fields(kind: type) -> Callable[[Any], dict[str, Any]] | None:
    """How the instance dict of a type is read, past anything that the type itself defines."""
    for base in kind.__mro__:
        descriptor = base.__dict__.get("__dict__")
        if descriptor is not None:
            read = descriptor.__get__
            return read if type(descriptor) is types.GetSetDescriptorType else None
    return None


def _library_of_frame(kind: type) -> str | None:
    """The library of a frame or table; None for anything else, and for a subclass, whose code is the program's."""
    module = kind.__module__
    library = module.partition(".")[0] if type(module) is str else ""
    return library if library in columns.LIBRARIES and kind.__name__ in ("DataFrame", "Table", "RecordBatch") else None


def _slices(values: Any, size: int, tick: Tick) -> Any:
    """The rows in chunks, with a look at the clock before each."""
    for at in range(0, size, CHUNK):
        tick()
        if size <= CHUNK:
            yield values
        elif type(values) in _SEQUENCES:
            yield values[at : at + CHUNK]
        else:
            yield columns.part_of(values, at, at + CHUNK)


def _joined(several: Sequence[Ids]) -> Ids:
    if len(several) == 1:
        return several[0]
    texts: list[bytes] = []
    rows = array("Q")
    whole = all(each.rows is None for each in several)
    seen = nulls = odd = 0
    for each in several:
        texts += each.texts
        if not whole:
            rows.extend(row + seen for row in (each.rows if each.rows is not None else range(len(each.texts))))
        seen += each.size
        nulls += each.nulls
        odd += each.odd
    return Ids(texts, None if whole else rows, nulls, odd)
