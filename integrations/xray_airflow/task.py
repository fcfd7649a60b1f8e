"""In the task's own process: the step of the task instance, and execute() with its output observed.

Called by listener.py's hooks, on the main thread, before execute() and after it. No database, Variables, XComs, network
or fork here: what is captured goes to the spool, and a background thread takes it to the server. lifecycle.py waits for
it a little when the process stops, because that ends by `os._exit`.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

from xray_airflow import config, fields, pulled
from xray_airflow.client import client
from xray_core.capture import context
from xray_core.capture.collections import is_frame, is_record
from xray_core.capture.step import Step
from xray_core.model import SKIPS, Origin
from xray_core.safety import guard

_TASK_PROCESSES: Final = frozenset({"TaskRunnerMarker", "TaskCommandMarker"})
_METHODS: Final = ("execute", "resume_execution")
_MAX_SKIPPED: Final = 1_000
_NAMES_ITEM: Final = re.compile(r"(^|_)(id|uuid|guid|sku)$", re.IGNORECASE)
# A trigger may fire at once. The triggerer and the scheduler then need longer than this to queue the task again.
_REQUEUED_AFTER_S: Final = 0.2

Key = tuple[str, str, str, int, int]


@dataclass
class RunningTask:
    """The task instance that this process runs.

    Attributes:
        task: the operator that executes.
        raised: what execute() raised: how Airflow's operators defer, reschedule, skip, trigger and fail.
        raised_at: when, on the monotonic clock, in seconds.
        airflow_state: Airflow's name of its state now.
        environ: what the variables handed down to child processes were before.
        pulled: what it pulls out of lazy arguments, by their names.
    """

    key: Key
    step: Step
    origin: Origin
    task: Any
    airflow_state: str = "running"
    raised: BaseException | None = None
    raised_at: float = 0.0
    tokens: Any = None
    environ: dict[str, str | None] = field(default_factory=dict)
    pulled: dict[str, pulled.Pulled] = field(default_factory=dict)

    @property
    def waited(self) -> bool:
        """Whether Airflow waited for the run that this task triggered: so that there is one, though the task failed."""
        poke_s = getattr(self.raised, "poke_interval", None)
        waits = bool(getattr(self.raised, "wait_for_completion", False)) and isinstance(poke_s, (int, float))
        return waits and time.monotonic() - self.raised_at >= float(poke_s or 0)


_current: RunningTask | None = None
_last: RunningTask | None = None
# Where Airflow said that a task runner starts. In `dag.test()` the tasks run in the user's own process: it says nothing.
_task_process: int | None = None


def current() -> RunningTask | None:
    """The task instance that this process runs, if any."""
    return _current


def on_starting(component: Any) -> None:
    """A component starts: a task runner, or a job that does not yet know that it will be a scheduler's."""
    global _task_process
    if runs_tasks(component):
        _task_process = os.getpid()
    elif "airflow.jobs.scheduler_job_runner" in sys.modules:
        client()  # made before the executor forks, so that task processes find everything imported
        import requests  # noqa: F401  # the sender's, too: no fork of the executor's has to wait for that import


def on_running(ti: Any) -> None:
    """The task is about to execute: open its step and make it current."""
    global _current
    if not config.wants(ti.dag_id):
        return
    if _current is not None:
        _leave(_current)
    _current = running_task = _open(ti)
    running_task.tokens = context.enter((running_task.step.run, running_task.step))
    for name, value in (
        ("XRAY_RUN_ID", running_task.step.run_id),
        ("XRAY_STEP_ID", running_task.step.step_id),
        ("XRAY_STEP_ATTEMPT", str(running_task.step.attempt)),
    ):
        running_task.environ[name] = os.environ.get(name)
        os.environ[name] = value
    with guard("airflow: observing execute"):
        _watch(ti, ti.task, running_task)


def is_ours(ti: Any) -> bool:
    """Whether this is the task instance that this process runs."""
    return _current is not None and _current.key == _key(ti)


def is_task_process() -> bool:
    """Whether Airflow started this process to run a task; not so in `dag.test()`."""
    return _task_process == os.getpid()


def runs_tasks(component: Any) -> bool:
    """Whether Airflow means a task's process by this component."""
    return type(component).__name__ in _TASK_PROCESSES


def on_ended(ti: Any, state: str, error: Any) -> None:
    """The task that this process runs ended; see `is_ours`."""
    if _current is not None:
        reported = fields.loaded(ti, "state")
        _end(_current, state, airflow_state=str(getattr(reported, "value", reported) or state), error=error)


def before_stopping() -> None:
    """The process ends, or a task in it. What Airflow has no hook for (deferral, reschedule, 2.11's skip) ends here."""
    running_task = _current
    if running_task is None:
        return
    kind = running_task.airflow_state = _state_after(running_task.raised)
    with guard("airflow: writing a triggered run"):
        _write_triggered_run(running_task, running_task.raised)  # waited for in the triggerer
    if kind == "skipped":
        _end(running_task, "skipped", airflow_state="skipped", error=None)
        return
    if running_task.step.status is not None:  # not a poke without anything to write
        running_task.step.set_origin_state(kind)
    _leave(running_task)


def _open(ti: Any) -> RunningTask:
    task, map_index = ti.task, _map_index(ti)
    served = getattr(ti, "_ti_context_from_server", None)
    dag_run = getattr(served, "dag_run", None) or fields.loaded(ti, "dag_run")
    run_id = fields.run_id_of(ti.dag_id, ti.run_id)
    with guard("airflow: writing the run of a task"):
        _write_run(run_id, ti.dag_id, dag_run)
    ids = {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "dag_version_id": str(version) if (version := fields.loaded(ti, "dag_version_id")) else None,
        "logical_date": fields.date_of(dag_run),
    }
    origin = fields.task_origin(ids, state="running", map_index=map_index, try_number=ti.try_number)
    step = (
        client()
        .attach_run(run_id, ti.dag_id)
        .open_step_unwritten(
            ti.task_id,
            step_id=fields.step_id_of(ti.dag_id, ti.run_id, ti.task_id, map_index),
            step_type=fields.type_of(task),
            attempt=max(1, int(ti.try_number or 1)),
            index=fields.order_of(task),
            upstream=fields.upstream_of(task, ti.dag_id, ti.run_id, map_index),
            map_index=map_index if map_index >= 0 else None,
            code_version=fields.code_version_of_task(task),
            origin=origin,
        )
    )
    if getattr(served, "task_reschedule_count", 0):
        # One of many pokes of one sensor, each in a process of its own: it writes only if it has an item or a value, or
        # else a step would grow by a part a minute.
        step.attached().open()
        return RunningTask(_key(ti), step, origin, task)
    for name, value in fields.parameters_of(task).items():
        step.set_metadata(name, value)
    resumed = getattr(served, "next_method", None) or fields.loaded(ti, "next_method")
    if resumed:
        step.set_metadata("result.resumed_with", str(resumed))
    running_task = RunningTask(_key(ti), step, origin, task)
    with guard("airflow: reading the inputs"):
        key = fields.item_key_of(task)
        if key is not None:
            step.set_item_key(key)
        inputs = fields.inputs_of(task)
        step.observe_inputs(inputs)
        running_task.pulled = pulled.watch(inputs)
    step.open()
    return running_task


def _write_run(run_id: str, dag_id: str, dag_run: Any) -> None:
    """Write what the task knows of its run. The scheduler writes more, but it may have no plugin, or no way to the server."""
    if dag_run is None:
        return
    ids = {**fields.dag_run_ids(dag_run), "dag_id": dag_id}
    if ids.get("run_id") is None:
        return
    run = client().attach_run(
        run_id,
        dag_id,
        part="task",  # one part for all tasks of the run: they all write the same
        input=fields.loaded(dag_run, "conf") or None,
        started_at=fields.started_at_of(dag_run),
    )
    run.set_origin(fields.run_origin(ids))
    run.detach()


def _fetched(running_task: RunningTask, name: str, value: Any) -> None:
    """The task's own code pulled a result of another one: noted as it stands, or, where it is lazy, as it is read."""
    lazy = pulled.watch({name: value})
    running_task.pulled.update(lazy)
    if not lazy:
        running_task.step.observe_further(name, value)


def _watch(ti: Any, task: Any, running_task: RunningTask) -> None:
    """Observe what this task's `execute` and `resume_execution` (the instance's, not the class's) return or raise."""
    before = {name: vars(task)[name] for name in _METHODS if name in vars(task)}

    def watch(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def observed(*args: Any, **kwargs: Any) -> Any:
            # The instance is as it was before any of its code runs: that may copy or pickle it.
            for name in _METHODS:
                vars(task).pop(name, None)
            vars(task).update(before)
            with guard("airflow: watching what is pulled"):
                pulled.watch_xcoms(ti, functools.partial(_fetched, running_task))
            try:
                result = original(*args, **kwargs)
            except BaseException as raised:
                running_task.raised, running_task.raised_at = raised, time.monotonic()
                with guard("airflow: closing the step of a dying process"):
                    _close_if_unprintable(running_task.step, raised)
                raise
            for name, each in running_task.pulled.items():
                running_task.step.observe_pulled(name, each.values)
            with guard("airflow: observing the output"):
                _observe_output(running_task.step, task, result)
            return result

        return observed

    vars(task).update({name: watch(getattr(task, name)) for name in _METHODS if hasattr(task, name)})


def _observe_output(step: Step, task: Any, result: Any) -> None:
    """What a task returned; several outputs, which it pushes one by one, each under its name."""
    if result is None:
        return
    if type(result) is dict and getattr(task, "multiple_outputs", False) is True and _holds_collections(result):
        for name, value in result.items():
            step.observe_output(value, name=str(name))
    else:
        step.observe_output(result)


def _holds_collections(result: dict[Any, Any]) -> bool:
    """Not so a record: of a task annotated `-> dict` Airflow pushes the fields of one as several outputs too."""
    if any(_NAMES_ITEM.search(name) for name in result if type(name) is str):
        return False
    return any(
        is_frame(type(value)) or (type(value) in (list, tuple) and value and is_record(type(value[0])))
        for value in result.values()
    )


def _close_if_unprintable(step: Step, raised: BaseException) -> None:
    """Airflow cannot log an error with half a character (a surrogate), and its process dies of that before any hook."""
    try:
        "".join(traceback.format_exception(raised)).encode()
    except UnicodeEncodeError:
        step.set_origin_state("failed")
        step.close("failed", error=raised)


def _end(running_task: RunningTask, state: str, *, airflow_state: str, error: Any) -> None:
    step, raised = running_task.step, running_task.raised
    running_task.airflow_state = airflow_state
    step.set_origin_state(airflow_state)
    with guard("airflow: writing skipped tasks"):
        if raised is not None and type(raised).__name__ == "DownstreamTasksSkipped":
            _write_skipped(running_task, raised)
    with guard("airflow: writing a triggered run"):
        if state == "success" or (state == "failed" and running_task.waited):
            _write_triggered_run(running_task, raised)
    if state == "success":
        step.close("completed")
    elif state == "skipped":
        step.close("skipped", error={"type": "Skipped", "message": _why_skipped(raised)})
    else:
        cause = error if isinstance(error, BaseException) else raised
        unknown = {
            "type": "TaskFailed",
            "message": str(error) if error else "the task failed; Airflow does not say why",
        }
        step.close("failed", error=cause if cause is not None else unknown)
    _leave(running_task)


def _why_skipped(raised: BaseException | None) -> str:
    try:
        said = str(raised).strip() if raised is not None else ""
    except Exception:  # noqa: BLE001  # an exception of the user's that cannot be printed
        said = ""
    if said or raised is None:
        return said or "skipped itself"
    return f"skipped itself: {type(raised).__name__} without a text"


def _leave(running_task: RunningTask) -> None:
    """Leave the step: it is no longer current here, and what is not closed, another process will continue."""
    global _current, _last
    pulled.unwatch()
    running_task.step.detach()
    if running_task.tokens is not None:
        context.leave(running_task.tokens)
    for name, value in running_task.environ.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _current, _last = None, running_task


def patience_s() -> float:
    """How long the end of this process may wait for the server, in seconds.

    Airflow knows the state of the task by now, but takes it for running until its process is gone. If it has queued the
    task again by then, it calls the task failed ("finished with state success, but the task instance's state attribute
    is queued"). So a task that goes on soon must not be waited for; what is left stays in the spool.
    """
    at_most_s = client().settings.shutdown_timeout_s
    if _last is None or _last.airflow_state in ("success", "failed", "skipped"):
        return at_most_s
    pause_s = 2 * _REQUEUED_AFTER_S
    if _last.airflow_state == "up_for_reschedule":
        pause_s = (_last.raised.reschedule_date - datetime.now(timezone.utc)).total_seconds()  # type: ignore[union-attr]
    elif _last.airflow_state == "up_for_retry":
        pause_s = _last.task.retry_delay.total_seconds()
    return max(0.0, min(at_most_s, pause_s / 2))


def _write_skipped(running_task: RunningTask, raised: BaseException) -> None:
    """The tasks that this branch or short-circuit skips will never have a process of their own."""
    dag_id, dag_run_id, task_id, _, _ = running_task.key
    tasks = getattr(getattr(running_task.task, "dag", None), "task_dict", None) or {}
    skipped = list(fields.skipped_tasks(raised))[:_MAX_SKIPPED]
    running_task.step.set_metadata(SKIPS, sorted({name for name, _ in skipped}))
    for name, map_index in skipped:
        origin_ids = {"dag_id": dag_id, "run_id": dag_run_id, "task_id": name}
        step = running_task.step.run.open_step_unwritten(
            fields.text(name),
            step_id=fields.step_id_of(dag_id, dag_run_id, name, map_index),
            step_type=fields.type_of(tasks[name]) if name in tasks else None,
            part="skipped",
            index=fields.order_of(tasks[name]) if name in tasks else None,
            map_index=map_index if map_index >= 0 else None,
            upstream=[running_task.step.step_id],
            origin=fields.task_origin(origin_ids, state="skipped", map_index=map_index),
            metadata={"result.skipped_by": task_id},
        )
        step.close("skipped", error={"type": "Skipped", "message": f"{task_id} chose not to run it"})


def _write_triggered_run(running_task: RunningTask, raised: BaseException | None) -> None:
    """The dag run that this task triggered is a child of it: queued, until its own scheduler says more."""
    if type(raised).__name__ != "DagRunTriggerException":
        return
    dag_id, dag_run_id = fields.text(raised.trigger_dag_id), fields.text(raised.dag_run_id)  # type: ignore[union-attr]  # by its name
    running_task.step.set_metadata("result.triggered", f"{dag_id} {dag_run_id}")
    if not config.wants(dag_id):
        return
    parent = (running_task.step.run_id, running_task.step.step_id)
    run = client().attach_run(fields.run_id_of(dag_id, dag_run_id), dag_id, part="trigger", parent=parent)
    run.set_origin(fields.run_origin({"dag_id": dag_id, "run_id": dag_run_id}, state="queued"))
    run.detach()


def _state_after(raised: BaseException | None) -> str:
    """Airflow's state after an exception that ends no task, by the name of its class."""
    names = {base.__name__ for base in type(raised).__mro__}
    for name, kind in (
        ("TaskDeferred", "deferred"),
        ("DagRunTriggerException", "deferred"),  # it waits for that run in the triggerer
        ("TaskAwaitingInput", "awaiting_input"),
        ("AirflowRescheduleException", "up_for_reschedule"),
        ("AirflowSkipException", "skipped"),
    ):
        if name in names:
            return kind
    return "running"


def _find_step() -> Step | None:
    """For threads that carry no context: a task process runs one task."""
    return _current.step if _current is not None else None


def _key(ti: Any) -> Key:
    return (ti.dag_id, ti.run_id, ti.task_id, _map_index(ti), int(ti.try_number or 1))


def _map_index(ti: Any) -> int:
    found = fields.loaded(ti, "map_index")
    return -1 if found is None else int(found)


context.add_step_finder(_find_step)
