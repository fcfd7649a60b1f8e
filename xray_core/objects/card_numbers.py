"""Payment card numbers inside text: by their grouping, their issuer's range and the check digit (ISO/IEC 7812, Luhn).

One in ten numbers passes Luhn's test by chance, so that alone proves nothing: length and first digits must be those of a
known network, which leaves about one in fifty of the sixteen-digit numbers that are no cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Digits in one piece, or in the groups that are printed on cards (4-4-4-4, 4-6-5, 4-6-4), by one kind of separator.
_GROUPED: Final = r"\d{4}(?P<s>[ -])\d{4}(?P=s)\d{4}(?P=s)\d{4}(?:(?P=s)\d{3})?|\d{4}(?P<t>[ -])\d{6}(?P=t)\d{4,5}"
_GROUPS: Final = re.compile(rf"(?<![\w.-])(?:{_GROUPED})(?![\w-]|\.\d)", re.ASCII)
_ANY: Final = re.compile(rf"(?<![\w.-])(?:\d{{14,19}}|{_GROUPED})(?![\w-]|\.\d)", re.ASCII)
# https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN)
_NETWORKS: Final = re.compile(
    r"4(?:\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d{2})\d{12}"  # Discover
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14}(?:\d{3})?"  # UnionPay
)


def spans(text: str, *, grouped_only: bool = False) -> Iterator[tuple[int, int]]:
    """Where in a text card numbers stand. `grouped_only`: not those in one piece, which may be ids of something else."""
    for match in (_GROUPS if grouped_only else _ANY).finditer(text):
        digits = "".join(filter(str.isdigit, match.group()))
        if _NETWORKS.fullmatch(digits) and _luhn(digits):
            yield match.span()


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
