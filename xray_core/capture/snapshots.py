"""Small plain values, packed where a look at them has to wait: what the program does to them afterwards does not show.

Plain are numbers, texts, bytes, nulls, dates and times, and the built-in containers of these, however nested. To pack anything else
would run its own code, or take more than a moment.
"""

from __future__ import annotations

import pickle
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from xray_core.safety import reraise_interrupt

MAX_BYTES: Final = 16_384  # of a value that is packed
_MAX_MEMBERS: Final = 1_000  # of a value and of its fields; the others show while they are packed
_SIZED: Final = frozenset({str, bytes, bytearray, dict, list, tuple, set, frozenset})
_UNCHANGING: Final = frozenset({date, datetime, time, timedelta, timezone, Decimal, UUID})


class NotPlainError(Exception):
    """A value that is not plain, or not small."""


def packed(value: Any) -> bytes:
    """What `unpacked` makes an equal value of, in the same types and order (but for the order of sets).

    Raises:
        NotPlainError: see above.
    """
    for each in (value, *value.values()) if type(value) is dict else (value,):
        if type(each) in _SIZED and len(each) > _MAX_MEMBERS:
            raise NotPlainError
    room = _Room()
    try:
        _Packer(room, pickle.HIGHEST_PROTOCOL).dump(value)
    except NotPlainError:
        raise
    except Exception as error:  # nested too deep, changed by another thread meanwhile, a text that cannot be encoded
        reraise_interrupt(error)
        raise NotPlainError from error
    return room.taken


def unpacked(data: bytes) -> Any:
    """What was packed."""
    return pickle.loads(data)  # noqa: S301  # of this process, and of plain values alone


class _Room:
    """Takes bytes as long as there is room; the packer brings some 64 KiB at a time, and long texts by themselves."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: bytes) -> None:
        if len(self.taken) + len(data) > MAX_BYTES:
            raise NotPlainError
        self.taken += data


class _Packer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Asked about everything but the built-in plain types, of exactly these types."""
        if type(obj) in _UNCHANGING or (type(obj) is type and obj in _UNCHANGING):  # such a value, and then its type
            return NotImplemented
        raise NotPlainError
