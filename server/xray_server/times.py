"""Times as they are written and read at the edge: ISO 8601 in UTC outside, integer microseconds inside."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST_US: Final = 253_402_300_799_999_999  # the last microsecond of 9999: no later one can be written
_AGO: Final = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# "+" in a query means a space: a zone east of UTC that nobody escaped
_LOST_PLUS: Final = re.compile(r"(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:?\d\d)$", re.ASCII)
_OFFSET: Final = re.compile(r"(:\d\d[\d.]*[+-]\d\d)(\d\d)$", re.ASCII)  # Python 3.10 reads those with a colon alone
_FRACTION: Final = re.compile(r"[.,](\d+)", re.ASCII)


def iso(us: int | None) -> str | None:
    """As in 2026-01-31T09:30:00.000250Z; an end of a bucket after the year 9999 is the end of that year."""
    if us is None:
        return None
    return (_EPOCH + timedelta(microseconds=min(us, _LAST_US))).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 time; a naive one means UTC.

    Raises:
        ValueError: not such a time, before 1970 or after 9999.
    """
    # Python 3.10 reads neither "Z" nor fractions of other than three or six digits
    shape = _FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), text.strip(), count=1)
    shape = _OFFSET.sub(r"\1:\2", _LOST_PLUS.sub(r"\1+\2", shape))
    if shape[-1:] in ("Z", "z"):
        shape = shape[:-1] + "+00:00"
    try:
        moment = datetime.fromisoformat(shape)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
        us = (moment - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-01-31T09:30:00Z") from None
    if us < 0:
        raise ValueError("expected a time after 1970")
    if us > _LAST_US:  # in UTC, though written with a year of 9999
        raise ValueError("expected a time before the year 10000")
    return us


def parse_time(text: str, now_us: int) -> int:
    """An ISO 8601 time, or how long ago: `90s`, `15m`, `24h`, `7d`, `2w`.

    Raises:
        ValueError: neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return max(0, now_us - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000)
    try:
        return parse_iso(text)
    except ValueError as error:
        raise ValueError(f"{error}, or how long ago, such as 24h or 7d") from None
