"""Finds secrets in names, texts and records, and masks them. The rules are data: secret_formats, secret_contexts,
secret_keys, card_numbers.

A record is looked through as it is written: secret_hints says of most, encoded, that there is nothing to look for, and then
nothing else is done. Knows nothing of users' objects: what it masks is JSON already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import xxhash

from xray_core import safety
from xray_core.objects import card_numbers, secret_hints
from xray_core.objects.secret_contexts import CONTEXTS
from xray_core.objects.secret_formats import FORMATS
from xray_core.objects.secret_keys import Secrecy, secrecy
from xray_core.safety import swallow

REDACTED: Final = "[redacted]"
MIN_SECRET_CHARS: Final = 6  # of a value that was learned: a shorter one would be found in every other word
MAX_LEARNED: Final = 1_000
TEXT_PREFIX: Final = "text:"
KEY_PREFIX: Final = "key:"

_TOKENS: Final = re.compile(
    "|".join(
        f"(?P<f{n}>(?<!\\w)(?:{each.pattern.replace('(?P<secret>', f'(?P<s{n}>')}))" for n, each in enumerate(FORMATS)
    ),
    re.ASCII,
)
_MARK: Final = re.compile(r"[=:<]|--| -| password ")  # no context is without one
_NUMBER: Final = re.compile(r"[+-]?\d[\d_]*(?:\.\d*)?%?")
_FLAG: Final = re.compile(r"--?([A-Za-z][\w-]{1,40})")
_NO_VALUES: Final = frozenset(
    {"none", "null", "nil", "true", "false", "str", "int", "bytes", "string", "undefined", "xxx"}
)
_LONG_VALUE_CHARS: Final = 16
_PASSWORD: Final = re.compile("pass|pwd|secret", re.IGNORECASE)

# ---------------------------------------------------------------- values that others know to be secret

Masker = Callable[[str], str]
_maskers: list[Callable[[], Masker | None]] = []
_secret_names: dict[
    Callable[[str], bool], tuple[bytes, ...]
] = {}  # what is asked -> what its names hold, for a first look
_learned: dict[str, bytes] = {}
may_change = False
"""Whether what is secret may change: a framework is asked, or values were learned. See `holds_by_form`."""


def add_masker(ask: Callable[[], Masker | None]) -> None:
    """Let an adapter hand over its framework's own masking of texts. `ask` is called for each record; None: nothing to mask."""
    global may_change
    if ask not in _maskers:
        _maskers.append(ask)
        may_change = True


def add_secret_names(is_secret: Callable[[str], bool], *, hints: Iterable[str] = ()) -> None:
    """Let an adapter say which further names its framework takes for secret.

    Args:
        is_secret: asked once per name and client, and for the names in texts that are looked through.
        hints: small letters; each of these names holds one. Only records that do are looked through for them; without hints all
            are, which costs a step of many texts a millisecond.
    """
    _secret_names.setdefault(is_secret, tuple(hint.encode() for hint in hints))


def learn(value: object) -> None:
    """Mask this value wherever it turns up in this process from now on: somebody said that it is a secret."""
    global may_change
    if type(value) is str and len(value) >= MIN_SECRET_CHARS and value not in _learned and len(_learned) < MAX_LEARNED:
        # as it stands in an encoded record, but for what JSON may write in two ways
        _learned[value] = re.split(rb"[\x00-\x1f\"\\\x80-\xff]", value.encode("utf-8", "replace"))[0]
        may_change = True


def holds_by_form() -> bool:
    """Whether nothing is secret now but by its form or its name: then what was looked through before needs no second look."""
    return not may_change or not (_learned or _ask_maskers())


def forget() -> None:
    """Drop what was learned and who is asked: for tests."""
    global may_change
    may_change = False
    _learned.clear()
    _maskers.clear()
    _secret_names.clear()


def masked_item_id(item_id: str) -> str:
    """The name under which an item is kept whose id is a secret: distinguished from others by the 40 bits that verdicts hold of it."""
    return f"{REDACTED}#{xxhash.xxh3_64_intdigest(item_id.encode()) & 0xFF_FFFF_FFFF:010x}"


class Finding(NamedTuple):
    """A secret in a text: from `start` to before `end`, found by `rule`."""

    start: int
    end: int
    rule: str


# X-Ray's own fields of a record, and names, which are masked as they are given. The rest is what users and frameworks said: a
# record without any of it is not looked through.
OWN_FIELDS: Final = frozenset({
    "v", "kind", "run_id", "step_id", "attempt", "part", "rev", "pipeline", "name", "step_type", "parent_id", "parent", "index",
    "upstream", "map_index", "status", "started_us", "ended_us", "duration_us", "capture", "code_version", "client", "chunk", "sets",
    "counts", "reasons", "sums", "orders", "score_sums", "items", "sampling", "dropped", "input_count", "output_count", "input_fp", "output_fp", "task",
})  # fmt: skip
_OURS_OF_A_SAMPLE: Final = frozenset({"outcome", "reason", "rank", "weight", "at_us"})
_HOLD_ITEM_IDS: Final = frozenset({"item_id", "selected", "alternatives", "min", "max"})


class Redactor:
    """The rules of one client. Immutable after construction; may be used from any thread.

    Args:
        patterns: further rules, as regular expressions, case-insensitive. One that begins with "text:" is searched in texts,
            and masks its first group if it has one; any other (or "key:") is searched in names, and masks their values.
    """

    __slots__ = ("_key_patterns", "_text_patterns")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        keys, texts = [], []
        for pattern in patterns:
            if pattern.startswith(TEXT_PREFIX):
                texts.append(re.compile(pattern[len(TEXT_PREFIX) :], re.IGNORECASE))
            else:
                keys.append(re.compile(pattern.removeprefix(KEY_PREFIX), re.IGNORECASE))
        self._key_patterns = tuple(keys)
        self._text_patterns = tuple(texts)

    def secrecy(self, key: str) -> Secrecy:
        """How secret a value under this name is; see `secret_keys.Secrecy`."""
        if any(pattern.search(key) for pattern in self._key_patterns):
            return 2
        known = secrecy(key)
        if not known and _secret_names:
            return 1 if any(_asked(is_secret, key) for is_secret in _secret_names) else 0
        return known

    def may_hold_secret(self, payload: bytes, *, tokens: bool = True) -> bool:
        """Whether an encoded record is worth looking through: False is certain. `tokens`: no text in it is too short for one."""
        if self._text_patterns:
            return True
        maskers = _ask_maskers()
        if maskers:
            text = payload.decode("utf-8", "replace")
            if "\\" in text:  # a secret with a quote or a line break in it stands there escaped
                text += text.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
            if any(_masked(masker, text) != text for masker in maskers):
                return True
        if _learned and any(part in payload for part in list(_learned.values())):
            return True
        any_name = bool(self._key_patterns) or _may_name_secret(payload)
        return secret_hints.may_hold_secret(payload, any_name=any_name, tokens=tokens)

    def text(self, text: str) -> str:
        """A text with its secrets masked."""
        found = self.find(text)
        if found:
            pieces: list[str] = []
            at = 0
            for start, end, _ in found:
                pieces += (text[at:start], REDACTED)
                at = end
            text = "".join([*pieces, text[at:]])
        for masker in _ask_maskers():
            text = _masked(masker, text)
        return text

    def item_id(self, item_id: str) -> str:
        """An item's id, or, where it holds a secret, the name under which the item is kept.

        A number in one piece is an id whatever its check digit, and "session:8c7f" names a session.
        """
        if self.find(item_id, as_id=True) or any(_masked(masker, item_id) != item_id for masker in _ask_maskers()):
            return masked_item_id(item_id)
        return item_id

    def without_secrets(self, item_ids: list[str]) -> tuple[list[str], list[str]]:
        """Item ids, and those among them that hold secrets, taken out."""
        joined = "\n".join(["", *item_ids])
        # to look for the longest costs a third of what it spares: not done where ids are long anyway
        short = len(joined) < secret_hints.SHORTEST_TOKEN_CHARS * len(item_ids)
        tokens = not short or max(map(len, item_ids), default=0) >= secret_hints.SHORTEST_TOKEN_CHARS
        if not self.may_hold_secret(joined.encode(), tokens=tokens):
            return item_ids, []
        secret = [each for each in item_ids if self.item_id(each) is not each]
        hidden = frozenset(secret)
        return [each for each in item_ids if each not in hidden] if secret else item_ids, secret

    def find(self, text: str, *, as_id: bool = False) -> list[Finding]:
        """The secrets in a text, in their order, none overlapping another."""
        found = sorted(self._search(text, as_id=as_id))
        apart: list[Finding] = []
        for each in found:
            if apart and each.start < apart[-1].end:
                apart[-1] = apart[-1]._replace(end=max(apart[-1].end, each.end))
            elif each.end > each.start:
                apart.append(each)
        return apart

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record with the secrets masked in what users and frameworks said."""
        return {name: value if name in OWN_FIELDS else self._field(name, value) for name, value in record.items()}

    def _field(self, name: str, value: Any) -> Any:
        if name != "samples":
            return self.json(value, name)
        return [
            {key: each if key in _OURS_OF_A_SAMPLE else self.json(each, key) for key, each in sample.items()}
            for sample in value
        ]

    def json(self, value: Any, key: str = "") -> Any:
        """JSON with its secrets masked, in keys too. Under the names that hold item ids these become masked ids."""
        kind = type(value)
        if kind is str:
            return self.item_id(value) if key in _HOLD_ITEM_IDS else self.text(value)
        if kind is dict:
            return {self.text(name): self.json(each, name) for name, each in value.items()}
        if kind is list:
            masked, after_flag = [], False
            for each in value:
                masked.append(REDACTED if after_flag and type(each) is str else self.json(each, key))
                after_flag = type(each) is str and self._is_secret_flag(each)
            return masked
        return value

    def _is_secret_flag(self, text: str) -> bool:
        """Whether a word of a command line says that the next one is a secret: ["--password", "..."]."""
        flag = _FLAG.fullmatch(text) if text[:1] == "-" else None
        return flag is not None and self.secrecy(flag[1]) > 0

    def _search(self, text: str, *, as_id: bool) -> Iterator[Finding]:
        for pattern in self._text_patterns:
            for match in pattern.finditer(text):
                yield Finding(*match.span(1 if match.re.groups and match[1] is not None else 0), "redact= of yours")
        for value in list(_learned) if _learned else ():
            at = text.find(value)
            while at >= 0:
                yield Finding(at, at + len(value), "a secret object's value")
                at = text.find(value, at + len(value))
        if len(text) >= secret_hints.SHORTEST_TOKEN_CHARS:
            if secret_hints.may_hold_token(b"\n" + text.encode("utf-8", "replace")):
                for match in _TOKENS.finditer(text):
                    n = int((match.lastgroup or "f0")[1:])
                    inner = f"s{n}" if f"s{n}" in _TOKENS.groupindex else f"f{n}"
                    yield Finding(*match.span(inner), FORMATS[n].name)
            for start, end in card_numbers.spans(text, grouped_only=as_id):
                yield Finding(start, end, "card-number")
        if _MARK.search(text) is not None:
            yield from self._in_contexts(text, as_id=as_id)

    def _in_contexts(self, text: str, *, as_id: bool) -> Iterator[Finding]:
        folded = text.lower()
        for name, hints, pattern, _ in CONTEXTS:
            if not any(hint in folded for hint in hints):
                continue
            for match in pattern.finditer(text):
                span = _span_of_secret(match)
                groups = match.re.groupindex
                if "key" not in groups or self._promises_secret(match, text[slice(*span)], least=2 if as_id else 1):
                    yield Finding(*span, name if "key" not in groups else f"{name} of {match['key']}")

    def _promises_secret(self, match: re.Match[str], value: str, *, least: int) -> bool:
        level = self.secrecy(match["key"])
        if level < least or value.lower() in _NO_VALUES or value == REDACTED:
            return False
        if level == 1 and _NUMBER.fullmatch(value):
            return False
        if match.groupdict().get("prose") is None or _PASSWORD.search(match["key"]) is not None:
            return True
        # "unexpected token: end of file" is prose; "token: 8c7f" is not
        return len(value) >= _LONG_VALUE_CHARS or any(map(str.isdigit, value)) or " " in value


safety.mask = Redactor().text


def _span_of_secret(match: re.Match[str]) -> tuple[int, int]:
    for group in ("secret", "escaped", "double", "single", "bare"):
        if group in match.re.groupindex and match[group] is not None:
            return match.span(group)
    return match.span()


def _may_name_secret(payload: bytes) -> bool:
    """Whether a name that a framework takes for secret may be in an encoded record."""
    if not _secret_names:
        return False
    folded = payload.lower()
    for (
        hints
    ) in _secret_names.values():  # loops: this is asked of every record, and a generator costs more than it asks
        if not hints:
            return True
        for hint in hints:
            if hint in folded:
                return True
    return False


def _ask_maskers() -> list[Masker]:
    return [masker for ask in _maskers if (masker := _asked(ask)) is not None] if _maskers else []


def _asked(ask: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except Exception as error:  # noqa: BLE001
        swallow(f"asking {getattr(ask, '__module__', '?')} what is secret", error)
        return None


def _masked(masker: Masker, text: str) -> str:
    try:
        masked = masker(text)
        return masked if type(masked) is str else REDACTED
    except Exception as error:  # noqa: BLE001  # what cannot be said to be harmless does not leave the process
        swallow("masking by the framework's own rules", error)
        return REDACTED
