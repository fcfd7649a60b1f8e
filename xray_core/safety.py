"""The one guard: X-Ray's own errors are caught here, logged once per site and counted; the user's never are.

Catches `Exception` only: KeyboardInterrupt, SystemExit and the frameworks' own BaseExceptions always pass. So does what a signal
handler of the program raises, as time limits do: it may come while X-Ray is at work as well as at any other moment.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("xray")
_MAX_SITES: Final = 1_000  # a plugin with generated site names must not grow this without end

_MAX_CHARS: Final = 1_000  # of an error in the log

# site -> how often it failed. Shown by `xray doctor` and sent with the client's counters.
swallowed: dict[str, int] = {}
# Tests set this to see what would have been swallowed; see `xray_core.testing`.
on_swallow: Callable[[str, Exception], None] | None = None
# Masks the secrets in what is logged; `objects.redaction` puts its own rules here.
mask: Callable[[str], str] = str


def swallow(site: str, error: Exception) -> None:
    """Count an error of X-Ray's own, and log it the first time at this site. Never blocks, and raises nothing but what a signal
    handler raised; see `reraise_interrupt`.
    """
    reraise_interrupt(error)
    try:
        first = site not in swallowed
        if first and len(swallowed) >= _MAX_SITES:
            site, first = "(other sites)", "(other sites)" not in swallowed
        swallowed[site] = swallowed.get(site, 0) + 1
        if first:
            log.warning(
                "X-Ray: %s failed (%s: %s); the pipeline goes on, this is logged once. `xray doctor` says more.",
                loggable(site),
                type(error).__name__,
                loggable(error),
            )
    except Exception:  # noqa: BLE001  # a hostile __str__ or a broken log handler: nothing more can be logged
        pass
    if on_swallow is not None:
        on_swallow(site, error)


def _after_fork_in_child() -> None:
    """What the parent swallowed is the parent's; it is logged once all the same."""
    for site in list(swallowed):
        swallowed[site] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def reraise_interrupt(error: Exception) -> None:
    """Raise an error again that a signal handler of the program raised: to be asked before any error is passed over."""
    if is_interrupt(error):
        raise error


def is_interrupt(error: Exception) -> bool:
    """Whether a signal handler of the program raised an error. Told by the handler's frame: it is given a signal's number, and the
    frame below it.
    """
    if threading.get_ident() != threading.main_thread().ident:  # handlers run there
        return False
    trace = error.__traceback__
    while trace is not None:
        if _is_of_handler(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def _is_of_handler(frame: FrameType) -> bool:
    interrupted, module = frame.f_back, dict.get(frame.f_globals, "__name__")
    # no handler is ours; and to read the locals of a frame that still runs would keep the error that is among them
    if interrupted is None or (type(module) is str and module.startswith("xray_core.")):
        return False
    given: list[Any] = []  # a signal's number, and then the frame: as such or among `*arguments`
    for value in frame.f_locals.values():
        given += value if type(value) is tuple else (value,)
    return any(second is interrupted and isinstance(first, int) for first, second in pairwise(given))


def loggable(what: object) -> str:
    """Bounded, without secrets, and without half a character, which no handler can write."""
    return mask(str(what)[: 2 * _MAX_CHARS])[:_MAX_CHARS].encode("utf-8", "backslashreplace").decode()


def guarded(site: str, default: Any = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that an Exception in it is swallowed at `site` and `default` is returned."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001
                swallow(site, error)
                return default  # type: ignore[no-any-return]  # the caller chose a default of type T

        return call

    return decorate


@contextmanager
def guard(site: str) -> Any:
    """Swallow an Exception of the block at `site`. For cold paths: it costs 0.23 us, a plain try 0.04 us."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        swallow(site, error)
