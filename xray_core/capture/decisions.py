"""What `step.decide` was told, as verdicts and as a record to show. Knows nothing of how either travels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from xray_core.capture.items import ids_of
from xray_core.model import item_id_text
from xray_core.objects.sanitize import Sanitizer

MAX_SHOWN: Final = 20


class Alternative(NamedTuple):
    """An item that was not taken."""

    item_id: Any
    reason: str | None = None
    score: float | None = None
    details: Any = None


def chosen_ids(selected: Any) -> list[Any]:
    """The selected items as a list: one id, several, a mapping with `item_id` or `id`, or none."""
    if selected is None:
        return []
    if isinstance(selected, Mapping):
        return [alternative(selected).item_id]
    if isinstance(selected, (list, tuple, set, frozenset, dict)):
        return list(ids_of(selected, None))
    return [selected]


def alternatives_of(given: Iterable[Any] | None) -> list[Alternative]:
    """The alternatives in their order, best first."""
    return [alternative(each) for each in given or ()]


def alternative(each: Any) -> Alternative:
    """One alternative: an id, an (id, score) pair, or a mapping with `item_id` (or `id`), `score`, `reason` and more."""
    if isinstance(each, Mapping):
        rest = dict(each)
        item_id = rest.pop("item_id", None)
        item_id = rest.pop("id", None) if item_id is None else item_id
        return Alternative(item_id, rest.pop("reason", None), rest.pop("score", None), rest or None)
    if isinstance(each, (tuple, list)) and len(each) == 2:
        return Alternative(each[0], score=each[1])
    return Alternative(each)


def as_record(
    sanitizer: Sanitizer,
    decision: str,
    chosen: list[Any],
    others: list[Alternative],
    *,
    reason: str | None,
    score: float | None,
    details: Any,
    at_us: int,
) -> dict[str, Any]:
    """The decision as it is stored: bounded, the alternatives by id and score."""
    clean = sanitizer.clean
    shown: list[Any] = []
    for other in others[:MAX_SHOWN]:
        name = item_id_text(other.item_id)
        shown.append({"item_id": name, "score": clean(other.score)} if other.score is not None else name)
    if len(others) > len(shown):
        shown.append({"$more": len(others) - len(shown)})
    names = [item_id_text(each) for each in chosen[:MAX_SHOWN]]
    return {
        "decision": clean(str(decision)),
        "selected": names[0] if len(chosen) == 1 else names or None,
        "reason": clean(reason),
        "score": clean(score),
        "alternatives": shown,
        "details": clean(details),
        "at_us": at_us,
    }
