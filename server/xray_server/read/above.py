"""Why one item stands above another in a run: the step that decided, both scores, ranks and components where captured.

Knows no HTTP and no SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xray_core.journey import NEGATIVE, Entry, Why
from xray_server.read.why import why
from xray_server.store import Store

Json = dict[str, Any]


def above(store: Store, project: str, run_id: str, a: str, b: str) -> Json:
    """Whether item a came out above item b, and the step that made it so.

    Raises:
        UnknownRunError: there is no such run.
    """
    one, other = why(store, project, run_id, a), why(store, project, run_id, b)
    steps = _steps(one, other)
    decided = _decided(steps)
    winner = None if decided is None else decided[1]
    return {
        "run_id": run_id,
        "a": one.item_id,
        "b": other.item_id,
        "above": winner,
        "decided_at": None if decided is None else decided[0],
        "sentence": _sentence(one, other, decided),
        "certainty": _certainty(decided),
        "steps": steps,
    }


def _steps(a: Why, b: Why) -> list[Json]:
    """The steps of both journeys, side by side, in the order of the run."""
    in_b = {(entry.step_id, entry.attempt): entry for entry in b.journey}
    found = []
    for entry in a.journey:
        other = in_b.get((entry.step_id, entry.attempt))
        if entry.superseded or (entry.outcome is None and (other is None or other.outcome is None)):
            continue
        found.append({
            "step": entry.step, "step_id": entry.step_id, "attempt": entry.attempt, "a": _side(entry),
            "b": _side(other) if other is not None else None,
            "components": _components(entry, other),
        })  # fmt: skip
    return found


def _side(entry: Entry) -> Json:
    return {
        "outcome": entry.outcome, "reason": entry.reason, "score": entry.score, "rank": entry.rank, "details": entry.details,
        "certainty": entry.certainty,
    }  # fmt: skip


def _components(a: Entry, b: Entry | None) -> list[Json]:
    """Numbers that both details have under one name, those that differ most beside their size first."""
    if b is None or not isinstance(a.details, Mapping) or not isinstance(b.details, Mapping):
        return []
    found = []
    for name, value in a.details.items():
        other = b.details.get(name)
        if _number(value) and _number(other) and value != other:
            found.append({"name": name, "a": value, "b": other, "difference": value - other})
    return sorted(found, key=lambda each: -abs(each["difference"]) / (abs(each["a"]) + abs(each["b"])))


def _decided(steps: list[Json]) -> tuple[Json, str] | None:
    """The step that put one above the other, and which ("a" or "b"); None where nothing that was captured tells.

    The first that let one through and not the other; else the last that ranked both, else the last that scored both.
    """
    for step in steps:
        a, b = step["a"], step["b"]
        if b is None:
            continue
        no_a, no_b = a["outcome"] in NEGATIVE, b["outcome"] in NEGATIVE
        yes_a, yes_b = a["outcome"] in ("accepted", "selected"), b["outcome"] in ("accepted", "selected")
        if (no_b and yes_a) or (no_a and yes_b):
            return step, "a" if yes_a else "b"
    for name, sign in (("rank", -1), ("score", 1)):
        for step in reversed(steps):
            b = step["b"]
            if b is not None and _number(step["a"][name]) and _number(b[name]) and step["a"][name] != b[name]:
                return step, "a" if sign * (step["a"][name] - b[name]) > 0 else "b"
    return None


def _certainty(decided: tuple[Json, str] | None) -> str:
    if decided is None:
        return "not_captured"
    sides = {decided[0]["a"]["certainty"], decided[0]["b"]["certainty"]}
    return "exact" if sides == {"exact"} else "not_captured" if "not_captured" in sides else "fingerprint"


def _sentence(a: Why, b: Why, decided: tuple[Json, str] | None) -> str:
    if decided is None:
        fates = "; ".join(f"{each.item_id}: {each.outcome.replace('_', ' ')}" for each in (a, b))
        return f"nothing that was captured puts {a.item_id} above {b.item_id} or below ({fates})"
    step, winner = decided
    first, second = (a.item_id, b.item_id) if winner == "a" else (b.item_id, a.item_id)
    sides = (step["a"], step["b"]) if winner == "a" else (step["b"], step["a"])
    said = [f"{item} {_words(side)}" for item, side in zip((first, second), sides)]
    text = f"{first} is above {second}: at {step['step']} {said[0]}, {said[1]}"
    if winner == "b":
        text = f"{a.item_id} is not above {b.item_id}; {text}"
    if step["components"]:
        most = step["components"][0]
        text += (
            f"; they differ most in {most['name']} ({most[winner]:g} against {most['b' if winner == 'a' else 'a']:g})"
        )
    return text


def _words(side: Mapping[str, Any]) -> str:
    was = str(side["outcome"] or "took part").replace("_", " ")
    if side["outcome"] in ("accepted", "rejected", "selected", "not_selected", "errored"):
        was = f"was {was}"
    why_ = f" for {side['reason']}" if side["reason"] else ""
    figures = [f"{name} {side[name]:g}" for name in ("score", "rank") if _number(side[name])]
    return f"{was}{why_}{f' ({chr(44).join(figures)})' if len(figures) == 1 else f' ({figures[0]}, {figures[1]})' if figures else ''}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
