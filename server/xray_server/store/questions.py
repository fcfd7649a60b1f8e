"""The questions that a store is asked: filters, batches to write, what to remove.

Knows no SQL and no HTTP. Times are microseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from xray_server.records.schema import Record

DEFAULT_PROJECT: Final = "default"
MAX_PAGE: Final = 1000
MAX_COUNTED: Final = 10_000  # of what has one name
MAX_PAGE_BYTES: Final = 64 * 1024 * 1024  # of documents, unpacked: two of the largest that are taken still fit


def digest_of(deleted_id: str) -> bytes:
    """What is kept of the id of a run that was deleted, and what the log says of a run or an item: 16 bytes."""
    return hashlib.blake2b(deleted_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one request.

    Attributes:
        records: in the order in which they came.
        project: whose they are; comes from the key, never from the body.
        received_us: when they came: microseconds since the epoch.
    """

    records: Sequence[Record]
    project: str = DEFAULT_PROJECT
    received_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs. Times are microseconds since the epoch, `since` inclusive, `until` exclusive.

    `tag` is `key` or `key:value`; `q` is the beginning of a run id or of a tag's value, or a part of a pipeline's name.
    """

    pipeline: str | None = None
    status: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    tag: str | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFilter:
    """Which steps, across runs. All that are given must hold; the bounds of rates and durations are exclusive."""

    step_type: str | None = None
    name: str | None = None
    pipeline: str | None = None
    status: str | None = None
    reason: str | None = None
    rejection_rate_gt: float | None = None
    rejection_rate_lt: float | None = None
    duration_us_gt: int | None = None
    since_us: int | None = None
    until_us: int | None = None


Kept = Literal["details", "verdicts", "ledgers"]


KINDS_KEPT: Final[tuple[Kept, ...]] = ("details", "verdicts", "ledgers")  # in the order in which they may expire


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove what is too old: of one kind, and what hangs on it (verdicts take details along, ledgers everything).

    Attributes:
        before_us: runs that started before it; `from_us`: and not before this (what is older was seen to already).
        pipeline: of this one only; None: of all but those in `but`.
        nobody_keeps_longer: no pipeline's limit is later, so a store may drop whole stretches of time, if late.
    """

    kind: Kept
    before_us: int
    from_us: int = 0
    pipeline: str | None = None
    but: tuple[str, ...] = ()
    nobody_keeps_longer: bool = False
