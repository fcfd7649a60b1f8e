"""Who sends records to this server: each client's version, where it is, and what it delivered.

Kept in memory, bounded, since the process started; the processes of `--workers` tell one another through memory that they share.
What a client says of itself beside this (what it dropped) is in the store.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec
from fastapi import Request

from xray_server.http.cells import CELLS, Cells
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
    """The clients that this process heard of, and those that the others did. Any thread.

    Args:
        cells: memory that is shared with the server's other processes.
    """

    def __init__(self, cells: Cells | None = None) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], Sender] = OrderedDict()
        self._cells = cells
        self._cell_of: OrderedDict[tuple[str, str, str], int] = OrderedDict()

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
            if self._cells is not None:
                self._cells.write(self._cell(key), msgspec.json.encode((key, sender)))

    def _cell(self, key: tuple[str, str, str]) -> int:
        """Where the others read of a client: of more clients than there are cells, the one heard of first gives way."""
        cell = self._cell_of.pop(key, None)
        if cell is None:
            cell = len(self._cell_of) if len(self._cell_of) < CELLS else self._cell_of.popitem(last=False)[1]
        self._cell_of[key] = cell
        return cell

    def report(self, project: str) -> list[dict[str, Any]]:
        """The clients of a project heard of last, as JSON values, added up over the server's processes."""
        with self._lock:
            found = {key: replace(sender) for key, sender in self._known.items() if key[0] == project}
        for text in self._cells.of_others() if self._cells is not None else ():
            try:
                key, sender = _decode_cell(text)
            except msgspec.DecodeError:  # it was being written
                continue
            if key[0] == project:
                found[key] = sender if key not in found else _together(found[key], sender)
        newest = sorted(found.values(), key=lambda sender: sender.last_us, reverse=True)[:MAX_SHOWN]
        rows = [asdict(sender) for sender in newest]
        return [
            {**row, "first_seen_at": iso(row.pop("first_us")), "last_seen_at": iso(row.pop("last_us"))} for row in rows
        ]


_decode_cell: Final = msgspec.json.Decoder(tuple[tuple[str, str, str], Sender]).decode


def _together(a: Sender, b: Sender) -> Sender:
    """One client, whom two processes heard."""
    return replace(
        a, first_us=min(a.first_us, b.first_us), last_us=max(a.last_us, b.last_us), requests=a.requests + b.requests,
        delivered=a.delivered + b.delivered, refused=a.refused + b.refused,
    )  # fmt: skip
