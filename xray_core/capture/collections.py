"""Collections of items in a value: frames, lists of records, lists of ids, one record, and several of these together.

A record is a dict, a dataclass, a namedtuple, a pydantic or attrs object or an ORM row, read by its stored fields. `hold`
takes what must not change until the step ends, cheaply; `Collection.column` reads the ids of one field. Knows nothing of which
field names the items.
"""

from __future__ import annotations

import types
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from xray_core.capture import columns
from xray_core.capture.budget import OverBudgetError, Tick, no_tick
from xray_core.capture.columns import Ids
from xray_core.capture.packed_texts import PackedTexts
from xray_core.objects.structure import is_data_object, known_size, type_name

MAX_ITEMS: Final = 1_000_000
MAX_PARTS: Final = 1_000  # collections in one list, or named outputs
MAX_FIELDS: Final = 500
MAX_ID_CHARS: Final = 128  # of a text in a list: longer ones are texts, not ids
CHUNK: Final = 1 << 13  # rows read between two looks at the clock
CHUNK_OF_COLUMN: Final = 1 << 15  # rows of a column, which are read faster
# What a value costs at least, on a machine of today: what cannot be done in time is not begun.
_COPY_S: Final[dict[type, float]] = {list: 8e-9, tuple: 0.0, dict: 15e-9, set: 15e-9, frozenset: 0.0}
_COPY_OF_NUMBER_S: Final = 2e-9
_COPY_OF_OBJECT_S: Final = 8e-9
_COLUMN_S: Final = 40e-6  # to take one out of a frame of pandas and copy it
_COLUMN: Final = 200  # rows that are read while one is taken out
_KIND_S: Final = 20e-9
_FIELD_S: Final = 0.25e-6  # of a record; one is read at least
_BARE_S: Final = {int: 40e-9, str: 150e-9}
_KEY_S: Final = 100e-9

_SEQUENCES: Final = (list, tuple)
_LAZY_LIBRARIES: Final = frozenset({"dask", "ibis", "pyspark"})
_SETS: Final = (set, frozenset)


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
            return _joined([columns.ids_in([each]) for each in _slices(column, self.size, tick, CHUNK_OF_COLUMN)])
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


def hold(value: Any, wanted: Callable[[str], bool], tick: Tick = no_tick) -> Any:
    """A value so that what the program does to its containers does not show: a shallow copy of the known kinds.

    Args:
        wanted: whether a field of this name may be asked for. Of a pandas frame only these are copied: a reference to all of
            it would make the program's next assignment copy the frame.

    Returns:
        the copy, or None for what is no collection of items by its type, or that of its first element, alone.

    Raises:
        whatever `tick` raises.
    """
    kind = type(value)
    if kind in _COPY_S:
        if value and not _begins_with_items(value, kind):
            return None
        if len(value) > MAX_ITEMS:
            return value
        tick(len(value) * _COPY_S[kind])
        return kind(value)
    library = _library_of_frame(kind)
    if library == "pandas":
        held = _pandas_columns(value)
        if held is None:
            return None
        names = [name for name in held if wanted(name)]
        tick(len(names) * _COLUMN_S)
        copied = {name: held[name] for name in names}
        tick(sum(map(_copy_of_column_s, copied.values())))
        return HeldFrame(int(value.shape[0]), {name: column.copy(deep=True) for name, column in copied.items()})
    if library == "polars":
        return value.clone()
    if library == "pyarrow" or is_record(kind):
        return value
    return None


def _begins_with_items(value: Any, kind: type) -> bool:
    """Whether the first element allows that all are items."""
    if kind is dict:
        first = next(iter(value.values()))
        return len(value) <= MAX_FIELDS or is_record(type(first)) or _may_hold_items(type(first))
    first = value[0] if kind in _SEQUENCES else next(iter(value))
    if first is None:
        first = next((each for each in islice(value, MAX_PARTS) if each is not None), None)
    if type(first) is str:
        return _may_be_an_id(first)
    return type(first) is int or is_record(type(first)) or _may_hold_items(type(first))


def _copy_of_column_s(column: Any) -> float:
    each = _COPY_OF_NUMBER_S if getattr(column.dtype, "kind", "O") in "iufbMm" else _COPY_OF_OBJECT_S
    return len(column) * each


def find(held: Any, *, nested: bool = True, tick: Tick = no_tick) -> Collection | None:
    """The items in a value that `hold` gave; None where it holds none.

    Args:
        nested: whether a list (or dict) of collections counts as one.

    Raises:
        whatever `tick` raises.
    """
    kind = type(held)
    if kind is HeldFrame:
        return Collection("frame", held.size, tuple(held.columns), held.columns)
    if _library_of_frame(kind) is not None:
        return _frame(held, kind)
    if kind is dict:
        return _dict(held, tick, nested=nested)
    if kind in _SEQUENCES or kind in _SETS:
        return _list(held, tick, nested=nested)
    if is_record(kind):
        return _records([held], {kind}, "one")
    return None


def outline(value: Any) -> Collection | None:
    """What is known of a collection without reading it: its size, and the fields of its first record. None where there are none."""
    kind = type(value)
    if kind is HeldFrame or _library_of_frame(kind) is not None:
        return find(value)
    if kind not in _COPY_S or not value:
        return None
    first = next(iter(value.values() if kind is dict else value))
    if not is_record(type(first)):
        return None
    read = _reader_of(type(first), first)
    return None if read is None else Collection("records", len(value), tuple(read[0][:MAX_FIELDS]), None)


def most_to_read(value: Any) -> int | None:
    """How many rows, or of frames of pandas values, there are to be read at most; None where that is not known."""
    if type(value) in _COPY_S and 0 < len(value) <= MAX_PARTS:
        parts = list(value.values() if type(value) is dict else value)
        if _may_hold_items(type(parts[0])):
            return sum(known_size(part) or 1 for part in parts)
    if _library_of_frame(type(value)) == "pandas":
        return (int(value.shape[0]) + _COLUMN) * int(value.shape[1])  # each column is copied
    return known_size(value)


def is_lazy(value: Any) -> bool:
    """Whether a value stands for items that are not there yet: a lazy frame, a query, a lazy XCom."""
    name = type_name(type(value))
    known = name.partition(".")[0] in _LAZY_LIBRARIES or ".LazyXCom" in name
    return known or columns.kind_of(value) == "lazy"


def is_frame(kind: type) -> bool:
    """Whether a type is a frame or table of a known library itself."""
    return _library_of_frame(kind) is not None


def is_record(kind: type) -> bool:
    """Whether objects of a type are read by their stored fields: data classes of all kinds, never user code."""
    return kind is dict or is_namedtuple(kind) or is_data_object(kind)


def is_namedtuple(kind: type) -> bool:
    """Whether tuples of this type have names for their places."""
    return issubclass(kind, tuple) and type(kind.__dict__.get("_fields")) is tuple


class FrameColumns(Mapping[str, Any]):
    """The columns of a frame by name, taken out of it when they are asked for: of a wide one that takes milliseconds."""

    __slots__ = ("_index", "_names", "frame")

    def __init__(self, frame: Any, names: Sequence[str], index: str | None = None) -> None:
        self.frame = frame
        self._index = index  # what the index of a frame of pandas is called
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self.frame.index if name == self._index else self.frame[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _frame(frame: Any, kind: type) -> Collection | None:
    if _library_of_frame(kind) == "pandas":
        held, size = _pandas_columns(frame), int(frame.shape[0])
    else:
        size = int(frame.num_rows if hasattr(kind, "num_rows") else frame.shape[0])
        names = columns.names_of(frame)[:MAX_FIELDS]
        several = {
            name for name, n in Counter(names).items() if n > 1
        }  # pyarrow has such, and refuses to say which is meant
        held = FrameColumns(frame, [name for name in names if type(name) is str and name not in several])
    return None if held is None else Collection("frame", size, tuple(held), held)


def _pandas_columns(frame: Any) -> FrameColumns | None:
    """The columns that have a name of their own, and an index that has one; None where they are too many."""
    if frame.shape[1] > MAX_FIELDS:
        return None
    names = list(frame.columns)
    single = [name for name in names if type(name) is str] if len(set(names)) == len(names) else []
    index = frame.index
    if (
        type(index.name) is str
        and index.name not in single
        and type(index).__name__ not in ("RangeIndex", "MultiIndex")
    ):
        return FrameColumns(frame, [index.name, *single], index.name)
    return FrameColumns(frame, single)


def _dict(value: dict[Any, Any], tick: Tick, *, nested: bool) -> Collection | None:
    if not value:
        return None
    tick(len(value) * (_FIELD_S if is_record(type(next(iter(value.values())))) else _KIND_S))
    kinds = set(map(type, value.values()))
    if len(kinds) == 1:
        (kind,) = kinds
        if is_record(kind) and _may_name_items(value, tick):
            found = _records(list(value.values()), kinds, "mapping")
            return None if found is None else found._replace(fields=("", *found.fields), held=value)
    if nested and len(value) <= MAX_PARTS and all(_may_hold_items(each) for each in kinds):
        parts = _parts(list(value.values()), tick)
        if parts is not None:
            return parts
    return _records([value], {dict}, "one")


def _may_name_items(keys: dict[Any, Any], tick: Tick) -> bool:
    if not _may_name_an_item(next(iter(keys))):
        return False
    tick(len(keys) * _KEY_S)
    return all(map(_may_name_an_item, keys))


def _may_name_an_item(key: Any) -> bool:
    """Whether a key of a dict may be an item's id: a number, or a text with a digit. "train" and "test" name fields."""
    return type(key) is int or (type(key) is str and any(map(str.isdigit, key)))


def _list(value: Any, tick: Tick, *, nested: bool) -> Collection | None:
    if not value:
        return EMPTY
    tick(len(value) * (_FIELD_S if is_record(type(next(iter(value)))) else _KIND_S))
    kinds = set(map(type, value))
    if len(kinds) == 2 and type(None) in kinds and is_record(next(each for each in kinds if each is not type(None))):
        value = [each for each in value if each is not None]  # what mapped tasks gave, some of which gave nothing
        kinds.discard(type(None))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is str or kind is int:
            return _bare_ids(value, kind, tick)
        if is_record(kind):
            return None if type(value) in _SETS else _records(value, kinds, "records")
    if nested and type(value) in _SEQUENCES and len(value) <= MAX_PARTS and all(map(_may_hold_items, kinds)):
        return _parts(value, tick)
    return None


def _bare_ids(value: Any, kind: type, tick: Tick) -> Collection | None:
    """A list of ids: different ones, and texts only that look like no sentence. For a long one there may be no time to see that."""
    try:
        tick(len(value) * _BARE_S[kind])
    except OverBudgetError:
        return None  # no field of it can be named: there is nothing to say
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


def _parts(values: Sequence[Any], tick: Tick) -> Collection | None:
    """Several collections as one: the results of mapped tasks, the parts of a split."""
    parts = [find(each, nested=False, tick=tick) for each in values]
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


def _slices(values: Any, size: int, tick: Tick, chunk: int = CHUNK) -> Any:
    """The rows in chunks, with a look at the clock before each."""
    for at in range(0, size, chunk):
        tick()
        if size <= chunk:
            yield values
        elif type(values) in _SEQUENCES:
            yield values[at : at + chunk]
        else:
            yield columns.part_of(values, at, at + chunk)


def _joined(several: Sequence[Ids]) -> Ids:
    if len(several) == 1:
        return several[0]
    packed = [each.texts for each in several if type(each.texts) is PackedTexts]
    if packed and len(packed) == len(several):
        return Ids(PackedTexts.joined(packed))
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
