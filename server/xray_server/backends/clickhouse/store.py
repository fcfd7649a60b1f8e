"""The ClickHouse store: one or several shards, any number of server processes.

Records lie in ClickHouse; keys and alert rules in a small SQL store, the control database. ClickHouse has neither unique names
nor a transaction that ends a note and keeps what follows from it; a rule that fires twice, or two keys of one name, is what
that would come to. Owns what belongs together; each question is in the module of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from xray_core.journey import LookedUp
from xray_server.alerts.store import AlertStore, Select
from xray_server.backends.clickhouse import (
    delete,
    dump,
    erase,
    figures,
    health,
    hours,
    items,
    lists,
    names,
    parts,
    prune,
    run_figures,
    samples,
)
from xray_server.backends.clickhouse.address import parse_address
from xray_server.backends.clickhouse.alerts import ControlAlertStore
from xray_server.backends.clickhouse.cluster import Cluster
from xray_server.backends.clickhouse.migrate import migrate
from xray_server.backends.clickhouse.node import unavailable
from xray_server.backends.clickhouse.replicas import ReplicaKeeper
from xray_server.backends.clickhouse.write import ShardWriter
from xray_server.backends.relational.alerts import SQLAlertStore
from xray_server.backends.relational.items import look_up_in, sets_of
from xray_server.backends.relational.salvage import write_by_bisection
from xray_server.records.schema import ClientRecord
from xray_server.store import (
    MAX_PAGE_BYTES,
    Batch,
    DumpedRun,
    ItemRun,
    Key,
    KeyStore,
    NameCount,
    Page,
    Prune,
    RunFigures,
    RunFilter,
    SampledStep,
    StepFilter,
    StepGroup,
    StoredClient,
    StoredRun,
    StoredSet,
    StoredStep,
    StoreHealth,
    TrendPoint,
)

_LIMITS: Final = (ClickHouseError, OverflowError, ValueError, TypeError)


class Control(KeyStore, Protocol):
    """The store that keeps keys and alerts beside the records."""

    def alert_store(self) -> AlertStore:
        """What alerts keep in it."""

    def close(self) -> None:
        """Let go of all connections."""


class ClickHouseStore:
    """A Store on ClickHouse; `xray_server.store.Store` says what each method returns. `write` from one thread at a time."""

    gather_s = 0.1

    def __init__(self, url: str, control: Control) -> None:
        address = parse_address(url)
        self._control = control
        self._cluster = Cluster(address, lambda node: migrate(node, address.location, replicated=address.replicated))
        self._cluster.open()
        self._replicas = ReplicaKeeper(self._cluster)
        self._writers = [ShardWriter(shard) for shard in self._cluster.shards]
        self._hours = hours.HourKeeper(self._cluster)
        self._select: Select | None = None
        self._alerts: ControlAlertStore | None = None

    @classmethod
    def from_url(cls, url: str, open_control: Callable[[str], Any]) -> ClickHouseStore:
        """`clickhouse://user@host:8123/xray?control=postgresql://...`; `open_control` opens what `control` names."""
        control = open_control(parse_address(url).control)
        try:
            return cls(url, control)
        except BaseException:  # whatever ends it, the control database is let go of
            control.close()
            raise

    def write(self, batches: Sequence[Batch]) -> list[dict[int, str]]:
        """As `Store.write`; one shard after the other, and what was written before one fails is written again."""
        refused = write_by_bisection(batches, self._write, unavailable=unavailable, limits=_LIMITS)
        self._hours.start()
        return refused

    def _write(self, batches: Sequence[Batch]) -> None:
        for writer, of_shard in zip(self._writers, self._by_shard(batches)):
            if of_shard:
                writer.write(of_shard)
        if self._select is not None and self._alerts is not None:
            self._alerts.note(self._select, batches)

    def _by_shard(self, batches: Sequence[Batch]) -> list[list[Batch]]:
        if len(self._writers) == 1:
            return [list(batches)]
        split: list[list[Batch]] = [[] for _ in self._writers]
        for batch in batches:
            records: list[list[Any]] = [[] for _ in self._writers]
            for record in batch.records:
                name = record.part if isinstance(record, ClientRecord) else record.run_id
                records[self._cluster.number_of(name)].append(record)
            for number, of_shard in enumerate(records):
                if of_shard:
                    split[number].append(replace(batch, records=of_shard))
        return split

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
        return lists.list_runs(self._cluster, project, where, limit=limit, cursor=cursor, max_bytes=max_bytes)

    def run(self, project: str, run_id: str) -> StoredRun | None:
        """One run, or None."""
        shard, name = self._cluster.of(run_id), (project, run_id)
        return parts.runs_with_counts(shard, [name]).get(name)

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
        return lists.list_run_steps(
            self._cluster.of(run_id), project, run_id, limit=limit, cursor=cursor, name=name, max_bytes=max_bytes
        )

    def step(self, project: str, run_id: str, step_id: str) -> list[StoredStep]:
        """All attempts of one step, in order."""
        found = parts.steps_of_run(self._cluster.of(run_id), project, run_id, step_id)
        return [parts.step_of(name, stored) for name, stored in sorted(found.items(), key=lambda each: each[0][3])]

    def step_groups(self, project: str, run_ids: Sequence[str]) -> dict[str, list[StepGroup]]:
        """The steps of runs, added up by name."""
        return figures.step_groups(self._cluster, project, run_ids)

    def run_figures(self, project: str, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[RunFigures]:
        """Runs with the figures of their steps."""
        return run_figures.run_figures(self._cluster, project, where, limit=limit, cursor=cursor)

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
        return lists.list_steps(self._cluster, project, where, limit=limit, cursor=cursor, max_bytes=max_bytes)

    def samples(
        self, project: str, run_id: str, steps: Sequence[tuple[str, int]] | None = None
    ) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
        """The samples of some step attempts of one run."""
        return samples.samples(self._cluster.of(run_id), project, run_id, steps)

    def sampled_steps(
        self, project: str, where: StepFilter, *, limit: int, cursor: str | None = None
    ) -> Page[SampledStep]:
        """As `steps`, with their samples."""
        return samples.sampled_steps(self._cluster, project, where, limit=limit, cursor=cursor)

    def look_up(self, project: str, run_id: str, item_id: str) -> list[LookedUp]:
        """Every set of one run, and whether it holds the item."""
        return look_up_in(items.chunks(self._cluster.of(run_id), project, run_id), item_id)

    def item_runs(
        self, project: str, item_id: str, *, pipeline: str | None, limit: int, cursor: str | None = None
    ) -> Page[ItemRun]:
        """The runs that hold an item."""
        return items.item_runs(self._cluster, project, item_id, pipeline=pipeline, limit=limit, cursor=cursor)

    def sets(self, project: str, run_id: str, step_id: str | None = None) -> Iterator[StoredSet]:
        """All sets of one run, or of one step."""
        return sets_of(items.chunks(self._cluster.of(run_id), project, run_id, step_id))

    def clients(self, project: str, *, limit: int) -> list[StoredClient]:
        """The client processes last heard of."""
        return figures.clients(self._cluster, project, limit)

    def pipelines(self, project: str) -> list[str]:
        """The names of the pipelines that have runs."""
        return figures.pipelines(self._cluster, project)

    def names(self, project: str, prefix: str, *, limit: int) -> list[NameCount]:
        """Names that begin with a text."""
        return names.names(self._cluster, project, prefix, limit=limit)

    def trend(
        self, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
    ) -> list[TrendPoint]:
        """Hourly sums per pipeline and step name."""
        self._hours.start()
        return hours.trend(self._cluster, project, pipeline=pipeline, name=name, since_us=since_us, until_us=until_us)

    def dump(self, *, cursor: str | None, limit: int) -> Page[DumpedRun]:
        """All that is kept of some runs."""
        return dump.dump(self._cluster, cursor=cursor, limit=limit)

    def prune(self, order: Prune, *, cursor: str | None, limit: int) -> tuple[int, str | None]:
        """As `Store.prune`; a step is a week of one shard, whatever the limit."""
        return prune.prune(self._cluster, order, cursor)

    def delete_run(self, project: str, run_id: str, at_us: int) -> bool:
        """As `Store.delete_run`."""
        return delete.delete_run(self._cluster.of(run_id), project, run_id, at_us)

    def delete_item(self, project: str, item_id: str, at_us: int) -> int:
        """As `Store.delete_item`."""
        return erase.delete_item(self._cluster, project, item_id, at_us)

    def item_deleted_us(self, project: str, item_id: str) -> int | None:
        """When an item was deleted."""
        return erase.item_deleted_us(self._cluster, project, item_id)

    def check(self) -> list[str]:
        """As `Store.check`."""
        return health.check(self._cluster)

    def health(self) -> StoreHealth:
        """As `Store.health`."""
        rows = max(writer.rows_an_insert for writer in self._writers)
        about = health.health(self._cluster)
        return replace(about, details={**about.details, "rows_an_insert": rows})

    def alert_store(self) -> AlertStore:
        """What alerts keep in the control database (`xray_server.alerts.store.KeepsAlerts`)."""
        if self._alerts is None:
            kept = self._control.alert_store()
            if not isinstance(kept, SQLAlertStore):
                raise TypeError("the control database keeps no alerts in SQL")
            self._alerts = ControlAlertStore(kept, lambda select: setattr(self, "_select", select))
        return self._alerts

    def keys(self) -> list[Key]:
        """All keys."""
        return self._control.keys()

    def add_key(self, key: Key) -> bool:
        """Keep a key. False when a key of that name is in use."""
        return self._control.add_key(key)

    def revoke_key(self, name: str, at_us: int) -> bool:
        """End the key of that name. False when none is in use."""
        return self._control.revoke_key(name, at_us)

    def close(self) -> None:
        """Close all connections. No call may follow."""
        self._hours.close()
        self._replicas.close()
        self._cluster.close()
        self._control.close()
