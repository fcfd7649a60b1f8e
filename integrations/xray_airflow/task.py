"""In the task's own process: the step of the task instance, the watched execute(), the flush at the end.

Called by listener.py's hooks, on the main thread, before execute() and after it. No database, Variables, XComs, network
or fork here: what is captured goes to the spool, a background thread takes it to the server, and `before_stopping` waits
for it a little, because the process ends by `os._exit`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

from xray_airflow import config, fields
from xray_core.capture import context
from xray_core.capture.step import Step
from xray_core.model import Origin
from xray_core.safety import guard
from xray_core.xray import XRay, default_client

_TASK_PROCESSES: Final = frozenset({"TaskRunnerMarker", "TaskCommandMarker"})
_METHODS: Final = ("execute", "resume_execution")
_MAX_SKIPPED: Final = 1_000
# A trigger may fire at once. The triggerer and the scheduler then need longer than this to queue the task again.
_SOON_S: Final = 0.2

Key = tuple[str, str, str, int, int]


@dataclass
class Watched:
    """The task instance that this process runs.

    Attributes:
        task: the operator that executes.
        raised: what execute() raised: how Airflow's operators defer, reschedule, skip, trigger and fail.
        word: Airflow's word for how it is now.
        environ: what the variables handed down to child processes were before.
    """

    key: Key
    step: Step
    origin: Origin
    task: Any
    word: str = "running"
    raised: BaseException | None = None
    tokens: Any = None
    environ: dict[str, str | None] = field(default_factory=dict)


_current: Watched | None = None
_last: Watched | None = None
# Where Airflow said that a task runner starts. In `dag.test()` the tasks run in the user's own process: it says nothing.
_task_process: int | None = None


@functools.lru_cache(maxsize=1)
def client() -> XRay:
    """The client of this process, configured by airflow.cfg too. Forked children go on with their parent's."""
    config.export_settings()
    context.add_step_finder(_find_step)
    return default_client()


def current() -> Watched | None:
    """The task instance that this process runs, if any."""
    return _current


def on_starting(component: Any) -> None:
    """A component starts: a task runner, or a job that does not yet know that it will be a scheduler's."""
    global _task_process
    if type(component).__name__ in _TASK_PROCESSES:
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
        _let_go(_current)
    _current = watched = _open(ti)
    watched.tokens = context.enter((watched.step.run, watched.step))
    for name, value in (
        ("XRAY_RUN_ID", watched.step.run_id),
        ("XRAY_STEP_ID", watched.step.step_id),
        ("XRAY_STEP_ATTEMPT", str(watched.step.attempt)),
    ):
        watched.environ[name] = os.environ.get(name)
        os.environ[name] = value
    with guard("airflow: watching execute"):
        _watch(ti.task, watched)


def on_ended(ti: Any, state: str, error: Any) -> None:
    """Airflow says that a task instance ended: ours, or one that somebody outside its process ended."""
    watched = _current
    if watched is None or watched.key != _key(ti):
        from xray_airflow import dagruns

        dagruns.on_task_ended_outside(ti, state, error)
        return
    said = fields.loaded(ti, "state")
    _end(watched, state, word=str(getattr(said, "value", said) or state), error=error)


def before_stopping(component: Any) -> None:
    """The process ends, or a task in it. What Airflow has no hook for (deferral, reschedule, 2.11's skip) ends here."""
    watched = _current
    if watched is not None:
        kind = watched.word = _kind(watched.raised)
        if kind == "skipped":
            _end(watched, "skipped", word="skipped", error=None)
        else:
            if watched.step.status is not None:  # not a poke that has nothing to say
                watched.step.set_origin_state(kind)
            _let_go(watched)
    if _task_process == os.getpid():
        client().close(_patience_s())  # given up at the first failure
    elif type(component).__name__ not in _TASK_PROCESSES and client.cache_info().currsize:
        from xray_airflow import sweep

        sweep.finish()
        client().flush(client().settings.shutdown_timeout_s)


def _open(ti: Any) -> Watched:
    task, map_index = ti.task, _map_index(ti)
    served = getattr(ti, "_ti_context_from_server", None)
    dag_run = getattr(served, "dag_run", None) or fields.loaded(ti, "dag_run")
    run_id = fields.run_id_of(ti.dag_id, ti.run_id)
    _tell_of_run(run_id, ti.dag_id, dag_run)
    ids = {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "dag_version_id": str(version) if (version := fields.loaded(ti, "dag_version_id")) else None,
    }
    origin = fields.task_origin(ids, state="running", map_index=map_index, try_number=ti.try_number)
    step = (
        client()
        .attach_run(run_id, ti.dag_id)
        .open_step_unwritten(
            ti.task_id,
            step_id=fields.step_id_of(ti.dag_id, ti.run_id, ti.task_id, map_index),
            step_type=fields.step_type_of(fields.class_names(task)),
            attempt=max(1, int(ti.try_number or 1)),
            index=fields.order_of(task),
            upstream=fields.upstream_of(task, ti.dag_id, ti.run_id, map_index),
            map_index=map_index if map_index >= 0 else None,
            code_version=fields.code_version_of_task(task),
            origin=origin,
        )
    )
    if getattr(served, "task_reschedule_count", 0):
        # One of many pokes of one sensor, each in a process of its own: it speaks up only if it has something to say,
        # or else a step would grow by a part a minute.
        step.attached().open()
        return Watched(_key(ti), step, origin, task)
    for name, value in fields.parameters_of(task).items():
        step.set_metadata(name, value)
    resumed = getattr(served, "next_method", None) or fields.loaded(ti, "next_method")
    if resumed:
        step.set_metadata("result.resumed_with", str(resumed))
    step.observe_inputs(fields.inputs_of(task))
    step.open()
    return Watched(_key(ti), step, origin, task)


def _tell_of_run(run_id: str, dag_id: str, dag_run: Any) -> None:
    """What the task knows of its run. The scheduler tells more; but its plugin, or its machine, may be missing."""
    if dag_run is None:
        return
    ids = {**fields.dag_run_ids(dag_run), "dag_id": dag_id}
    if ids.get("run_id") is None:
        return
    run = client().attach_run(
        run_id,
        dag_id,
        part="task",  # one part for all tasks of the run: they all say the same
        input=fields.loaded(dag_run, "conf") or None,
        started_at=fields.loaded(dag_run, "start_date"),
    )
    run.set_origin(fields.run_origin(ids))
    run.detach()


def _watch(task: Any, watched: Watched) -> None:
    """Have this task's `execute` and `resume_execution` (the instance's, not the class's) tell what they return or raise."""
    before = {name: vars(task)[name] for name in _METHODS if name in vars(task)}

    def watch(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def observed(*args: Any, **kwargs: Any) -> Any:
            # The instance is itself again before any of its code runs: it may be copied or pickled in there.
            for name in _METHODS:
                vars(task).pop(name, None)
            vars(task).update(before)
            try:
                result = original(*args, **kwargs)
            except BaseException as raised:
                watched.raised = raised
                raise
            if result is not None:
                watched.step.observe_output(result)
            return result

        return observed

    vars(task).update({name: watch(getattr(task, name)) for name in _METHODS if hasattr(task, name)})


def _end(watched: Watched, state: str, *, word: str, error: Any) -> None:
    step, raised = watched.step, watched.raised
    watched.word = word
    step.set_origin_state(word)
    with guard("airflow: telling of skipped tasks"):
        if raised is not None and type(raised).__name__ == "DownstreamTasksSkipped":
            _tell_of_skipped(watched, raised)
    if raised is not None and type(raised).__name__ == "DagRunTriggerException":
        with guard("airflow: telling of a triggered run"):
            _tell_of_triggered(watched, raised)
    if state == "success":
        step.close("completed")
    elif state == "skipped":
        step.close("skipped", error={"type": "Skipped", "message": str(raised) if raised is not None else "by itself"})
    else:
        cause = error if isinstance(error, BaseException) else raised
        said = {"type": "TaskFailed", "message": str(error) if error else "the task failed; Airflow does not say why"}
        step.close("failed", error=cause if cause is not None else said)
    _let_go(watched)


def _let_go(watched: Watched) -> None:
    """The process is no longer in this step; what is not closed, another process will continue."""
    global _current, _last
    watched.step.detach()
    if watched.tokens is not None:
        context.leave(watched.tokens)
    for name, value in watched.environ.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _current, _last = None, watched


def _patience_s() -> float:
    """How long the end of this process may wait for the server, in seconds.

    Airflow has been told how the task stands, but takes it for running until its process is gone. If it has queued the
    task again by then, it calls the task failed ("finished with state success, but the task instance's state attribute
    is queued"). So a task that goes on soon must not be waited for; what is left stays in the spool.
    """
    at_most_s = client().settings.shutdown_timeout_s
    if _last is None or _last.word in ("success", "failed", "skipped"):
        return at_most_s
    pause_s = 2 * _SOON_S
    if _last.word == "up_for_reschedule":
        pause_s = (_last.raised.reschedule_date - datetime.now(timezone.utc)).total_seconds()  # type: ignore[union-attr]
    elif _last.word == "up_for_retry":
        pause_s = _last.task.retry_delay.total_seconds()
    return max(0.0, min(at_most_s, pause_s / 2))


def _tell_of_skipped(watched: Watched, raised: BaseException) -> None:
    """The tasks that this branch or short-circuit skips will never have a process of their own."""
    dag_id, dag_run_id, task_id, _, _ = watched.key
    skipped = list(fields.skipped_tasks(raised))[:_MAX_SKIPPED]
    watched.step.set_metadata("result.skips", sorted({name for name, _ in skipped}))
    for name, map_index in skipped:
        origin_ids = {"dag_id": dag_id, "run_id": dag_run_id, "task_id": name}
        step = watched.step.run.open_step_unwritten(
            name,
            step_id=fields.step_id_of(dag_id, dag_run_id, name, map_index),
            part="skipped",
            map_index=map_index if map_index >= 0 else None,
            upstream=[watched.step.step_id],
            origin=fields.task_origin(origin_ids, state="skipped", map_index=map_index),
            metadata={"result.skipped_by": task_id},
        )
        step.close("skipped", error={"type": "Skipped", "message": f"{task_id} chose not to run it"})


def _tell_of_triggered(watched: Watched, raised: BaseException) -> None:
    """The dag run that this task triggers is a child of it."""
    dag_id, dag_run_id = str(raised.trigger_dag_id), str(raised.dag_run_id)  # type: ignore[attr-defined]  # by its name
    watched.step.set_metadata("result.triggered", f"{dag_id} {dag_run_id}")
    if not config.wants(dag_id):
        return
    parent = (watched.step.run_id, watched.step.step_id)
    run = client().attach_run(fields.run_id_of(dag_id, dag_run_id), dag_id, part="trigger", parent=parent)
    run.set_origin(fields.run_origin({"dag_id": dag_id, "run_id": dag_run_id}))
    run.detach()


def _kind(raised: BaseException | None) -> str:
    """What Airflow makes of an exception that ends no task, by its class's name."""
    names = {base.__name__ for base in type(raised).__mro__}
    for name, kind in (
        ("TaskDeferred", "deferred"),
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
