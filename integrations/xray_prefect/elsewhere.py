"""Tasks that run in processes which Prefect does not start (clusters, task workers): how many, and what captures them."""

from __future__ import annotations

from typing import Any, Final

# For tasks of Dask, Ray and task workers, which may run where nothing is captured.
_HOW_ELSEWHERE: Final = (
    "X-Ray is not enabled where they ran; start what runs them (cluster, task worker) by `xray run -- CMD`, or with "
    "PREFECT_PLUGINS_ENABLED=1 in its environment"
)
MAX_OWN: Final = 10_000  # steps of a flow run; further ones are taken for what others captured


class HandedOver:
    """Tasks of a flow run that were given to processes that Prefect does not start: nothing here tells whether they are captured."""

    __slots__ = ("counts", "ids")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}  # {to what: how many}
        self.ids: set[str] = set()  # of the first ones

    def add(self, task_run_id: str, to: str) -> None:
        """One more, given to what is named `to`."""
        self.counts[to] = self.counts.get(to, 0) + 1
        if len(self.ids) < MAX_OWN:
            self.ids.add(task_run_id)

    def about(self, own: set[str]) -> dict[str, Any]:
        """What is noted of them, see HANDED_OVER. A cluster may be threads of this process, whose steps are not its own then."""
        n = sum(self.counts.values())
        n_own = len(own - self.ids) if n <= MAX_OWN else 0
        return {"n": n, "to": ", ".join(self.counts), "own": n_own, "note": _HOW_ELSEWHERE}
