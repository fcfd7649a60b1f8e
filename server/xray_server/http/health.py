"""What `/health` answers: the state of the store, of the committer, of alerts and of the clients. Knows no SQL."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from xray_server.alerts.service import Alerts
from xray_server.ingest.committer import Committer
from xray_server.store import Store, StoredClient
from xray_server.times import iso

MAX_CLIENTS: Final = 100
_BEHIND_S: Final = 10.0  # a request that has waited so long for its commit means that writing is behind


class HealthReport:
    """Makes the report. Any thread; asks the store two questions."""

    def __init__(self, store: Store, committer: Committer, alerts: Alerts | None, *, version: str) -> None:
        self._store = store
        self._committer = committer
        self._alerts = alerts
        self._version = version
        self._started_s = time.monotonic()

    def report(self, project: str, *, whole: bool) -> dict[str, Any]:
        """The state of the server as JSON values.

        Args:
            project: whose clients are listed.
            whole: also what all projects make together: figures of the store, of commits and of alerts.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        store = self._store.health()
        commits = self._committer.counters()
        report: dict[str, Any] = {
            "status": "ok" if commits.oldest_waiting_s < _BEHIND_S else "behind",
            "version": self._version,
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "store": {"kind": store.kind},
            "ingest": {"lag_s": round(commits.oldest_waiting_s, 3)},
            "clients": [_client_json(client) for client in self._store.clients(project, limit=MAX_CLIENTS)],
        }
        if whole:
            report["store"] |= {
                "location": store.location,
                "runs": store.runs,
                "newest_run_at": iso(store.newest_us),
                **store.details,
            }
            report["ingest"] |= asdict(commits)
            if self._alerts is not None:
                report["alerts"] = self._alerts.health()
        return report


def _client_json(client: StoredClient) -> dict[str, Any]:
    return {
        "part": client.part,
        "host": client.host,
        "pid": client.pid,
        "sdk": client.sdk,
        "pipeline": client.pipeline,
        "counters": client.counters,
        "last_seen_at": iso(client.received_us),
    }
