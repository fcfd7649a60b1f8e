"""Any object -> bounded JSON, with nothing under the names of secrets. Never calls user code, never raises.

Secrets inside its texts stay until the record that holds them is written: `redaction` looks through all of it at once.

Cuts by structure, not by bytes, so that what is left is always valid JSON, and marks every cut: a long string ends in
"…[+812]", a long list in {"$more": 812}, a long dict has "$more", depth ends in {"$depth": "list", "size": 3}, a cycle in
"[cycle]", an object that cannot be read is {"$type": "module.Class"}.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Final

import msgspec

from xray_core.objects import exceptions, redaction
from xray_core.objects.frame_head import head_of
from xray_core.objects.redaction import REDACTED, Redactor
from xray_core.objects.secret_keys import Secrecy
from xray_core.objects.structure import View, secret_in, type_name, view
from xray_core.safety import reraise_interrupt

MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 100
MAX_NODES: Final = 2_000
MAX_KEY_CHARS: Final = 200
MAX_STRING_CHARS: Final = 4_096
MAX_TRACEBACK_CHARS: Final = 8_192
MAX_MESSAGE_CHARS: Final = 2_048
MAX_SHOWN_CHARS: Final = 500  # of a value inside a message
MAX_KNOWN: Final = 4_096  # keys, and names, that are remembered
_AROUND_CUT_CHARS: Final = 256
_NUMBERS: Final = frozenset({int, float})

# What `Sanitizer._plain` takes on, so small that no limit of the walk's could be reached.
_PLAIN_PAIRS: Final = 12
_PLAIN_KEY_CHARS: Final = 40
_PLAIN_CHARS: Final = 1_000
_ROOM_FOR_PLAIN: Final = (_PLAIN_PAIRS * _PLAIN_PAIRS + _PLAIN_PAIRS) * (_PLAIN_KEY_CHARS + 8) + _PLAIN_CHARS
_NOT_KNOWN: Final[tuple[str, Secrecy]] = ("", 2)


class Sanitizer:
    """Makes values fit to store. Immutable after construction; may be used from any thread.

    Args:
        patterns: further rules of what is secret; see `redaction.Redactor`.
        max_bytes: size of one cleaned value, counted in characters of its strings and keys.

    Attributes:
        redactor: the rules of what is secret.
    """

    __slots__ = ("_keys", "_max_chars", "_names", "redactor")

    def __init__(self, patterns: Iterable[str] = (), *, max_bytes: int = 16_384) -> None:
        self.redactor = Redactor(patterns)
        self._max_chars = max_bytes
        self._keys: dict[str, tuple[str, Secrecy]] = {}
        self._names: dict[str, str] = {}

    def clean(self, value: Any) -> Any:
        """`value` as JSON-ready dicts, lists, strings and numbers: bounded, its cuts marked, nothing under secret names."""
        kind = type(value)
        if value is None or kind is bool or (kind is float and math.isfinite(value)):
            return value
        if kind is int and -(1 << 53) < value < 1 << 53:
            return value
        try:
            plain = self._plain(value) if kind is dict else None
            return plain if plain is not None else _Walk(self).walk(value, 0, ())
        except Exception as error:  # noqa: BLE001  # hostile beyond what was foreseen: the record goes on without it
            reraise_interrupt(error)
            return {"$type": type_name(kind), "$error": type(error).__name__}

    def _plain(self, value: dict[Any, Any]) -> dict[str, Any] | None:
        """What the walk would make of a small dict of short texts and numbers under keys that are known to be harmless;
        None where it takes the walk to say. Most of what adapters tell is like this, and is asked of a third as much.
        """
        if self._max_chars < _ROOM_FOR_PLAIN:
            return None
        texts: list[str] = []
        plain = self._plain_map(value, texts, 0)
        if plain is None:
            return None
        text = "".join(texts)
        return plain if len(text) <= _PLAIN_CHARS and text.isascii() else None

    def _plain_map(self, pairs: dict[Any, Any], texts: list[str], depth: int) -> dict[str, Any] | None:
        if len(pairs) > _PLAIN_PAIRS:
            return None
        plain: dict[str, Any] = {}
        for key, value in pairs.items():
            name, secret = self._keys.get(key, _NOT_KNOWN) if type(key) is str else _NOT_KNOWN
            if secret or len(name) > _PLAIN_KEY_CHARS:
                return None
            kind = type(value)
            if kind is str:
                texts.append(value)
            elif kind is int:
                if not -(1 << 53) < value < 1 << 53:
                    return None
            elif kind is dict and depth == 0:
                value = self._plain_map(value, texts, 1)
                if value is None:
                    return None
            elif value is not None and kind is not bool:
                return None
            plain[name] = value
        return plain

    def text(self, value: str, limit: int = MAX_STRING_CHARS) -> str:
        """A string cut to `limit` characters, and valid UTF-8."""
        if len(value) > limit:
            value = self._cut(value, limit)
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")

    def masked(self, value: str, limit: int = MAX_STRING_CHARS) -> str:
        """As `text`, without the secrets that can be recognised in it: for what is written outside of a record's payload."""
        return self.redactor.text(self.text(value, limit))

    def name(self, value: object) -> str:
        """A name (of a step, a type, a pipeline, a reason) as short text without secrets."""
        known = self._names.get(value) if type(value) is str else None
        if known is None or not redaction.holds_by_form():
            text = value if type(value) is str else _key_text(value)
            known = self.masked(text, MAX_KEY_CHARS)[:MAX_KEY_CHARS]
            if type(value) is str and len(value) <= MAX_KEY_CHARS:
                if len(self._names) >= MAX_KNOWN:
                    self._names.clear()
                self._names[value] = known
        return known

    def _cut(self, value: str, limit: int) -> str:
        """What fits; not half of a secret: no rule would recognise it, and half of it would be stored."""
        kept = limit
        begin = max(0, limit - _AROUND_CUT_CHARS)
        for start, end, _ in self.redactor.find(value[begin : limit + _AROUND_CUT_CHARS]):
            if begin + start < limit < begin + end:
                kept = begin + start
        return f"{value[:kept]}…[+{len(value) - kept}]"

    def _tail(self, value: str, limit: int) -> str:
        """The last that fits; as in `_cut`, not half of a secret."""
        begin = len(value) - limit
        at = max(0, begin - _AROUND_CUT_CHARS)
        for start, end, _ in self.redactor.find(value[at : begin + _AROUND_CUT_CHARS]):
            if at + start < begin < at + end:
                begin = at + end
        return value[begin:]

    def error(
        self, error: BaseException | Mapping[str, Any], trace: TracebackType | None = None
    ) -> dict[str, Any] | None:
        """An exception as {type, message, traceback}; see `exceptions`.

        A mapping is taken for {type, message, traceback} as a framework tells it.
        """
        if not isinstance(error, BaseException):
            given = self.clean(dict(error))
            return given if isinstance(given, dict) else None
        return {
            "type": type_name(type(error)),
            "message": self.text(exceptions.message_of(error, self._shown), MAX_MESSAGE_CHARS),
            "traceback": self._traceback(error, trace),
        }

    def _traceback(self, error: BaseException, trace: TracebackType | None) -> str:
        try:
            text = exceptions.traceback_of(error, trace, self._shown, max_chars=MAX_TRACEBACK_CHARS)
        except Exception as problem:  # noqa: BLE001  # a source that cannot be read, a chain that is no chain: the message stays
            reraise_interrupt(problem)
            return ""
        kept = text if len(text) <= MAX_TRACEBACK_CHARS else self._tail(text, MAX_TRACEBACK_CHARS)
        return self.text(kept, MAX_TRACEBACK_CHARS)

    def _shown(self, value: Any) -> str:
        """A value inside a sentence."""
        cleaned = self.clean(value)
        if isinstance(cleaned, dict) and cleaned.keys() <= {"$type", "size"}:
            return f"<{cleaned.get('$type')}>"
        return cleaned if isinstance(cleaned, str) else msgspec.json.encode(cleaned).decode()[:MAX_SHOWN_CHARS]

    def secrecy(self, key: str) -> Secrecy:
        """How secret a value under this key is; see `secret_keys.Secrecy`."""
        return self.key(key)[1]

    def key(self, key: str) -> tuple[str, Secrecy]:
        """A key as `text` would have it, and how secret a value under it is."""
        known = self._keys.get(key)
        if known is None:
            text = self.text(key, MAX_KEY_CHARS)
            known = text, self.redactor.secrecy(text)
            if len(self._keys) < MAX_KNOWN and len(key) <= MAX_KEY_CHARS:
                self._keys[key] = known
        return known


class _Walk:
    """One value being cleaned: what is left of its budget."""

    __slots__ = ("chars", "nodes", "rules")

    def __init__(self, rules: Sanitizer) -> None:
        self.rules = rules
        self.nodes = MAX_NODES
        self.chars = rules._max_chars

    def walk(self, value: Any, depth: int, seen: tuple[int, ...]) -> Any:
        kind = type(value)
        if kind is str:
            return self._string(value)
        self.nodes -= 1
        if self.nodes < 0 or self.chars < 0:
            return "[truncated]"
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._number(value)
        if id(value) in seen:
            return "[cycle]"
        seen = (*seen, id(value))
        if kind is dict and depth < MAX_DEPTH:
            return self._map(list(islice(value.items(), MAX_ELEMENTS)), len(value), {}, depth, seen)
        seen_as = view(value, MAX_ELEMENTS)
        if seen_as.kind == "opaque":
            return self._opaque(value, seen_as, depth, seen)
        return self._view(seen_as, depth, seen)

    def _opaque(self, value: Any, seen_as: View, depth: int, seen: tuple[int, ...]) -> Any:
        hidden = secret_in(value)
        if hidden is not None:
            redaction.learn(hidden)
            return REDACTED
        self.chars -= 40
        cleaned = {
            "$type": seen_as.type_name,
            **({"size": seen_as.size} if seen_as.size else {}),
            **(seen_as.value or {}),
        }
        if depth < MAX_DEPTH:
            pairs = list(head_of(value).items())
            self._map(pairs, len(pairs), cleaned, depth, seen)
        return cleaned

    def _view(self, seen_as: View, depth: int, seen: tuple[int, ...]) -> Any:
        if seen_as.kind == "atom":
            return self.walk(seen_as.value, depth, seen)
        if seen_as.kind == "text":
            return self._string(seen_as.value)
        if depth >= MAX_DEPTH:
            return {"$depth": seen_as.type_name or seen_as.kind, "size": seen_as.size}
        if seen_as.kind == "map":
            cleaned_map = {} if seen_as.type_name is None else {"$type": seen_as.type_name}
            return self._map(seen_as.value, seen_as.size, cleaned_map, depth, seen)
        cleaned = []
        for element in seen_as.value:
            if self.nodes < 0 or self.chars < 0:
                break
            cleaned.append(self.walk(element, depth + 1, seen))
        if len(cleaned) < seen_as.size:
            cleaned.append({"$more": seen_as.size - len(cleaned)})
        return cleaned

    def _map(
        self, pairs: list[tuple[Any, Any]], size: int, cleaned: dict[str, Any], depth: int, seen: tuple[int, ...]
    ) -> dict[str, Any]:
        rules, done = self.rules, 0
        for key, value in pairs:
            if self.nodes < 0 or self.chars < 0:
                break
            name, secret = rules.key(key if type(key) is str else _key_text(key))
            self.chars -= len(name)
            if secret and hides(secret, value):
                cleaned[name] = REDACTED
                redaction.learn(secret_in(value))
            else:
                cleaned[name] = self._string(value) if type(value) is str else self.walk(value, depth + 1, seen)
            done += 1
        if done < size:
            cleaned["$more"] = size - done
        return cleaned

    def _string(self, value: str) -> str:
        self.nodes -= 1
        limit = min(MAX_STRING_CHARS, max(0, self.chars))
        self.chars -= min(len(value), limit)
        return self.rules.text(value, limit)

    def _number(self, value: Any) -> Any:
        self.chars -= 8
        if type(value) is int:
            if -(1 << 53) < value < 1 << 53:
                return value
            return str(value) if value.bit_length() < 1_024 else {"$type": "int", "bits": value.bit_length()}
        return (
            value if math.isfinite(value) else {"$float": "nan" if value != value else "inf" if value > 0 else "-inf"}
        )


def hides(secret: Secrecy, value: Any) -> bool:
    """Whether a value under a name of this secrecy must not be kept. A bool says nothing, nor does None."""
    if not secret or value is None or type(value) is bool:
        return False
    return secret == 2 or type(value) not in _NUMBERS


def _key_text(key: Any) -> str:
    kind = type(key)
    if kind in (int, float, bool, type(None)):
        return str(key)
    seen_as = view(key, 0)
    plain = seen_as.kind in ("atom", "text")
    return str(seen_as.value) if plain else f"<{seen_as.type_name or type_name(kind)}>"
