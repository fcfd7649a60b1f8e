"""Prefect's task engines, wrapped: a task run with its tries, and generator tasks, which are entered piecewise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from types import ModuleType, TracebackType
from typing import Any, Final

from xray_core.capture import context
from xray_core.capture.step import Step
from xray_core.plugins.instrument import Instrument
from xray_prefect.adapter import Attempt, adapter
from xray_prefect.deployments import asked_for
from xray_prefect.wrapping import find_class, replace, safely


def find_step() -> Step | None:
    """What `current_step()` asks where our own context variable did not reach."""
    found: Step | None = safely(adapter.current)
    return found


def wrap_task_engine(module: ModuleType, instrument: Instrument) -> None:
    """`start` is a task run with all its tries, `run_context` one of them; generator tasks are entered piecewise."""
    context.add_step_finder(find_step)
    for name in ("SyncTaskRunEngine", "AsyncTaskRunEngine"):
        engine = find_class(module, name, instrument)
        if engine is None:
            adapter.unseen = f"Prefect {instrument.version()} has no {module.__name__}.{name}"
        else:
            replace(engine, "start", lambda original: _around(original, _TaskRun), instrument)
            replace(engine, "run_context", lambda original: _around(original, _Try), instrument)
            hooking = _hooking_async if name.startswith("Async") else _hooking
            replace(engine, "call_hooks", hooking, instrument)
    base = getattr(module, "BaseTaskRunEngine", None)
    if base is not None and "handle_rollback" in base.__dict__:
        replace(base, "handle_rollback", _rolling_back, instrument)
    replace(module, "run_generator_task_sync", _generator, instrument)
    replace(module, "run_generator_task_async", _async_generator, instrument)


def _rolling_back(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle_rollback(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            safely(adapter.rolled_back, self)

    return handle_rollback


_HOOKS: Final = ("on_running_hooks", "on_completion_hooks", "on_failure_hooks")


class _InItsStep:
    """Around a task's hooks, which Prefect calls when its try is over: what they decide is this task's, and not that of the one around."""

    __slots__ = ("_engine", "_entered")

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        has_hooks = any(getattr(self._engine.task, name, None) for name in _HOOKS)
        self._entered = safely(adapter.hooks_begin, self._engine) if has_hooks else None

    def __exit__(self, *error: object) -> None:
        if self._entered is not None:
            safely(adapter.hooks_end, *self._entered)


def _hooking(original: Callable[..., Any]) -> Callable[..., Any]:
    def call_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _InItsStep(self):
            return original(self, *args, **kwargs)

    return call_hooks


def _hooking_async(original: Callable[..., Any]) -> Callable[..., Any]:
    async def call_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _InItsStep(self):
            return await original(self, *args, **kwargs)

    return call_hooks


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
            safely(self.refused, error)
            raise
        self.token = safely(self.begins)
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            return self.inner.__exit__(kind, error, trace)
        finally:
            safely(self.ends, error)

    async def __aenter__(self) -> Any:
        try:
            value = await self.inner.__aenter__()
        except BaseException as error:  # Prefect aborts tasks by BaseExceptions: reported, and raised on
            safely(self.refused, error)
            raise
        self.token = safely(self.begins)
        return value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        try:
            return await self.inner.__aexit__(kind, error, trace)
        finally:
            safely(self.ends, error)


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
            asked_for.asker_over(self.engine.task_run.id)

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
            token = safely(driver.resume)
            try:
                value = step(argument)
            except StopIteration as stop:
                return stop.value
            finally:
                _forget_driver(token)
            safely(driver.suspend)
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
            token = safely(driver.resume)
            try:
                value = await step(argument)
            except StopAsyncIteration:
                return
            finally:
                _forget_driver(token)
            safely(driver.suspend)
            try:
                argument = yield value
                step = inner.asend
            except BaseException as error:  # noqa: BLE001  # as above
                step, argument = inner.athrow, error

    return run_generator_task
