"""What is done with the events of one of Dagster's generators, and how its arguments are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xray_core.capture.step import Step


class EventObserver(NamedTuple):
    """What is done with the events of one of Dagster's generators.

    Attributes:
        observe: called with each event, before Dagster gets it.
        end: called once the generator has ended, with the exception that ended it, or None.
        kinds: of the events to be observed; None for all.
        step: is current while Dagster and the op's body work on the next event, and at no other time.
    """

    observe: Callable[[Any], None]
    end: Callable[[BaseException | None], None]
    kinds: frozenset[str] | None = None
    step: Step | None = None


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], at: int, name: str) -> Any:
    """An argument of a call, given by position or by name.

    Raises:
        KeyError: the call has no such argument.
    """
    return args[at] if len(args) > at else kwargs[name]
