"""What Prometheus asks: requests by route, how writing goes, what was refused. In a registry of its own, one per application.

Labels are declared routes, methods, statuses and reasons of ours: never an id, a name or a value out of a record, so their
number is bounded and they say nothing of anybody's data. Figures are of this process since it started, all projects together;
which is why `/metrics` takes a key of scope metrics or admin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from xray_core import safety
from xray_server.http.probe import Probe
from xray_server.ingest.committer import CommitCounters
from xray_server.store import StoreHealth, StoreUnavailableError

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STORE_WITHIN_S: Final = 0.5
# What some stores say of themselves: key of their details -> metric.
_STORE_FIGURES: Final = {
    "free_bytes": ("xray_store_free_bytes", "Room left on the store's disk"),
    "parts": ("xray_store_parts", "ClickHouse: parts of all tables"),
    "parts_in_fullest_partition": (
        "xray_store_parts_in_fullest_partition",
        "ClickHouse: it slows inserts down at 1,000 and refuses them at 3,000",
    ),
    "replicas_behind": ("xray_store_replicas_behind", "ClickHouse: replicas that missed writes and have not caught up"),
    "replica_lag_s": ("xray_store_replica_lag_seconds", "ClickHouse: of the replicated table that is furthest behind"),
    "rows_an_insert": ("xray_store_rows_an_insert", "ClickHouse: rows of the last insert into the steps' table"),
    "shards_away": ("xray_store_shards_away", "ClickHouse: shards of which no replica answers"),
}
_BUCKETS_S: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counts requests, and renders everything. `observe` and `refuse` are for any thread and do not block.

    Args:
        commits: the committer's counters.
        store: asked for its figures when rendered; while it is away, or slow, `xray_store_up` is 0.
    """

    def __init__(self, commits: Callable[[], CommitCounters], store: Probe[StoreHealth]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "xray_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._durations = Histogram(
            "xray_http_request_duration_seconds",
            "From the headers to the end of the answer",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._refused = Counter(
            "xray_access_refused", "Requests turned away before any route", ["why"], registry=self._registry
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Figures(commits, store))

    def observe(self, *, method: str, route: str, status: int, duration_s: float) -> None:
        """One request was answered. `route` as it is declared."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._durations.labels(route).observe(duration_s)

    def refuse(self, why: str) -> None:
        """One request was turned away; `why` is a word of ours."""
        self._refused.labels(why).inc()

    def render(self) -> bytes:
        """The exposition text. Blocks for one question to the store."""
        return generate_latest(self._registry)


disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series, and no alert or graph reads them


class _Figures(Collector):
    """Figures that others keep, read when they are asked for."""

    def __init__(self, commits: Callable[[], CommitCounters], store: Probe[StoreHealth]) -> None:
        self._commits = commits
        self._store = store

    def collect(self) -> Iterator[Metric]:
        commits = self._commits()
        yield CounterMetricFamily("xray_ingest_records", "Records committed or refused", value=commits.records)
        yield CounterMetricFamily("xray_ingest_refused_records", "Of these, refused", value=commits.refused_records)
        yield CounterMetricFamily("xray_ingest_commits", "Transactions committed", value=commits.commits)
        yield CounterMetricFamily(
            "xray_ingest_failed_commits", "Transactions that failed", value=commits.failed_commits
        )
        yield CounterMetricFamily(
            "xray_ingest_turned_away", "Requests answered 429: the queue was full", value=commits.turned_away
        )
        yield GaugeMetricFamily("xray_ingest_waiting_batches", "Wait to be committed", value=commits.waiting_batches)
        yield GaugeMetricFamily("xray_ingest_waiting_bytes", "Wait to be committed", value=commits.waiting_bytes)
        yield GaugeMetricFamily(
            "xray_ingest_lag_seconds", "Age of the oldest that waits", value=commits.oldest_waiting_s
        )
        yield GaugeMetricFamily("xray_ingest_last_commit_seconds", "Time it took", value=commits.last_commit_s)
        yield GaugeMetricFamily(
            "xray_ingest_failing", "Whether the last transaction failed", value=commits.failing is not None
        )
        yield CounterMetricFamily(
            "xray_swallowed_errors",
            "Errors of the server's own; its log says more",
            value=sum(safety.swallowed.values()),
        )
        try:
            about = self._store.answer(_STORE_WITHIN_S)
        except StoreUnavailableError:
            yield GaugeMetricFamily("xray_store_up", "Whether the store answers", value=0)
            return
        yield GaugeMetricFamily("xray_store_up", "Whether the store answers", value=1)
        yield GaugeMetricFamily("xray_store_runs", "Runs kept", value=about.runs)
        if isinstance(size_bytes := about.details.get("bytes"), int):
            yield GaugeMetricFamily("xray_store_bytes", "Size of what is kept", value=size_bytes)
        for key, (name, words) in _STORE_FIGURES.items():
            if isinstance(figure := about.details.get(key), (int, float)):
                yield GaugeMetricFamily(name, words, value=figure)
