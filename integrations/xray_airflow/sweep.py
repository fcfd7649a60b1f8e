"""After a dag run: the tasks that never had a process, and those whose process died before it could write an end.

Skipped and upstream-failed tasks and EmptyOperators run in no process, so no process captures them; a killed one writes
no end. When a dag run has ended, a thread of the scheduler's process reads the final states with a session of its own and
writes how every task instance ended. It never runs in the scheduler's loop, and never in a task's process.
"""

from __future__ import annotations

import atexit
import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from xray_airflow import fields
from xray_airflow.client import client
from xray_core.capture.run import Run
from xray_core.model import NOT_REACHED, Status
from xray_core.safety import log, swallow

MAX_WAITING: Final = 1_000
MAX_TASKS: Final = 20_000
# Steps whose index is not known are listed after those with one.
NO_INDEX: Final = 1_000_000
# The hook is called before the scheduler commits: until then our session does not see how the last tasks ended.
_COMMITTED_AFTER_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_IDLE_S: Final = 30.0
# Holds until a record of the task's own process is there.
_NOT_CAPTURED: Final = (
    "nothing came from the task's own process: X-Ray is not enabled there, or what it captured still waits on that "
    "machine (`xray sync`), or it ended before it executed the task"
)

_STATUS: Final[Mapping[str, Status]] = {
    "success": "completed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "skipped",
    "removed": "skipped",
}
_RAN: Final = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class Finished:
    """A dag run that has ended. `dag` is its serialized DAG, where the scheduler had loaded it."""

    dag_id: str
    dag_run_id: str
    state: str
    dag: Any = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One try of one task, as the database has it when the run is over.

    Attributes:
        in_process: whether Airflow knows of a process that ran it: an EmptyOperator has none.
    """

    task_id: str
    map_index: int
    try_number: int
    state: str | None
    started_at: Any
    ended_at: Any
    operator: str | None = None
    last: bool = True
    in_process: bool = False


class _Sweeper:
    """The runs that wait, and the thread that takes them: started when there is one, gone after half a minute idle."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.waiting: deque[Finished] = deque()
        self.wake = threading.Event()
        self.lock = threading.Lock()
        self.busy = threading.Lock()  # held while the database is read: no fork happens meanwhile
        self.thread: threading.Thread | None = None
        self.dropped = 0
        self.held_for_fork = False

    def add(self, finished: Finished) -> None:
        with self.lock:
            if len(self.waiting) >= MAX_WAITING:
                self.dropped += 1
                if self.dropped == 1:
                    log.warning(
                        "X-Ray: %d dag runs wait to be swept; skipped tasks of others will be missing", MAX_WAITING
                    )
                return
            self.waiting.append(finished)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._work, name="xray-airflow-sweep", daemon=True)
                self.thread.start()
        self.wake.set()

    def _work(self) -> None:
        while True:
            with self.lock:
                finished = self.waiting[0] if self.waiting else None
            if finished is None:
                if not self.wake.wait(_IDLE_S):
                    with self.lock:
                        if not self.waiting:
                            self.thread = None
                            return
                self.wake.clear()
                continue
            try:
                self._sweep(finished)
            except Exception as error:  # noqa: BLE001
                swallow("airflow.sweep", error)
            with self.lock:
                self.waiting.popleft()

    def _sweep(self, finished: Finished) -> None:
        instances: list[Instance] = []
        for pause_s in _COMMITTED_AFTER_S:
            time.sleep(pause_s)  # on our own thread: until the scheduler has committed
            with self.busy:
                state, instances = _read(finished)
            if state == finished.state and all(each.state in _STATUS or not each.last for each in instances):
                break
        write_final_states(finished, instances)


_sweeper: _Sweeper | None = None


def schedule_sweep(finished: Finished) -> None:
    """Sweep this dag run soon, in the background. Never blocks."""
    global _sweeper
    if _sweeper is None or _sweeper.pid != os.getpid():
        _sweeper = _Sweeper()
        atexit.register(finish)
    _sweeper.add(finished)


def finish(timeout_s: float = 5.0) -> None:
    """Wait until every scheduled sweep is done, at most `timeout_s`: the process is about to end."""
    sweeper, deadline = _sweeper, time.monotonic() + timeout_s
    if sweeper is None or sweeper.pid != os.getpid():
        return
    while sweeper.waiting and time.monotonic() < deadline:
        time.sleep(0.05)  # the process is ending, and the sweep has its own thread


def write_final_states(finished: Finished, instances: Iterable[Instance]) -> None:
    """Write down how every task instance of a dag run ended, and why those that did not run did not."""
    instances = list(instances)
    run = client().attach_run(fields.run_id_of(finished.dag_id, finished.dag_run_id), finished.dag_id)
    tasks = getattr(finished.dag, "task_dict", None) or {}
    states: dict[str, list[Instance]] = {}
    for instance in instances:
        if instance.last:
            states.setdefault(instance.task_id, []).append(instance)
    order = {task_id: place for place, task_id in enumerate(tasks)}
    for instance in instances:
        _write_instance(run, finished, instance, tasks.get(instance.task_id), order, tasks, states)


def _write_instance(
    run: Run,
    finished: Finished,
    instance: Instance,
    task: Any,
    order: Mapping[str, int],
    tasks: Mapping[str, Any],
    states: Mapping[str, list[Instance]],
) -> None:
    if instance.state not in _STATUS and instance.started_at is not None:
        return  # still running, though its run is over: its own process will write the end
    ids = {"dag_id": finished.dag_id, "run_id": finished.dag_run_id, "task_id": instance.task_id}
    known = fields.step_type_of([instance.operator or ""]) if task is None else fields.type_of(task)
    step = run.open_step_unwritten(
        instance.task_id,
        step_id=fields.step_id_of(finished.dag_id, finished.dag_run_id, instance.task_id, instance.map_index),
        step_type=known,
        attempt=max(1, instance.try_number),
        part="sweep",
        index=order.get(instance.task_id, NO_INDEX),
        upstream=_upstream(ids, instance, task, tasks, states),
        map_index=instance.map_index if instance.map_index >= 0 else None,
        origin=fields.task_origin(
            ids, state=instance.state, map_index=instance.map_index, try_number=instance.try_number or None
        ),
        metadata=_metadata(instance, task),
        # Later than the task's own process, so that the error which that wrote counts.
        started_at=instance.ended_at or instance.started_at,
    )
    status: Status = _STATUS.get(instance.state or "", "skipped")
    step.close(status, error=_why(instance, status, task, tasks, states), ended_at=instance.ended_at)


def _metadata(instance: Instance, task: Any) -> dict[str, Any]:
    found = fields.parameters_of(task) if task is not None else {}
    return {**found, NOT_REACHED: _NOT_CAPTURED} if instance.in_process and instance.state in _RAN else found


def _upstream(
    ids: Mapping[str, str],
    instance: Instance,
    task: Any,
    tasks: Mapping[str, Any],
    states: Mapping[str, list[Instance]],
) -> list[str]:
    """The ids of the steps an instance depended on, mapped ones included: now it is known how many there were."""
    found: list[str] = []
    group = fields.mapped_group(task)
    for upstream_id in sorted(map(fields.text, getattr(task, "upstream_task_ids", None) or ())):
        together = group and group == fields.mapped_group(tasks.get(upstream_id))
        for each in states.get(upstream_id, ()):
            if not together or each.map_index == instance.map_index:
                found.append(fields.step_id_of(ids["dag_id"], ids["run_id"], upstream_id, each.map_index))
    return found[: fields.MAX_UPSTREAM]


def _why(
    instance: Instance, status: Status, task: Any, tasks: Mapping[str, Any], states: Mapping[str, list[Instance]]
) -> dict[str, str] | None:
    if status == "completed":
        return None
    upstream = {
        name: {each.state for each in states.get(name, ())}
        for name in sorted(map(fields.text, getattr(task, "upstream_task_ids", None) or ()))
    }
    if instance.state == "upstream_failed":
        culprits = [name for name, found in upstream.items() if found & {"failed", "upstream_failed"}]
        return {"type": "UpstreamFailed", "message": f"upstream failed: {', '.join(culprits) or 'unknown'}"}
    if status == "failed":
        message = "Airflow says failed; the task's process wrote no end (it was killed, or could not write)"
        return {"type": "Lost", "message": message}
    if instance.state == "skipped":
        for name, found in upstream.items():
            kind = fields.type_of(tasks[name]) if name in tasks else None
            if kind in ("branch", "filter") and "success" in found:
                return {"type": "Skipped", "message": f"{name} chose not to run it"}
        culprits = [name for name, found in upstream.items() if "skipped" in found]
        if culprits:
            return {"type": "Skipped", "message": f"upstream was skipped: {', '.join(culprits)}"}
        return {"type": "Skipped", "message": "skipped itself, or by hand"}
    return {"type": "NotRun", "message": f"never ran; Airflow's state is {instance.state or 'none'}"}


def _read(finished: Finished) -> tuple[str | None, list[Instance]]:
    """The dag run's state and every try of its tasks, with a session of our own."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # the scoped session of a thread is the scheduler's own in some versions
    unscoped = {"scoped": False} if "scoped" in inspect.signature(create_session).parameters else {}
    with create_session(**unscoped) as session:
        state = session.execute(
            select(DagRun.state).where(DagRun.dag_id == finished.dag_id, DagRun.run_id == finished.dag_run_id)
        ).scalar()
        found: list[Instance] = []
        for model, last in ((TaskInstance, True), (TaskInstanceHistory, False)):
            rows = session.execute(
                select(
                    model.task_id, model.map_index, model.try_number, model.state, model.start_date, model.end_date,
                    model.operator, model.pid,
                )
                .where(model.dag_id == finished.dag_id, model.run_id == finished.dag_run_id)
                .limit(MAX_TASKS)
            ).all()  # fmt: skip
            for task_id, map_index, try_number, task_state, started_at, ended_at, operator, pid in rows:
                task_state = str(getattr(task_state, "value", task_state)) if task_state is not None else None
                found.append(
                    Instance(
                        task_id,
                        map_index,
                        try_number or 0,
                        task_state,
                        started_at,
                        ended_at,
                        operator,
                        last,
                        pid is not None,
                    )
                )
        if len(found) >= MAX_TASKS:
            log.warning("X-Ray: dag run %s has more than %d task instances; the rest is not swept", finished, MAX_TASKS)
    return str(getattr(state, "value", state)), found


def _hold_fork() -> None:
    """A pool's lock, held by our thread at the moment of a fork, would stay locked in the child. Waits 0.2 s at most."""
    if _sweeper is not None and _sweeper.pid == os.getpid():
        _sweeper.held_for_fork = _sweeper.busy.acquire(timeout=0.2)


def _release_fork() -> None:
    if _sweeper is not None and _sweeper.held_for_fork:
        _sweeper.held_for_fork = False
        _sweeper.busy.release()


os.register_at_fork(before=_hold_fork, after_in_parent=_release_fork)
