"""Three and more runs side by side: steps as rows, runs as columns, and the run that is unlike the others. Knows no HTTP, no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from xray_core.plurals import plural
from xray_server.read.why import all_steps, known_run
from xray_server.store import Store, StoredStep
from xray_server.times import iso

Json = dict[str, Any]
MAX_RUNS: Final = 20
_LOOKED_AT: Final = (
    "name", "status", "sums", "reasons", "counts", "items", "output_fp", "duration_us", "code_version",
)  # fmt: skip
_COUNTS: Final = ("input", "accepted", "rejected", "not_selected", "errored", "unaccounted")


def side_by_side(store: Store, project: str, run_ids: Sequence[str]) -> Json:
    """Runs beside each other, in the order given.

    Runs are alike at a step when its verdicts were given to the same items: by the sums of their hashes, else by the counts of
    each reason. A run is odd where more than half of the others are alike and it is not.

    Raises:
        UnknownRunError: there is no such run.
    """
    runs = [known_run(store, project, run_id, "runs") for run_id in run_ids]
    columns = [_by_name(_light(all_steps(store, project, run.run_id))) for run in runs]
    names = _names(columns)
    rows = [_row(name, [column.get(name) for column in columns]) for name in names]
    odd = Counter(place for row in rows for place in row["odd"])
    first = next((row for row in rows if row["odd"] or row["kinds"] > 1), None)
    return {
        "runs": [
            {
                "run_id": run.run_id, "pipeline": run.state["pipeline"], "status": run.state["status"],
                "started_at": iso(run.state["started_us"] or run.at_us), "odd_steps": odd[place],
            }
            for place, run in enumerate(runs)
        ],
        "first": None if first is None else first["step"],
        "sentence": _sentence([run.run_id for run in runs], rows, first),
        "steps": rows,
    }  # fmt: skip


def _light(steps: Sequence[StoredStep]) -> list[StoredStep]:
    """The steps with what is looked at alone: inputs and outputs of twenty runs may be large."""
    return [replace(step, state={name: step.state[name] for name in _LOOKED_AT}) for step in steps]


def _by_name(steps: Sequence[StoredStep]) -> dict[str, list[StoredStep]]:
    last: dict[str, StoredStep] = {}
    for step in sorted(steps, key=lambda each: each.attempt):
        last[step.step_id] = step
    found: dict[str, list[StoredStep]] = {}
    for step in steps:
        if last[step.step_id] is step:
            found.setdefault(step.state["name"] or step.step_id, []).append(step)
    return found


def _names(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every step name, in the order of the first run that has it."""
    names: list[str] = []
    for column in columns:
        place = 0
        for name in column:
            if name in names:
                place = names.index(name) + 1
            else:
                names.insert(place, name)
                place += 1
    return names


def _row(name: str, cells: Sequence[list[StoredStep] | None]) -> Json:
    keys = [None if steps is None else _likeness(steps) for steps in cells]
    counted = Counter(keys)
    most, n = counted.most_common(1)[0]
    odd = [place for place, key in enumerate(keys) if key != most] if n > len(keys) / 2 and len(keys) > 2 else []
    letters = {key: chr(65 + rank) for rank, key in enumerate(dict.fromkeys(keys))}
    return {
        "step": name,
        "odd": odd,
        "kinds": len(counted),
        "runs": [None if steps is None else {**_cell(steps), "kind": letters[key]} for steps, key in zip(cells, keys)],
    }


def _likeness(steps: Sequence[StoredStep]) -> bytes:
    """What two runs have in common at a step when their verdicts are the same."""
    told = []
    for step in steps:
        state = step.state
        sums = state["sums"] or state["reasons"] or state["counts"]
        items = {
            side: (each or {}).get("sum") for side, each in (state["items"] or {}).items() if side in ("in", "out")
        }
        told.append([sums, items, state["status"], state["output_fp"] if not sums and not items else None])
    return msgspec.json.encode(sorted(told, key=repr), order="sorted")


def _cell(steps: Sequence[StoredStep]) -> Json:
    known: dict[str, int | None] = {}
    for name in _COUNTS:
        figures = [getattr(step.ledger, name) for step in steps]
        known[name] = None if None in figures else sum(figures)
    entered, rejected = known["input"], known["rejected"]
    reasons: Counter[str] = Counter()
    for step in steps:
        reasons.update(step.state["reasons"].get("rejected", {}))
    return {
        "step_id": steps[0].step_id, "attempt": steps[0].attempt, "instances": len(steps), "ledger": known,
        "rejection_rate": rejected / entered if entered and rejected is not None else None,
        "reasons": dict(reasons.most_common()), "status": steps[0].state["status"],
        "duration_ms": sum(step.state["duration_us"] or 0 for step in steps) / 1000,
        "code_version": steps[0].state["code_version"],
    }  # fmt: skip


def _sentence(run_ids: Sequence[str], rows: Sequence[Json], first: Json | None) -> str:
    if first is None:
        return f"{len(run_ids)} runs: nothing that was captured differs at any step"
    if not first["odd"]:
        return f"{len(run_ids)} runs first differ at {first['step']}, in {first['kinds']} ways: none is the odd one out there"
    alone = [run_ids[place] for place in first["odd"]]
    only = f"run {alone[0]} is the odd one out" if len(alone) == 1 else f"runs {', '.join(alone)} are unlike the others"
    later = sum(1 for row in rows if row is not first and row["odd"] == first["odd"])
    more = f" and at {plural(later, 'more step')}" if later else ""
    return f"{only}: first at {first['step']}{more}"
