"""The durable buffer between capture and the server: segment files that outlive the process that wrote them.

`Spool` is one process's hold on one server's records: what it wrote itself, and what it adopted from dead processes.
Knows nothing of HTTP, nor of what a record means beyond its stream.
"""

from __future__ import annotations

from xray_core.spool.destination import directory_for
from xray_core.spool.quarantine import Quarantine
from xray_core.spool.report import SpoolReport, Waiting, left_behind, spool_report
from xray_core.spool.segment import Disk, Item, Segment
from xray_core.spool.spool import Spool
from xray_core.spool.taking import Taken
from xray_core.spool.waiting_runs import WaitingRun, waiting_runs

__all__ = [
    "Disk", "Item", "Quarantine", "Segment", "Spool", "SpoolReport", "Taken", "Waiting", "WaitingRun", "directory_for",
    "left_behind", "spool_report", "waiting_runs",
]  # fmt: skip
