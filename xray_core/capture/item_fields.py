"""Chosen fields of items as they went into a step and came out of it: of sampled items, and of all items of a small step.

What changes on an item's way can be shown only where its values are kept, and values are kept only where somebody asks for them:
`fields=`, `XRAY_ITEM_FIELDS`, or capture level full. They travel as samples with the outcome "in" or "out", which are no verdicts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from re import Pattern
from typing import TYPE_CHECKING, Any, Final

from xray_core.capture import collections
from xray_core.capture import columns as reading
from xray_core.capture.collections import Collection
from xray_core.capture.columns import Ids, hash_all
from xray_core.item_keys import Key, names_of
from xray_core.objects.structure import view
from xray_core.safety import guarded

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder
    from xray_core.capture.verdict_log import VerdictLog

ALL: Final[Key] = ("*",)
SMALL_STEP: Final = 100  # items: so many are kept at least, however small the share that is sampled
MAX_FIELDS: Final = 64
MAX_CELLS: Final = 1_000_000  # held of an argument where nobody named the fields
MAX_WHOLE: Final = 10_000  # items kept at capture level full; of more, those that are sampled
MAX_COPIED: Final = 1_000  # values that the step could change from within, copied before it begins
_ABSENT: Final = object()

Held = Mapping[str, Any]  # by field a column or list, one value for each row
Clean = Callable[[Any], Any]


def asked_for(recorder: Recorder, pipeline: str | None, step: str | None, capture: str) -> Key | None:
    """The fields to be kept of a step's items where the step itself names none."""
    if not recorder.settings.item_fields and capture != "full":
        return None
    named = recorder.item_fields.of(pipeline, step)
    return named if named is not None else ALL if capture == "full" else None


def taken(found: Collection, names: Key, clean: Clean | None = None) -> Held:
    """The values of the fields `names` (or ALL) that a collection has, row by row.

    Args:
        clean: makes a copy of a value; given where the program may change what it holds before it is written. Of containers
            it copies at most MAX_COPIED; a field with more of them is left out.
    """
    if found.kind == "parts":
        return together([taken(part, names, clean) for part in found.held], [part.size for part in found.held])
    if found.kind in ("ids", "empty"):
        return {}
    if names == ALL:
        names = tuple([name for name in found.fields if name][:MAX_FIELDS])
        if found.size * len(names) > MAX_CELLS:
            return {}
    if found.kind == "frame":
        return {name: found.held[name] for name in names if name in found.held}
    records: Sequence[Any] = list(found.held.values()) if found.kind == "mapping" else found.held
    held: dict[str, Any] = {}
    for name in names:
        values = _of_records(found, records, name)
        if clean is not None and (open_to_change := _containers(values)):
            if len(open_to_change) > MAX_COPIED:
                continue
            for row in open_to_change:
                values[row] = clean(values[row])
        if any(each is not _ABSENT for each in values):
            held[name] = values
    return held


@guarded("keeping fields of items")
def write(
    log: VerdictLog, recorder: Recorder, side: str, ids: Ids, held: Held, hide: Pattern[str] | None = None
) -> None:
    """Write what some items of one side held.

    Args:
        ids: of the rows that `held` has the values of.
        hide: ids that are not kept by name, nor are their fields.
    """
    settings = recorder.settings
    if not held or not log.keeps_verdicts or settings.items == "hashed":
        return
    chosen = _chosen(log, recorder, ids)
    names = [ids.texts[place].decode() for place, _ in chosen]
    shown = frozenset(log.nameable(names, hide))
    chosen = [each for each, name in zip(chosen, names) if name in shown]
    rows = [ids.rows[place] if ids.rows is not None else place for place, _ in chosen]
    by_field = {name: reading.rows_of(column, rows) for name, column in held.items()} if rows else {}
    at_us = recorder.now_us()
    log.write_item_fields([
        {
            "item_id": ids.texts[place].decode(), "outcome": side, "reason": None, "score": None, "rank": None,
            "weight": round(weight, 6), "at_us": at_us,
            "details": recorder.sanitizer.clean(
                {name: values[at] for name, values in by_field.items() if values[at] is not _ABSENT}
            ),
        }
        for at, (place, weight) in enumerate(chosen)
    ])  # fmt: skip


@guarded("keeping fields of items")
def write_given(
    log: VerdictLog, recorder: Recorder, side: str, items: Any, ids: Ids, fields: Any, otherwise: Key | None
) -> None:
    """Write the fields of a collection that the user gave; `otherwise` those that count where `fields` is None."""
    names = otherwise if fields is None else names_of(fields)
    if names is None:
        return
    found = collections.find(items, nested=False)
    held = taken(found, names) if found is not None and found.size == ids.size else {}
    if held:
        write(log, recorder, side, ids, held)
    elif fields is not None and ids.size:
        log.dropped(item_fields=ids.size)
        raise ValueError(f"there is no {', '.join(names)} in what was given; pass a frame, dicts or data classes")


def _chosen(log: VerdictLog, recorder: Recorder, ids: Ids) -> list[tuple[int, float]]:
    """The places of the items that are kept, with their weights: an item's fate is that of its verdicts.

    Of an item that is there more than once none is kept: nothing says which of its rows became which.
    """
    drawn = hash_all(ids.texts, log.seed)
    kept = _sampled(log, recorder, drawn)
    wanted = frozenset(drawn[place] for place, _ in kept)
    occurs = Counter(hashed for hashed in drawn if hashed in wanted)
    return [(place, weight) for place, weight in kept if occurs[drawn[place]] == 1]


def _sampled(log: VerdictLog, recorder: Recorder, drawn: array[int]) -> list[tuple[int, float]]:
    settings = recorder.settings
    if log.keeps_all and len(drawn) <= MAX_WHOLE:
        return [(place, 1.0) for place in range(len(drawn))]
    if log.keeps_all:
        log.dropped(item_fields=len(drawn))
    per_reason = max(SMALL_STEP, settings.samples_per_reason) if settings.samples_per_reason else 0
    sampler = recorder.sampler.step(
        rate=settings.sample_rate, per_reason=per_reason, max_samples=settings.max_samples_per_step
    ).reason()
    for place, hashed in enumerate(drawn):
        if hashed < sampler.limit:
            sampler.offer(hashed, ("", place, None, None, 0))
    return [(place, weight) for (_, place, _, _, _), weight in sampler.kept()]


def _of_records(found: Collection, records: Sequence[Any], name: str) -> list[Any]:
    if records and type(records[0]) is dict:
        return [each.get(name, _ABSENT) for each in records]
    return (
        found.readers(name)(records) if found.readers is not None and name in found.fields else [_ABSENT] * len(records)
    )


def _containers(values: Sequence[Any]) -> list[int]:
    """The rows whose value the program can change from within."""
    kinds: dict[type, bool] = {type(_ABSENT): False}
    for value in values:
        if type(value) not in kinds:
            kinds[type(value)] = view(value, 0).kind not in ("atom", "text", "opaque")
    if not any(kinds.values()):
        return []
    return [row for row, value in enumerate(values) if kinds[type(value)]]


def together(parts: Sequence[Held], sizes: Sequence[int]) -> Held:
    """The fields of several collections, row by row, one after the other; `sizes`: how many rows each has."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: [
            value
            for part, size in zip(parts, sizes)
            for value in (_listed(part[name]) if name in part else [_ABSENT] * size)
        ]
        for name in names
    }


def _listed(column: Any) -> list[Any]:
    return column if type(column) is list else reading.plain_values(column)
