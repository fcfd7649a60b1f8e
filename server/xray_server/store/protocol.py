"""The Store protocol: what the server asks of whatever keeps its records, in typed questions and answers.

Owns the questions (filters, pages), the answers (stored runs, steps, samples) and the rules every store keeps. Knows no SQL,
no HTTP and no HTML. The rules:

- records come in batches and are idempotent: any order, any duplication, any split gives the same state;
- the newest revision of a part wins and a run or step is the merge of its parts (`xray_core.merge`), whether a store
  folds them when it writes or when it reads: nothing here asks for the update of a row;
- `write` returns after the commit, and what it returned for is there after a crash;
- nothing crosses projects: every question names one;
- lists are paged by key, newest first; a page may be shorter than its limit and still have a next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from xray_core.journey import LookedUp
from xray_server.store.answers import (
    DumpedRun,
    ItemRun,
    NameCount,
    Page,
    RunFigures,
    SampledStep,
    StepGroup,
    StoredClient,
    StoredRun,
    StoredSet,
    StoredStep,
    StoreHealth,
    TrendPoint,
)
from xray_server.store.questions import MAX_PAGE_BYTES, Batch, Prune, RunFilter, StepFilter


@runtime_checkable
class WritesInGroups(Protocol):
    """A store to which a write costs about the same whatever is in it.

    Attributes:
        gather_s: for so long at most a group waits for more.
    """

    gather_s: float


class Store(Protocol):
    """Keeps records and answers questions. Reads may come from any thread; `write` from one thread at a time per store."""

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """Write all batches in one transaction and commit it.

        Returns:
            for each batch, the records it refuses for good: position -> why. All others are committed.

        Raises:
            StoreUnavailableError: nothing was written; the same batches may be tried again.
        """

    def runs(
        self,
        project: str,
        where: RunFilter,
        *,
        limit: int,
        cursor: str | None = None,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> Page[StoredRun]:
        """Runs, newest first. The page ends where its documents are over `max_bytes`, unpacked, but holds one at least."""

    def run(self, project: str, run_id: str) -> StoredRun | None:
        """One run, or None."""

    def run_steps(
        self,
        project: str,
        run_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        name: str | None = None,
        max_bytes: int | None = None,
    ) -> Page[StoredStep]:
        """The step attempts of one run, or those of one name in it, in the order in which they started. With `max_bytes`
        the page ends where its documents are over it, unpacked.
        """

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        """All attempts of one step, in order."""

    def step_groups(self, project: str, run_ids: Sequence[str]) -> dict[str, list[StepGroup]]:
        """The steps of each of these runs (of a page of them at most), the last attempt of each step, added up by name, in the
        order in which each name first started. A run that has no steps, or is not there, has no groups.
        """

    def run_figures(self, project: str, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[RunFigures]:
        """Runs with the figures of their steps, newest first. Of a thousand runs of twenty steps in a second; see
        `store.figures.from_steps` for a store that has no way of its own.
        """

    def steps(
        self,
        project: str,
        where: StepFilter,
        *,
        limit: int,
        cursor: str | None = None,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> Page[StoredStep]:
        """Step attempts across runs, newest first. The page ends as one of `runs` does."""

    def samples(
        self, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
        """The samples of some step attempts (None: all) of one run, by (step id, attempt); each once, in order of time."""

    def sampled_steps(
        self, project: str, where: StepFilter, *, limit: int, cursor: str | None = None
    ) -> Page[SampledStep]:
        """As `steps`, in the same order and with the same cursors."""

    def look_up(self, project: str, run_id: str, item_id: str) -> list[LookedUp]:
        """Every set of one run, by step attempt, outcome and reason, and whether it holds the item: what `why` asks."""

    def item_runs(
        self, project: str, item_id: str, *, pipeline: str | None, limit: int, cursor: str | None = None
    ) -> Page[ItemRun]:
        """The runs that hold an item, those whose verdicts arrived last first."""

    def sets(self, project: str, run_id: str, step_id: str | None = None) -> Iterator[StoredSet]:
        """All sets of one run, or of one step: verdicts and the item sets given."""

    def clients(self, project: str, *, limit: int) -> list[StoredClient]:
        """The client processes last heard of, newest first."""

    def pipelines(self, project: str) -> list[str]:
        """The names of the pipelines that have runs, sorted."""

    def names(self, project: str, prefix: str, *, limit: int) -> list[NameCount]:
        """The pipelines, tags, steps and reasons whose names begin with a text, `limit` of each kind, and the runs whose ids
        do, counted.
        """

    def trend(
        self, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        """Hourly sums per pipeline and step name, oldest first."""

    def dump(self, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
        """All that is kept of some runs, of all projects, in the order in which they were first heard of."""

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """Remove about `limit` rows in one short transaction; may run beside `write`, one caller at a time.

        Returns:
            how many rows went, and the cursor to go on with (None: all that the order names is gone).
        """

    def delete_run(self, project: str, run_id: str, at_us: int) -> bool:
        """Delete a run with all that hangs on it, in one transaction; False when there is no such run. What still arrives of
        it is not kept. Hourly sums keep what it added. May run beside `write`.
        """

    def delete_item(self, project: str, item_id: str, at_us: int) -> int:
        """Delete an item from all runs that hold it, a transaction each; how many held it. Its details and samples go, and a
        name that means nothing takes the place of its id and of its fingerprint in every set. What still arrives of it, of
        runs that started before, is kept like this too. May run beside `write`.
        """

    def item_deleted_us(self, project: str, item_id: str) -> int | None:
        """When an item was deleted; None: it was not."""

    def check(self) -> list[str]:
        """What is wrong with the database, in its own words; empty when it is sound. Reads all of it."""

    def health(self) -> StoreHealth:
        """What `/health` shows. Cheap: no scan."""

    def close(self) -> None:
        """Let go of all connections. No call may follow."""
