"""What the two runs were given and what came of it, side by side, as paths that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xray_core.compare.align import Pair
from xray_core.compare.columns import OTHER_VALUE, VALUE
from xray_core.compare.options import DEFAULT, Options
from xray_core.compare.types import Change, State

MAX_CHANGES: Final = 200
_MAX_DEPTH: Final = 20
_MISSING: Final = object()
_MARKS: Final = ("tags.xray.mark", "metadata.xray.mark_note")


def run_changes(a: State, b: State, options: Options = DEFAULT) -> Iterator[Change]:
    """Between the runs themselves."""
    for name in ("input", "metadata", "tags", "code_version", "capture"):
        for change in differences(a[name], b[name], name, options):
            if not change.path.startswith(_MARKS):  # what somebody thought of a run is nothing that it was given
                yield change


def step_changes(pair: Pair, options: Options = DEFAULT) -> Iterator[Change]:
    """Between one step's parameters and code."""
    if pair.a is None or pair.b is None:
        return
    for name in ("metadata", "code_version", "step_type", "capture"):
        yield from differences(pair.a[name], pair.b[name], f"steps.{pair.path}.{name}", options)


def bounded(changes: Iterator[Change]) -> tuple[list[Change], int]:
    """The first changes, each path once, and how many more there are."""
    kept: dict[str, Change] = {}
    omitted = 0
    for change in changes:
        if change.path in kept:
            continue
        if len(kept) < MAX_CHANGES:
            kept[change.path] = change
        else:
            omitted += 1
    return list(kept.values()), omitted


def differences(a: Any, b: Any, path: str, options: Options = DEFAULT, depth: int = 0) -> Iterator[Change]:
    """Where two JSON values differ: inside mappings by key, inside lists by place; numbers by value, within the tolerance."""
    deep = depth >= _MAX_DEPTH or not isinstance(a, (Mapping, list)) or not isinstance(b, (Mapping, list))
    if a is b or (deep and _equal(a, b, options.tolerance)) or options.ignores(path):
        return  # two lists are not compared as a whole: to Python [True] is [1]
    if isinstance(a, Mapping) and isinstance(b, Mapping) and "$type" in a and "fp" in a and "fp" in b:
        if a["fp"] != b["fp"]:
            yield Change(path=path, a=VALUE, b=OTHER_VALUE)
    elif depth < _MAX_DEPTH and isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys(), key=str):
            yield from differences(a.get(key, _MISSING), b.get(key, _MISSING), f"{path}.{key}", options, depth + 1)
    elif depth < _MAX_DEPTH and _is_list(a) and _is_list(b) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b)):
            yield from differences(one, other, f"{path}[{place}]", options, depth + 1)
    else:
        yield Change(path=path, a=None if a is _MISSING else a, b=None if b is _MISSING else b)


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    if type(a) is bool or type(b) is bool:
        return type(a) is type(b) and a == b
    if a == b:
        return True
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return close(a, b, tolerance)
    return False


def close(a: float, b: float, tolerance: float) -> bool:
    """Whether two numbers are equal within a relative tolerance; near zero, a hundredth of it counts as absolute."""
    return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b), 0.01)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def file_alone(pair: Pair) -> bool:
    """Whether of two versions "code:function.file" the function's is the same."""
    versions = [str((state or {}).get("code_version") or "").split(".") for state in (pair.a, pair.b)]
    return all(len(each) == 2 and each[0].startswith("code:") for each in versions) and versions[0][0] == versions[1][0]
