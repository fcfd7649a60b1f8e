"""The first look: whether an encoded record may hold a secret that `redaction` would find. No is certain, yes is not.

Every record is asked on the caller's thread, and most hold none: a record without any hint costs a few passes in C, about
4 ns a byte (tests/benchmarks/redaction.py). A search for one byte costs a fifteenth of that for two, so those come first.
"""

from __future__ import annotations

import re
from typing import Final

from xray_core.objects import card_numbers
from xray_core.objects.secret_formats import FORMATS

SHORTEST_TOKEN_CHARS: Final = 14  # of all that is recognised by its form alone: a card number
_PIECE_CHARS: Final = 18  # in one piece, in every format of a token; and more than a fingerprint has

# What may stand between a name and its value. Not what JSON writes after a key (a quote before it), not in a time of day (a
# digit) and not in an address. It begins with a set of characters, which `re` skips to at a tenth of its usual cost.
_ASSIGNS: Final = re.compile(rb"[=:](?!//)(?<![\"0-9].)")
# A dash after a space or a dash. `re` skips to the first letter of a pattern with memchr.
_OPTION: Final = re.compile(rb"-(?<=[ -]-)")
_KEY_BYTES: Final = 48
_USER_IN_ADDRESS: Final = re.compile(rb"://[^\s\"]*@")  # in one word of one text; "@task" beside an address is none
_MANY_ASSIGNMENTS: Final = 100
_ESCAPED_SPACE: Final = re.compile(rb"\\[nrt]")
# Every name that promises a secret (secret_keys) has one of these in it, and so has every header.
_NAMES: Final = tuple(
    each.encode()
    for each in (
        "pass", "pwd", "pw", "secret", "token", "auth", "cookie", "cred", "jwt", "bearer", "basic", "sess", "csrf", "xsrf",
        "key", "ssn", "cvv", "cvc", "iban", "mnemonic", "conn", "card", "ccnum", "account", "routing", "social", "tax",
        "security", "recovery", "backup", "seed", "pin", "otp", "dsn", "sid", "sas", "url", "uri", "sig",
    )
)  # fmt: skip
_COMMANDS: Final = (b"curl", b"wget", b"http ", b"mysql", b"mariadb", b"sshpass")

_HINTS: Final = [hint for each in FORMATS for hint in each.hints]
_BEGINNINGS: Final = sorted({hint for hint in _HINTS if hint[0].isalnum()})
_ANYWHERE: Final = tuple(sorted({hint.encode() for hint in _HINTS if not hint[0].isalnum()}))


def _by_first_letter(hints: list[str]) -> str:
    """One pattern for all: at each word one letter is compared with some thirty, and not with a hundred and fifty hints."""
    first_letters = sorted({hint[0] for hint in hints})
    rest = {letter: [hint[1:] for hint in hints if hint[0] == letter] for letter in first_letters}
    return "|".join(f"{letter}(?:{'|'.join(rest[letter])})" for letter in first_letters)


# For a short text: to search one for forty names, one after the other, takes four times as long.
_SHORT_BYTES: Final = 1_024
_ANY_NAME: Final = re.compile(_by_first_letter([name.decode() for name in _NAMES]).encode())
_TOKEN_BEGINS: Final = re.compile(rf"\b(?:{_by_first_letter(_BEGINNINGS)})".encode())


def _table(members: bytes, sign: bytes, *, other: bytes, kept: bytes = b"") -> bytes:
    """For `bytes.translate`: `sign` for each member, itself for what is kept, `other` for the rest."""
    return bytes(sign[0] if each in members else each if each in kept else other[0] for each in range(256))


_WORD_BYTES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_PIECES: Final = _table(_WORD_BYTES, b"x", other=b" ")
# What separates the groups of a card number is taken out. A number of JSON's own follows ":", or has a "." in it.
_DIGITS: Final = _table(b"0123456789", b"0", other=b"x", kept=b":.")
# As that, and what separates the groups counts as a digit: nothing has to be taken out to tell that there is no number.
_DIGITS_AND_GAPS: Final = _table(b"0123456789 -", b"0", other=b"x", kept=b":.")
_LONG_NUMBER: Final = b"0" * SHORTEST_TOKEN_CHARS
# What ids and lists of them are written with. Without anything else, and without "--", nothing is named or assigned.
_OF_IDS: Final = _WORD_BYTES + b'.,/@#[]{}"\n'


def may_hold_secret(payload: bytes, *, any_name: bool = False, tokens: bool = True) -> bool:
    """Whether an encoded record, or any UTF-8 text, is worth looking through.

    `any_name`: names of secrets beyond ours exist. `tokens`: a text in it may be as long as a token.
    """
    if b" " not in payload and not payload.translate(None, _OF_IDS) and b"--" not in payload:
        return tokens and len(payload) >= SHORTEST_TOKEN_CHARS and may_hold_token(payload)
    if b"\\" in payload:
        if b"\\u00" in payload:
            return True
        payload = _ESCAPED_SPACE.sub(b"  ", payload)
        if b'\\"' in payload and (any_name or _names_a_secret(payload)):
            return True
    if b"@" in payload and b"://" in payload and _USER_IN_ADDRESS.search(payload) is not None:
        return True
    if b"-" in payload and _OPTION.search(payload) is not None:
        if b"--" in payload and (any_name or b"KEY" in payload or _names_a_secret(payload)):
            return True
        if b" -" in payload and any(command in payload for command in _COMMANDS):
            return True
    if (b"<" in payload and b"</" in payload) or b" password " in payload:
        return True
    if _only_keys_are_assigned(payload):
        return tokens and may_hold_token(payload)
    assigns = [match.start() for match in _ASSIGNS.finditer(payload)]
    if assigns:
        if any_name:
            return True
        few = len(assigns) <= _MANY_ASSIGNMENTS
        # Of the text that the assignment is in: "url" before an address with a port names no secret.
        begins = [max(payload.rfind(b'"', 0, at), at - _KEY_BYTES, 0) for at in assigns] if few else []
        near = b" ".join([payload[begin:at] for begin, at in zip(begins, assigns)]) if few else payload
        if _names_a_secret(near):
            return True
    return tokens and may_hold_token(payload)


def may_hold_token(payload: bytes) -> bool:
    """Whether there may be a credential in it that is recognised by its form alone, or a card number (but not at its beginning)."""
    if b"x" * _PIECE_CHARS in payload.translate(_PIECES):
        for hint in _ANYWHERE:
            if hint in payload:
                return True
        if _TOKEN_BEGINS.search(payload) is not None:
            return True
        folded = payload.lower()
        if b"bearer" in folded or b"basic" in folded:
            return True
    if _has_long_number(payload):
        return next(card_numbers.spans(payload.decode("utf-8", "replace")), None) is not None
    return False


def _only_keys_are_assigned(payload: bytes) -> bool:
    """Whether there is no "=", and no ":" but those that JSON writes after a key: most records, told at a fifth of the cost."""
    return b"=" not in payload and payload.count(b":") == payload.count(b'":')


def _has_long_number(payload: bytes) -> bool:
    """Whether as many digits as a card number has stand together, or in groups, other than as a number of JSON's own."""
    digits = payload.translate(_DIGITS_AND_GAPS)
    at = digits.find(_LONG_NUMBER)
    while at >= 0:
        if digits[at - 1 : at] == b"x":
            return b"x" + _LONG_NUMBER in payload.translate(_DIGITS, b" -")
        at = digits.find(b"x", at)
        if at >= 0:
            at = digits.find(_LONG_NUMBER, at)
    return False


def _names_a_secret(payload: bytes) -> bool:
    folded = payload.lower()
    if len(folded) <= _SHORT_BYTES:
        return _ANY_NAME.search(folded) is not None
    for name in _NAMES:  # noqa: SIM110  # a generator costs more than it asks
        if name in folded:
            return True
    return False
