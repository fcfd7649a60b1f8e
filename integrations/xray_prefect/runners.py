"""Prefect's task runners, wrapped: places of mapped tasks, futures that may never start, the workers of process pools."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import wraps
from itertools import count
from types import ModuleType
from typing import Any, Final

from xray_core.plugins.instrument import Instrument
from xray_prefect import fields
from xray_prefect.adapter import adapter, submitted_by
from xray_prefect.elsewhere import HandedOver
from xray_prefect.wrapping import MARK, find_class, replace, safely


class Submitted:
    """Futures of this process that may never start, by flow run. Holds no future that is done, and so no result."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, tuple[Any, str]]] = {}
        self._handed_over: dict[str, HandedOver] = {}

    def add(self, task: Any, future: Any) -> None:
        """Remember a future that was just submitted in a flow of this process."""
        flow = _flow_of_this_process()
        if flow is None:
            return
        inner = _executed_future(getattr(future, "wrapped_future", None))
        if not isinstance(inner, Future):  # of a cluster: nothing here tells whether it has begun
            self.hand_over(flow, future, type(flow.task_runner).__name__)
            return
        run_id = fields.xray_id(flow.flow_run.id)
        waiting = self._waiting.setdefault(run_id, {})
        task_run_id = fields.xray_id(future.task_run_id)
        waiting[task_run_id] = inner, str(task.name)
        inner.add_done_callback(lambda done: None if _not_begun(done) else waiting.pop(task_run_id, None))

    def hand_over(self, flow: Any, future: Any, to: str) -> None:
        """A task of this flow was given to processes that Prefect does not start."""
        handed_over = self._handed_over.setdefault(fields.xray_id(flow.flow_run.id), HandedOver())
        handed_over.add(fields.xray_id(future.task_run_id), to)

    def pop_handed_over(self, run_id: str) -> HandedOver | None:
        """The tasks of a flow run that were given to processes that Prefect does not start, if any."""
        return self._handed_over.pop(run_id, None)

    def report_not_begun(self, run_id: str) -> None:
        """The flow's function is over: what has not begun by now will be cancelled."""
        for task_run_id, (inner, task_name) in list(self._waiting.pop(run_id, {}).items()):
            if _not_begun(inner):
                adapter.never_started(run_id, task_run_id, task_name, why=_not_handed_over(inner))


def _flow_of_this_process() -> Any:
    """The flow context that the calling code is in, where its flow runs in this process."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    return flow if flow is not None and flow.flow_run is not None and not flow.detached else None


def _executed_future(future: Any) -> Any:
    """What the pool executes: a process pool's futures are wrapped in some that unpickle their results."""
    for _ in range(4):
        inner = getattr(future, "wrapped_future", None)
        if inner is None:
            break
        future = inner
    return future


def _not_begun(future: Any) -> bool:
    executed = getattr(future, "_process_future", future)  # a process pool's: None before its arguments are known
    if executed is None:
        return not future.done() or future.cancelled() or future.exception() is not None
    return bool(executed.cancelled() or not (executed.running() or executed.done()))


def _not_handed_over(future: Any) -> BaseException | None:
    """Why a process pool could not be given a task: it waited for one that failed, or its arguments cannot be pickled."""
    if getattr(future, "_process_future", future) is None and future.done() and not future.cancelled():
        error: BaseException | None = future.exception()
        return error
    return None


submitted: Final = Submitted()
_counter: ContextVar[Any] = ContextVar("xray_prefect_map_counter", default=None)


def wrap_task_runners(module: ModuleType, instrument: Instrument, start_worker: Callable[..., None]) -> None:
    """`map` hands out the places of mapped tasks; `submit` remembers futures that may never start.

    Args:
        start_worker: what a process pool's worker begins with, given the pool's own initializer and its arguments.
    """
    base = find_class(module, "TaskRunner", instrument)
    if base is not None:
        replace(base, "map", _mapping, instrument)
    for name in ("ThreadPoolTaskRunner", "ProcessPoolTaskRunner"):
        runner = getattr(module, name, None)  # the process pool came with Prefect 3.4.7
        if runner is not None:
            replace(runner, "submit", _submitting, instrument)
            if name == "ProcessPoolTaskRunner":
                replace(runner, "__enter__", lambda original: _opening_pool(original, start_worker), instrument)


def wrap_delayed_tasks(module: ModuleType, instrument: Instrument) -> None:
    """`delay` and `apply_async` leave a task to whatever task worker serves it."""
    task = find_class(module, "Task", instrument)
    if task is not None:
        replace(task, "apply_async", _delaying, instrument)


def _delaying(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        future = original(self, *args, **kwargs)
        safely(_delayed, future)
        return future

    return apply_async


def _delayed(future: Any) -> None:
    flow = _flow_of_this_process()
    if flow is not None:
        submitted.hand_over(flow, future, "task workers")


def wrap_submit(runner: type) -> None:
    """A task runner of another package, or of the user's, hands tasks over as Prefect's own do."""
    original = runner.__dict__.get("submit")
    if original is not None and not hasattr(original, MARK):
        replacement = wraps(original)(_submitting(original))
        setattr(replacement, MARK, True)
        runner.submit = replacement  # type: ignore[attr-defined]


def _opening_pool(original: Callable[..., Any], start_worker: Callable[..., None]) -> Callable[..., Any]:
    def reach_workers(runner: Any) -> None:
        # a worker imports what it is sent, and not all that has enabled X-Ray here
        executor = runner._executor
        executor._initargs = executor._initializer, executor._initargs
        executor._initializer = start_worker

    def __enter__(self: Any) -> Any:
        entered = original(self)
        safely(reach_workers, self)
        return entered

    return __enter__


def _mapping(original: Callable[..., Any]) -> Callable[..., Any]:
    def map(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _counter.set((count(), set()))
        try:
            return original(self, *args, **kwargs)
        finally:
            _counter.reset(token)

    return map


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, task: Any, *args: Any, **kwargs: Any) -> Any:
        counter = _counter.get()
        token = _counter.set(None)  # Prefect copies the context for the task, in which nothing is mapped by this `map`
        if counter is not None:
            task = safely(fields.numbered, task, next(counter[0]), counter[1]) or task
        left_behind = safely(adapter.left_behind)  # it may run again, or be over, by the time this task starts
        if left_behind is not None:
            task = safely(fields.outside, task, left_behind) or task
        parent = submitted_by.set(safely(adapter.running_task))
        try:
            future = original(self, task, *args, **kwargs)
        finally:
            _counter.reset(token)
            submitted_by.reset(parent)
        safely(submitted.add, task, future)
        return future

    return submit
