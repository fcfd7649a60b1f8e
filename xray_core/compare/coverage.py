"""Whether a value that was given to `set_input` or `set_output` can be all that went in or came out.

Equal values prove that a step was given the same only where they are what it was given: not a count of its rows, not the names
of its items, not the question beside the documents. In doubt it is taken to be less, and a blame is not certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_COUNT_NAME: Final = re.compile(
    r"(?:n|len|length|size|shape|count|total|num|number|rows|columns|items|records|documents|docs|events|entries)"
    r"|(?:n|num|number|count|total)_\w+|\w+_(?:n|len|length|size|count|total|rows|items)",
    re.IGNORECASE,
)
_MAX_NAME_CHARS: Final = 100
_MAX_OF_A_REFERENCE: Final = 8  # words and whole numbers: a path, a table, a status, figures; more of them are data
_TABLES: Final = frozenset({"ndarray", "DataFrame", "Series", "Table", "RecordBatch", "ChunkedArray"})
_MAX_DEPTH: Final = 6
_MAX_LOOKED_AT: Final = 10_000  # elements of one value


def can_be_all(value: Any, n: int | None) -> bool:
    """Whether a stored value can be the whole of what went in, or came out.

    Args:
        n: how many items did; None or 0 where none are known.
    """
    if value is None or isinstance(value, bool) or names_alone(value) or _counts_alone(value):
        return False
    return not n or _holds_records(value, n, _Budget(), 0)


def only_refers(value: Any) -> bool:
    """Whether a value is but a few words and whole numbers, as the path of a file, the name of a table or figures are: what
    it stands for may be another thing in each run. Of a value that was not stored, its kind and size tell.
    """
    if isinstance(value, Mapping) and "$type" in value:
        return value["$type"] not in _TABLES and (value.get("size") or 0) <= _MAX_OF_A_REFERENCE
    each: Iterable[Any] = value.values() if isinstance(value, Mapping) else [value]
    flat = [one for member in each for one in (member if isinstance(member, list) else [member])]
    return len(flat) <= _MAX_OF_A_REFERENCE and all(
        one is None or isinstance(one, bool) or _is_name(one) for one in flat
    )


def names_alone(value: Any) -> bool:
    """Whether a value is but a list of short words or whole numbers, as ids are."""
    if not isinstance(value, list) or not value:
        return False
    return all(_is_name(each) or (isinstance(each, Mapping) and each.keys() == {"$more"}) for each in value)


def _is_name(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_NAME_CHARS and not any(character.isspace() for character in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _counts_alone(value: Any) -> bool:
    """Whether a value tells nothing but how many there were and that it went well, as {"rows": 12, "ok": True} does."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(each, bool)
            or (_COUNT_NAME.fullmatch(str(name)) and (isinstance(each, int) or _whole_numbers(each)))
            for name, each in value.items()
        )
    )


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, int) for each in value)


class _Budget:
    left = _MAX_LOOKED_AT


def _holds_records(value: Any, n: int, budget: _Budget, depth: int) -> bool:
    """Whether a collection of n records, or of n names with a value each, is in it; of few items, a record of them."""
    budget.left -= 1
    if budget.left < 0 or depth > _MAX_DEPTH:
        return False
    if isinstance(value, Mapping):
        if "$type" in value and value.get("size") == n:
            return True
        names = [name for name in value if not str(name).startswith("$")]
        if len(names) + int(value.get("$more") or 0) == n > 1 or (n == 1 and len(names) > 1):
            return True
        return any(_holds_records(value[name], n, budget, depth + 1) for name in names)
    if isinstance(value, Sequence) and not isinstance(value, str):
        more = value[-1].get("$more", 0) if value and isinstance(value[-1], Mapping) else 0
        held = value[:-1] if more else value
        if len(held) + int(more) == n and held and not all(map(_is_name, held)):
            return True
        return any(_holds_records(each, n, budget, depth + 1) for each in held)
    return False
