"""What a program hands to Dask instead of its own functions: the same, inside of a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from xray_core import current_step
from xray_core.attaching import Carried, uncaptured


class _InDask(Carried):
    def __dask_tokenize__(self) -> Any:
        """Equal for one function of one step: Dask computes a pure task once, as it would without X-Ray."""
        from dask.base import normalize_token

        return type(self).__qualname__, normalize_token(self.function), self.token


def carry(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, inside the step that is current now wherever Dask calls it; outside of any step, `function` itself."""
    token = current_step().token()
    if not token:
        return function
    carried = _InDask(function, token)
    return _coroutine(carried) if iscoroutinefunction(function) else carried


def map_partitions(frame: Any, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`frame.map_partitions(function, *args, **options)`, with every partition judged inside the step that is current now.

    What `function` gives is found out as Dask does it, with made-up rows that are not captured; `meta=` spares that.
    """
    if "meta" not in options:
        options["meta"] = frame.map_partitions(_tried_out(function), *args, **options)._meta
    return frame.map_partitions(carry(function), *args, **options)


def _coroutine(carried: Carried) -> Callable[..., Any]:
    @wraps(carried.function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await carried.awaited(*args, **kwargs)

    return awaited


def _tried_out(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def tried(*args: Any, **kwargs: Any) -> Any:
        with uncaptured():
            return function(*args, **kwargs)

    return tried
