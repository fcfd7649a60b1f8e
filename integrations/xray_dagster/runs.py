"""A Dagster run as X-Ray's: observes the events of the whole run, in the process that drives it.

Writes how the run ended, which steps never ran and why, and closes those whose process died. In a process that only
executes steps it holds what they have in common. Every function is called from inside Dagster's own generators: none raises, none waits
for the network.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.item_keys import TAG
from xray_core.model import NOT_REACHED, RESULT_METADATA, Origin, Status
from xray_core.safety import guarded
from xray_dagster import elsewhere, fields, installed, links, results

_READ_AHEAD: Final = 32
_DIED: Final = "ChildProcessCrashException"
OBSERVED_KINDS: Final = frozenset(
    {
        "STEP_START", "STEP_RESTARTED", "STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY", "STEP_SKIPPED", "ENGINE_EVENT",
        "PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED", fields.UNKNOWN, *results.KINDS,
    }
)  # fmt: skip
_BEGINS: Final = frozenset({"STEP_START", "STEP_RESTARTED"})
_ENDS: Final = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY"})
# Where steps run in containers or on other machines: on a disk of their own, so that no sign of them is seen here.
_REMOTE_EXECUTORS: Final = frozenset(
    {"StepDelegatingExecutor", "CeleryExecutor", "CeleryDockerExecutor", "CeleryK8sJobExecutor", "DaskExecutor"}
)


class ExecutedOp(Protocol):
    """What a run knows of a step that is being executed here: how to tell it of events, and how to end it."""

    by_events: bool

    def observe(self, event: Any) -> None:
        """One of Dagster's events of this step."""

    def end(self, error: BaseException | None) -> None:
        """It has ended, as the last event said."""

    def close(self, status: Status, *, state: str, error: Any) -> None:
        """Write down the end, once."""


Op = TypeVar("Op", bound=ExecutedOp)


class RunCapture(Generic[Op]):
    """A run as this process sees it: driving it, or executing steps of a run that another process drives.

    Args:
        open_op: opens the capture of a step that only events report: called with this, the plan's step, the attempt and
            when it began.

    Attributes:
        drives: whether this process drives the run, and so writes how it ends.
        attaches_ledger: whether outputs get X-Ray's ledger into their metadata.
        executed: (step key, attempt) of what this process captured step by step.
        ops: the steps that are being executed here, by step key.
        unhooked: the keys of the steps that are known to have no hooks.
    """

    def __init__(
        self,
        run: Run,
        plan_context: Any,
        execution_plan: Any,
        *,
        drives: bool,
        open_op: Callable[[RunCapture[Op], Any, int, datetime | None], Op],
        spool_dir: Path,
    ) -> None:
        self.run = run
        self.executed: set[tuple[str, int]] = set()
        self.ops: dict[str, Op] = {}
        self.unhooked: set[str] = set()
        self._rejected: dict[str, int] = {}  # by step key, of the steps inside graphs that ended here
        self.drives = drives
        self._open_op = open_op
        self.attaches_ledger = installed.attaches_ledger()
        self.dagster_run = plan_context.dagster_run
        self._executor = type(getattr(plan_context, "executor", None)).__name__
        self._elsewhere = elsewhere.Elsewhere(spool_dir, self.dagster_run.run_id, self._replay)
        self._spool_dir = spool_dir
        self._mapping_keys: dict[str, list[str]] = {}  # of the dynamic outputs, by the step that yielded them
        self._linked = has_page(plan_context)
        self._plan = execution_plan
        steps = execution_plan.get_all_steps_in_topo_order()
        self._indexes = fields.indexes_of(steps)
        here = frozenset(execution_plan.step_keys_to_execute)
        self._to_make = (  # asked for some at a time: what ran meanwhile, out of this order, was made by itself
            step
            for step in steps
            if step.key in here and fields.is_resolved(step) and (step.key, 1) not in self.executed
        )
        self._made: dict[str, tuple[fields.StepFields, Step]] = {}
        self._step_ids: dict[str, str] = {}
        self._attempts: dict[str, int] = {}
        self._ends: dict[str, str] = {}  # step key -> how it ended, as Dagster's event says
        self._began: set[str] = set()
        self._died: dict[str, str] = {}
        self._first_error: dict[str, Any] | None = None
        self._cancelled = False
        self._end: tuple[Status, str, dict[str, Any] | None] | None = None

    def url_of(self, step_key: str) -> str | None:
        """The page of a step's log; None where Dagster's UI does not know the run."""
        return links.step_url(self.dagster_run.run_id, step_key) if self._linked else None

    def index_of(self, step_key: str) -> int | None:
        """Where the step stands in the plan; the steps of a mapping share an index. None for one that is not in the plan."""
        known = self._indexes.get(step_key)
        return known if known is not None else self._indexes.get(fields.unresolved(step_key))

    def step_id_of(self, step_key: str) -> str:
        """X-Ray's id of a step, from Dagster's step key."""
        known = self._step_ids.get(step_key)
        if known is None:
            known = self._step_ids[step_key] = fields.step_id_of(self.dagster_run.run_id, step_key)
        return known

    def made(
        self, step: Any, step_context: Any, *, attempt: int, started_at: datetime | None = None
    ) -> tuple[fields.StepFields, Step]:
        """X-Ray's step of one that is about to run here, not yet open, and what is known of it.

        Made for many steps at once: between two steps, Dagster has filled the processor's caches with its own, and what
        takes a microsecond in a row takes ten alone.

        Args:
            step_context: None where only Dagster's events are to be had; less is known then.
        """
        if attempt > 1 or step_context is None:
            return self._make(step, step_context, attempt, started_at)
        key = step.key
        if key not in self._made and len(self._made) < _READ_AHEAD:
            self._make_ahead(step_context)
        known = self._made.pop(key, None)
        return known if known is not None else self._make(step, step_context, attempt)  # such as one that was mapped

    @guarded("reading ahead in a Dagster plan")
    def _make_ahead(self, step_context: Any) -> None:
        for step in islice(self._to_make, _READ_AHEAD):
            self._made[step.key] = self._make(step, step_context, 1)

    def _make(
        self, step: Any, step_context: Any, attempt: int, started_at: datetime | None = None
    ) -> tuple[fields.StepFields, Step]:
        key = step.key
        known = fields.StepFields(step)
        op = fields.OpFields(step, step_context) if step_context is not None else None
        tags = op.tags if op is not None else {}
        if op is not None and not op.hooked:
            self.unhooked.add(key)
        made = self.run.open_step_unwritten(
            known.name,
            step_type=tags.get(fields.STEP_TYPE_TAG) or ("check" if known.kind == "asset_check" else None),
            step_id=self.step_id_of(key),
            attempt=attempt,
            index=self.index_of(key),
            upstream=[self.step_id_of(each) for each in known.upstream],
            map_index=self._map_index_of(step_context, key) if known.mapped else None,
            capture=tags.get(fields.CAPTURE_TAG),
            origin=self.origin_of(known, key, attempt),
            code_version=op.code_version if op is not None else None,
            metadata=op.parameters if op is not None else None,
            started_at=started_at,
        )
        if tags.get(TAG):
            made.set_item_key(tags[TAG])
        return known, made

    def note_rejected(self, key: str, attempt: int, n: int) -> None:
        """A step inside a graph has ended, and rejected so many items at this attempt: kept for the graph's last step."""
        if not n and attempt == 1:
            return
        self._rejected[key] = n
        if not self.drives:
            elsewhere.announce_rejected(self._spool_dir, self.dagster_run.run_id, key, n)

    def rejected_before(self, key: str) -> dict[str, int]:
        """What the steps of a graph asset that lead to its last one, `key`, rejected: by their names."""
        leading = self._leading_to(key)
        others = elsewhere.rejected_elsewhere(self._spool_dir, self.dagster_run.run_id) if not self.drives else {}
        found: Counter[str] = Counter()
        for each, n in {**others, **self._rejected}.items():
            if fields.unresolved(each) in leading:
                found[each.partition("[")[0]] += n  # of a mapped step all instances together
        return {name: n for name, n in found.items() if n}

    def _leading_to(self, key: str) -> set[str]:
        """The keys of the steps of the same outermost graph that a step depends on, however far; unresolved."""
        graph = f"{key.partition('.')[0]}."
        found: set[str] = set()
        waiting = [key]
        while waiting:
            for each in map(fields.unresolved, self._upstream(waiting.pop())):
                if each not in found and each.startswith(graph):
                    found.add(each)
                    waiting.append(each)
        return found

    def _map_index_of(self, step_context: Any, key: str) -> int | None:
        if step_context is not None:
            return fields.map_index_of(step_context, key)
        mapping_key = fields.mapping_key_of(key)
        found = (keys.index(mapping_key) for keys in self._mapping_keys.values() if mapping_key in keys)
        return next(found, None)

    def origin_of(self, known: fields.StepFields | None, key: str, attempt: int, *, state: str | None = None) -> Origin:
        """One attempt of a step in Dagster; `known` is None for a step that the plan does not name."""
        ids = {**(known.ids if known is not None else {}), "step_key": key, "attempt": attempt}
        return Origin(fields.FRAMEWORK, known.kind if known is not None else "op", ids, self.url_of(key), state)

    @guarded("observing a Dagster run")
    def observe(self, event: Any) -> None:
        """One event of the run, of a kind in OBSERVED_KINDS and of whatever process."""
        kind, key = event.event_type_value, event.step_key
        if key is not None:
            self._observe_step(kind, key, event)
        elif kind == "PIPELINE_SUCCESS":
            self._end = "completed", "SUCCESS", None
        elif kind == "PIPELINE_FAILURE":
            data = event.event_specific_data
            error = fields.error_of(getattr(data, "error", None))
            run_error = self._first_error or error or {"type": "DagsterRunFailure", "message": str(event.message)}
            self._end = "failed", "FAILURE", run_error
        elif kind == "PIPELINE_CANCELED":
            self._cancelled = True
            self._end = "failed", "CANCELED", {"type": "Canceled", "message": "the run was cancelled in Dagster"}

    def _observe_step(self, kind: str, key: str, event: Any) -> None:
        attempt = self._attempts.get(key, 1)
        self._note_progress(kind, key, event)
        capture = self.ops.get(key)
        here = event.pid is None or event.pid == os.getpid()
        if here and capture is None and kind in _BEGINS:
            self._begin_from_event(key, attempt)
        elif capture is not None and capture.by_events:
            capture.observe(event)
            if kind in _ENDS:
                capture.end(None)
        elif not here:
            self._elsewhere.observe(kind, key, attempt, event)
        elif kind in ("STEP_FAILURE", "STEP_UP_FOR_RETRY") and (key, attempt) not in self.executed:
            # An event made here about a step that did not run here: its process died, and writes nothing more itself.
            self._close_lost(key, attempt, kind, fields.error_of(event.event_specific_data.error))

    def _note_progress(self, kind: str, key: str, event: Any) -> None:
        """What the end of the run will have to know of this step."""
        if kind in _BEGINS:
            self._began.add(key)
        elif kind == "STEP_OUTPUT":
            mapping_key = event.event_specific_data.step_output_handle.mapping_key
            if mapping_key is not None:
                self._mapping_keys.setdefault(key, []).append(mapping_key)
        elif kind == "STEP_SUCCESS":
            self._ends[key] = "succeeded"
        elif kind == "STEP_FAILURE":
            self._began.add(key)
            self._ends[key] = "failed"
            error = fields.error_of(event.event_specific_data.error)
            self._first_error = self._first_error or self._explained(key, error)
        elif kind == "STEP_UP_FOR_RETRY":
            self._began.add(key)
            self._attempts[key] = self._attempts.get(key, 1) + 1
        elif kind == "STEP_SKIPPED":
            self._ends[key] = "skipped"
            self._made.pop(key, None)
            self._add_unstarted(key, "STEP_SKIPPED", "no output to work on came from " + self._upstream_text(key))
        elif kind == "ENGINE_EVENT" and getattr(event.event_specific_data, "error", None) is not None:
            self._died[key] = str(event.message).strip()

    def _explained(self, key: str, error: dict[str, Any] | None) -> dict[str, Any] | None:
        """The error with Dagster's message on the death of a process, which the exception itself does not carry."""
        if error is not None and error["type"] == _DIED:
            return {**error, "message": self._died.get(key) or error["message"] or "its process died"}
        return error

    def _close_lost(self, key: str, attempt: int, kind: str, error: dict[str, Any] | None) -> None:
        step = self.run.attach_step(self.step_id_of(key), name=self._name_of(key), attempt=attempt)
        if key in self._began and not self._elsewhere.is_captured(key, attempt):
            step.set_metadata(NOT_REACHED, self.not_reached(key))
        step.set_origin(self._origin_of(key, attempt, state=kind))
        step.close("failed", error=self._explained(key, error))

    def _begin_from_event(self, key: str, attempt: int, started_at: datetime | None = None) -> Op | None:
        """A step that did not pass through us when it began: Dagster's events say when it begins and ends."""
        step = fields.step_of_plan(self._plan, key)
        return self._open_op(self, step, attempt, started_at) if step is not None else None

    def _replay(self, key: str, attempt: int, events: list[Any]) -> None:
        """A step that ended in a process that captured nothing of it."""
        began_at = getattr(events[0], "timestamp", None)
        started_at = datetime.fromtimestamp(began_at, timezone.utc) if isinstance(began_at, float) else None
        capture = self._begin_from_event(key, attempt, started_at)
        if capture is not None:
            for event in events[1:]:
                capture.observe(event)
            capture.end(None)

    def announce(self, key: str, attempt: int) -> None:
        """Let the process that drives the run know that this attempt is captured here."""
        if not self.drives:
            elsewhere.announce(self._spool_dir, self.dagster_run.run_id, key, attempt)

    def not_reached(self, key: str) -> str:
        """What is to be said of a step that no process captured; warns the first time."""
        if self._executor not in _REMOTE_EXECUTORS:
            elsewhere.warn_not_reached(key, here=not self._elsewhere.any)
        return "it was not captured in its process: X-Ray was not enabled there"

    def _add_unstarted(self, key: str, state: str, why: str) -> None:
        """A step that never ran is part of the picture too, with why."""
        step = self.run.open_step_unwritten(
            self._name_of(key),
            step_id=self.step_id_of(key),
            index=self.index_of(key),
            upstream=[self.step_id_of(each) for each in self._upstream(key)],
            origin=self._origin_of(key, 1, state=state),
            metadata={f"{RESULT_METADATA}not_run": why},
        )
        step.close("skipped")

    def _upstream(self, key: str) -> list[str]:
        step = fields.step_of_plan(self._plan, key)
        return fields.upstream_of(step) if step is not None else []

    def _upstream_text(self, key: str) -> str:
        return ", ".join(self._upstream(key)) or "upstream"

    def _name_of(self, key: str) -> str:
        step = self._plan.step_dict_by_key.get(key) or self._plan.step_dict_by_key.get(fields.unresolved(key))
        return str(step.node_handle) if step is not None else key

    def _origin_of(self, key: str, attempt: int, *, state: str) -> Origin:
        step = self._plan.step_dict_by_key.get(key) or self._plan.step_dict_by_key.get(fields.unresolved(key))
        known = fields.StepFields(step) if step is not None else None
        return self.origin_of(known, key, attempt, state=state)

    @guarded("closing a Dagster run")
    def end(self, error: BaseException | None) -> None:
        """The run's generator has ended: add the steps that never ran, and write how the run ended."""
        for capture in list(self.ops.values()):
            capture.close("failed", state="", error={"type": "Abandoned", "message": "the run ended under it"})
        if self._end is None and error is None:
            self.run.detach()  # Dagster will resume it in another process
            return
        self._add_steps_that_never_ran()
        self._elsewhere.end()
        is_known = self._executor not in _REMOTE_EXECUTORS
        if is_known and self._began and not self.executed and not self._elsewhere.captured_any:
            self.run.set_metadata(NOT_REACHED, "none of its steps was captured: X-Ray was not enabled where they ran")
        status, state, end_error = self._end if self._end is not None else ("failed", "", None)
        self.run.set_origin(run_origin(self.dagster_run, linked=self._linked, state=state))
        self.run.close(status, error=end_error if end_error is not None or status == "completed" else error)

    def _add_steps_that_never_ran(self) -> None:
        keys = list(self._plan.step_keys_to_execute)
        began = {fields.unresolved(key) for key in self._began} | {fields.unresolved(key) for key in self._ends}
        for key in keys:
            if key in self._began or key in self._ends or fields.unresolved(key) in began:
                continue
            upstream = self._upstream(key)
            failed = [each for each in upstream if self._ends.get(each) in ("failed", "upstream failed")]
            if failed:
                self._ends[key] = "upstream failed"
                self._add_unstarted(key, "UPSTREAM_FAILED", "upstream failed: " + ", ".join(failed))
            elif key.endswith("[?]") and self._is_unmapped(upstream):
                self._ends[key] = "skipped"
                self._add_unstarted(key, "NOT_MAPPED", f"{self._upstream_text(key)} yielded no dynamic output")
            else:
                self._add_unstarted(
                    key, "NOT_STARTED", "the run was cancelled" if self._cancelled else "the run ended first"
                )

    def _is_unmapped(self, upstream: list[str]) -> bool:
        """Whether a step waits for dynamic outputs of which there was none: of a step that succeeded, or is unmapped too."""
        for key in upstream:
            step = fields.step_of_plan(self._plan, key)
            maps = key.endswith("[?]") or (step is not None and fields.is_dynamic(step))
            if maps and self._ends.get(key) in ("succeeded", "skipped") and not self._mapping_keys.get(key):
                return True
        return False

    def after_step(self, status: Status, error: dict[str, Any] | None) -> None:
        """Without the run seam, no event says how the run ended: its end is the end of its last step so far."""
        if self.drives or installed.is_installed("run"):
            return
        if status == "failed":
            self._first_error = self._first_error or error or {"type": "Error", "message": ""}
        self.run.close("failed" if self._first_error else "completed", error=self._first_error)


def run_origin(dagster_run: Any, *, linked: bool, state: str = "") -> Origin:
    """The run in Dagster; `linked` says whether its page exists."""
    url = links.run_url(dagster_run.run_id) if linked else None
    return Origin(fields.FRAMEWORK, "run", fields.run_ids(dagster_run), url, state or None)


def has_page(plan_context: Any) -> bool:
    """Whether Dagster's UI will know the run: one on an ephemeral instance is gone with its process."""
    return not getattr(plan_context.instance, "is_ephemeral", False)
