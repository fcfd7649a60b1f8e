"""The instances of a mapped task as one line: how many, how each did at most and least, and the worst of them.

Works on steps as the API gives them. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from xray_core.model import Ledger, added

_WORST_FIRST: Final = ("failed", "running", "skipped", "completed")
_LEDGER_FIELDS: Final = frozenset(Ledger.__slots__)


def grouped(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps, the instances of each mapped task drawn together at the place of the first.

    A line that stands for several has `mapped`: {count, statuses: {status: n}, accepted: (least, most) or None, worst: the step}.
    """
    families: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for place, step in enumerate(steps):
        mapped = step.get("map_index") is not None
        key = (step.get("parent_id"), step.get("name"), step.get("attempt", 1)) if mapped else (place,)
        families.setdefault(key, []).append(step)
    return [_together(members) if len(members) > 1 else members[0] for members in families.values()]


def numbered(step: Mapping[str, Any]) -> str:
    """The name of a step, with the number of its instance where it is one of a mapped task: "double[2]"."""
    name = str(step.get("name") or step["step_id"])
    return name if step.get("map_index") is None else f"{name}[{step['map_index']}]"


def _together(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    for step in members:
        statuses[step["status"]] = statuses.get(step["status"], 0) + 1
    reasons: dict[str, int] = {}
    for step in members:
        for reason, n in (step.get("rejection_counts") or {}).items():
            reasons[reason] = reasons.get(reason, 0) + n
    accepted = [step["ledger"]["accepted"] for step in members if step["ledger"]["accepted"] is not None]
    return {
        **members[0],
        "map_index": None,
        "status": min(statuses, key=_rank),
        "ledger": added(map(_ledger, members)).as_json(),
        "rejection_counts": reasons,
        "dropped": _summed(step.get("dropped") or {} for step in members),
        "mapped": {
            "count": len(members),
            "statuses": dict(sorted(statuses.items(), key=lambda pair: _rank(pair[0]))),
            "accepted": (min(accepted), max(accepted)) if accepted else None,
            "worst": min(members, key=lambda step: (_rank(step["status"]), -_lost(step), step["map_index"])),
        },
    }


def _rank(status: str) -> int:
    return _WORST_FIRST.index(status) if status in _WORST_FIRST else len(_WORST_FIRST)


def _lost(step: Mapping[str, Any]) -> float:
    ledger = step["ledger"]
    before, after = ledger["input"], ledger["accepted"]
    return (before - after) / before if before and after is not None else 0.0


def _ledger(step: Mapping[str, Any]) -> Ledger:
    known = {name: value for name, value in step["ledger"].items() if name in _LEDGER_FIELDS}
    return Ledger(**{**known, "flags": tuple(known.get("flags") or ())})


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, n in each.items():
            total[name] = total.get(name, 0) + n
    return total
