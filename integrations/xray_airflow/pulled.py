"""What a task pulls out of the lazy results of mapped tasks, noted while the task itself reads them. Nothing is read for it.

Airflow 3 hands a task a `LazyXComSequence`, of which each element is a request. Airflow 2's lazy sequences stay unknown.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from xray_core.safety import guard

MAX_VALUES: Final = 100_000  # of one sequence
MAX_FETCHED: Final = 50  # results that a task pulls by hand
_LAZY: Final = "LazyXComSequence"


class Pulled:
    """The values pulled out of one lazy sequence, by their places."""

    __slots__ = ("_by_place", "_sequence")

    def __init__(self, sequence: Any) -> None:
        self._sequence = sequence  # kept, so that no other object gets its id
        self._by_place: dict[int, Any] = {}

    def note(self, key: Any, value: Any) -> None:
        """`sequence[key]` was `value`."""
        if type(key) is int and key >= 0:
            pairs = [(key, value)]
        elif type(key) is slice and type(value) is list and key.step in (None, 1) and (key.start or 0) >= 0:
            pairs = list(enumerate(value, key.start or 0))
        else:
            return  # counted from the end, whose place is not known without a request
        if len(self._by_place) + len(pairs) <= MAX_VALUES:
            self._by_place.update(pairs)

    @property
    def values(self) -> list[Any]:
        """In the order of the sequence."""
        return [self._by_place[place] for place in sorted(self._by_place)]


_watched: dict[int, Pulled] = {}
_Fetched = Callable[[str, Any], None]
_fetching: list[tuple[Any, _Fetched]] = []  # the task instance whose code runs, and who is told what it fetches


def watch(arguments: Mapping[str, Any]) -> dict[str, Pulled]:
    """Note from now on what is pulled out of the lazy sequences among a task's arguments; by their names."""
    found = {name: Pulled(value) for name, value in arguments.items() if type(value).__name__ == _LAZY}
    for name, pulled in found.items():
        _patch(type(arguments[name]))
        _watched[id(arguments[name])] = pulled
    return found


def unwatch() -> None:
    """Forget the sequences: the task has ended."""
    _watched.clear()
    _fetching.clear()


def watch_xcoms(ti: Any, fetched: _Fetched) -> None:
    """Tell from now on what the task's own code pulls by `ti.xcom_pull`, once by each name: `xcom.TASK`."""
    told: set[str] = set()

    def once(name: str, value: Any) -> None:
        if name not in told and len(told) < MAX_FETCHED:
            told.add(name)
            fetched(name, value)

    _fetching[:] = [(ti, once)]
    kind = type(ti)
    original = kind.xcom_pull
    if not getattr(original, "xray_notes", False):
        kind.xcom_pull = _noting(original)


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def xcom_pull(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, *args, **kwargs)
        for ti, fetched in _fetching:
            if ti is self:
                with guard("airflow: noting what was pulled"):
                    fetched(_name_of(args, kwargs), value)
        return value

    xcom_pull.xray_notes = True  # type: ignore[attr-defined]  # as above
    return xcom_pull


def _name_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    of = args[0] if args else kwargs.get("task_ids")
    tasks = [of] if isinstance(of, str) else list(of or ())
    key = kwargs.get("key")
    return ".".join(
        ["xcom", "+".join(map(str, tasks)), *([key] if isinstance(key, str) and key != "return_value" else [])]
    )


def _patch(kind: Any) -> None:
    original = kind.__getitem__
    if getattr(original, "xray_notes", False):
        return

    @functools.wraps(original)
    def noted(self: Any, key: Any) -> Any:
        value = original(self, key)
        pulled = _watched.get(id(self))
        if pulled is not None:
            with guard("airflow: noting a pulled result"):
                pulled.note(key, value)
        return value

    noted.xray_notes = True  # type: ignore[attr-defined]  # a mark, so that it is wrapped once
    kind.__getitem__ = noted
