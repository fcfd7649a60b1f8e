"""The items of one outcome for one reason: what `VerdictLog` holds of them until it is written down, and their sums since."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

import xxhash

from xray_core import verdicts
from xray_core.capture.caller import caller_id
from xray_core.capture.declared import Declared
from xray_core.capture.sampling import ReasonSampler
from xray_core.model import HASH_MODULUS

# The first items of each reason are kept by their ids: exact answers, and names to show in lists. Per reason and not per
# step, so that the 21 that a filter let through are known by name, however many it rejected before them.
NAMED_ITEMS: Final = 1_000
IN_ORDER: Final = frozenset({"accepted", "selected"})  # outcomes whose order may be the answer


class Bucket:
    """The items of one (outcome, reason): those not yet written down, and how many were."""

    __slots__ = (
        "caller",
        "declared",
        "hashes",
        "ids",
        "names_left",
        "order",
        "outcome",
        "reason",
        "sampler",
        "slow",
        "ticks",
        "total",
        "unnamed",
        "written",
    )  # fmt: skip

    def __init__(self, outcome: str, reason: str | None, sampler: ReasonSampler, *, slow: bool) -> None:
        self.outcome = outcome
        self.reason = reason
        self.sampler = sampler
        self.names_left = NAMED_ITEMS
        self.slow = slow  # items go through `VerdictLog.add`: named, or not fingerprinted at all
        self.hashes = array("Q")
        self.ids: list[str] = []
        self.declared: Declared | None = None  # those of them that have a value
        self.ticks = array("B")  # at capture level minimal: one byte an item, until it is written down
        self.unnamed = 0  # items whose id could not be read: counted, without a verdict
        self.written = 0  # verdicts already drained
        self.total = 0  # sum of the drained hashes
        # Of outcomes whose order may be the answer: which thread or task captures them, 0 once there are several.
        self.caller = caller_id() if outcome in IN_ORDER else 0
        self.order: xxhash.xxh3_64 | None = None  # of the sequence of the drained hashes

    def n(self) -> int:
        """How many items there were so far, written down or not."""
        n = self.written + len(self.hashes) + len(self.ids) + len(self.ticks) + self.unnamed
        return n if self.declared is None else n + self.declared.n()

    def note_caller(self) -> None:
        """Before items are added: whether the thread or task is still the one of the others."""
        if self.caller and self.caller != caller_id():
            self.caller = 0

    def took(self, hashes: array[int]) -> None:
        """The hashes of drained items, in order."""
        self.written += len(hashes)
        self.total = (self.total + verdicts.sum64(hashes)) % HASH_MODULUS
        if self.caller:
            if self.order is None:
                self.order = xxhash.xxh3_64()
            self.order.update(hashes.tobytes())


# What `Step.reject` needs of a reason whose items are fingerprinted, found by one look-up: where a hash goes, what says
# whether the item is sampled, the seed for that, and the bucket itself.
FastPath = tuple[Callable[[int], None], ReasonSampler, int, Bucket]


def orders(buckets: list[Bucket]) -> dict[str, str]:
    """The order of the items of an outcome, where one caller captured them all, under one reason."""
    outcomes = [bucket.outcome for bucket in buckets]
    return {
        bucket.outcome: bucket.order.hexdigest()
        for bucket in buckets
        if bucket.caller
        and bucket.order is not None
        and bucket.n() == bucket.written
        and outcomes.count(bucket.outcome) == 1
    }
