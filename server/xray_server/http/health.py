"""What `/health` answers: the state of the store, of the committer, of alerts and of the clients. Knows no SQL."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from xray_server.alerts.service import Alerts
from xray_server.http.probe import Probe
from xray_server.http.senders import Senders
from xray_server.ingest.committer import Committer
from xray_server.store import Store, StoredClient
from xray_server.times import iso

MAX_CLIENTS: Final = 100
SOON_S: Final = 0.06  # leaves `/health` its 100 ms
_PATIENT_S: Final = 5.0
_MAX_PROJECTS: Final = 1_000
_BEHIND_S: Final = 10.0  # a request that has waited so long for its commit means that writing is behind


class HealthReport:
    """Makes the report. Any thread; asks the store three questions, and waits for them no longer than it is told."""

    def __init__(
        self, store: Store, committer: Committer, alerts: Alerts | None, senders: Senders, *, version: str
    ) -> None:
        self._store = store
        self._committer = committer
        self._alerts = None if alerts is None else Probe(alerts.health, kept_s=0)
        self._senders = senders
        self._version = version
        self._started_s = time.monotonic()
        self.store: Final = Probe(store.health)
        self._clients: dict[str, Probe[list[StoredClient]]] = {}

    def _clients_of(self, project: str) -> Probe[list[StoredClient]]:
        if len(self._clients) >= _MAX_PROJECTS:
            self._clients.clear()
        return self._clients.setdefault(project, Probe(lambda: self._store.clients(project, limit=MAX_CLIENTS)))

    def report(self, project: str, *, whole: bool, timeout_s: float = _PATIENT_S) -> dict[str, Any]:
        """The state of the server as JSON values.

        Args:
            project: whose clients are listed.
            timeout_s: how long the store may take for its answers.
            whole: also what all projects make together: figures of the store, of commits and of alerts.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        until_s = time.monotonic() + timeout_s
        store = self.store.answer(timeout_s)
        clients = self._clients_of(project).answer(max(0.0, until_s - time.monotonic()))
        alerts = None
        if whole and self._alerts is not None:
            alerts = self._alerts.answer(max(0.0, until_s - time.monotonic()))
        report = self.without_store(project, whole=whole)
        report["store"] = {"kind": store.kind}
        report["clients"] = [_client_json(client) for client in clients]
        if whole:
            report["store"] |= {
                "location": store.location,
                "runs": store.runs,
                "newest_run_at": iso(store.newest_us),
                **store.details,
            }
        if alerts is not None:
            report["alerts"] = alerts
        return report

    def without_store(self, project: str, *, whole: bool) -> dict[str, Any]:
        """What of `report` is known without asking the store."""
        commits = self._committer.counters()
        report: dict[str, Any] = {
            "status": "not writing" if commits.failing else "ok" if commits.oldest_waiting_s < _BEHIND_S else "behind",
            "version": self._version,
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "ingest": {"lag_s": round(commits.oldest_waiting_s, 3)},
            "senders": self._senders.report(project),
        }
        if whole:
            report["ingest"] |= asdict(commits)
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
