"""Questions asked at the same time: most of the time of one that goes to a database is spent waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar, overload

T = TypeVar("T")
U = TypeVar("U")


@overload
def together(first: Callable[[], T], second: Callable[[], U], /, *, pool: Executor | None = ...) -> tuple[T, U]: ...
@overload
def together(*asked: Callable[[], T], pool: Executor | None = ...) -> tuple[T, ...]: ...
def together(*asked: Callable[[], Any], pool: Executor | None = None) -> tuple[Any, ...]:
    """What these return, in order; the first is asked on this thread, the others on threads with the context of this one.

    Args:
        pool: whose threads; None for threads of their own.

    Raises:
        Exception: what the first of them raised that did, after all have ended.
    """
    if pool is None:
        if len(asked) < 2:
            return tuple(ask() for ask in asked)
        with ThreadPoolExecutor(len(asked) - 1, "xray-together") as own:
            return together(*asked, pool=own)
    futures = [pool.submit(copy_context().run, ask) for ask in asked[1:]]
    try:
        first = [ask() for ask in asked[:1]]
    finally:
        wait(futures)
    return (*first, *(future.result() for future in futures))
