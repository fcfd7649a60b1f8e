"""The one guard: X-Ray's own errors are caught here, logged once per site and counted; the user's never are.

Catches `Exception` only: KeyboardInterrupt, SystemExit and the frameworks' own BaseExceptions always pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
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


def swallow(site: str, error: Exception) -> None:
    """Count an error of X-Ray's own, and log it the first time at this site. Never raises, never blocks."""
    try:
        first = site not in swallowed
        if first and len(swallowed) >= _MAX_SITES:
            site, first = "(other sites)", "(other sites)" not in swallowed
        swallowed[site] = swallowed.get(site, 0) + 1
        if first:
            log.warning(
                "X-Ray: %s failed (%s: %s); the pipeline goes on, this is logged once. `xray doctor` says more.",
                _loggable(site),
                type(error).__name__,
                _loggable(error),
            )
    except Exception:  # noqa: BLE001  # a hostile __str__ or a broken log handler: nothing more can be logged
        pass
    if on_swallow is not None:
        on_swallow(site, error)


def _loggable(what: object) -> str:
    """Bounded, and without half a character, which no handler can write."""
    return str(what)[:_MAX_CHARS].encode("utf-8", "backslashreplace").decode()


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
