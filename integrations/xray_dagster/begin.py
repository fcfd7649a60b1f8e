"""Where each capture begins: which run a step belongs to, which steps are open, and what observes which generator.

Called by seams.py at the start of each of Dagster's generators. Owns the runs that this process knows; none of its
functions raises or waits for the network.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from xray_core.capture import context
from xray_core.capture.run import Run
from xray_core.safety import guarded
from xray_core.xray import default_client
from xray_dagster import fields, installed, ops, runs
from xray_dagster.event_observer import EventObserver, argument

_MAX_OPEN_RUNS: Final = 64
_NO_KINDS: Final[frozenset[str]] = frozenset()

_lock = threading.Lock()
_runs: OrderedDict[str, runs.RunCapture[ops.OpCapture]] = OrderedDict()  # by Dagster's run id


@guarded("opening a Dagster run")
def begin_run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> EventObserver:
    """A run that this process drives."""
    job_context = argument(args, kwargs, 0, "job_context")
    execution_plan = argument(args, kwargs, 1, "execution_plan")
    capture = _remember(
        runs.RunCapture(
            _open_run(job_context), job_context, execution_plan, drives=True, open_op=_open_op, spool_dir=_spool_dir()
        )
    )
    return EventObserver(capture.observe, partial(_end_run, capture), runs.OBSERVED_KINDS)


def run_of(plan_context: Any) -> runs.RunCapture[ops.OpCapture]:
    """The run that a step belongs to: driven by this process, or by another process, which writes how it ends."""
    known = _runs.get(plan_context.dagster_run.run_id)
    if known is not None:
        return known
    if installed.is_installed("run"):
        dagster_run = plan_context.dagster_run
        run = default_client().attach_run(fields.run_id_of(dagster_run.run_id), fields.pipeline_of(dagster_run))
    else:
        run = _open_run(plan_context)
    return _remember(
        runs.RunCapture(
            run,
            plan_context,
            plan_context.plan_data.execution_plan,
            drives=False,
            open_op=_open_op,
            spool_dir=_spool_dir(),
        )
    )


def open_ops() -> list[ops.OpCapture]:
    """The steps that this process is executing, of whatever run."""
    return [capture for run in list(_runs.values()) for capture in list(run.ops.values())]


def _open_run(plan_context: Any) -> Run:
    dagster_run = plan_context.dagster_run
    around = context.current_step_or_none()  # a job that is executed inside another step
    return default_client().open_run(
        fields.pipeline_of(dagster_run),
        run_id=fields.run_id_of(dagster_run.run_id),
        input=fields.run_input(dagster_run, plan_context.job),
        tags=fields.run_tags(dagster_run.tags),
        origin=runs.run_origin(dagster_run, linked=runs.has_page(plan_context)),
        parent=(around.run_id, around.step_id) if around is not None else None,
    )


def _spool_dir() -> Path:
    return default_client().settings.spool_dir


def _open_op(
    run: runs.RunCapture[ops.OpCapture], step: Any, attempt: int, started_at: datetime | None
) -> ops.OpCapture:
    return ops.OpCapture(run, step, None, attempt=attempt, by_events=True, started_at=started_at)


def _end_run(capture: runs.RunCapture[ops.OpCapture], error: BaseException | None) -> None:
    with _lock:
        if _runs.get(capture.dagster_run.run_id) is capture:
            del _runs[capture.dagster_run.run_id]
    capture.end(error)


def _remember(capture: runs.RunCapture[ops.OpCapture]) -> runs.RunCapture[ops.OpCapture]:
    with _lock:
        _runs[capture.dagster_run.run_id] = capture
        while len(_runs) > _MAX_OPEN_RUNS:
            _runs.popitem(last=False)  # a run whose generator was never closed
    return capture


@guarded("opening a Dagster step")
def begin_step(args: tuple[Any, ...], kwargs: dict[str, Any]) -> EventObserver | None:
    """An attempt of a step that this process executes; None where a step launcher has it executed elsewhere."""
    step_context = argument(args, kwargs, 0, "step_context")
    forced = (len(args) > 1 and args[1]) or kwargs.get("force_local_execution")
    if not forced and getattr(step_context, "step_launcher", None) is not None:
        return None
    capture = _begin(step_context)
    return EventObserver(capture.observe, capture.end, ops.OBSERVED_KINDS, capture.step)


@guarded("entering the body of a Dagster step")
def begin_body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> EventObserver | None:
    """The body of a step: its inputs and outputs. Of a step that did not pass through us when it began (its executor has a
    loop of its own, or the step seam is missing), the body alone makes the step current.
    """
    step_context = argument(args, kwargs, 0, "step_context")
    inputs = argument(args, kwargs, 1, "inputs")
    capture = run_of(step_context).ops.get(step_context.step.key)
    if capture is None:
        capture = _begin(step_context, by_events=True)
    capture.enter_body(step_context)
    if inputs:
        capture.step.observe_inputs(inputs)
    if capture.by_events:
        return EventObserver(capture.observe_output, capture.end_body, step=capture.step)
    return EventObserver(capture.observe_output, _end_with_step)


def _end_with_step(error: BaseException | None) -> None:
    """The step's own generator says how it ended."""


@guarded("entering the hooks of a Dagster step")
def begin_hooks(args: tuple[Any, ...], kwargs: dict[str, Any]) -> EventObserver | None:
    """The hooks of a step that has ended: what they decide is added to it. None for a step without hooks."""
    step_context = argument(args, kwargs, 0, "step_context")
    of, key = run_of(step_context), step_context.step.key
    if key in of.unhooked or not step_context.job_def.get_all_hooks_for_handle(step_context.node_handle):
        return None
    step = of.run.attach_step(of.step_id_of(key), attempt=step_context.previous_attempt_count + 1)

    def end(error: BaseException | None) -> None:
        step.detach()

    return EventObserver(_ignore, end, _NO_KINDS, step)


def _ignore(event: Any) -> None:
    """Hooks have events of their own, which say nothing of the step."""


def current_op() -> ops.OpCapture | None:
    """The op whose step, or a step inside it, is current."""
    step = context.current_step_or_none()
    if step is None:
        return None
    mine = [capture for capture in open_ops() if capture.step.run_id == step.run_id]
    exact = [capture for capture in mine if capture.step is step]
    return exact[0] if exact else mine[0] if len(mine) == 1 else None


def _begin(step_context: Any, *, by_events: bool = False) -> ops.OpCapture:
    attempt = step_context.previous_attempt_count + 1
    run = run_of(step_context)
    run.announce(step_context.step.key, attempt)
    return ops.OpCapture(run, step_context.step, step_context, attempt=attempt, by_events=by_events)
