"""Conservation between the steps of a stored run: fetches what `xray_core.journey.gaps` needs. Knows no HTTP, no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xray_core.journey import Gap, gaps
from xray_server.store import Store, StoredRun, StoredStep

MAX_STEPS: Final = 500  # of a run with more, conservation is not checked


def gaps_of(store: Store, project: str, run: StoredRun, steps: Sequence[StoredStep]) -> list[Gap]:
    """What is not conserved between the steps of a run.

    Args:
        steps: all of its step attempts.
    """
    if run.step_count > MAX_STEPS or run.state["status"] == "running":
        return []
    return gaps(
        [step.state for step in steps],
        lambda key: [each for each in store.sets(project, run.run_id, key[0]) if each.attempt == key[1]],
    )
