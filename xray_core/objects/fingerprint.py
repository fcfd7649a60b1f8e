"""Canonical fingerprints of inputs and outputs, so that two runs can be compared where values are not stored.

Key order, float formatting and set order do not matter; the order of lists does, and is told apart: `unordered` is equal
when the two values differ in the order of lists alone. Bounded: beyond 20,000 nodes, or at an object whose contents
cannot be read without running user code, the fingerprint is `partial`, and equality of partial ones proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import xxhash

from xray_core.objects.structure import view

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 32
_STRINGS: Final[frozenset[type]] = frozenset({str})
_INTS: Final[frozenset[type]] = frozenset({int})
_digest = xxhash.xxh3_64_digest


def fingerprint(value: Any) -> dict[str, Any]:
    """`{exact: 16 hex digits, unordered: 16 hex digits, partial: bool}`. Never calls user code, never raises."""
    walk = _Walk()
    try:
        exact, unordered = walk.hash(value, 0)
    except Exception:  # noqa: BLE001  # e.g. a collection that changed under our hands: unknown, and said so
        walk.partial = True
        exact = unordered = _digest(b"?")
    return {"exact": exact.hex(), "unordered": unordered.hex(), "partial": walk.partial}


class _Walk:
    __slots__ = ("nodes", "partial")

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.partial = False

    def hash(self, value: Any, depth: int) -> tuple[bytes, bytes]:
        self.nodes -= 1
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

    def _sequence(self, elements: Sequence[Any], depth: int, *, ordered: bool) -> tuple[bytes, bytes]:
        kinds = frozenset(map(type, elements))
        if kinds in (_STRINGS, _INTS):  # ids, mostly: one pass in C
            texts = list(map(str, elements)) if kinds == _INTS else elements
            tag = b"S" if kinds == _STRINGS else b"I"
            in_order = _digest(tag + "\x00".join(texts).encode("utf-8", "surrogatepass"))
            sorted_ = _digest(tag + b"~" + "\x00".join(sorted(texts)).encode("utf-8", "surrogatepass"))
            return (in_order if ordered else sorted_), sorted_
        hashes = [self.hash(element, depth + 1) for element in elements]
        unordered = _digest(b"m" + b"".join(sorted(h[1] for h in hashes)))
        if not ordered:
            return _digest(b"s" + b"".join(sorted(h[0] for h in hashes))), unordered
        return _digest(b"l" + b"".join(h[0] for h in hashes)), unordered

    def _map(self, pairs: Sequence[tuple[Any, Any]], depth: int) -> tuple[bytes, bytes]:
        exact, unordered = [], []
        for key, value in pairs:
            name = self.hash(key, depth + 1)[0]
            a, b = self.hash(value, depth + 1)
            exact.append(name + a)
            unordered.append(name + b)
        return _digest(b"d" + b"".join(sorted(exact))), _digest(b"d" + b"".join(sorted(unordered)))

    def _opaque(self, value: Any, name: str) -> tuple[bytes, bytes]:
        if type(value) in (bytes, bytearray):
            one = _digest(b"b" + bytes(value))
            return one, one
        if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.dtype.kind in "biufMm":
            data = value if value.flags["C_CONTIGUOUS"] else value.copy(order="C")
            one = _digest(f"n{value.shape}{value.dtype.str}".encode() + data.tobytes())
            return one, one
        self.partial = True
        one = _digest(b"o" + name.encode("utf-8", "backslashreplace"))
        return one, one


def _scalar(value: Any) -> bytes | None:
    kind = type(value)
    if kind is str:
        return _digest(b"t" + value.encode("utf-8", "surrogatepass"))
    if value is None or kind is bool:
        return _digest(b"c" + repr(value).encode())
    if kind is int:
        return (
            _digest(b"i%d" % value)
            if value.bit_length() < 4_096
            else _digest(b"i" + value.to_bytes(value.bit_length() // 8 + 2, "big", signed=True))
        )
    if kind is float:
        # 1.0 and 1 are the same number, and so are 0.0 and -0.0
        return (
            _digest(b"i%d" % int(value))
            if value == value and abs(value) < 2**53 and value == int(value)
            else _digest(b"f" + repr(value).encode())
        )
    if kind is Decimal:
        if value.is_finite() and value == value.to_integral_value() and abs(value) < 2**53:
            return _digest(b"i%d" % int(value))
        return _digest(b"f" + repr(float(value)).encode()) if value.is_finite() else _digest(b"f" + str(value).encode())
    return None
