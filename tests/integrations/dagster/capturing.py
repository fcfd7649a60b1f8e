"""What was captured of a Dagster run, merged as the server merges it."""

from __future__ import annotations

import base64
from typing import Any

from xray_core import verdicts
from xray_core.merge import merge_run, merge_step, newest
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay


def newest_parts(records: list[dict[str, Any]], *key: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The newest revision of each part, by the thing it is a part of."""
    parts: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        name = (*(record[each] for each in key), record["part"])
        parts[name] = dict(newest(parts.get(name), record))
    merged: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for name, part in parts.items():
        merged.setdefault(name[:-1], []).append(part)
    return merged


def runs_of(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Run id -> the run."""
    own = [record for record in records if record.get("kind") == "run"]
    return {key[0]: merge_run(parts) for key, parts in newest_parts(own, "run_id").items()}


def steps_of(records: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """(step key, attempt) -> the step; a step that the user opened goes by its name."""
    own = [record for record in records if record.get("kind") == "step"]
    found = {}
    for (_, _, attempt), parts in newest_parts(own, "run_id", "step_id", "attempt").items():
        step = merge_step(parts)
        key = ((step.get("origin") or {}).get("ids") or {}).get("step_key") or step["name"]
        assert (key, attempt) not in found, f"two steps are {key} attempt {attempt}"
        found[key, attempt] = step
    return found


class Captured:
    """What this process's client delivered."""

    def __init__(self, client: XRay, transport: MemoryTransport) -> None:
        self.client = client
        self.transport = transport

    @property
    def records(self) -> list[dict[str, Any]]:
        assert self.client.flush(20)
        return self.transport.records

    @property
    def run(self) -> dict[str, Any]:
        """The one run."""
        runs = list(runs_of(self.records).values())
        assert len(runs) == 1, f"{len(runs)} runs"
        return runs[0]

    @property
    def steps(self) -> dict[tuple[str, int], dict[str, Any]]:
        return steps_of(self.records)

    def step(self, key: str, attempt: int = 1) -> dict[str, Any]:
        steps = self.steps
        assert (key, attempt) in steps, f"no step {key!r} attempt {attempt}; there are {sorted(steps)}"
        return steps[key, attempt]

    def rejected(self, key: str) -> list[str]:
        """The ids that were rejected in a step."""
        step_id = self.step(key)["step_id"]
        ids: list[str] = []
        for record in self.records:
            if record.get("kind") == "verdicts" and record["step_id"] == step_id:
                for each in record["sets"]:
                    if each["outcome"] == "rejected":
                        ids += each.get("ids", [])
                        assert "fp40" not in each or verdicts.decode(base64.b64decode(each["fp40"]))
        return ids
