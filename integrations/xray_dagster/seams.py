"""The wrappers around Dagster's three functions. Dagster's own generator is always what runs, and all that runs.

Each asks runs.py or ops.py what to do with the events, and does without where they have nothing. Nothing is caught here but
to be raised again; whatever X-Ray itself gets wrong is swallowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, NamedTuple

from xray_core import context
from xray_core.step import Step
from xray_dagster import fields, ops, runs

Events = Callable[..., Generator[Any, Any, Any]]


class Following(NamedTuple):
    """What is done with the events of one of Dagster's generators.

    Attributes:
        observe: is shown each on its way.
        end: is told that it is through, and with what exception, if any.
        kinds: of the events to be shown; None for all.
        step: is current while Dagster and the op's body work on the next event, and at no other time.
    """

    observe: Callable[[Any], None]
    end: Callable[[BaseException | None], None]
    kinds: frozenset[str] | None = None
    step: Step | None = None


Begin = Callable[[tuple[Any, ...], dict[str, Any]], Following | None]


def around_run(original: Events) -> Events:
    """`job_execution_iterator(job_context, execution_plan)`: a whole run, in the process that drives it."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Following | None:
        capture = runs.begin_run(args, kwargs)
        return Following(capture.observe, capture.end, runs.TELLING) if capture is not None else None

    return _around(original, begin)


def around_step(original: Events) -> Events:
    """`dagster_event_sequence_for_step(step_context)`: one attempt of one step, in the process that executes it."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Following | None:
        capture = ops.begin_step(args, kwargs)
        return Following(capture.observe, capture.end, ops.TELLING, capture.step) if capture is not None else None

    return _around(original, begin)


def around_data(original: Events) -> Events:
    """`execute_core_compute(step_context, inputs, compute_fn, compute_context)`: the body of an op."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Following | None:
        capture, owned = ops.begin_body(args, kwargs)
        if capture is None:
            return None
        if owned:
            return Following(capture.observe_output, capture.end_body, step=capture.step)
        return Following(capture.observe_output, lambda error: None)

    return _around(original, begin)


def _around(original: Events, begin: Begin) -> Events:
    @wraps(original)
    def called(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return _followed(original, begin, args, kwargs)

    return called


def _followed(
    original: Events, begin: Begin, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, Any, Any]:
    """The events of `original(*args, **kwargs)`, as they are.

    One generator and no more around Dagster's own, whose are a dozen deep already: each costs at every event, and at
    every exception that is raised below it.
    """
    following = begin(args, kwargs)
    if following is None:
        return (yield from original(*args, **kwargs))
    observe, end, kinds, step = following
    place = context.place
    # What the body made current itself (a step of its own around a `yield`) it finds again after the event.
    here: Any = (step.run, step) if step is not None else None
    token: Any = None
    try:
        events = original(*args, **kwargs)
        try:  # Dagster iterates these and neither sends nor throws; that they are closed it hands on
            while True:
                if here is not None:
                    token = place.set(here)
                try:
                    event = next(events)
                except StopIteration as stop:
                    result = stop.value
                    break
                finally:
                    if here is not None:
                        here = place.get()
                        place.reset(token)
                if kinds is None or getattr(event, "event_type_value", fields.UNKNOWN) in kinds:
                    observe(event)
                yield event
        except BaseException:
            if here is not None:
                token = place.set(here)
            try:
                events.close()
            finally:
                if here is not None:
                    place.reset(token)
            raise
    except BaseException as error:  # told of, and raised on untouched
        end(error)
        raise
    end(None)
    return result
