"""Where Prefect is hooked: its task engines, the context of a flow, its task runners. Wraps, guards, and reports.

Prefect's own exceptions, results and order of events pass through untouched, BaseException ones included. Every call into
the adapter is guarded, each at a site of its own: a broken one is one warning and not one per task, and hides no other. What is captured is
in adapter.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from functools import wraps
from itertools import count
from types import ModuleType, TracebackType
from typing import Any, Final

from xray_core.capture import context
from xray_core.capture.step import Step
from xray_core.objects.redaction import learn
from xray_core.plugins.instrument import Instrument
from xray_core.safety import swallow
from xray_prefect import fields
from xray_prefect.adapter import Attempt, adapter, submitted_by

SITE: Final = "the Prefect adapter"
_MARK: Final = "__xray_wrapped__"


def _safely(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception as error:  # noqa: BLE001
        swallow(f"{SITE}, {getattr(call, '__qualname__', 'a call')}", error)
        return None


def find_step() -> Step | None:
    """What `current_step()` asks where our own context variable did not reach."""
    found: Step | None = _safely(adapter.current)
    return found


def _replace(owner: Any, name: str, make: Callable[[Any], Any], instrument: Instrument) -> None:
    """Put `make(original)` in the place of `owner.name`; once, and only if it is there."""
    seam = f"{owner.__name__}.{name}"
    original = owner.__dict__.get(name)
    if original is None or not callable(original):
        instrument.missing(seam)
        return
    if not hasattr(original, _MARK):
        replacement = wraps(original)(make(original))
        setattr(replacement, _MARK, True)
        setattr(owner, name, replacement)
    instrument.found(seam)


def _class(module: ModuleType, name: str, instrument: Instrument) -> Any:
    found = getattr(module, name, None)
    if found is None:
        instrument.missing(f"{module.__name__}.{name}")
    return found


# ---------------------------------------------------------------------- tasks


def wrap_task_engine(module: ModuleType, instrument: Instrument) -> None:
    """`start` is a task run with all its tries, `run_context` one of them; generator tasks are entered piecewise."""
    context.add_step_finder(find_step)
    for name in ("SyncTaskRunEngine", "AsyncTaskRunEngine"):
        engine = _class(module, name, instrument)
        if engine is None:
            adapter.unseen = f"Prefect {instrument.version()} has no {module.__name__}.{name}"
        else:
            _replace(engine, "start", lambda original: _around(original, _TaskRun), instrument)
            _replace(engine, "run_context", lambda original: _around(original, _Try), instrument)
    base = getattr(module, "BaseTaskRunEngine", None)
    if base is not None and "handle_rollback" in base.__dict__:
        _replace(base, "handle_rollback", _rolling_back, instrument)
    _replace(module, "run_generator_task_sync", _generator, instrument)
    _replace(module, "run_generator_task_async", _async_generator, instrument)


def _rolling_back(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle_rollback(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            _safely(adapter.rolled_back, self)

    return handle_rollback


def _around(original: Callable[..., Any], wrapper: type[_TaskRun]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(self, original(self, *args, **kwargs))

    return method


class _TaskRun:
    """Prefect's context manager around a task run, with us inside. No generators, so tracebacks stay the user's."""

    __slots__ = ("engine", "inner", "token")

    def __init__(self, engine: Any, inner: Any) -> None:
        self.engine = engine
        self.inner = inner
        self.token: Any = None

    def begins(self) -> Any:
        return adapter.task_begins(self.engine)

    def ends(self, error: BaseException | None) -> None:
        adapter.task_ends(self.engine, error)

    def refused(self, error: BaseException) -> None:
        """Prefect raised before the first try."""
        adapter.task_begins(self.engine)
        adapter.task_ends(self.engine, error)

    def __enter__(self) -> Any:
        try:
            value = self.inner.__enter__()
        except BaseException as error:  # Prefect aborts tasks by BaseExceptions: reported, and raised on
            _safely(self.refused, error)
            raise
        self.token = _safely(self.begins)
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            return self.inner.__exit__(kind, error, trace)
        finally:
            _safely(self.ends, error)

    async def __aenter__(self) -> Any:
        try:
            value = await self.inner.__aenter__()
        except BaseException as error:  # Prefect aborts tasks by BaseExceptions: reported, and raised on
            _safely(self.refused, error)
            raise
        self.token = _safely(self.begins)
        return value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            return await self.inner.__aexit__(kind, error, trace)
        finally:
            _safely(self.ends, error)


class _Try(_TaskRun):
    """The same around one try."""

    __slots__ = ()

    def begins(self) -> Any:
        attempt = adapter.attempt_begins(self.engine)
        driver = _driver.get()
        if driver is not None and driver.attempt is None:
            driver.attempt, attempt.yields = attempt, 0
        return attempt

    def ends(self, error: BaseException | None) -> None:
        if self.token is not None:
            adapter.attempt_ends(self.engine, self.token, error)

    def refused(self, error: BaseException) -> None:
        """Inside the task run, which reports it."""


# ---------------------------------------------------------------------- generator tasks


class _Driver:
    """A generator task between its yields. Its context is its own only while it runs: Prefect sets it in the consumer's."""

    __slots__ = ("attempt", "current")

    def __init__(self) -> None:
        self.attempt: Attempt | None = None
        self.current: Any = None

    def resume(self) -> Any:
        """Before the generator runs on."""
        attempt = self.attempt
        if attempt is not None:
            if attempt.tokens is None:
                attempt.tokens = context.enter(self.current)
            adapter.suspended.discard(attempt.step.step_id)
        return _driver.set(self if attempt is None else None)

    def suspend(self) -> None:
        """After it has yielded."""
        attempt = self.attempt
        if attempt is not None:
            attempt.yields = (attempt.yields or 0) + 1
            if attempt.tokens is not None:
                self.current, attempt.tokens = context.leave(attempt.tokens), None
            adapter.suspended.add(attempt.step.step_id)


# Set while a generator task starts, for its try to be found; a task called inside it must not take its place.
_driver: ContextVar[_Driver | None] = ContextVar("xray_prefect_generator", default=None)


def _forget_driver(token: Any) -> None:
    try:
        if token is not None:
            _driver.reset(token)
    except ValueError:  # the generator was collected in another context than the one it ran in, which is left alone
        pass


def _generator(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_generator_task(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        driver, inner = _Driver(), original(*args, **kwargs)
        step, argument = inner.send, None
        while True:
            token = _safely(driver.resume)
            try:
                value = step(argument)
            except StopIteration as stop:
                return stop.value
            finally:
                _forget_driver(token)
            _safely(driver.suspend)
            try:
                argument = yield value
                step = inner.send
            except BaseException as error:  # noqa: BLE001  # thrown in by the consumer: it is the generator's to handle
                step, argument = inner.throw, error

    return run_generator_task


def _async_generator(original: Callable[..., Any]) -> Callable[..., Any]:
    async def run_generator_task(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        driver, inner = _Driver(), original(*args, **kwargs)
        step, argument = inner.asend, None
        while True:
            token = _safely(driver.resume)
            try:
                value = await step(argument)
            except StopAsyncIteration:
                return
            finally:
                _forget_driver(token)
            _safely(driver.suspend)
            try:
                argument = yield value
                step = inner.asend
            except BaseException as error:  # noqa: BLE001  # as above
                step, argument = inner.athrow, error

    return run_generator_task


# ---------------------------------------------------------------------- flows


def wrap_flow_context(module: ModuleType, instrument: Instrument) -> None:
    """The context class and not the flow engine: `python -m prefect.flow_engine` runs a copy of that as `__main__`."""
    flow_context = _class(module, "FlowRunContext", instrument)
    task_context = _class(module, "TaskRunContext", instrument)
    if flow_context is None or task_context is None:
        return
    open_flows: dict[int, Any] = {}

    def entering(self: Any) -> None:
        _safely(_wrap_submit, type(self.task_runner))
        open_flows[id(self)] = _tokens_of(self, flow_context, task_context)

    def leaving(self: Any, error: BaseException | None) -> None:
        if id(self) in open_flows:
            tokens = open_flows.pop(id(self))
            run_id = fields.xray_id(self.flow_run.id)
            adapter.flow_ends(self, tokens, error, submitted.pop_elsewhere(run_id))
            submitted.report_not_begun(run_id)

    def make_enter(original: Callable[..., Any]) -> Callable[..., Any]:
        def __enter__(self: Any) -> Any:
            # detached: rebuilt in a task runner's worker, where the flow does not run
            if not self.detached and self.flow_run is not None:
                _safely(entering, self)
            return original(self)

        return __enter__

    def make_exit(original: Callable[..., Any]) -> Callable[..., Any]:
        def __exit__(self: Any, *exc_info: Any) -> Any:
            _safely(leaving, self, exc_info[1] if len(exc_info) > 1 else None)
            return original(self, *exc_info)

        return __exit__

    # FlowRunContext inherits both from its base, which other contexts share: they are defined on it alone
    for name, make in (("__enter__", make_enter), ("__exit__", make_exit)):
        if name not in flow_context.__dict__:
            inherited = getattr(flow_context, name, None)
            if inherited is not None:
                setattr(flow_context, name, inherited)
        _replace(flow_context, name, make, instrument)


def _tokens_of(flow_context: Any, flow_class: Any, task_class: Any) -> Any:
    return adapter.flow_begins(flow_context, flow_class.get(), task_class.get())


# ---------------------------------------------------------------------- submitted tasks


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
    base = _class(module, "TaskRunner", instrument)
    if base is not None:
        _replace(base, "map", _mapping, instrument)
    for name in ("ThreadPoolTaskRunner", "ProcessPoolTaskRunner"):
        runner = getattr(module, name, None)  # the process pool came with Prefect 3.4.7
        if runner is not None:
            _replace(runner, "submit", _submitting, instrument)
            if name == "ProcessPoolTaskRunner":
                _replace(runner, "__enter__", lambda original: _opening_pool(original, start_worker), instrument)


def _wrap_submit(runner: type) -> None:
    """A task runner of another package, or of the user's, hands tasks over as Prefect's own do."""
    original = runner.__dict__.get("submit")
    if original is not None and not hasattr(original, _MARK):
        replacement = wraps(original)(_submitting(original))
        setattr(replacement, _MARK, True)
        runner.submit = replacement  # type: ignore[attr-defined]


def _opening_pool(original: Callable[..., Any], start_worker: Callable[..., None]) -> Callable[..., Any]:
    def reach_workers(runner: Any) -> None:
        # a worker imports what it is sent, and not all that has enabled X-Ray here
        executor = runner._executor
        executor._initargs = executor._initializer, executor._initargs
        executor._initializer = start_worker

    def __enter__(self: Any) -> Any:
        entered = original(self)
        _safely(reach_workers, self)
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
            task = _safely(fields.numbered, task, next(counter)) or task
        parent = submitted_by.set(_safely(adapter.running_task))
        try:
            future = original(self, task, *args, **kwargs)
        finally:
            _counter.reset(token)
            submitted_by.reset(parent)
        _safely(submitted.add, task, future)
        return future

    return submit


# ---------------------------------------------------------------------- secret blocks


def wrap_secret_blocks(module: ModuleType, instrument: Instrument) -> None:
    """What a `Secret` block hands out is masked wherever it turns up in this process from then on."""
    block = _class(module, "Secret", instrument)
    if block is not None:
        _replace(block, "get", _handing_out, instrument)


def _handing_out(original: Callable[..., Any]) -> Callable[..., Any]:
    def get(self: Any) -> Any:
        value = original(self)
        _safely(_learn, value)
        return value

    return get


def _learn(value: Any) -> None:
    for each in value.values() if type(value) is dict else [value]:
        learn(each)
