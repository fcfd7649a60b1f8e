"""What `/health` answers: the state of the store, of the committer and of the clients. Knows no SQL."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Final

from xray_server.ingest.committer import CommitCounters
from xray_server.read.runs import Json
from xray_server.store import Store
from xray_server.times import iso

MAX_CLIENTS: Final = 100


def health(
    store: Store, project: str, commits: CommitCounters, *, version: str, started_s: float, whole: bool = True
) -> Json:
    """What the server says of itself. `started_s` is on the monotonic clock; `whole`: also what all projects make together."""
    about = store.health()
    clients = store.clients(project, limit=MAX_CLIENTS)
    return {
        "status": "ok" if commits.oldest_waiting_s < 10 else "behind",
        "version": version,
        "uptime_s": round(time.monotonic() - started_s, 1),
        "store": {
            "kind": about.kind,
        }
        if not whole
        else {
            "kind": about.kind,
            "location": about.location,
            "runs": about.runs,
            "newest_run_at": iso(about.newest_us),
            **about.details,
        },
        "ingest": {"lag_s": round(commits.oldest_waiting_s, 3), **(asdict(commits) if whole else {})},
        "clients": [
            {
                "part": client.part,
                "host": client.host,
                "pid": client.pid,
                "sdk": client.sdk,
                "pipeline": client.pipeline,
                "counters": client.counters,
                "last_seen_at": iso(client.received_us),
            }
            for client in clients
        ],
    }
