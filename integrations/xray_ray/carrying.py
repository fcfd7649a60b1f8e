"""What a program hands to Ray instead of its own functions and classes: the same, inside of a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import aclosing
from functools import wraps
from types import GeneratorType
from typing import Any, TypeVar

from xray_core import current_step
from xray_core.attaching import Carried

T = TypeVar("T", bound=Callable[..., Any])


class _InRay(Carried):
    def is_lazy(self, made: Any) -> bool:
        """What else than a generator can be gone through, Ray sends elsewhere."""
        return isinstance(made, GeneratorType)


def carry(function: T) -> T:
    """A function, or the methods of an actor's class, inside the step that is current now wherever Ray calls them; outside of
    any step, `function` itself.
    """
    carried: T = _carried(function, several_calls=False)
    return carried


def map_batches(dataset: Any, function: Callable[..., Any], **options: Any) -> Any:
    """`dataset.map_batches(function, **options)`, with every batch judged inside the step that is current now.

    Args:
        function: a function, or a class whose instances are called.
    """
    return dataset.map_batches(_carried(function, several_calls=True), **options)


def _carried(function: Any, *, several_calls: bool) -> Any:
    token = current_step().token()
    if not token:
        return function
    if inspect.isclass(function):
        return _class(function, token, several_calls=several_calls)
    return _function(function, token, several_calls=several_calls)


def _function(function: Callable[..., Any], token: str, *, several_calls: bool) -> Callable[..., Any]:
    """Ray takes functions, and looks at their parameters, and whether they are coroutines or generators."""
    carried = _InRay(function, token, several_calls=several_calls)
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await carried.awaited(*args, **kwargs)

        return awaited

    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def generated(*args: Any, **kwargs: Any) -> Any:
            async with aclosing(carried.generated(*args, **kwargs)) as items:
                async for item in items:
                    yield item

        return generated

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def iterated(*args: Any, **kwargs: Any) -> Any:
            return (yield from carried(*args, **kwargs))

        return iterated

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return carried(*args, **kwargs)

    return called


def _class(actor: type, token: str, *, several_calls: bool) -> type:
    methods = {
        name: _function(method, token, several_calls=several_calls)
        for name in dir(actor)
        if inspect.isfunction(method := inspect.getattr_static(actor, name))
        and (not name.startswith("_") or name == "__call__")
    }
    about = {"__module__": actor.__module__, "__qualname__": actor.__qualname__, "__doc__": actor.__doc__}
    return type(actor.__name__, (actor,), {**about, **methods})
