"""`@xray.step(...)`: a step around each call of a function, generator, coroutine function or async generator.

Outside any run the function is simply called. The step is current only while the function's own code runs: what a
generator's consumer does between two items does not belong to this step.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator
from functools import wraps
from typing import Any

from xray_core.capture import context
from xray_core.capture.code_version import code_version_of
from xray_core.capture.step import Step
from xray_core.model import is_failure
from xray_core.safety import swallow


def step_around(function: Callable[..., Any], name: str | None, step_type: str | None, options: dict[str, Any]) -> Any:
    """`function` with a step around each call; see the module. One that does not bear being looked at is returned as it is."""
    if isinstance(function, (staticmethod, classmethod)):  # the decorators the other way round
        return type(function)(step_around(function.__func__, name, step_type, options))
    try:
        return _around(function, name, step_type, options)
    except Exception as error:  # noqa: BLE001  # its __getattr__, say
        swallow("decorating a step", error)
        return function


def _around(function: Callable[..., Any], name: str | None, step_type: str | None, options: dict[str, Any]) -> Any:
    unnamed = name is None or (type(name) is str and not name)  # of any other type it is no business of ours to ask it
    step_name = str(getattr(function, "__name__", type(function).__name__)) if unnamed else name
    options = {"code_version": code_version_of(function), **options}
    signature = _signature(function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
        run = context.current_run_or_none()
        if run is None:
            return None
        step: Step = run.step(step_name, step_type, **options)  # type: ignore[arg-type]  # never None
        try:
            if signature is not None:
                step.observe_inputs(dict(signature.bind(*args, **kwargs).arguments))
        except TypeError:
            pass  # wrong arguments: the call itself will say so, to the one who made it
        except Exception as error:  # noqa: BLE001
            swallow("reading a step's arguments", error)
        return step

    if inspect.isasyncgenfunction(function):
        return _around_async_generator(function, begin)
    if inspect.isgeneratorfunction(function):
        return _around_generator(function, begin)
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            step = begin(args, kwargs)
            if step is None:
                return await function(*args, **kwargs)
            with step:
                result = await function(*args, **kwargs)
                step.observe_output(result)
            return result

        return call_async

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        step = begin(args, kwargs)
        if step is None:
            return function(*args, **kwargs)
        with step:
            result = function(*args, **kwargs)
            step.observe_output(result)
        return result

    return call


def _around_generator(function: Callable[..., Any], begin: Callable[..., Step | None]) -> Any:
    @wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        step = begin(args, kwargs)
        if step is None:
            return (yield from function(*args, **kwargs))
        step.open()
        place: context.Current = (step.run, step)  # or a step that the generator has opened, and is inside of
        sent: Any = None
        thrown: BaseException | None = None
        yielded = 0
        try:
            generator = function(*args, **kwargs)
            while True:
                tokens = context.enter(place)
                try:
                    item = generator.send(sent) if thrown is None else generator.throw(thrown)
                except StopIteration as end:
                    _end(step, yielded)
                    return end.value
                finally:
                    place = context.leave(tokens)
                yielded += 1
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    tokens = context.enter(place)
                    try:
                        generator.close()
                    finally:
                        context.leave(tokens)
                    raise
                except BaseException as error:  # noqa: BLE001  # thrown in by the consumer: it is the generator's
                    thrown = error
        except BaseException as error:  # written down, and raised on: KeyboardInterrupt fails a step too
            _end(step, yielded, error)
            raise

    return generate


def _around_async_generator(function: Callable[..., Any], begin: Callable[..., Step | None]) -> Any:
    @wraps(function)
    async def generate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        step = begin(args, kwargs)
        place: context.Current | None = None  # as above
        if step is not None:
            step.open()
            place = (step.run, step)
        sent: Any = None
        thrown: BaseException | None = None
        yielded = 0
        try:
            generator = function(*args, **kwargs)
            while True:
                tokens = context.enter(place) if place is not None else None
                try:
                    item = await (generator.asend(sent) if thrown is None else generator.athrow(thrown))
                except StopAsyncIteration:
                    if step is not None:
                        _end(step, yielded)
                    return
                finally:
                    if tokens is not None:
                        place = context.leave(tokens)
                yielded += 1
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    tokens = context.enter(place) if place is not None else None
                    try:
                        await generator.aclose()
                    finally:
                        if tokens is not None:
                            context.leave(tokens)
                    raise
                except BaseException as error:  # noqa: BLE001  # thrown in by the consumer: it is the generator's
                    thrown = error
        except BaseException as error:  # written down, and raised on: KeyboardInterrupt fails a step too
            if step is not None:
                _end(step, yielded, error)
            raise

    return generate


def _end(step: Step, yielded: int, error: BaseException | None = None) -> None:
    if is_failure(error):
        step.close("failed", error=error)
    else:
        step.observe_output_size(yielded, left=error is not None)
        step.close()


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
