"""For your tests: capture what a pipeline sends to X-Ray in memory, and ask why, without a server.

    from xray_core.testing import capture

    def test_the_filter_looks_at_the_price():
        with capture() as result:
            my_pipeline(products)               # uses its own XRay client, or `result.xray`
        assert result.why("p7").reason == "price_too_high"
        assert result.ledger("filter").rejected == 3

The answers are worked out by the same code as on the server (`xray_core.journey`, `xray_core.compare`). Under pytest the
fixture `xray_result` does the same around a whole test. Nothing is written to disk and nothing is sent.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from xray_core import tasks, verdicts, wire
from xray_core.capture import recorder
from xray_core.compare import Diff, Side, compare, options
from xray_core.compare import StepKey as _StepKey
from xray_core.errors import NotFoundError
from xray_core.journey import Gap, LookedUp, Why, child_runs, explain, gaps, is_settled, with_child_runs
from xray_core.merge import merge_run, merge_step, newest
from xray_core.model import Ledger, added, item_id_text, ledger_of
from xray_core.xray import XRay, settle_all

__all__ = ["Captured", "capture"]

Record = dict[str, Any]


@contextmanager
def capture() -> Iterator[Captured]:
    """Divert what every client of this process captures into memory, for the length of the block.

    Not for two threads at once: the diversion is the process's.
    """
    captured = Captured()
    settle_all()  # of steps that ended before
    before = recorder.divert(captured)
    try:
        yield captured
    finally:
        recorder.divert(before)
        captured.close()


@dataclass(frozen=True, slots=True)
class _Set:
    outcome: str
    reason: str | None
    n: int
    ids: Sequence[str] | None
    fp40: bytes | None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Sets of one outcome and reason at one step attempt; `positions`: where each id stands first."""

    at: _StepKey
    outcome: str
    reason: str | None
    n: int
    n_fingerprints: int
    positions: Mapping[str, int]
    blobs: Sequence[bytes]


class Captured:
    """What was captured, and answers about it. Ask after the runs have ended: what is still open is not written yet.

    Where several runs were captured, `run` says which is meant: a run id, or None for the last one that began here.
    """

    def __init__(self) -> None:
        self._payloads: list[bytes] = []
        self._read = 0  # how many of them are among the records of each run
        self._of_run: dict[str, list[Record]] = {}
        self._merged: dict[str, tuple[int, _Run]] = {}  # with the number of records that it was made of
        self._xray: XRay | None = None

    # ------------------------------------------------------------------ a sink, for the recorder

    def put(self, stream: str, payload: bytes) -> None:
        """Keep one payload in memory."""
        self._payloads.append(payload)

    settles = False

    def start(self) -> None:
        """Nothing runs in the background."""

    def close(self) -> None:
        """Close the client that `xray` made, if it was asked for."""
        if self._xray is not None:
            self._xray.close(0)

    @property
    def xray(self) -> XRay:
        """A client, for pipelines that are handed one."""
        if self._xray is None:
            self._xray = XRay("test", disable_plugins=("*",))
        return self._xray

    # ------------------------------------------------------------------ answers

    @property
    def records(self) -> list[Record]:
        """Everything captured so far, as the server would get it."""
        return [_as_received(payload) for payload in list(self._payloads)]

    @property
    def run_ids(self) -> list[str]:
        """The runs captured, in the order in which they began."""
        return list(self._records_of_runs())

    def why(self, item_id: str | int, run: str | None = None) -> Why:
        """What became of an item: `.outcome`, `.reason`, `.details`, `.sentence`, `.journey`."""
        text = item_id_text(item_id)
        held = self._run(run)
        answer = self._explained(text, held)
        if is_settled(answer):
            return answer
        others = ((each, self._run(each).state) for each in self.run_ids)
        inner = [(each, self._explained(text, self._run(each.run_id))) for each in child_runs(held.run_id, others)]
        return with_child_runs(answer, inner, held.steps)

    def _explained(self, text: str, held: _Run) -> Why:
        """The answer of one run alone."""
        return explain(
            text,
            run_id=held.run_id,
            run=held.state,
            steps=held.steps,
            looked_up=held.look_up(text),
            samples={key: [s for s in samples if s["item_id"] == text] for key, samples in held.samples.items()},
        )

    def outcome(self, item_id: str | int, run: str | None = None) -> str:
        """The outcome of the run for an item, as in "rejected"."""
        return self.why(item_id, run).outcome

    def ledger(self, step: str, run: str | None = None) -> Ledger:
        """Where the items of a step went; several steps of one name are added up.

        Raises:
            NotFoundError: no such step.
        """
        found = self._steps(step, run)
        ledgers = [ledger_of(state) for state in found]
        return ledgers[0] if len(ledgers) == 1 else added(ledgers)

    def reasons(self, step: str, run: str | None = None) -> dict[str, int]:
        """Reason -> number of rejected items of a step.

        Raises:
            NotFoundError: no such step.
        """
        total: dict[str, int] = {}
        for state in self._steps(step, run):
            for reason, n in state["reasons"].get("rejected", {}).items():
                total[reason] = total.get(reason, 0) + n
        return total

    def diff(self, a: str, b: str, *, tolerance: float | None = None, ignore: Iterable[str] = ()) -> Diff:
        """Where run b first differs from run a.

        Args:
            tolerance: relative difference up to which numbers are equal (default 1e-9).
            ignore: paths to leave out, as in "input.request_id".
        """
        sides = [self._run(each) for each in (a, b)]
        return compare(sides[0].side, sides[1].side, _Source(sides), options(tolerance, ignore))

    def gaps(self, run: str | None = None) -> list[Gap]:
        """What was lost between steps, and what went into a step twice."""
        held = self._run(run)
        return gaps(held.steps, lambda key: held.sets.get(key, []))

    def _steps(self, name: str, run: str | None) -> list[Record]:
        steps = self._run(run).steps
        last = {step["step_id"]: step for step in sorted(steps, key=lambda s: s["attempt"])}
        found = [step for step in last.values() if step["name"] == name]
        if not found:
            names = ", ".join(sorted({str(step["name"]) for step in steps})) or "none"
            raise NotFoundError(f"no step {name!r} was captured; there are: {names}")
        return found

    def _run(self, run: str | None) -> _Run:
        """A run as it is known by now: merged once, and again when more of it was captured."""
        known = self._records_of_runs()
        if not known:
            raise NotFoundError("nothing was captured: was the pipeline run inside `with capture()`?")
        run_id = _last_begun(known) if run is None else run
        if run_id not in known:
            raise NotFoundError(f"no run {run!r} was captured")
        records = known[run_id]
        made = self._merged.get(run_id)
        if made is None or made[0] != len(records):
            made = self._merged[run_id] = (len(records), _Run(records, run_id))
        return made[1]

    def _records_of_runs(self) -> dict[str, list[Record]]:
        """The records of each run, in the order in which the runs began; each is read once, however much is asked."""
        new = self._payloads[self._read :]
        self._read += len(new)
        for record in map(_as_received, new):
            if "run_id" in record:
                self._of_run.setdefault(record["run_id"], []).append(record)
        return self._of_run


def _last_begun(known: Mapping[str, list[Record]]) -> str:
    """The last run that has a record of its own; of one from before there may be late records of its steps alone."""
    begun = [run_id for run_id, records in known.items() if any(record["kind"] == "run" for record in records)]
    return (begun or list(known))[-1]


def _as_received(payload: bytes) -> Record:
    """A record as the server would get it."""
    return wire.from_line(wire.to_line(payload))


class _Run:
    """One run out of the records."""

    def __init__(self, records: Iterable[Record], run_id: str) -> None:
        self.run_id = run_id
        runs: dict[str, Mapping[str, Any]] = {}
        steps: dict[_StepKey, dict[str, Mapping[str, Any]]] = {}
        sets: list[tuple[_StepKey, str, Iterable[_Set]]] = []
        chunks: dict[tuple[Any, ...], Record] = {}
        for record in records:
            kind, part = record["kind"], record["part"]
            key = (record.get("step_id", ""), record.get("attempt", 1))
            if kind == "run":
                runs[part] = newest(runs.get(part), record)
            elif kind == "step":
                parts = steps.setdefault(key, {})
                parts[part] = newest(parts.get(part), record)
            elif kind == "verdicts":
                sets.append((key, part, map(_set, record["sets"])))
            elif kind == "samples":
                chunk_key = (key, part, record["chunk"])
                if chunk_key not in chunks or record["rev"] >= chunks[chunk_key]["rev"]:
                    chunks[chunk_key] = record
        self._groups: list[_Group] | None = None
        self.state = merge_run(runs.values() or [{}])
        self.steps = [
            {**merge_step(parts.values()), "step_id": key[0], "attempt": key[1]} for key, parts in steps.items()
        ]
        counted = {key: {part["part"] for part in tasks.counting(parts.values())} for key, parts in steps.items()}
        self.sets: dict[_StepKey, list[_Set]] = {}
        for key, part, given in sets:
            if tasks.may_count(part, counted.get(key, ())):
                self.sets.setdefault(key, []).extend(given)
        self.samples: dict[_StepKey, list[Mapping[str, Any]]] = {}
        for (key, part, _), record in chunks.items():
            if tasks.may_count(part, counted.get(key, ())):
                self.samples.setdefault(key, []).extend(record["samples"])

    @property
    def side(self) -> Side:
        return Side(self.run_id, self.state, self.steps)

    def look_up(self, item_id: str) -> list[LookedUp]:
        wanted = verdicts.fingerprint(item_id)
        if self._groups is None:
            self._groups = list(self._grouped())
        return [
            LookedUp(
                *each.at, each.outcome, each.reason,
                n=each.n,
                n_fingerprints=each.n_fingerprints,
                distinct_ids=len(each.positions),
                found="exact" if item_id in each.positions
                else "fingerprint" if any(verdicts.contains(blob, wanted) for blob in each.blobs) else None,
                position=each.positions.get(item_id),
            )
            for each in self._groups
        ]  # fmt: skip

    def _grouped(self) -> Iterator[_Group]:
        """The sets of one outcome and reason of each step attempt as one."""
        for at, sets in self.sets.items():
            groups: dict[tuple[str, str | None], list[_Set]] = {}
            for each in sets:
                groups.setdefault((each.outcome, each.reason), []).append(each)
            for (outcome, reason), group in groups.items():
                ids = [item for each in group for item in each.ids or ()]
                printed = [each for each in group if each.fp40 is not None]
                yield _Group(
                    at, outcome, reason,
                    n=sum(each.n for each in group),
                    n_fingerprints=sum(each.n for each in printed),
                    positions={item: place for place, item in reversed([*enumerate(ids)])},
                    blobs=[each.fp40 or b"" for each in printed],
                )  # fmt: skip


class _Source:
    def __init__(self, sides: Sequence[_Run]) -> None:
        self._sides = sides

    def sets(self, side: int, step: _StepKey) -> Sequence[_Set]:
        return self._sides[side].sets.get(step, [])

    def samples(self, side: int, step: _StepKey) -> Sequence[Mapping[str, Any]]:
        return self._sides[side].samples.get(step, [])


def _set(raw: Mapping[str, Any]) -> _Set:
    packed = raw.get("fp40")
    return _Set(
        raw["outcome"],
        raw.get("reason"),
        raw["n"],
        raw.get("ids"),
        None if packed is None else base64.b64decode(packed),
        raw.get("limit"),
    )
