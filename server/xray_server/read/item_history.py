"""One item over time: the runs that hold it, with what became of it in each; all of them, or those of one outcome.

What is asked beyond the item itself is tested run by run, within a budget of time: a page may be short and still have a next.
Knows no HTTP and no SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from xray_core.journey import NEGATIVE
from xray_core.model import ITEMS_IN, ITEMS_OUT, item_id_text
from xray_server.store import ItemRun, Sighting, Store
from xray_server.times import iso

BUDGET_MS: Final = 300  # for filling a page whose filter fits few runs
_RUNS_A_LOOK: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which of the item's runs; `outcome`, `reason` and `step` are those of one verdict on it."""

    pipeline: str | None = None
    outcome: str | None = None
    reason: str | None = None
    step: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def plain(self) -> bool:
        """Whether every run of the item fits (of the pipeline, which the store knows)."""
        return self == HistoryFilter(pipeline=self.pipeline)

    def holds(self, run: ItemRun) -> bool:
        """Whether a run is in the window and one of its verdicts on the item is as asked."""
        if self.since_us is not None and run.at_us < self.since_us:
            return False
        if self.until_us is not None and run.at_us >= self.until_us:
            return False
        if self.outcome is None and self.reason is None and self.step is None:
            return True
        return any(
            (each.outcome == self.outcome if self.outcome is not None else each.outcome not in (ITEMS_IN, ITEMS_OUT))
            and self.reason in (None, each.reason)
            and self.step in (None, each.step)
            for each in run.sightings
        )


def history(
    store: Store,
    project: str,
    item_id: str,
    where: HistoryFilter,
    *,
    limit: int,
    cursor: str | None,
    budget_ms: float = BUDGET_MS,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """The runs that hold an item, those whose verdicts arrived last first; what became of it in each, as far as its verdicts
    say (`why` knows more).
    """
    text, began = item_id_text(item_id), clock()
    found: list[ItemRun] = []
    while True:
        wanted = limit - len(found)
        page = store.item_runs(
            project, text, pipeline=where.pipeline, limit=wanted if where.plain else min(wanted, _RUNS_A_LOOK),
            cursor=cursor,
        )  # fmt: skip
        found += [run for run in page.items if where.holds(run)]
        cursor = page.next_cursor
        if cursor is None or len(found) >= limit or (clock() - began) * 1000 > budget_ms:
            return {"item_id": text, "runs": [item_run_json(run) for run in found], "next_cursor": cursor}


def item_run_json(run: ItemRun) -> dict[str, Any]:
    """A run that holds an item under the names of the API."""
    last = last_word(run)
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "started_at": iso(run.at_us),
        "outcome": None if last is None else last.outcome,
        "reason": None if last is None else last.reason,
        "step": None if last is None else last.step,
        "steps": [
            {
                "step": each.step,
                "step_id": each.step_id,
                "attempt": each.attempt,
                "outcome": each.outcome,
                "reason": each.reason,
                "certainty": "exact" if each.exact else "fingerprint",
                "p_false": each.p_false,
            }
            for each in run.sightings
        ],
    }


def last_word(run: ItemRun) -> Sighting | None:
    """The verdict that tells what became of the item in a run; None where only item sets hold it."""
    judged = [each for each in run.sightings if each.outcome not in (ITEMS_IN, ITEMS_OUT)]
    noes = [each for each in judged if each.outcome in NEGATIVE]
    last = judged[-1] if judged and judged[-1].outcome not in NEGATIVE else noes[-1] if noes else None
    if noes and last is not None and last.outcome == "accepted":
        last = noes[-1]  # one of several checks said no
    return last
