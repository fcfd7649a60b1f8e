"""What the two runs were given, side by side: inputs, tags, metadata, code, as paths that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xray_core.compare.align import Pair
from xray_core.compare.types import Change, State

MAX_CHANGES: Final = 200
_MAX_DEPTH: Final = 20
_MISSING: Final = object()


def run_changes(a: State, b: State) -> Iterator[Change]:
    """Between the runs themselves."""
    for name in ("input", "metadata", "tags", "code_version", "capture"):
        yield from differences(a[name], b[name], name)


def step_changes(pair: Pair) -> Iterator[Change]:
    """Between one step's parameters and code."""
    if pair.a is None or pair.b is None:
        return
    for name in ("metadata", "code_version", "step_type", "capture"):
        yield from differences(pair.a[name], pair.b[name], f"steps.{pair.path}.{name}")


def bounded(changes: Iterator[Change]) -> tuple[list[Change], int]:
    """The first changes, and how many more there are."""
    kept: list[Change] = []
    omitted = 0
    for change in changes:
        if len(kept) < MAX_CHANGES:
            kept.append(change)
        else:
            omitted += 1
    return kept, omitted


def differences(a: Any, b: Any, path: str, depth: int = 0) -> Iterator[Change]:
    """Where two JSON values differ: inside mappings by key, inside lists by index; numbers by value."""
    if a is b or (type(a) is not bool and type(b) is not bool and a == b):
        return
    if type(a) is type(b) is bool and a == b:
        return
    if depth < _MAX_DEPTH and isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys(), key=str):
            yield from differences(a.get(key, _MISSING), b.get(key, _MISSING), f"{path}.{key}", depth + 1)
    elif depth < _MAX_DEPTH and _is_list(a) and _is_list(b) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b)):
            yield from differences(one, other, f"{path}[{index}]", depth + 1)
    else:
        yield Change(path=path, a=None if a is _MISSING else a, b=None if b is _MISSING else b)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
