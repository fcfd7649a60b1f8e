"""A recorder whose spool is a list: what was captured, as the records that the server would get."""

from __future__ import annotations

import base64
from typing import Any

from xray_core import verdicts, wire
from xray_core.capture.recorder import Hooks, Recorder
from xray_core.capture.run import Run
from xray_core.merge import merge_step, newest
from xray_core.settings import load


class ListSink:
    """A real sink: takes payloads, and reads them back through the wire.

    Args:
        settles: whether steps that ended may wait for `Recorder.late.settle`, which is the test's to call.
    """

    def __init__(self, *, settles: bool = False) -> None:
        self.payloads: list[tuple[str, bytes]] = []
        self.settles = settles

    def put(self, stream: str, payload: bytes) -> None:
        self.payloads.append((stream, payload))

    def start(self) -> None:
        """Nothing runs in the background here."""

    @property
    def records(self) -> list[dict[str, Any]]:
        return [wire.from_line(wire.to_line(payload)) for _, payload in self.payloads]


class Captured:
    """One recorder and what came out of it."""

    def __init__(self, hooks: Hooks | None = None, *, settles: bool = False, **settings: Any) -> None:
        self.sink = ListSink(settles=settles)
        self.recorder = Recorder(load(settings, {}), self.sink, hooks=hooks)

    def run(self, pipeline: str = "p", **options: Any) -> Run:
        return Run(self.recorder, pipeline, **options)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.sink.records if record["kind"] == kind]

    def step(self, name: str) -> dict[str, Any]:
        """The state of a step as the server would see it."""
        parts: dict[tuple[Any, ...], Any] = {}
        for record in self.of_kind("step"):
            if record["name"] == name:
                key = (record["step_id"], record["attempt"], record["part"])
                parts[key] = newest(parts.get(key), record)
        assert parts, f"no step {name!r}"
        return merge_step(parts.values())

    def verdicts(self, outcome: str) -> tuple[list[str], list[int]]:
        """(named ids, fingerprints) of everything with this outcome."""
        ids: list[str] = []
        prints: list[int] = []
        for record in self.of_kind("verdicts"):
            for each in record["sets"]:
                if each["outcome"] == outcome:
                    ids += each.get("ids", [])
                    prints += verdicts.decode(base64.b64decode(each.get("fp40", ""))) if "fp40" in each else []
        return ids, prints

    def samples(self) -> list[dict[str, Any]]:
        """The samples that count: the newest live snapshot of each step, and every appended chunk."""
        newest_live: dict[Any, dict[str, Any]] = {}
        for record in self.of_kind("samples"):
            key = (record["step_id"], record["part"], record["chunk"])
            if key not in newest_live or record["rev"] >= newest_live[key]["rev"]:
                newest_live[key] = record
        return [sample for record in newest_live.values() for sample in record["samples"]]
