"""Two values that were stored: what differs in them beyond the tolerance, what was only generated, and what is hidden.

A fingerprint says that two values differ, not where. Where both are stored whole, the places can be looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xray_core.compare.changes import differences
from xray_core.compare.options import Options
from xray_core.compare.types import Change
from xray_core.objects.generated import MIN_RUN_ID, is_generated_name, is_near, without_temporary
from xray_core.objects.redaction import REDACTED

_MAX_DIFFERENCES: Final = 500
_CUTS: Final = ("$more", "$depth", "$error", "$bits")


class RunMarks(NamedTuple):
    """What a run leaves of itself in values: when each of the two began, and their ids."""

    began_us: tuple[int | None, int | None]
    run_ids: tuple[str, str]


class StoredDifference(NamedTuple):
    """Attributes: changes: what differs for good; generated: paths that differ as ids, times, hosts and temporary files do;
    whole: both values are here whole, so nothing else can differ; masked: paths of
    secrets that are hidden in both, where nothing else is.
    """

    changes: Sequence[Change]
    generated: Sequence[str]
    whole: bool
    masked: Sequence[str] = ()


def stored_difference(a: Any, b: Any, path: str, options: Options, marks: RunMarks) -> StoredDifference:
    """Where two stored values differ."""
    changes: list[Change] = []
    generated: list[str] = []
    for number, change in enumerate(differences(a, b, path, options)):
        if number >= _MAX_DIFFERENCES:
            break
        if is_generated(change, marks):
            generated.append(change.path)
        else:
            changes.append(change)
    masked = [] if _is_cut(a) or _is_cut(b) else list(_masked(a, path))
    return StoredDifference(changes, generated, not (_is_cut(a) or _is_cut(b) or masked), masked)


def is_generated(change: Change, marks: RunMarks) -> bool:
    """Whether two values differ as those of any two runs do: by their name, or since each tells its own run."""
    return is_generated_name(change.path) or _own_times(change, marks.began_us) or _own_names(change, marks.run_ids)


def _own_names(change: Change, run_ids: tuple[str, str]) -> bool:
    """Whether two texts are one, but for each run's own id and the names of temporary files."""
    if not isinstance(change.a, str) or not isinstance(change.b, str):
        return False
    a, b = (
        without_temporary(text.replace(run_id, "run") if len(run_id) >= MIN_RUN_ID else text)
        for text, run_id in zip((change.a, change.b), run_ids)
    )
    return a == b


def _own_times(change: Change, began_us: tuple[int | None, int | None]) -> bool:
    return all(is_near(value, began) for value, began in zip((change.a, change.b), began_us))


def _masked(value: Any, path: str) -> Iterator[str]:
    """The paths of what was hidden in a value as a secret."""
    if value == REDACTED:
        yield path
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _masked(each, f"{path}.{name}")
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _masked(each, f"{path}[{at}]")


def _is_cut(value: Any, depth: int = 0) -> bool:
    """Whether sanitising left something out, but for secrets."""
    if isinstance(value, str):
        return value == "[truncated]" or value == "[cycle]" or (value.endswith("]") and "…[+" in value)
    if depth > 40:
        return True
    if isinstance(value, Mapping):
        if any(name in value for name in _CUTS) or value.keys() == {"$type"} or value.keys() == {"$type", "size"}:
            return True
        return any(_is_cut(each, depth + 1) for each in value.values())
    if isinstance(value, Sequence):
        return any(_is_cut(each, depth + 1) for each in value)
    return False
