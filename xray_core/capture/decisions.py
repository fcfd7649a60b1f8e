"""What `step.decide` was given, as verdicts and as a record to show. Knows nothing of how either travels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xray_core.bounds import name_text
from xray_core.capture import columns
from xray_core.capture.columns import NotIdsError
from xray_core.capture.scores import score_of
from xray_core.item_ids import item_id_text
from xray_core.objects.sanitize import Sanitizer
from xray_core.objects.structure import type_name
from xray_core.safety import reraise_interrupt

MAX_SHOWN: Final = 20
_ID_COLUMNS: Final = ("item_id", "id")


class Candidate(NamedTuple):
    """An item that was taken, or was not."""

    item_id: Any
    reason: str | None = None
    score: Any = None
    details: Any = None


def chosen(selected: Any, score: Any) -> list[Candidate]:
    """The selected items: one id, several (a list, column, frame or iterator), a mapping with `item_id` or `id`, or none.

    Args:
        score: of the one selected item; the name of the column or field that holds it.

    Raises:
        NotIdsError: a mask, or a frame without a column of ids.
    """
    if selected is None:
        return []
    if isinstance(selected, Iterator):
        selected = list(selected)
    if not isinstance(selected, Mapping) and (
        isinstance(selected, columns.LISTS) or columns.kind_of(selected) is not None
    ):
        several = _several(selected, score, pairs=False)
    else:
        several = [_candidate(selected, score)]
    if len(several) == 1 and score is not None and not isinstance(score, str):
        return [several[0]._replace(score=score)]
    return several


def alternatives_of(given: Any, score: Any) -> list[Candidate]:
    """The alternatives in their order, best first: ids, (id, score) pairs or mappings, in any collection; a frame has one a
    row.

    Args:
        score: where it is a str, the name of the column or field that holds each one's score.

    Raises:
        NotIdsError: a mask, a text, something lazy, or a frame without a column of ids.
    """
    if given is None:
        return []
    return _several(list(given) if isinstance(given, Iterator) else given, score, pairs=True)


def without(others: list[Candidate], taken: list[Candidate]) -> list[Candidate]:
    """Those of `others` that were not taken: a frame of all candidates holds these too."""
    names = {_name(each.item_id) for each in taken}
    return [other for other in others if _name(other.item_id) not in names]


def _several(given: Any, score: Any, *, pairs: bool) -> list[Candidate]:
    if columns.kind_of(given) == "frame":
        return _rows(given, score)
    if columns.kind_of(given) == "column":
        return [Candidate(value) for value in columns.plain_values(columns.id_columns(given)[0])]
    if isinstance(given, type({}.items())):
        given = list(given)
    return [_candidate(each, score, pairs=pairs) for each in columns.id_columns(given)[0]]


def _rows(frame: Any, score: Any) -> list[Candidate]:
    """One candidate a row of a frame: its id from the column `item_id` or `id`, else from an index that has a name."""
    names = columns.names_of(frame)
    key = next((name for name in _ID_COLUMNS if name in names), None)
    index = getattr(frame, "index", None)
    if key is not None:
        ids = columns.column_of(frame, key)
    elif index is not None and any(name is not None for name in index.names):
        ids = index
    else:
        raise NotIdsError(
            "the frame has no column 'id' and no named index: pass its column of ids, or df.set_index(...)"
        )
    given_scores = columns.values_of(columns.column_of(frame, score)) if isinstance(score, str) else None
    values = columns.plain_values(ids)
    return [Candidate(item_id, score=given_scores[row] if given_scores else None) for row, item_id in enumerate(values)]


def _candidate(each: Any, score: Any, *, pairs: bool = False) -> Candidate:
    """One candidate: an id, an (id, score) pair, or a mapping with `item_id` (or `id`), `score`, `reason` and more."""
    if isinstance(each, Mapping):
        rest = dict(each)
        item_id = rest.pop("item_id", None)
        item_id = rest.pop("id", None) if item_id is None else item_id
        return Candidate(
            item_id,
            rest.pop("reason", None),
            rest.pop(score if isinstance(score, str) else "score", None),
            rest or None,
        )
    if pairs and isinstance(each, (tuple, list)) and len(each) == 2:
        return Candidate(each[0], score=each[1])
    return Candidate(each)


def as_record(
    sanitizer: Sanitizer,
    decision: str,
    taken: Sequence[Candidate],
    others: Sequence[Candidate],
    *,
    reason: object,
    score: Any,
    details: Any,
    at_us: int,
) -> dict[str, Any]:
    """The decision as it is stored: bounded, the alternatives by id and score."""
    clean = sanitizer.clean
    shown: list[Any] = []
    for other in others[:MAX_SHOWN]:
        name, number = _name(other.item_id), score_of(other.score)
        shown.append({"item_id": name, "score": clean(number)} if number is not None else name)
    if len(others) > len(shown):
        shown.append({"$more": len(others) - len(shown)})
    names = [_name(each.item_id) for each in taken[:MAX_SHOWN]]
    if score is None or isinstance(score, str):
        score = taken[0].score if len(taken) == 1 else None
    return {
        "decision": clean(name_text(decision)),
        "selected": names[0] if len(taken) == 1 else names or None,
        "reason": clean(reason),
        "score": clean(score_of(score)),
        "alternatives": shown,
        "details": clean(details),
        "at_us": at_us,
    }


def _name(item_id: Any) -> str:
    """An id as it is shown; an item without one by its type."""
    try:
        return item_id_text(item_id)
    except Exception as error:  # noqa: BLE001  # one odd id costs that id alone
        reraise_interrupt(error)
        return f"<{type_name(type(item_id))}>"
