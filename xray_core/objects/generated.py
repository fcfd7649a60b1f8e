"""What is another in every run, whatever the run decides: ids of requests, times of now, durations, hosts, names of temporary files.

Told by the name of a field, or by the value. Knows nothing of runs; of a value it is asked whether it lies near a given moment.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import lru_cache
from itertools import islice
from typing import Any, Final

NEAR_US: Final = 3_600_000_000  # a time within an hour of its own run is the time of that run
MIN_RUN_ID: Final = 8  # a shorter one ("a", "42") may stand in any text
_TEMPORARY: Final = re.compile(
    r"(?<![^/\\])tmp[a-z0-9_]{8}(?![a-z0-9_])"
)  # as Python's tempfile names files and folders
_NAME: Final = re.compile(
    r"(?:^|[._])(?:(?:request|trace|span|run|correlation|session|execution|job|invocation|message|task)_?(?:id|uuid|key)"
    r"|uuid|guid|nonce|etag|host|hostname|node|pid|worker|machine|(?:duration|elapsed|took|latency)(?:_?(?:ms|us|ns|s))?)$",
    re.IGNORECASE,
)
_OF_ONE_CALL: Final = re.compile(
    r"(?:^|_)(?:(?:request|trace|span|run|correlation|session|execution|invocation)_?(?:id|uuid)"
    r"|uuid|guid|nonce|etag|host|hostname|pid|(?:duration|elapsed|took|latency)(?:_?(?:ms|us|ns|s))?)$",
    re.IGNORECASE,
)
# As made by chance or by the clock; versions 3 and 5 of UUIDs, as digests, tell of a content.
_MADE_ANEW: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1467][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|[0-9a-f]{12}[1467][0-9a-f]{3}[89ab][0-9a-f]{15}"
    r"|(?=.*[-_].*[a-z])(?=.*[-_].*[A-Z])(?=.*[-_].*[0-9])[a-z]{2,12}[-_][A-Za-z0-9]{20,64}"
)
_MIN_MADE_ANEW: Final = 22
_MAX_LOOKED_AT: Final = 100  # values of a column


@lru_cache(maxsize=4_096)
def is_generated_name(path: str) -> bool:
    """Whether a field of this name holds what is another in every run; of a path its end counts."""
    return _NAME.search(path) is not None


@lru_cache(maxsize=4_096)
def is_of_one_call(name: str) -> bool:
    """The same of a field of which no more is known than that it differs: a job, a worker or a machine may be what was decided."""
    return _OF_ONE_CALL.search(name) is not None


def may_be_made_anew(text: str) -> bool:
    """Whether a text is an id as a call makes one up: a random UUID, or letters and digits after a prefix (`chatcmpl-...`)."""
    return len(text) >= _MIN_MADE_ANEW and _MADE_ANEW.fullmatch(text) is not None


def without_temporary(text: str) -> str:
    """A text with the names of temporary files and folders made equal."""
    return _TEMPORARY.sub("tmp", text) if "tmp" in text else text  # the very text where there are none


def now_us() -> int:
    """The moment, as `moment_us` gives it."""
    return time.time_ns() // 1_000


def moment_us(value: Any) -> int | None:
    """The moment that an ISO text or a number of seconds, milliseconds or microseconds tells; None where it tells none."""
    if isinstance(value, str) and 16 <= len(value) <= 40 and value[:4].isdigit():
        try:
            at = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
        return int(at.timestamp() * 1_000_000)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for unit in (1_000_000, 1_000, 1):
            if 1e15 < value * unit < 1e16:
                return int(value * unit)
    return None


def is_near(value: Any, moment: int | None) -> bool:
    """Whether a value tells a time near a moment."""
    at = moment_us(value)
    return moment is not None and at is not None and abs(at - moment) <= NEAR_US


def all_near(values: Iterable[Any], moment: int) -> bool:
    """Whether some values, of which the first hundred are looked at, all tell times near a moment."""
    looked_at = list(islice(values, _MAX_LOOKED_AT))
    return bool(looked_at) and all(is_near(each, moment) for each in looked_at)
