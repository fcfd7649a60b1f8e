"""What was captured, as the server would see it: runs, the tries of steps, their items."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xray_core.merge import merge_run, merge_step, newest
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay

Record = dict[str, Any]


class Captured:
    """Records, merged by the server's own rules."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)

    def runs(self, pipeline: str | None = None) -> list[Record]:
        found = [{**merge_run(parts), "run_id": run_id} for (run_id,), parts in self._parts("run", ("run_id",)).items()]
        return [run for run in found if pipeline is None or run["pipeline"] == pipeline]

    def run(self, pipeline: str) -> Record:
        found = self.runs(pipeline)
        assert len(found) == 1, f"{len(found)} runs of {pipeline!r} among {[run['pipeline'] for run in self.runs()]}"
        return found[0]

    def steps(self, name: str | None = None) -> list[Record]:
        """Every try, in the order they began."""
        key = ("run_id", "step_id", "attempt")
        found = [
            {**merge_step(parts), **dict(zip(key, identity))} for identity, parts in self._parts("step", key).items()
        ]
        return sorted(
            (step for step in found if name is None or step["name"] == name),
            key=lambda step: (step["started_us"], step["attempt"]),
        )

    def step(self, name: str) -> Record:
        found = self.steps(name)
        assert len(found) == 1, f"{len(found)} steps {name!r} among {[step['name'] for step in self.steps()]}"
        return found[0]

    def rejected(self, step: Record) -> list[str]:
        """The ids of the items rejected in this try, sorted."""
        ids: list[str] = []
        for record in self.records:
            if record["kind"] == "verdicts" and (record["step_id"], record["attempt"]) == (
                step["step_id"],
                step["attempt"],
            ):
                for each in record["sets"]:
                    ids += each.get("ids", []) if each["outcome"] == "rejected" else []
        return sorted(ids)

    def _parts(self, kind: str, key: tuple[str, ...]) -> dict[Any, list[Record]]:
        latest: dict[Any, Record] = {}
        for record in self.records:
            if record["kind"] == kind:
                at = (tuple(record[name] for name in key), record["part"])
                latest[at] = newest(latest.get(at), record)
        grouped: dict[Any, list[Record]] = {}
        for (identity, _), record in latest.items():
            grouped.setdefault(identity, []).append(record)
        return grouped


class Seen:
    """Asks the client for everything captured up to now."""

    def __init__(self, xray: XRay, transport: MemoryTransport) -> None:
        self._xray = xray
        self._transport = transport

    def now(self) -> Captured:
        assert self._xray.flush(20)
        return Captured(self._transport.records)


def read_spool(tmp_path: Path) -> Captured:
    """What processes left behind in `spool`, delivered by this one."""
    transport = MemoryTransport()
    with XRay("reader", transport=transport, spool_dir=tmp_path / "spool", api_url="http://127.0.0.1:9") as xray:
        xray.sync_offline()
    return Captured(transport.records)
