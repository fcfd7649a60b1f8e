"""The part of a Store that relational databases share: its questions.

A backend derives from `RelationalStore` and gives it `_read` and `_change`; writing, pruning and looking for an item across
runs are the backend's own. Knows no driver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from xray_core.journey import LookedUp
from xray_server.backends.relational import dump, figures, items, keys, lists, names, run_figures, samples, stored
from xray_server.backends.relational.cursors import make_cursor, parse_cursor
from xray_server.backends.relational.database import Database, project_id
from xray_server.backends.relational.erase import hash_key
from xray_server.store import (
    MAX_PAGE_BYTES,
    DumpedRun,
    ItemRun,
    Key,
    NameCount,
    Page,
    RunFigures,
    RunFilter,
    SampledStep,
    StepFilter,
    StepGroup,
    StoredClient,
    StoredRun,
    StoredSet,
    StoredStep,
    TrendPoint,
)

D = TypeVar("D", bound=Database)
T = TypeVar("T")


class RelationalStore(ABC, Generic[D]):
    """Answers the questions of `xray_server.store.Store`; its docstrings say what each returns."""

    @abstractmethod
    def _read(self, question: Callable[[D], T]) -> T:
        """Ask on a connection that is this thread's meanwhile.

        Raises:
            StoreUnavailableError: the database cannot answer just now.
        """

    @abstractmethod
    def _change(self, statement: str, values: Sequence[Any]) -> int:
        """Run one statement in a transaction of its own; how many rows it changed.

        Raises:
            StoreUnavailableError: the database cannot take it just now.
        """

    @abstractmethod
    def _look_up_across(
        self, db: D, project: str, item_id: str, *, pipeline: str | None, limit: int, before: int | None
    ) -> tuple[list[ItemRun], int | None]:
        """The runs that hold an item, those whose verdicts came last first.

        Args:
            before: go on below this number, as the call before returned it.

        Returns:
            the runs, and the number to go on below, or None at the end.
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
        """Runs, newest first."""
        return self._read(
            lambda db: lists.list_runs(db, project, where, limit=limit, cursor=cursor, max_bytes=max_bytes)
        )

    def run(self, project: str, run_id: str) -> StoredRun | None:
        """One run, or None."""
        return self._read(lambda db: stored.find_run(db, project, run_id))

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
        """The step attempts of one run, in the order in which they started."""
        return self._read(
            lambda db: lists.list_run_steps(
                db, project, run_id, limit=limit, cursor=cursor, name=name, max_bytes=max_bytes
            )
        )

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        """All attempts of one step, in order."""
        return self._read(lambda db: stored.find_step(db, project, run_id, step_id))

    def step_groups(self, project: str, run_ids: Sequence[str]) -> dict[str, list[StepGroup]]:
        """The steps of runs, added up by name."""
        return self._read(lambda db: figures.step_groups(db, project, run_ids))

    def run_figures(self, project: str, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[RunFigures]:
        """Runs with the figures of their steps."""
        return self._read(lambda db: run_figures.run_figures(db, project, where, limit=limit, cursor=cursor))

    def steps(
        self,
        project: str,
        where: StepFilter,
        *,
        limit: int,
        cursor: str | None = None,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> Page[StoredStep]:
        """Step attempts across runs, newest first."""
        return self._read(
            lambda db: lists.list_steps(db, project, where, limit=limit, cursor=cursor, max_bytes=max_bytes)
        )

    def samples(
        self, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
        """The samples of some step attempts of one run."""
        return self._read(lambda db: samples.samples(db, project, run_id, steps))

    def sampled_steps(
        self, project: str, where: StepFilter, *, limit: int, cursor: str | None = None
    ) -> Page[SampledStep]:
        """As `steps`, with their samples."""
        return self._read(lambda db: samples.sampled_steps(db, project, where, limit=limit, cursor=cursor))

    def look_up(self, project: str, run_id: str, item_id: str) -> list[LookedUp]:
        """Every set of one run, and whether it holds the item."""
        return self._read(lambda db: items.look_up(db, project, run_id, item_id))

    def item_runs(
        self, project: str, item_id: str, *, pipeline: str | None, limit: int, cursor: str | None = None
    ) -> Page[ItemRun]:
        """The runs that hold an item."""
        before = None if cursor is None else parse_cursor(cursor, parts=1)[0]
        runs, more = self._read(
            lambda db: self._look_up_across(db, project, item_id, pipeline=pipeline, limit=limit, before=before)
        )
        return Page(runs, None if more is None else make_cursor(more))

    def sets(self, project: str, run_id: str, step_id: str | None = None) -> Iterator[StoredSet]:
        """All sets of one run, or of one step."""
        # read while the connection is ours: the caller may take its time with what it is given
        return iter(self._read(lambda db: list(items.sets(db, project, run_id, step_id))))

    def clients(self, project: str, *, limit: int) -> list[StoredClient]:
        """The client processes last heard of."""
        return self._read(lambda db: figures.clients(db, project, limit))

    def pipelines(self, project: str) -> list[str]:
        """The names of the pipelines that have runs."""
        return self._read(lambda db: figures.pipelines(db, project))

    def names(self, project: str, prefix: str, *, limit: int) -> list[NameCount]:
        """Names that begin with a text."""
        return self._read(lambda db: names.names(db, project, prefix, limit=limit))

    def trend(
        self, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        """Hourly sums per pipeline and step name."""
        return self._read(
            lambda db: figures.trend(db, project, pipeline=pipeline, name=name, since_us=since_us, until_us=until_us)
        )

    def dump(self, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
        """All that is kept of some runs."""
        return self._read(lambda db: dump.dump(db, cursor=cursor, limit=limit))

    def item_deleted_us(self, project: str, item_id: str) -> int | None:
        """When an item was deleted."""
        rows = self._read(
            lambda db: db.rows(
                "SELECT at_us FROM deleted_item WHERE project = ? AND hash = ?",
                [project_id(db, project), hash_key(item_id)],
            )
        )
        return int(rows[0][0]) if rows else None

    def keys(self) -> list[Key]:
        """All keys."""
        return self._read(keys.all_keys)

    def add_key(self, key: Key) -> bool:
        """Keep a key. False when a key of that name is in use."""
        return keys.add_key(self._change, key)

    def revoke_key(self, name: str, at_us: int) -> bool:
        """End the key of that name. False when none is in use."""
        return keys.revoke_key(self._change, name, at_us)
