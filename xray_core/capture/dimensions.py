"""Dimensions: fields of details whose values are counted for every item, by outcome; sampled or not.

Asked for by `step.set_dimensions` or `XRAY_DIMENSIONS`. Costs a look into the details of each item and a lock, and nothing where
nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from xray_core.capture.columns import is_null
from xray_core.native import make_rlock
from xray_core.objects.structure import type_name
from xray_core.safety import swallow

MAX_DIMENSIONS: Final = 8
MAX_VALUES: Final = 100  # of one dimension; the items of further ones are counted together
OTHER: Final = "(other)"
NONE: Final = "(none)"
_PLAIN: Final = (str, bool, int, float)

Counts = dict[str, dict[str, dict[str, int]]]  # dimension -> value -> outcome -> items


class Dimensions:
    """The counts of one step attempt, as far as one part knows.

    Args:
        names: of fields of details; more than `MAX_DIMENSIONS` are left out, and counted by whoever asks.
        clean: makes a value's text fit to be kept: cut, and masked where it is a secret.
    """

    __slots__ = ("_clean", "_counts", "_lock", "_texts", "names")

    def __init__(self, names: Sequence[str], clean: Callable[[str], str]) -> None:
        self.names = tuple(names)[:MAX_DIMENSIONS]
        self._clean = clean
        self._lock = make_rlock()  # re-entrant: a signal handler may capture in the middle of a capture
        self._texts: dict[str, dict[Any, str]] = {name: {} for name in self.names}
        self._counts: Counts = {name: {} for name in self.names}

    def count(self, outcome: str, details: Iterable[Any]) -> None:
        """Items of one outcome, by their details; what has no such field counts as `NONE`."""
        with self._lock:
            for each in details:
                known = each if isinstance(each, Mapping) else {}
                for name in self.names:
                    try:
                        self._add(name, known.get(name), outcome)
                    except Exception as error:  # noqa: BLE001  # a mapping of the program's own that raises
                        self._add(name, None, outcome)
                        swallow("step: a dimension", error)

    def _add(self, name: str, value: Any, outcome: str) -> None:
        texts = self._texts[name]
        # True and 1 are one key and two values
        key = value if type(value) is str else (type(value), value) if isinstance(value, _PLAIN) else None
        text = texts.get(key) if key is not None else None
        if text is None:
            text = self._text(value)
            if key is not None and len(texts) < 2 * MAX_VALUES:
                texts[key] = text
        counts = self._counts[name]
        if text not in counts and len(counts) >= MAX_VALUES:
            text = OTHER
        of_value = counts.setdefault(text, {})
        of_value[outcome] = of_value.get(outcome, 0) + 1

    def _text(self, value: Any) -> str:
        if isinstance(value, Enum):
            value = value.value
        if type(value).__module__.partition(".")[0] == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()
        if value is None or (isinstance(value, float) and value != value):  # NaN
            return NONE
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, _PLAIN):
            return NONE if is_null(value) else f"<{type_name(type(value))}>"
        return self._clean(f"{value:g}" if isinstance(value, float) else str(value))

    def as_field(self) -> Counts:
        """The counts, as a step's record holds them."""
        with self._lock:
            return {
                name: {value: dict(counts) for value, counts in list(values.items())}
                for name, values in self._counts.items()
                if values
            }


def names_in(given: Any) -> list[str]:
    """The names that `set_dimensions` was given.

    Raises:
        TypeError: not a list of texts.
    """
    names = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(each, str) and each for each in names):
        raise TypeError('step.set_dimensions takes names of fields of details, as in ["carrier", "country"]')
    return list(dict.fromkeys(names))
