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
from xray_prefect.wrapping import MARK, find_class, replace, safely


class Submitted:
    """Futures of this process that may never start, by flow run. Holds no future that is done, and so no result."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, tuple[Any, str]]] = {}
        self._elsewhere: dict[str, int] = {}

    def add(self, task: Any, future: Any) -> None:
        """Remember a future that was just submitted in a flow of this process."""
        from prefect.context import FlowRunContext

        flow = FlowRunContext.get()
        inner = _executed_future(getattr(future, "wrapped_future", None))
        if flow is None or flow.flow_run is None or flow.detached:
            return
        run_id = fields.xray_id(flow.flow_run.id)
        elsewhere = not isinstance(
            inner, Future
        )  # of a cluster, or of a task worker: nothing here tells whether it has begun
        self._elsewhere[run_id] = self._elsewhere.get(run_id, 0) + elsewhere
        if elsewhere:
            return
        waiting = self._waiting.setdefault(run_id, {})
        task_run_id = fields.xray_id(future.task_run_id)
        waiting[task_run_id] = inner, str(task.name)
        inner.add_done_callback(lambda done: None if _not_begun(done) else waiting.pop(task_run_id, None))

    def pop_elsewhere(self, run_id: str) -> int:
        """How many tasks of a flow run were handed to processes that Prefect does not start."""
        return self._elsewhere.pop(run_id, 0)

    def report_not_begun(self, run_id: str) -> None:
        """The flow's function is over: what has not begun by now will be cancelled."""
        for task_run_id, (inner, task_name) in list(self._waiting.pop(run_id, {}).items()):
            if _not_begun(inner):
                adapter.never_started(run_id, task_run_id, task_name, why=_not_handed_over(inner))


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
        token = _counter.set(count())
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
            task = safely(fields.numbered, task, next(counter)) or task
        parent = submitted_by.set(safely(adapter.running_task))
        try:
            future = original(self, task, *args, **kwargs)
        finally:
            _counter.reset(token)
            submitted_by.reset(parent)
        safely(submitted.add, task, future)
        return future

    return submit
