"""Canonical fingerprints of inputs and outputs, so that two runs can be compared where values are not stored.

By value: 1, 1.0, Decimal(1) and numpy's 1 are one, and so are a text, a str subclass, numpy's text and an enum's; NaN equals
NaN, 0.0 equals -0.0. True stays apart from 1 and None from NaN: a flag is no number, in JSON neither. Key order and set order
do not matter; the order of lists does, and is known: `unordered` is equal when the two values differ in the order of
lists (or rows) alone. Frames and arrays are read whole (`columns.py`).

Bounded: beyond 20,000 nodes, or at an object whose contents cannot be read without running user code, the fingerprint is
`partial`, and equality of partial ones proves nothing. Where the time is bounded too (`tick`), what would be partial is not read. Nor do fingerprints of two versions (`v`): in 0.1,
which wrote none, [1, 2] was not equal to [1.0, 2.0].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain, repeat
from typing import Any, Final

import xxhash

from xray_core.objects import columns
from xray_core.objects.structure import view
from xray_core.safety import reraise_interrupt

VERSION: Final = 2
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 32
_STRINGS: Final[frozenset[type]] = frozenset({str})
_MAX_DIGITS: Final = 1_000  # of a Decimal written out
_INTS: Final[frozenset[type]] = frozenset({int})
_FLOATS: Final[frozenset[type]] = frozenset({float})
_DICTS: Final[frozenset[type]] = frozenset({dict})
_SHORT: Final = 1_000  # characters of a text of a record
_MISSING: Final = object()
_MAX_NAMES: Final = 1_000  # of fields, whose hashes are kept while one value is read
_FEW: Final = 500  # values of a collection that is begun without asking
_BETWEEN_LOOKS: Final = 100  # values, between two looks at the clock
_LONG: Final = 100_000
# What values cost at least, on a machine of today.
_COST_S: Final = 0.5e-6
_COST_OF_ID_S: Final = 0.05e-6  # in a list of nothing but texts or whole numbers
_COST_OF_BYTE_S: Final = 0.5e-9
_digest = xxhash.xxh3_64_digest


def fingerprint(value: Any, tick: Callable[[float], None] | None = None) -> dict[str, Any]:
    """`{v: 2, exact: 16 hex digits, unordered: 16 hex digits, partial: bool}`. Never calls user code, never raises.

    Args:
        tick: told what the next part costs at least, in seconds; raises where there is no time for it. Then the fingerprint is
            partial, and says nothing of the value.
    """
    walk = _Walk(tick)
    try:
        exact, unordered = walk.hash(value, 0)
    except Exception as error:  # noqa: BLE001  # e.g. a collection that changed under our hands: unknown, and said so
        reraise_interrupt(error)
        walk.partial = True
        exact = unordered = _digest(b"?")
    return {"v": VERSION, "exact": exact.hex(), "unordered": unordered.hex(), "partial": walk.partial}


class _TooLargeError(Exception):
    """More values than the bounds allow: what is partial proves nothing, so it need not be read at all."""


class _Walk:
    __slots__ = ("names", "nodes", "partial", "tick")

    def __init__(self, tick: Callable[[float], None] | None) -> None:
        self.nodes = MAX_NODES
        self.partial = False
        self.tick = tick
        self.names: dict[str, bytes] = {}  # of fields: those of one record are those of the next

    def hash(self, value: Any, depth: int) -> tuple[bytes, bytes]:
        self.nodes -= 1
        if self.tick is not None:
            self._ask_for_time(self.tick, value)
        if self.nodes < 0 or depth > MAX_DEPTH:
            self.partial = True
            return b"", b""
        kind = type(value)
        if kind is dict and len(value) <= self.nodes:
            return self._map(list(value.items()), depth)
        if kind is list and len(value) <= self.nodes:
            return self._sequence(value[:], depth, ordered=True)
        one = _scalar(value)
        if one is not None:
            return one, one
        seen_as = view(value, max(1, self.nodes))
        if seen_as.kind in ("atom", "text"):
            one = _scalar(seen_as.value) or b"?"
            return one, one
        if seen_as.kind == "opaque":
            return self._opaque(value, seen_as.type_name or "")
        if len(seen_as.value) < seen_as.size:
            self.partial = True
        if seen_as.kind == "map":
            return self._map(seen_as.value, depth)
        return self._sequence(seen_as.value, depth, ordered=seen_as.kind == "sequence")

    def _ask_for_time(self, tick: Callable[[float], None], value: Any) -> None:
        kind = type(value)
        if kind is list or kind is tuple or kind is dict or kind is set or kind is frozenset:
            if len(value) > self.nodes:
                raise _TooLargeError
            if len(value) > _FEW:
                example = next(iter(value))
                each = 1 + len(example) if type(example) in (dict, list, tuple) else 1
                tick(
                    len(value) * each * (_COST_OF_ID_S if type(example) in (str, int) and kind is not dict else _COST_S)
                )
        elif (kind is str or kind is bytes or kind is bytearray) and len(value) > _LONG:
            tick(len(value) * _COST_OF_BYTE_S)
        if not self.nodes % _BETWEEN_LOOKS:
            tick(0.0)

    def _sequence(self, elements: Sequence[Any], depth: int, *, ordered: bool) -> tuple[bytes, bytes]:
        kinds = frozenset(map(type, elements))
        if not kinds <= _STRINGS and not kinds <= _INTS and not kinds <= _DICTS:
            elements = [plain(element) for element in elements]
            kinds = frozenset(map(type, elements))
        if elements and (kinds <= _STRINGS or kinds <= _INTS):  # ids, mostly: one pass in C
            texts = elements if kinds <= _STRINGS else list(map(str, elements))
            tag = b"S" if kinds <= _STRINGS else b"I"
            joined = "\x00".join(texts)
            if joined.count("\x00") == len(texts) - 1:  # else ["a\0b"] would be ["a", "b"]
                in_order = _digest(tag + joined.encode("utf-8", "surrogatepass"))
                sorted_ = _digest(tag + b"~" + "\x00".join(sorted(texts)).encode("utf-8", "surrogatepass"))
                return (in_order if ordered else sorted_), sorted_
        exact = unordered = self._records(elements, depth + 1) if kinds == _DICTS and len(elements) > 1 else None
        if exact is None or unordered is None:
            hashes = [self.hash(element, depth + 1) for element in elements]
            exact, unordered = [each[0] for each in hashes], [each[1] for each in hashes]
        in_any_order = _digest(b"m" + b"".join(sorted(unordered)))
        if not ordered:
            return _digest(b"s" + b"".join(sorted(exact))), in_any_order
        return _digest(b"l" + b"".join(exact)), in_any_order

    def _map(self, pairs: Sequence[tuple[Any, Any]], depth: int) -> tuple[bytes, bytes]:
        flat = self._flat(pairs) if depth < MAX_DEPTH and 2 * len(pairs) <= self.nodes else None
        if flat is not None:
            return flat, flat
        exact, unordered = [], []
        for key, value in pairs:
            name = self.hash(key, depth + 1)[0]
            a, b = self.hash(value, depth + 1)
            exact.append(name + a)
            unordered.append(name + b)
        return _digest(b"d" + b"".join(sorted(exact))), _digest(b"d" + b"".join(sorted(unordered)))

    def _flat(self, pairs: Sequence[tuple[Any, Any]]) -> bytes | None:
        """What `_map` answers for a record of short texts, numbers and nulls under texts, in a quarter of the time; else None."""
        names, found = self.names, []
        for key, value in pairs:
            kind = type(value)
            hash_of = _HASH_OF.get(kind)
            if type(key) is not str or hash_of is None or (kind is str and len(value) > _SHORT):
                return None
            name = names.get(key)
            if name is None:
                name = _of_text(key)
                if len(key) <= _SHORT and len(names) < _MAX_NAMES:
                    names[key] = name
            found.append(name + hash_of(value))
        before = self.nodes // _BETWEEN_LOOKS
        self.nodes -= 2 * len(pairs)
        if self.tick is not None and self.nodes // _BETWEEN_LOOKS != before:
            self.tick(0.0)
        return _digest(b"d" + b"".join(sorted(found)))

    def _records(self, rows: Sequence[dict[Any, Any]], depth: int) -> list[bytes] | None:
        """What `_map` answers for each record, field by field; None where they are not all of the same few plain fields."""
        names = list(rows[0])
        nodes = len(rows) * (1 + 2 * len(names))
        if (
            nodes > self.nodes
            or depth >= MAX_DEPTH
            or set(map(len, rows)) != {len(names)}
            or not set(map(type, chain.from_iterable(rows))) <= _STRINGS
        ):
            return None
        is_looked_at = self.tick is not None and nodes > self.nodes % _BETWEEN_LOOKS
        parts: list[Iterable[bytes]] = [repeat(b"d", len(rows))]
        for digest, name in sorted(zip(map(_of_text, names), names)):
            values = [row.get(name, _MISSING) for row in rows]
            kinds = set(map(type, values))
            if not kinds <= _PLAIN:
                return None
            if str in kinds and max(map(len, values if len(kinds) == 1 else filter(_is_text, values))) > _SHORT:
                return None
            if is_looked_at and self.tick is not None:
                self.tick(0.0)
            parts += [repeat(digest), _hashes(values, kinds)]
        self.nodes -= nodes
        return list(map(_digest, map(b"".join, zip(*parts))))

    def _cell(self, value: Any) -> int:
        """A cell of a column as a 64-bit hash."""
        return int.from_bytes(self.hash(value, 1)[0][:8], "little")

    def _opaque(self, value: Any, name: str) -> tuple[bytes, bytes]:
        if type(value) in (bytes, bytearray):
            one = _digest(b"b" + bytes(value))
            return one, one
        read = columns.read(value, self._cell, self.nodes, self.tick)
        if isinstance(read, list):  # a small column is as a list of its values
            return self._sequence(read, 0, ordered=True)
        if read is not None:
            return read
        self.partial = True
        one = _digest(b"o" + name.encode("utf-8", "backslashreplace"))
        return one, one


def plain(value: Any) -> Any:
    """A value as the builtin scalar that it equals, if it does: an enum's, a subclass's, numpy's; whole floats as ints."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind not in (float, Decimal):
        if kind in (dict, list, tuple, set, frozenset):
            return value
        seen_as = view(value, 0)
        if seen_as.kind not in ("atom", "text"):
            return value
        value, kind = seen_as.value, type(seen_as.value)
    if kind is Decimal:
        if not value.is_finite():
            return float("nan") if value.is_nan() else float(value)
        if abs(value.adjusted()) > _MAX_DIGITS:
            return str(value)
        return int(value) if value == value.to_integral_value() else float(value)
    return int(value) if kind is float and math.isfinite(value) and value == int(value) else value


def _scalar(value: Any) -> bytes | None:
    value = plain(value)
    hash_of = _HASH_OF.get(type(value))
    return None if hash_of is None else hash_of(value)


def _of_text(value: str) -> bytes:
    return _digest(b"t" + value.encode("utf-8", "surrogatepass"))


def _of_constant(value: bool | None) -> bytes:
    return _digest(b"c" + repr(value).encode())


def _of_int(value: int) -> bytes:
    if value.bit_length() < 4_096:
        return _digest(b"i%d" % value)
    return _digest(b"i" + value.to_bytes(value.bit_length() // 8 + 2, "big", signed=True))


def _of_float(value: float) -> bytes:
    return _of_int(int(value)) if value.is_integer() else _digest(b"f" + repr(value).encode())


_HASH_OF: Final[dict[type, Callable[[Any], bytes]]] = {
    str: _of_text,
    int: _of_int,
    float: _of_float,
    bool: _of_constant,
    type(None): _of_constant,
}
_PLAIN: Final = frozenset(_HASH_OF)


def _hashes(values: list[Any], kinds: set[type]) -> Iterable[bytes]:
    """What `_HASH_OF` gives for each of some values of these kinds; without a call for each where they are of one kind."""
    if kinds == _STRINGS:
        return [_digest(b"t" + value.encode("utf-8", "surrogatepass")) for value in values]
    if kinds == _FLOATS:
        return [
            _digest(b"i%d" % int(value)) if value.is_integer() else _digest(b"f" + repr(value).encode())
            for value in values
        ]
    return [_HASH_OF[type(value)](value) for value in values]


def _is_text(value: Any) -> bool:
    return type(value) is str
