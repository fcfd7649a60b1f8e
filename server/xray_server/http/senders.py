"""Who sends records to this process of the server: each client's version, where it is, and what it delivered.

Kept in memory, bounded, since the process started. What a client says of itself beside this (what it dropped) is in the store.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastapi import Request

from xray_server.times import iso

MAX_SENDERS: Final = 1_000  # of all projects; those heard of last
MAX_SHOWN: Final = 100
_MAX_CHARS: Final = 200
_OURS: Final = re.compile(r"(xray-core/\S{1,40}) \((.{0,120}); pid (\d{1,10})\)")


@dataclass(slots=True)
class Sender:
    """One client: `client` is the name and version that it gives, `address` where its requests come from."""

    client: str
    host: str | None
    pid: int | None
    address: str
    first_us: int
    last_us: int
    requests: int = 0
    delivered: int = 0
    refused: int = 0


class Senders:
    """The clients that this process heard of. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], Sender] = OrderedDict()

    def heard(self, request: Request, project: str, *, delivered: int, refused: int = 0) -> None:
        """Count what a request delivered."""
        agent = request.headers.get("user-agent", "")[:_MAX_CHARS] or "unknown"
        address = request.client.host if request.client else "unknown"
        now_us = time.time_ns() // 1000
        key = (project, agent, address)
        with self._lock:
            sender = self._known.get(key)
            if sender is None:
                ours = _OURS.fullmatch(agent)
                client, host, pid = (ours[1], ours[2] or None, int(ours[3])) if ours else (agent, None, None)
                sender = self._known[key] = Sender(client, host, pid, address, now_us, now_us)
                if len(self._known) > MAX_SENDERS:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            sender.last_us = now_us
            sender.requests += 1
            sender.delivered += delivered
            sender.refused += refused

    def report(self, project: str) -> list[dict[str, Any]]:
        """The clients of a project heard of last, as JSON values."""
        with self._lock:
            own = [sender for (of, _, _), sender in reversed(self._known.items()) if of == project][:MAX_SHOWN]
            rows = [asdict(sender) for sender in own]
        return [
            {**row, "first_seen_at": iso(row.pop("first_us")), "last_seen_at": iso(row.pop("last_us"))} for row in rows
        ]
