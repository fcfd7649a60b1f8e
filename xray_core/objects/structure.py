"""Any object as plain structure, without running a line of the user's code.

Sanitising and canonical fingerprints both stand on it. No `__repr__`, `__str__`, `__iter__`, `__len__`, property or
descriptor of a user's class is ever called: known types are read by their base type's own methods, instances by their
`__dict__` or slots, and everything else is named by its type and left alone (`len()` of a lazy collection may be a
query; `repr()` of a hostile object may never return).
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from xray_core.safety import reraise_interrupt

Kind = Literal["atom", "text", "map", "sequence", "set", "opaque"]

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_AS_TEXT: Final = frozenset({decimal.Decimal, fractions.Fraction, uuid.UUID, complex, datetime.timedelta})
_TIMES: Final = frozenset({datetime.datetime, datetime.date, datetime.time})
_PATHS: Final = (pathlib.PurePath,)
_MAPS: Final = frozenset({dict, OrderedDict, defaultdict, Counter})
# Zones whose code is no user's. The last but one is pendulum's, whose times Prefect and Airflow hand out.
_ZONES: Final = frozenset({"datetime", "zoneinfo", "pytz", "dateutil", "pendulum", "pandas"})
_PANDAS_SCALARS: Final = frozenset({"NAType", "Period", "Interval"})
_MODEL_MARKS: Final = frozenset({"__pydantic_fields__", "model_fields", "__fields__"})  # the last is pydantic 1's
_SECRET_CLASSES: Final = frozenset({"SecretStr", "SecretBytes", "Secret", "SecretBase", "SecretField"})
_DATA_OBJECTS: Final = _MODEL_MARKS | {"__dataclass_fields__", "__attrs_attrs__", "_sa_class_manager"}
_NO_VALUES: Final = frozenset({"_sa_instance_state"})  # what a library keeps of its own in an instance
_OF_PYTHON: Final = 1 << 9  # the flag of classes that are made by a class statement (Py_TPFLAGS_HEAPTYPE)
_ARRAY_MODULES: Final = frozenset({"numpy", "pandas", "polars", "pyarrow"})


class View(NamedTuple):
    """One level of an object.

    Attributes:
        kind: "atom" (a JSON scalar in `value`), "text" (a scalar with a text form), "map" (`value`: list of pairs),
            "sequence" (`value`: list, in order), "set" (`value`: list, order means nothing), "opaque" (only a name).
        value: see `kind`; at most `limit` elements of a collection.
        size: number of elements the collection really has.
        type_name: for what is not a builtin: "module.Class".
    """

    kind: Kind
    value: Any
    size: int = 0
    type_name: str | None = None


def type_name(kind: type) -> str:
    """`module.Class` of a type, bounded, read without the metaclass's help."""
    module = type.__dict__["__module__"].__get__(kind) if isinstance(kind, type) else ""
    name = type.__dict__["__qualname__"].__get__(kind)
    return f"{module}.{name}"[:120] if isinstance(module, str) and module != "builtins" else str(name)[:120]


def view(value: Any, limit: int) -> View:
    """The top level of `value`, at most `limit` elements of it. Never calls user code."""
    kind = type(value)
    if kind in _SCALARS:
        return View("atom", value)
    if kind is list or kind is tuple:
        return View("sequence", list(value[:limit]), len(value))
    if kind in _MAPS:
        return View("map", list(islice(dict.items(value), limit)), dict.__len__(value))
    if kind is set or kind is frozenset:
        return View("set", list(islice(value, limit)), len(value))
    if kind in _TIMES:
        return View("text", _time_text(value, kind))
    if kind in _AS_TEXT:
        return View("text", str(value))
    if kind in (bytes, bytearray, memoryview):
        return View("opaque", None, value.nbytes if kind is memoryview else len(value), f"{kind.__name__}")
    if kind is deque:
        return View("sequence", list(islice(value, limit)), len(value))
    if kind is range:
        return View("sequence", list(value[:limit]), len(value))
    return _instance(value, kind, limit)


def library_of(kind: type) -> str | None:
    """The library of arrays and frames that a class belongs to: "numpy", "pandas", "polars", "pyarrow"; None: to none."""
    root = _root(kind)
    return root if root in _ARRAY_MODULES else None


def secret_in(value: Any) -> Any:
    """What pydantic's SecretStr, SecretBytes or Secret[...] hides; None for anything else."""
    if type(value) in _SCALARS:
        return None
    for base in type.__dict__["__mro__"].__get__(type(value)):
        if base.__name__.lstrip("_") in _SECRET_CLASSES and base.__module__ in ("pydantic.types", "pydantic.v1.types"):
            return instance_fields(value).get("_secret_value", "")
    return None


def instance_fields(value: Any) -> dict[Any, Any]:
    """What an instance holds in its `__dict__`, a mapping not to be changed; empty where that takes the user's code."""
    return _instance_dict(value, type.__dict__["__mro__"].__get__(type(value))) or {}


def known_size(value: Any) -> int | None:
    """The number of elements of a collection whose size can be read without cost or user code; None otherwise.

    Knows the builtin collections, and numpy, pandas, polars and pyarrow objects by their `shape` (or `num_rows`).
    A str or bytes is one value, not a collection.
    """
    kind = type(value)
    if kind in (list, tuple, set, frozenset, deque, range) or kind in _MAPS:
        return len(value)
    if _root(kind) in _ARRAY_MODULES:
        shape = _library_attribute(value, kind, "shape")
        if isinstance(shape, tuple) and shape and type(shape[0]) is int:
            return shape[0]
        rows = _library_attribute(value, kind, "num_rows")
        return rows if type(rows) is int else None
    for base, size in ((dict, dict.__len__), (list, list.__len__), (tuple, tuple.__len__), (set, set.__len__)):
        if issubclass(kind, base) and not _is_namedtuple(kind):
            return size(value)
    return None


def _instance(value: Any, kind: type, limit: int) -> View:
    name = type_name(kind)
    mro = type.__dict__["__mro__"].__get__(kind)
    if enum.Enum in mro:
        return view(object.__getattribute__(value, "_value_"), limit)
    if BaseException in mro:
        args = BaseException.__dict__["args"].__get__(value)
        return View("map", [("args", args)], 1, name)
    for base in mro:  # a subclass of a builtin is read as that builtin
        if base is str:
            return View("atom", str.__str__(value), type_name=name)
        if base is bool or base is int:
            return View("atom", int.__index__(value), type_name=name)
        if base is float:
            return View("atom", float.__float__(value), type_name=name)
        if base is dict:
            return View("map", list(islice(dict.items(value), limit)), dict.__len__(value), name)
        if base is list:
            return View("sequence", list(islice(list.__iter__(value), limit)), list.__len__(value), name)
        if base is tuple:
            if _is_namedtuple(kind):
                pairs = list(zip(kind._fields, tuple.__iter__(value)))  # type: ignore[attr-defined]  # a namedtuple
                return View("map", pairs[:limit], len(pairs), name)
            return View("sequence", list(islice(tuple.__iter__(value), limit)), tuple.__len__(value), name)
        if base is set or base is frozenset:
            return View("set", list(islice(base.__iter__(value), limit)), base.__len__(value), name)
        if base in _TIMES:
            if _root(kind) == "pandas":  # NaT is a datetime by its class alone
                return View("text", value.isoformat(), type_name=name)
            return View("text", _time_text(value, base), type_name=name)
        if base is datetime.timedelta or base is decimal.Decimal:
            return View("text", base.__str__(value), type_name=name)
        if base in _PATHS and kind.__module__.startswith("pathlib"):
            return View("text", str(value))
    if _root(kind) in _ARRAY_MODULES:
        return _array(value, kind, limit, name)
    return _fields(value, mro, limit, name)


def _time_text(value: Any, base: Any) -> str:
    """A date or time as ISO 8601. Where its zone is the user's own class, which would be called, without the zone."""
    if base is not datetime.date:
        zone = base.__dict__["tzinfo"].__get__(value)
        if zone is not None and _root(type(zone)) not in _ZONES:
            names = ("year", "month", "day") * (base is datetime.datetime) + ("hour", "minute", "second", "microsecond")
            fields = [
                next(b for b in base.__mro__ if name in b.__dict__).__dict__[name].__get__(value) for name in names
            ]
            return str(base(*fields).isoformat())
    return str(base.isoformat(value))


def _array(value: Any, kind: type, limit: int, name: str) -> View:
    shape = _library_attribute(value, kind, "shape")
    if shape == () or (shape is None and hasattr(kind, "item")):  # a numpy scalar
        if kind.__name__ in ("datetime64", "timedelta64"):  # `item` makes a bare number of nanoseconds
            return View("text", str(value))
        try:
            plain = value.item()
        except (ValueError, AttributeError, TypeError):
            return View("opaque", None, 0, name)
        return view(plain, limit) if type(plain) in _SCALARS | _TIMES else View("opaque", None, 0, name)
    size = known_size(value)
    if shape is None and size is None:
        text = kind.__name__ in _PANDAS_SCALARS and _root(kind) == "pandas"
        return View("text", str(value)) if text else View("opaque", None, 0, name)
    about: list[tuple[str, Any]] = [("shape", list(shape) if isinstance(shape, tuple) else [size])]
    dtype = _library_attribute(value, kind, "dtype")
    if dtype is not None and _root(type(dtype)) in _ARRAY_MODULES:
        about.append(("dtype", str(dtype)))
    return View("opaque", dict(about), size or 0, name)


def unshown(value: Any) -> list[tuple[str, Any]]:
    """What an object stores beside what `view` shows; see `reader_of_unshown`."""
    return reader_of_unshown(type(value))(value)


def reader_of_unshown(kind: type) -> Callable[[Any], list[tuple[str, Any]]]:
    """How to read what instances store beside what `view` shows: private attributes, those of a subclass of a builtin, the
    bound of a deque, what a defaultdict makes for a missing key, the name of a zone.
    """
    if kind is deque:
        return lambda value: [("maxlen", value.maxlen)]
    if kind is defaultdict:
        return lambda value: [("default_factory", _named_by_type(value.default_factory))]
    mro = type.__dict__["__mro__"].__get__(kind)
    clock = next((base for base in (datetime.datetime, datetime.time) if base in mro), None)
    if clock is not None:
        return lambda value: [("tzinfo", _zone_of(clock.__dict__["tzinfo"].__get__(value)))]
    made = [base for base in mro if base.__flags__ & _OF_PYTHON]
    if enum.Enum in mro or not (made or BaseException in mro):
        return lambda _: []
    shown = is_data_object(kind)
    slotted = [base for base in made if types.MemberDescriptorType in set(map(type, base.__dict__.values()))]

    def read(value: Any) -> list[tuple[str, Any]]:
        stored = _instance_dict(value, mro) or {}
        found = [(name, each) for name, each in stored.items() if type(name) is str]
        for base in slotted:
            found += _in_slots(value, base)
        return [(name, each) for name, each in found if (name.startswith("_") or not shown) and name not in _NO_VALUES]

    return read


def _zone_of(zone: Any) -> str | None:
    """A zone by its class and name: another one with the same offset today has another in summer."""
    if zone is None:
        return None
    names = {"zoneinfo": "key", "pytz": "zone"}
    name = names.get(_root(type(zone)))
    return f"{type_name(type(zone))} {getattr(zone, name, None) if name else ''}"


def _named_by_type(value: Any) -> Any:
    return type_name(value) if isinstance(value, type) else value


def _in_slots(value: Any, base: type) -> Iterator[tuple[str, Any]]:
    for name, descriptor in base.__dict__.items():
        if type(descriptor) is types.MemberDescriptorType:
            try:
                yield name, descriptor.__get__(value, base)
            except AttributeError:  # never set
                continue


def is_data_object(kind: type) -> bool:
    """Whether instances are read by their stored fields: dataclasses, pydantic models, attrs classes, ORM rows. An unknown
    class may hold sockets, locks or half the heap.
    """
    return any(name in base.__dict__ for base in kind.__mro__ for name in _DATA_OBJECTS)


def _fields(value: Any, mro: Sequence[type], limit: int, name: str) -> View:
    """Dataclasses, pydantic models, attrs classes, ORM rows and plain objects: their stored attributes, no others."""
    pairs: list[tuple[str, Any]] = []
    stored = _instance_dict(value, mro)
    data_class = any("__dataclass_fields__" in base.__dict__ for base in mro)
    model = any(not _MODEL_MARKS.isdisjoint(base.__dict__) for base in mro)
    mapped = stored is not None and "_sa_instance_state" in stored
    attrs = any("__attrs_attrs__" in base.__dict__ for base in mro)
    if not (data_class or model or mapped or attrs):
        return View("opaque", None, 0, name)  # an unknown class may hold sockets, locks or half the heap
    if stored is not None:
        pairs.extend((k, v) for k, v in list(stored.items()) if type(k) is str and not k.startswith("_"))
    for base in mro:
        pairs.extend((k, v) for k, v in _in_slots(value, base) if not k.startswith("_"))
    return View("map", pairs[:limit], len(pairs), name)


def _instance_dict(value: Any, mro: Sequence[type]) -> dict[Any, Any] | None:
    for base in mro:
        descriptor = base.__dict__.get("__dict__")
        if descriptor is not None:
            if type(descriptor) is not types.GetSetDescriptorType:
                return None  # a property called __dict__: that would be user code
            stored = descriptor.__get__(value, base)
            return stored if type(stored) is dict else None
    return None


def _is_namedtuple(kind: type) -> bool:
    fields = next((b.__dict__["_fields"] for b in kind.__mro__ if "_fields" in b.__dict__), None)
    return type(fields) is tuple and issubclass(kind, tuple)


def _root(kind: type) -> str:
    module = type.__dict__["__module__"].__get__(kind)
    return module.partition(".")[0] if isinstance(module, str) else ""


def _library_attribute(value: Any, kind: type, name: str) -> Any:
    """An attribute of a well-known library's object; the library's code runs, a user's subclass's does not."""
    owner = next((base for base in kind.__mro__ if name in base.__dict__), None)
    if owner is None or _root(owner) not in _ARRAY_MODULES:
        return None
    try:
        return getattr(value, name)
    except Exception as error:  # noqa: BLE001  # a detached frame: nothing to read, nothing to report
        reraise_interrupt(error)
        return None
