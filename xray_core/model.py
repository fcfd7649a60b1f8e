"""The words of X-Ray as types: outcomes, statuses, the ledger, ids.

Owns what a run, a step and an item *are*, for the SDK and the server alike. Knows nothing of capture, storage or HTTP.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from xray_core.item_ids import MAX_ITEM_ID_CHARS as MAX_ITEM_ID_CHARS
from xray_core.item_ids import NullIdError as NullIdError
from xray_core.item_ids import item_id_text as item_id_text

Outcome = Literal["accepted", "rejected", "selected", "not_selected", "errored"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

Status = Literal["running", "completed", "failed", "skipped"]
# When processes disagree about one run or step, the higher rank wins.
STATUS_RANK: Final[dict[str, int]] = {"running": 0, "skipped": 1, "completed": 2, "failed": 3}

Capture = Literal["minimal", "sample", "full"]
CAPTURE_LEVELS: Final[tuple[Capture, ...]] = get_args(Capture)

STEP_TYPES: Final = ("generate", "retrieve", "filter", "score", "rank", "select", "transform")

# Sets of items that are not verdicts: what entered a step and what left it, as given by
# `set_input_items` / `set_output_items`. They travel and are stored like verdicts.
ITEMS_IN: Final = "in"
ITEMS_OUT: Final = "out"

# Metadata of a run or step is what it was given (parameters, versions), and a change of it explains a changed answer.
# Under this prefix it is what came of it instead (row counts, checks passed), which explains nothing by itself.
RESULT_METADATA: Final = "result."
# What a step cannot tell of its items, in words: an adapter says it where its framework hides something.
NOT_TOLD: Final = f"{RESULT_METADATA}not_told"

HASH_MODULUS: Final = 1 << 64  # sums of items' hashes wrap around here

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


# A generator of our own: the user may seed the global one, and then two runs would get the same ids.
_generator = random.Random()  # noqa: S311  # ids must be unique, not secret
_random = _generator.getrandbits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then randomness, so that ids sort by time of creation."""
    now_ms = time.time_ns() // 1_000_000
    bits = _random(74)
    return (
        f"{now_ms >> 16:08x}-{now_ms & 0xFFFF:04x}-7{bits >> 62:03x}-"
        f"{0x8000 | bits >> 48 & 0x3FFF:04x}-{bits & 0xFFFF_FFFF_FFFF:012x}"
    )


def epoch_us(at: datetime.datetime) -> int:
    """A moment as the wire writes it: microseconds since the epoch, UTC. Naive means UTC."""
    at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.timezone.utc)
    return (at - _EPOCH) // _MICROSECOND


def derived_id(framework: str, *parts: object) -> str:
    """The id that every process derives alike for one framework object.

    `parts` are the framework's own ids (a dag id, a run id, ...). A single part that already is a UUID is used
    as it stands, so that ids in X-Ray and in the framework's UI are the same; anything else becomes a UUIDv5.
    """
    if len(parts) == 1:
        if type(parts[0]) is uuid.UUID:
            return str(parts[0])
        try:
            return str(uuid.UUID(str(parts[0])))
        except ValueError:
            pass
    # as uuid.uuid5 makes it; without the class, which costs most of the time where code runs as seldom as once a task
    name = _namespace(framework) + "\x1f".join([str(part) for part in parts]).encode()
    digits = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


@functools.lru_cache(maxsize=32)
def _namespace(framework: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"xray/{framework}").bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """The framework object behind a run or a step, with a link back to its own UI.

    Attributes:
        framework: "prefect", "airflow", "dagster", or "script".
        kind: the framework's word for the object, as in "flow_run", "task_instance", "op".
        ids: the framework's own ids by their own names, as in {"dag_id": "nightly", "try_number": 2}.
        url: the page of that object in the framework's UI, where one is known.
        state: the framework's own word for how it ended, as in "Cached", "UpstreamFailed".
    """

    framework: str
    kind: str = ""
    ids: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None
    state: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "framework": self.framework,
            "kind": self.kind,
            "ids": dict(self.ids),
            "url": self.url,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a step's items went: `input = accepted + rejected + not_selected + errored + unaccounted`, always.

    `accepted` includes the selected. `unaccounted` is negative when more came out than went in. Flags:

    - "unaccounted": items went in and nothing says what became of them;
    - "created": more came out than went in (a retrieve, a generate, a join): a fact, not a fault;
    - "contradiction": the counts given by the user and the verdicts cannot both be right. Both are kept.
    """

    input: int
    accepted: int
    rejected: int
    not_selected: int
    errored: int
    unaccounted: int
    selected: int
    flags: tuple[str, ...] = ()

    @property
    def output(self) -> int:
        return self.accepted

    @property
    def rejection_rate(self) -> float | None:
        """Rejected per item that went in, 0 to 1; None when nothing went in."""
        return self.rejected / self.input if self.input > 0 else None

    def as_json(self) -> dict[str, Any]:
        return {
            "input": self.input,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "not_selected": self.not_selected,
            "errored": self.errored,
            "unaccounted": self.unaccounted,
            "selected": self.selected,
            "flags": list(self.flags),
        }


def make_ledger(
    counts: Mapping[str, int],
    *,
    input_count: int | None = None,
    output_count: int | None = None,
) -> Ledger:
    """The ledger that follows from verdict counts and the counts that were given, if any.

    Args:
        counts: outcome -> number of verdicts; missing outcomes are 0.
        input_count: items that went in, where known (`set_input_count`, else `set_input_items`).
        output_count: items that came out, where known (`set_output_count`, else `set_output_items`).

    Items that came out without an explicit accept are accepted: that is what leaving a step means.
    """
    selected = counts.get("selected", 0)
    accepted = counts.get("accepted", 0) + selected
    rejected = counts.get("rejected", 0)
    not_selected = counts.get("not_selected", 0)
    errored = counts.get("errored", 0)
    flags = []
    if output_count is not None:
        if accepted > output_count:
            flags.append("contradiction")
        accepted = max(accepted, output_count)
    fallen = rejected + not_selected + errored
    total = input_count if input_count is not None else accepted + fallen
    unaccounted = total - accepted - fallen
    if fallen > total and "contradiction" not in flags:
        flags.append("contradiction")
    if unaccounted > 0:
        flags.append("unaccounted")
    elif unaccounted < 0 and "contradiction" not in flags:
        flags.append("created")
    return Ledger(
        input=total,
        accepted=accepted,
        rejected=rejected,
        not_selected=not_selected,
        errored=errored,
        unaccounted=unaccounted,
        selected=selected,
        flags=tuple(flags),
    )
